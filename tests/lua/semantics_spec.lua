-- What a middleware author who comes from Django may rely on: the chain's construction, the onion,
-- the films and the hooks. The number behind a name is that of the statement it proves; those of
-- the request, the response, streaming and cancellation are in request_spec, response_spec,
-- serve_spec and disconnect_spec; 28 and its neighbours, what errors become, are in errors_spec.
--
-- Left out on purpose:
--    4  a factory gets options as well, so "exactly one argument" does not hold
--   13  no view decorators made of hooks: a route's middleware is the whole onion
--   21  multipart and files are a later release; an unreadable form is an abort, and stays one
--   26  no mode that raises through: on_error(500) gets the error, the log its traceback
--   27  no signal for uncaught errors: on_error(500) hears of each of them, handlers' own included
--   29, 39, 40 (rendering)  no lazy templates: a response is whole when the view has returned
--   42  no process_request and process_response: a class that has them does not load (layer_spec)
--   43  no switches on views or routes yet
--   44 to 48  one colour of function: nothing to mark, nothing to adapt
--   51  WebSockets are a later release
--   66  one kind of stream: nothing to tell apart
--   68  (no hook for torn streams yet: the log and request_finished tell of them)
--   69  no closers on the response: `weft.defer` is the request's (disconnect_spec)
--   71  files are a later release
--   74  what the parser refuses never enters the chain (tests/http)
--   76 (session, user, files), 80 (files), 83 (trusted hosts), 92 (signed cookies)  later releases
--   96  nobody copies a response that is used twice: it is a rule for who writes a cache
--   97 to 100  the rules of weft's own middleware come with them; `requires` and `after` are in
--              layer_spec

local captured_log = require "tests.support.captured_log"
local task = require "weft.task"
local testing = require "weft.testing"
local weft = require "weft"

local function serve(app)
  local client = testing.client(app)
  task.defer(function() client:close() end)
  return client
end

--- A module that `require` finds while this spec runs.
local function module(name, loader)
  package.preload[name] = loader
  task.defer(function() package.preload[name], package.loaded[name] = nil, nil end)
end

--- What serving the app raises.
local function problem(app)
  local ok, message = pcall(testing.client, app)
  assert.is_false(ok)
  return message
end

local function this_line() return debug.getinfo(2, "l").currentline end

--- A middleware that notes its way in and out.
local function noting(notes, name)
  return function(get_response)
    table.insert(notes, "build " .. name)
    return function(request)
      table.insert(notes, "into " .. name)
      local response = get_response(request)
      table.insert(notes, ("out of %s with %d"):format(name, response.status))
      return response
    end
  end
end

--- A class with hooks: `class { process_view = function(self, request, view, params) end }`.
local function class(hooks)
  local Class = {}
  Class.__index = Class
  for name, hook in pairs(hooks) do Class[name] = hook end
  function Class.new(get_response, options)
    return setmetatable({ get_response = get_response, options = options }, Class)
  end
  Class.__call = hooks.call or function(self, request) return self.get_response(request) end
  return Class
end

describe("construction", function()
  it("takes an empty list (semantics 1)", function()
    local app = weft.app()
    app:get("/", function() return "bare" end)
    assert.equal("bare", serve(app):get("/").body)
  end)

  it("builds last to first, goes in first to last and out last to first (semantics 2, 14, 16)",
    function()
      local app, notes = weft.app(), {}
      app:use(noting(notes, "a"))
      app:use(noting(notes, "b"))
      app:get("/", function()
        table.insert(notes, "view")
        return "ok"
      end)
      local client = serve(app)
      assert.same({ "build b", "build a" }, notes)
      client:get "/"
      assert.same({
        "build b", "build a", "into a", "into b", "view", "out of b with 200", "out of a with 200",
      }, notes)
    end)

  it("takes functions, classes, modules and objects with __call (semantics 3)", function()
    local function adding(name)
      return function(get_response)
        return function(request)
          local response = get_response(request)
          response:add_header("X-Layers", name)
          return response
        end
      end
    end
    module("spec.module", function() return adding "module" end)
    local app = weft.app()
    app:use(adding "function")
    app:use(class {
      call = function(self, request)
        local response = self.get_response(request)
        response:add_header("X-Layers", "class")
        return response
      end,
    })
    app:use "spec.module"
    app:use(setmetatable({}, { __call = function(_, get_response)
      return adding "callable" (get_response)
    end }))
    app:get("/", function() return "" end)
    assert.equal("callable, module, class, function", serve(app):get("/").headers["x-layers"])
  end)

  it("gives a factory get_response and the options of the list (semantics 4)", function()
    local app, seen = weft.app(), {}
    local function factory(get_response, options)
      table.insert(seen, options)
      return get_response
    end
    app:use(factory, { name = "x" })
    app:use(factory)
    app:get("/", { { factory, per_minute = 5 } }, function() return "" end)
    serve(app)
    table.sort(seen, function(a, b) return (a.name or "") < (b.name or "") end)
    assert.same({ { per_minute = 5 }, {}, { name = "x" } }, { seen[2], seen[1], seen[3] })
  end)

  it("builds each layer once, never for a request (semantics 5)", function()
    local app, built = weft.app(), 0
    local function counting(get_response)
      built = built + 1
      return get_response
    end
    app:use(counting)
    app:group("/in", function(group)
      group:use(counting)
      group:get("/a", function() return "" end)
      group:get("/b", { counting }, function() return "" end)
    end)
    local client = serve(app)
    assert.equal(3, built)
    for _ = 1, 3 do
      client:get "/in/a"
      client:get "/in/b"
    end
    assert.equal(3, built)
  end)

  it("shares what a layer keeps among requests, and a request's state with none (semantics 6)",
    function()
      local app = weft.app()
      app:use(function(get_response)
        local count = 0
        return function(request)
          count = count + 1
          request.state.before = request.state.count
          request.state.count = count
          return get_response(request)
        end
      end)
      app:get("/", function(request)
        return { count = request.state.count, before = request.state.before or "nothing" }
      end)
      local client = serve(app)
      assert.same({ count = 1, before = "nothing" }, client:get("/"):json())
      assert.same({ count = 2, before = "nothing" }, client:get("/"):json())
    end)

  it("does not serve when a factory raises (semantics 7)", function()
    local app = weft.app()
    app:use(function() error "no key is configured" end)
    assert.matches("semantics_spec.lua:%d+: middleware .* does not load: .*no key is configured",
      problem(app))
  end)

  it("does not serve with a module that is not there (semantics 8)", function()
    local app = weft.app()
    app:use "spec.not_there"
    assert.matches('semantics_spec.lua:%d+: cannot load middleware "spec.not_there"', problem(app))
  end)

  it("leaves out what is not used, without its hooks, with a debug line (semantics 9)", function()
    local log = captured_log.capture()
    local app = weft.app()
    local Unused = class { process_view = function() return "never" end }
    function Unused.new() error(weft.middleware_not_used) end
    app:use(Unused)
    app:use(function() error(weft.middleware_not_used "no key is configured") end)
    app:get("/", function() return "ok" end)
    assert.equal("ok", serve(app):get("/").body)
    local lines = log:of "debug"
    assert.equal(2, #lines)
    assert.matches("semantics_spec.lua:%d+\" is not used: no key is configured$", lines[1].message)
    assert.matches("semantics_spec.lua:%d+\" is not used$", lines[2].message)
  end)

  it("refuses a factory that returns nil, by name (semantics 10)", function()
    module("spec.forgetful", function() return function() end end)
    local app = weft.app()
    app:use "spec.forgetful"
    assert.matches('spec.lua:%d+: the factory of middleware "spec.forgetful" returned nil',
      problem(app))
  end)

  it("gives the innermost layer what finds the route, not the view (semantics 11, 12)", function()
    local app, seen = weft.app(), {}
    app:use(function(get_response)
      return function(request)
        table.insert(seen, request.route and request.route.pattern or "no route")
        local response = get_response(request)
        table.insert(seen, request.route and request.route.pattern or "no route")
        return response
      end
    end)
    app:get("/users/:id", function() return "" end)
    local client = serve(app)
    client:get "/users/1"
    assert.equal(404, client:get("/nowhere").status)
    assert.same({ "no route", "/users/:id", "no route", "no route" }, seen)
  end)
end)

describe("the onion", function()
  it("short-circuits: nothing further in runs, all further out sees the response (semantics 15)",
    function()
      local app, notes = weft.app(), {}
      app:use(noting(notes, "a"))
      app:use(function() return function() return weft.text("stop", 403) end end)
      app:use(noting(notes, "b"))
      app:get("/", function() table.insert(notes, "view") end)
      assert.equal("stop", serve(app):get("/").body)
      assert.same({ "build b", "build a", "into a", "out of a with 403" }, notes)
    end)

  it("has a response for every layer, whatever is raised further in (semantics 17, 18)", function()
    captured_log.capture()
    local app, notes = weft.app(), {}
    app:use(noting(notes, "a"))
    app:use(function(get_response)
      return function(request)
        get_response(request)
        error "out of the middle"
      end
    end)
    app:use(noting(notes, "b"))
    app:get("/", function() error "view" end)
    assert.equal(500, serve(app):get("/").status)
    assert.same({ "into a", "into b", "out of b with 500", "out of a with 500" },
      { unpack(notes, 3) })
  end)

  it("runs nothing inside of a layer that raised on the way in (semantics 17)", function()
    captured_log.capture()
    local app, notes = weft.app(), {}
    app:use(noting(notes, "a"))
    app:use(function() return function() error "before" end end)
    app:use(noting(notes, "b"))
    app:get("/", function() table.insert(notes, "view") end)
    assert.equal(500, serve(app):get("/").status)
    assert.same({ "into a", "out of a with 500" }, { unpack(notes, 3) })
  end)

  it("names a layer that returns nil, where it is listed and where it is written (semantics 30)",
    function()
      local log = captured_log.capture()
      local written
      module("spec.forgetful", function()
        return function(get_response)
          written = this_line() + 1
          return function(request) get_response(request) end
        end
      end)
      local app, notes = weft.app(), {}
      app:use(noting(notes, "a"))
      app:use "spec.forgetful"
      local listed = this_line() - 1
      app:get("/", function() return "ok" end)
      assert.equal(500, serve(app):get("/").status)
      assert.equal("out of a with 500", notes[#notes])
      local lines = log:of "error"
      assert.equal(1, #lines)
      assert.matches(('^%%S*semantics_spec.lua:%d: middleware "spec.forgetful" %%(listed at '
        .. "%%S*semantics_spec.lua:%d%%) returned nil instead of a response"):format(written,
        listed), lines[1].message)
    end)

  it("names a layer that returns something else (semantics 30)", function()
    local log = captured_log.capture()
    local app = weft.app()
    app:use(function() return function() return "text" end end)
    app:get("/", function() return "ok" end)
    assert.equal(500, serve(app):get("/").status)
    assert.matches("returned a string instead of a response", log:of("error")[1].message)
  end)

  it("names the view that returns nothing, and asks no process_exception (semantics 31)", function()
    local log = captured_log.capture()
    local app = weft.app()
    app:use(class { process_exception = function() return weft.text "not for this" end })
    app:get("/things/:id", function() end)
    local written = this_line() - 1
    assert.equal(500, serve(app):get("/things/1").status)
    assert.matches(("semantics_spec.lua:%d: the view of GET /things/:id returned nil"):format(
      written), log:of("error")[1].message)
  end)

  it("is one task: what the view sets in the context, layers see, and back (semantics 49, 52)",
    function()
      local app, seen = weft.app(), nil
      app:use(function(get_response)
        return function(request)
          weft.context.user = "ada"
          weft.sleep(0)
          local response = get_response(request)
          seen = weft.context.trace
          return response
        end
      end)
      app:get("/", function()
        weft.sleep(0)
        weft.context.trace = "t1"
        return weft.context.user
      end)
      assert.equal("ada", serve(app):get("/").body)
      assert.equal("t1", seen)
    end)

  it("may run what is further in again (semantics 12)", function()
    captured_log.capture()
    local app, count = weft.app(), 0
    app:use(function(get_response)
      return function(request)
        local response = get_response(request)
        if response.status == 503 then response = get_response(request) end
        return response
      end
    end)
    app:post("/:name", function(request)
      count = count + 1
      if count == 1 then weft.abort(503) end
      return request.params.name .. request:body()
    end)
    assert.equal("acted", serve(app):post("/act", { body = "ed" }).body)
    assert.equal(2, count)
  end)

  it("goes where a layer sends it: the request's fields may be replaced", function()
    local app = weft.app()
    app:use(function(get_response)
      return function(request)
        local first = get_response(request)
        request.path, request.method = "/plain", "POST"
        local response = get_response(request)
        response.headers["X-First"] = first.body
        return response
      end
    end)
    app:get("/with/:id", function(request) return "id " .. request.params.id end)
    app:post("/plain", function(request)
      return "id " .. tostring(request.params.id) .. " at " .. request.route.pattern
    end)
    local response = serve(app):get "/with/7"
    assert.equal("id 7", response.headers["x-first"])
    assert.equal("id nil at /plain", response.body) -- no params are left over
  end)
end)

describe("hooks", function()
  it("are those of the object at load, not looked up for a request (semantics 32)", function()
    local app = weft.app()
    local object
    app:use(class {
      process_view = function() return weft.text "hook" end,
      call = function(self, request)
        object = self
        self.process_view = nil
        getmetatable(self).process_view = nil
        return self.get_response(request)
      end,
    })
    app:get("/", function() return "view" end)
    assert.equal("hook", serve(app):get("/").body)
    assert.is_nil(object.process_view)
  end)

  it("run between the way in and the view, in the list's order (semantics 33)", function()
    local app, notes = weft.app(), {}
    local function hooked(name)
      return class {
        process_view = function(_, request, view, params)
          table.insert(notes, ("%s %s %s %s"):format(name, request.path, type(view), params.id))
        end,
        call = function(self, request)
          table.insert(notes, "into " .. name)
          return self.get_response(request)
        end,
      }
    end
    app:use(hooked "a")
    app:group("/users", function(group)
      group:use(hooked "b")
      group:get("/:id", { hooked "c" }, function() return "ok" end)
    end)
    assert.equal("ok", serve(app):get("/users/7").body)
    assert.same({
      "into a", "into b", "into c", "a /users/7 function 7", "b /users/7 function 7",
      "c /users/7 function 7",
    }, notes)
  end)

  it("know the route, and so do layers on the way out (semantics 34)", function()
    local app, seen = weft.app(), {}
    app:use(class {
      process_view = function(_, request) seen.hook = request.route.pattern end,
      call = function(self, request)
        local response = self.get_response(request)
        seen.out = request.route.pattern
        return response
      end,
    })
    app:get("/users/:id", function() return "" end)
    serve(app):get "/users/1"
    assert.same({ hook = "/users/:id", out = "/users/:id" }, seen)
  end)

  it("answer for the view, and every layer's way out still runs (semantics 35)", function()
    local app, notes = weft.app(), {}
    app:use(class { process_view = function() return weft.text("hook", 201) end })
    app:use(noting(notes, "inside"))
    app:use(class { process_view = function() table.insert(notes, "never") end })
    app:get("/", function() table.insert(notes, "view") end)
    local response = serve(app):get "/"
    assert.equal(201, response.status)
    assert.same({ "build inside", "into inside", "out of inside with 201" }, notes)
  end)

  it("do not run without a route, nor behind a short-circuit (semantics 36)", function()
    captured_log.capture()
    local app, count = weft.app(), 0
    local counting = function() count = count + 1 end
    app:use(class { process_view = counting, process_exception = counting })
    app:use(function(get_response)
      return function(request)
        if request.path == "/stop" then return weft.text "stop" end
        return get_response(request)
      end
    end)
    app:get("/stop", function() return "" end)
    app:get("/get", function() return "" end)
    local client = serve(app)
    assert.equal(404, client:get("/nowhere").status)
    assert.equal(405, client:post("/get").status)
    assert.equal(200, client:get("/stop").status)
    assert.equal(0, count)
  end)

  it("hear of errors of the view alone (semantics 37)", function()
    captured_log.capture()
    local app, heard = weft.app(), {}
    app:use(class {
      process_exception = function(_, request, err) table.insert(heard, request.path .. " "
        .. tostring(err)) end,
    })
    app:use(function(get_response)
      return function(request)
        if request.path == "/layer" then error("layer", 0) end
        return get_response(request)
      end
    end)
    app:use(class {
      process_view = function(_, request)
        if request.path == "/hook" then error("hook", 0) end
      end,
    })
    for _, path in ipairs { "/layer", "/hook", "/view" } do
      app:get(path, function() error("view", 0) end)
    end
    local client = serve(app)
    for _, path in ipairs { "/layer", "/hook", "/view", "/nowhere" } do client:get(path) end
    assert.same({ "/view view" }, heard)
  end)

  it("get what the view raised, aborts too, as it was raised (semantics 37)", function()
    captured_log.capture()
    local app, heard = weft.app(), nil
    app:use(class { process_exception = function(_, _, err) heard = err end })
    local raised = { code = "mine" }
    app:get("/table", function() error(raised) end)
    app:get("/abort", function() weft.abort(404, "no such user") end)
    local client = serve(app)
    client:get "/table"
    assert.equal(raised, heard)
    client:get "/abort"
    assert.equal(404, heard.status)
    assert.equal("no such user", heard.message)
  end)

  it("answer an error from the inside out; the first response wins (semantics 38)", function()
    local log = captured_log.capture()
    local app, notes = weft.app(), {}
    local function hooked(name, status)
      return class {
        process_exception = function()
          table.insert(notes, name)
          return status and weft.text(name, status) or nil
        end,
      }
    end
    app:use(hooked "a")
    app:use(hooked("b", 299))
    app:use(noting(notes, "n"))
    app:use(hooked "c")
    app:get("/", function() error "boom" end)
    local response = serve(app):get "/"
    assert.equal("b", response.body)
    assert.same({ "into n", "c", "b", "out of n with 299" }, { unpack(notes, 2) })
    assert.same({}, log:of("error", "warn")) -- it was answered
  end)

  it("that all say nothing leave the error to the film (semantics 38)", function()
    local log = captured_log.capture()
    local app = weft.app()
    app:use(class { process_exception = function() end })
    app:get("/", function() error "boom" end)
    assert.equal(500, serve(app):get("/").status)
    assert.matches("boom", log:of("error")[1].message)
    assert.matches("semantics_spec.lua", log:of("error")[1].message)
  end)

  it("are shown a whole response: the layers see what the view's table became (semantics 40)",
    function()
      local app, seen = weft.app(), nil
      app:use(function(get_response)
        return function(request)
          local response = get_response(request)
          seen = { response.body, response.headers["content-type"], response.streaming }
          return response
        end
      end)
      app:get("/", function() return { 1, 2 } end)
      serve(app):get "/"
      assert.same({ "[1,2]", "application/json", false }, seen)
    end)

  it("may wait (semantics 41)", function()
    captured_log.capture()
    local app = weft.app()
    app:use(class {
      process_view = function(_, request)
        weft.sleep(0.001)
        if request.path == "/view" then return weft.text "view hook" end
      end,
      process_exception = function()
        weft.sleep(0.001)
        return weft.text "exception hook"
      end,
    })
    app:get("/view", function() return "" end)
    app:get("/exception", function() error "boom" end)
    local client = serve(app)
    assert.equal("view hook", client:get("/view").body)
    assert.equal("exception hook", client:get("/exception").body)
  end)

  it("that raise or answer nonsense are errors of the layer (semantics 30, 37)", function()
    local log = captured_log.capture()
    local app = weft.app()
    app:use(class { process_view = function() return "text" end })
    app:get("/", function() return "" end)
    assert.equal(500, serve(app):get("/").status)
    assert.matches("middleware at %S+%.process_view returned a string", log:of("error")[1].message)
  end)
end)
