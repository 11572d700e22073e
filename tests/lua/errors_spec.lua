-- What scripts raise, and what becomes of it: the status, the page, the line in the log.

local captured_log = require "tests.support.captured_log"
local errors = require "weft.errors"
local headers = require "weft.headers"
local helper = require "tests.support.helper"
local raw_client = require "tests.support.client"
local task = require "weft.task"
local testing = require "weft.testing"
local weft = require "weft"

local lua_assert = loadstring "return assert" () -- that of scripts; a spec's own is luassert's

local function serve(app)
  local client = testing.client(app)
  task.defer(function() client:close() end)
  return client
end

--- A client of an app with one view at "/".
local function serve_view(view)
  local app = weft.app()
  app:get("/", view)
  return serve(app)
end

local function raised_by(fn, ...)
  local ok, raised = pcall(fn, ...)
  assert.is_false(ok)
  return raised
end

describe("weft.abort", function()
  it("becomes the response: status, message, headers", function()
    captured_log.capture()
    local response = serve_view(function()
      weft.abort(401, "Who are you?", { ["WWW-Authenticate"] = "Basic", ["X-List"] = { "a", "b" } })
    end):get "/"
    assert.equal(401, response.status)
    assert.equal("401 Unauthorized: Who are you?\n", response.body)
    assert.equal("Basic", response.headers["www-authenticate"])
    assert.equal("a, b", response.headers["x-list"])
  end)

  it("works wherever it is raised", function()
    captured_log.capture()
    local function abort(where) return weft.abort(418, where, { ["X-Where"] = where }) end
    local Hooked = {}
    Hooked.__index = Hooked
    function Hooked.new(get_response)
      return setmetatable({ get_response = get_response }, Hooked)
    end
    function Hooked:__call(request) return self.get_response(request) end
    function Hooked:process_view(request)
      if request.path == "/hook" then abort "hook" end
    end
    function Hooked:process_exception(_, err)
      if tostring(err):find "boom" then abort "exception hook" end
    end

    local app = weft.app()
    app:on("request_started", function(request)
      if request.path == "/started" then abort "started" end
    end)
    app:use(function(get_response)
      return function(request)
        if request.path == "/in" then abort "in" end
        local response = get_response(request)
        if request.path == "/out" then abort "out" end
        return response
      end
    end)
    app:use(Hooked)
    app:on_error(404, function() abort "error handler" end)
    app:get("/view", function() abort "view" end)
    app:get("/deep", function()
      local function deep(n) return n == 0 and abort "deep" or 1 + deep(n - 1) end
      return tostring(deep(20))
    end)
    app:get("/task", function() return weft.spawn(abort, "task"):await() end)
    app:get("/gather", function() return (weft.gather(function() abort "gather" end)) end)
    app:get("/coroutine", function() return coroutine.wrap(function() abort "coroutine" end)() end)
    app:get("/exception", function() error "boom" end)
    for _, path in ipairs { "/hook", "/out", "/in", "/started" } do
      app:get(path, function() return "not this" end)
    end
    local client = serve(app)
    for path, where in pairs {
      ["/view"] = "view",
      ["/deep"] = "deep",
      ["/task"] = "task",
      ["/gather"] = "gather",
      ["/coroutine"] = "coroutine",
      ["/hook"] = "hook",
      ["/exception"] = "exception hook",
      ["/in"] = "in",
      ["/out"] = "out",
      ["/started"] = "started",
      ["/nowhere"] = "error handler",
    } do
      local response = client:get(path)
      assert.equal(418, response.status, path)
      assert.equal(where, response.headers["x-where"])
    end
  end)

  it("refuses a bad status and bad headers at the line that calls it", function()
    assert.matches("errors_spec.lua:%d+: abort: the status is an integer from 300 to 599",
      raised_by(function() weft.abort(200) end))
    assert.matches("errors_spec.lua:%d+: header \"X\": the value contains a line break",
      raised_by(function() weft.abort(400, "no", { X = "a\r\nb" }) end))
  end)

  it("may redirect, and say that nothing has changed", function()
    captured_log.capture()
    local app = weft.app()
    app:get("/moved", function() weft.abort(302, nil, { Location = "/new" }) end)
    app:get("/same", function() weft.abort(304, nil, { ETag = '"1"' }) end)
    local client = serve(app)
    local moved = client:get "/moved"
    assert.equal(302, moved.status)
    assert.equal("/new", moved.headers.location)
    local same = client:get "/same"
    assert.equal(304, same.status)
    assert.equal('"1"', same.headers.etag)
    assert.is_nil(same.headers["content-type"])
    assert.equal("", same.body)
  end)

  it("takes the place of headers that the page has", function()
    captured_log.capture()
    local response = serve_view(function()
      weft.abort(400, "<no>", { ["Content-Type"] = "text/x-own" })
    end):get "/"
    assert.equal("text/x-own", response.headers["content-type"])
  end)

  it("prints well", function()
    assert.equal("abort 404: no such user", tostring(raised_by(weft.abort, 404, "no such user")))
  end)
end)

describe("what is raised", function()
  it("is mapped to a status (semantics 20)", function()
    captured_log.capture()
    local app = weft.app()
    app:post("/large", function(request) return request:body() end)
    local raise = {
      text = { 500, function() error "text" end },
      table = { 500, function() error { code = "timeout" } end }, -- not an error of weft's
      number = { 500, function() error(404) end },
      nothing = { 500, function() error() end },
      abort = { 409, function() weft.abort(409) end },
      json = { 400, function(request) return request:json() end, "{" },
      form = { 415, function(request) return request:form() end, "{" },
      redirect = { 400, function() return weft.redirect "javascript:alert(1)" end },
    }
    for name, case in pairs(raise) do app:post("/" .. name, case[2]) end
    local client = serve(app)
    for name, case in pairs(raise) do
      assert.equal(case[1], client:post("/" .. name, { body = case[3] or "" }).status, name)
    end
    app.max_body_size = 10
    assert.equal(413, client:post("/large", { body = ("x"):rep(11) }).status)
  end)

  it("by assert(fetch) is 502, or 504 for a time-out", function()
    local log = captured_log.capture()
    local slow = testing.upstream(function() weft.sleep(5) end)
    local app = weft.app()
    app:get("/refused", function() return lua_assert(weft.fetch "http://127.0.0.1:1/").body end)
    app:get("/slow", function()
      return lua_assert(weft.fetch(slow.url, { timeout = 0.01 })).body
    end)
    for _, code in ipairs { "closed", "unreachable", "dns", "tls", "protocol" } do
      app:get("/" .. code, function() error(errors.new(code, "it happened")) end)
    end
    for _, code in ipairs { "io", "not_found", "busy", "limit", "too_large", "cancelled" } do
      app:get("/" .. code, function() error(errors.new(code, "it happened")) end)
    end
    local client = serve(app)
    assert.equal(502, client:get("/refused").status)
    assert.equal(504, client:get("/slow").status)
    assert.equal(2, #log:of "error")
    for _, code in ipairs { "closed", "unreachable", "dns", "tls", "protocol" } do
      assert.equal(502, client:get("/" .. code).status, code)
    end
    for _, code in ipairs { "io", "not_found", "busy", "limit", "too_large", "cancelled" } do
      assert.equal(500, client:get("/" .. code).status, code)
    end
    assert.equal(13, #log:of "error") -- none of them in silence
    slow:close()
  end)

  it("leaves the connection usable", function()
    captured_log.capture()
    local client = serve_view(function() error "boom" end)
    for _ = 1, 3 do assert.equal(500, client:get("/").status) end
    assert.is_nil(client:get("/").headers.connection)
  end)

  it("may be a stack overflow", function()
    local log = captured_log.capture()
    local function endless(n) return 1 + endless(n + 1) end
    local client = serve_view(function() return tostring(endless(1)) end)
    assert.equal(500, client:get("/").status)
    assert.equal(1, #log:of "error")
    assert.matches("stack overflow", log:of("error")[1].message)
  end)
end)

describe("the log", function()
  it("has a fault once, with its traceback and the request (semantics 28)", function()
    local log = captured_log.capture()
    local app, id = weft.app(), nil
    for _ = 1, 2 do
      app:use(function(get_response) return function(request) return get_response(request) end end)
    end
    app:get("/users/:id", function(request)
      id = request.id
      error "boom"
    end)
    serve(app):get "/users/7"
    local lines = log:of("error", "warn")
    assert.equal(1, #lines)
    assert.equal("error", lines[1].level)
    assert.matches("errors_spec.lua:%d+: boom", lines[1].message)
    assert.matches("\n.*errors_spec.lua:%d+: in function", lines[1].message)
    local fields = lines[1].fields
    assert.same({ id, "GET", "/users/7", "/users/:id", 500, "view" }, { fields.request_id,
      fields.method, fields.path, fields.route, fields.status, fields.layer })
  end)

  it("has 4xx as warnings and 5xx as errors, raised or returned (semantics 28)", function()
    local log = captured_log.capture()
    local app = weft.app()
    app:get("/abort/:status", function(request)
      weft.abort(tonumber(request.params.status), "because")
    end)
    app:get("/return/:status", function(request)
      return weft.text("because", tonumber(request.params.status))
    end)
    local client = serve(app)
    for _, path in ipairs { "/abort/404", "/abort/503", "/return/404", "/return/503", "/nowhere",
      "/return/399", "/return/200", "/abort/302" } do
      client:get(path)
    end
    local lines = {}
    for _, line in ipairs(log) do
      table.insert(lines, ("%s %s %s"):format(line.level, line.message, line.fields.path))
    end
    assert.same({
      "warn 404 Not Found: because /abort/404",
      "error 503 Service Unavailable: because /abort/503",
      "warn 404 Not Found /return/404",
      "error 503 Service Unavailable /return/503",
      "warn 404 Not Found /nowhere",
    }, lines)
  end)

  it("has an error response once, however many layers it passes (semantics 28)", function()
    local log = captured_log.capture()
    local app = weft.app()
    for _ = 1, 3 do
      app:use(function(get_response)
        return function(request)
          local response = get_response(request)
          response.headers["X"] = "y"
          return response
        end
      end)
    end
    app:get("/", function() weft.abort(404) end)
    local response = serve(app):get "/"
    assert.equal("y", response.headers.x) -- it can still be changed, on a 404 too
    assert.equal(1, #log:of("warn", "error"))
  end)
end)

describe("app:on_error", function()
  it("answers errors of its status, with the error's status for a string or a table (semantics 22)",
    function()
      captured_log.capture()
      local app, seen = weft.app(), {}
      app:on_error(404, function(request, err)
        table.insert(seen, { request.path, err.status, err.message })
        return "nothing here"
      end)
      app:on_error(500, function(_, err)
        table.insert(seen, err)
        return { error = "sorry" }
      end)
      app:on_error(503, function() return weft.text("full", 200) end)
      app:get("/user", function() weft.abort(404, "no such user") end)
      app:get("/boom", function() error("boom", 0) end)
      app:get("/full", function() weft.abort(503, nil, { ["Retry-After"] = 5 }) end)
      local client = serve(app)
      local response = client:get "/nowhere"
      assert.same({ 404, "nothing here" }, { response.status, response.body })
      assert.equal(404, client:get("/user").status)
      response = client:get "/boom"
      assert.same({ 500, '{"error":"sorry"}' }, { response.status, response.body })
      response = client:get "/full"
      assert.same({ 200, "full", "5" },
        { response.status, response.body, response.headers["retry-after"] })
      assert.same({ { "/nowhere", 404 }, { "/user", 404, "no such user" }, "boom" }, seen)
    end)

  it("may wait", function()
    captured_log.capture()
    local app = weft.app()
    app:on_error(404, function()
      weft.sleep(0.001)
      return "waited"
    end)
    assert.equal("waited", serve(app):get("/").body)
  end)

  it("that fails is a 500 (semantics 23)", function()
    local log = captured_log.capture()
    local app, heard = weft.app(), nil
    app:on_error(404, function() error("in the handler", 0) end)
    app:on_error(500, function(_, err)
      heard = err
      return "sorry"
    end)
    local response = serve(app):get "/nowhere"
    assert.same({ 500, "sorry" }, { response.status, response.body })
    assert.equal("in the handler", heard)
    local lines = log:of("warn", "error")
    assert.equal(2, #lines)
    assert.equal("404 Not Found", lines[1].message)
    assert.matches("^in the handler\n", lines[2].message)
    assert.equal("on_error(404)", lines[2].fields.layer)
  end)

  it("of 500 that fails too is the plain page, tried once (semantics 24)", function()
    local log = captured_log.capture()
    local app, count, out = weft.app(), 0, 0
    for _ = 1, 3 do
      app:use(function(get_response)
        return function(request)
          local response = get_response(request)
          out = out + 1
          return response
        end
      end)
    end
    app:on_error(500, function()
      count = count + 1
      error "again"
    end)
    app:get("/", function() error "first" end)
    local response = serve(app):get "/"
    assert.same({ 500, "500 Internal Server Error\n" }, { response.status, response.body })
    assert.same({ 1, 3 }, { count, out })
    assert.equal(2, #log:of "error")
  end)

  it("that returns nonsense is a 500 that says so", function()
    local log = captured_log.capture()
    local app = weft.app()
    app:on_error(404, function() return 42 end)
    assert.equal(500, serve(app):get("/").status)
    assert.matches("the handler of error 404 returned a number", log:of("error")[1].message)
  end)

  it("that aborts is answered by weft's own page, and no other handler", function()
    captured_log.capture()
    local app, count = weft.app(), 0
    app:on_error(404, function() weft.abort(410, "gone for good") end)
    app:on_error(410, function() count = count + 1 end)
    local response = serve(app):get "/"
    assert.same({ 410, "410 Gone: gone for good\n", 0 }, { response.status, response.body, count })
  end)

  it("whose client leaves while it waits is cancelled, and that is no error", function()
    local log = captured_log.capture()
    local app, code = weft.app(), nil
    app:on_error(404, function()
      local _, err = pcall(weft.sleep, 60)
      code = err.code
      error(err, 0)
    end)
    app:on_error(500, function() code = "asked" end)
    local client = serve(app)
    local raw = raw_client.connect(tonumber(client.url:match ":(%d+)$"))
    raw:send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    weft.sleep(0.01)
    raw:reset()
    helper.eventually(function() return code end)
    weft.sleep(0.01)
    assert.equal("cancelled", code)
    assert.same({}, log:of "error")
  end)

  it("of a mounted app answers its time-outs, and its responses that cannot be sent", function()
    captured_log.capture()
    local inner, outer = weft.app(), weft.app { request_timeout = 0.02 }
    inner:on_error(504, function() return "inner 504" end)
    inner:on_error(500, function() return "inner 500" end)
    inner:get("/slow", function() weft.sleep(60) end)
    inner:get("/spoilt", function()
      local response = weft.text "x"
      response.status = 99
      return response
    end)
    outer:get("/slow", function() weft.sleep(60) end)
    outer:mount("/in", inner)
    local client = serve(outer)
    assert.equal("inner 504", client:get("/in/slow").body)
    assert.equal("inner 500", client:get("/in/spoilt").body)
    assert.equal("504 Gateway Timeout: The request took too long.\n", client:get("/slow").body)
  end)

  it("of a mounted app is asked before that of the app around it, for its own errors", function()
    captured_log.capture()
    local inner, outer = weft.app(), weft.app()
    inner:on_error(404, function() return "inner 404" end)
    outer:on_error(404, function() return "outer 404" end)
    outer:on_error(500, function() return "outer 500" end)
    inner:get("/404", function() weft.abort(404) end)
    inner:get("/500", function() error "boom" end)
    inner:get("/layer", function() return "ok" end)
    outer:use(function(get_response)
      return function(request)
        local response = get_response(request)
        if request.path == "/blog/layer" then weft.abort(404) end
        return response
      end
    end)
    outer:mount("/blog", inner)
    local client = serve(outer)
    assert.equal("inner 404", client:get("/blog/404").body)
    assert.equal("outer 500", client:get("/blog/500").body)
    assert.equal("outer 404", client:get("/blog/layer").body) -- raised by the outer app's layer
    assert.equal("outer 404", client:get("/blog/nowhere").body)
  end)
end)

describe("the page", function()
  it("is what the client accepts, and does not tell what a fault said (semantics 25)", function()
    captured_log.capture()
    local app = weft.app()
    app:get("/fault", function() error "secret" end)
    app:get("/abort", function() weft.abort(404, "no <such> user") end)
    local client = serve(app)
    local function get(path, accept)
      local response = client:get(path, { headers = { Accept = accept } })
      return response.body, response.headers["content-type"]
    end
    assert.equal("500 Internal Server Error\n", (get("/fault", "*/*")))
    local body, kind = get("/fault", "text/html")
    assert.matches("<h1>500 Internal Server Error</h1>", body)
    assert.equal("text/html; charset=utf-8", kind)
    assert.not_matches("secret", body)
    assert.matches("no &lt;such&gt; user", (get("/abort", "text/html")))
    body, kind = get("/abort", "application/json")
    assert.equal("application/json", kind)
    assert.same({ error = { status = 404, message = "no <such> user" } },
      weft.json.decode(body))
  end)

  it("that cannot be made is one line of text", function()
    local log = captured_log.capture()
    local error_page = require "weft.error_page"
    local render = error_page.render
    task.defer(function() error_page.render = render end)
    function error_page.render() error "no page" end
    local response = serve_view(function() weft.abort(404) end):get "/"
    assert.same({ 500, "500 Internal Server Error\n" }, { response.status, response.body })
    assert.matches("no page", log:of("error")[1].message)
  end)

  it("replaces the header of an abort that came too late to be checked", function()
    captured_log.capture()
    local response = serve_view(function()
      local ok, raised = pcall(weft.abort, 400, "no", { X = "y" })
      assert(not ok)
      raised.headers = { X = "a\nb" }
      error(raised)
    end):get "/"
    assert.same({ 500, nil }, { response.status, response.headers.x })
  end)
end)

describe("errors", function()
  it("of a libuv status has its code, and says what was being done", function()
    local err = errors.from_status(-111, "connecting to 127.0.0.1:1")
    assert.equal("refused", err.code)
    assert.matches("^connecting to 127.0.0.1:1: ", tostring(err))
    assert.equal("io", errors.from_status(-1).code)
    assert.equal("dns", errors.from_status(-3008).code)
  end)

  it("keeps the traceback of where it was raised, once", function()
    local function inner() error "boom" end
    local ok, raised = xpcall(function() inner() end, errors.on_raise)
    assert.is_false(ok)
    assert.is_true(errors.is_fault(raised))
    assert.matches("errors_spec.lua:%d+: boom", tostring(raised))
    assert.matches("in function 'inner'", raised.traceback)
    assert.equal(raised, errors.on_raise(raised))
  end)

  it("leaves aborts as they are, and the cancellation of the running task", function()
    local abort = raised_by(weft.abort, 404)
    assert.equal(abort, errors.on_raise(abort))
    local own, other
    local waiting = weft.spawn(function()
      pcall(weft.sleep, 60)
      local cancelled = errors.cancelled()
      own = errors.on_raise(cancelled) == cancelled
    end)
    weft.sleep(0.001)
    waiting:cancel()
    pcall(waiting.await, waiting)
    other = errors.on_raise(errors.cancelled())
    assert.is_true(own)
    assert.is_true(errors.is_fault(other))
    assert.is_true(errors.is_cancelled(other.value))
  end)

  it("tells its own kinds from tables that look like them", function()
    assert.is_false(errors.is { code = "timeout", message = "" })
    assert.is_false(errors.is_abort { status = 404 })
    assert.is_false(errors.is_fault { value = 1, traceback = "" })
    assert.is_false(errors.is_cancelled { code = "cancelled" })
    assert.is_true(headers.is(raised_by(weft.abort, 404, nil, { X = "y" }).headers))
  end)

  it("shows an awaited task's traceback with the awaiter's", function()
    local ok, raised = xpcall(function()
      weft.spawn(function() error "boom" end):await()
    end, errors.on_raise)
    assert.is_false(ok)
    local line = debug.getinfo(1, "l").currentline - 3
    local at = ("errors_spec.lua:%d: in "):format(line)
    assert.matches(at .. ".*awaited by.*" .. at, raised.traceback)
  end)
end)
