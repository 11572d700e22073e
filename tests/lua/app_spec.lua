-- What can be registered in an app, and its life: options, hooks, jobs.

local captured_log = require "tests.support.captured_log"
local helper = require "tests.support.helper"
local task = require "weft.task"
local testing = require "weft.testing"
local weft = require "weft"

local function serve(app)
  local client = testing.client(app)
  task.defer(function() client:close() end)
  return client
end

local function raised_by(fn, ...)
  local ok, raised = pcall(fn, ...)
  assert.is_false(ok)
  return raised
end

local function ok() return "ok" end

describe("the options of an app", function()
  it("are limits: seconds, counts, and text like \"1M\"", function()
    local app = weft.app { request_timeout = 0.5, max_body_size = "2K", max_header_count = 50,
      disconnect = "eof" }
    assert.equal(2048, app.max_body_size)
    assert.same({ request_timeout = 0.5, max_header_count = 50, disconnect = "eof" }, app.limits)
    assert.equal(1024 ^ 2, weft.app().max_body_size)
    assert.equal(3 * 1024 ^ 3, weft.app({ max_body_size = "3G" }).max_body_size)
    assert.equal(0, weft.app({ max_body_size = 0 }).max_body_size)
  end)

  it("that are unknown are refused, with the one that was meant", function()
    for name, meant in pairs {
      request_timout = "request_timeout",
      max_bodysize = "max_body_size",
      disconect = "disconnect",
      idletimeout = "idle_timeout",
    } do
      local message = raised_by(function() weft.app { [name] = 1 } end)
      assert.matches(('^%%S*app_spec.lua:%%d+: weft.app has no option "%s" %%(did you mean '
        .. '"%s"%%?%%)$'):format(name, meant), message)
    end
    assert.matches('has no option "x"$', raised_by(weft.app, { x = 1 }))
    assert.matches('has no option "1"$', raised_by(weft.app, { "x" }))
  end)

  it("that are wrong are refused at the line that gives them", function()
    for name, values in pairs {
      request_timeout = { "1", -1, 0 / 0, true },
      max_body_size = { -1, 1.5, "1.5M", "big", "1m", true },
      max_header_size = { -1, "x" },
      disconnect = { "never", true },
    } do
      for _, value in ipairs(values) do
        assert.matches("^%S*app_spec.lua:%d+: weft.app option " .. name .. ": ",
          raised_by(function() weft.app { [name] = value } end))
      end
    end
    assert.matches("^%S*app_spec.lua:%d+: weft.app takes a table",
      raised_by(function() weft.app "x" end))
  end)
end)

describe("registering", function()
  it("refuses at the line what cannot be right", function()
    local app = weft.app()
    for what, mistake in pairs {
      ["the view of GET / is nil, not a function"] = function() app:get("/", nil) end,
      ["the view of GET / is a string, not a function"] = function() app:get("/", "view") end,
      ["a route's pattern is a string"] = function() app:get(ok) end,
      ["a route's method is a string"] = function() app:route(nil, "/", ok) end,
      ["a prefix begins"] = function() app:group("admin", ok) end,
      ["a prefix begins with"] = function() app:group("/admin/", ok) end,
      ["group takes a function"] = function() app:group("/admin") end,
      ["mount takes an app"] = function() app:mount("/blog", {}) end,
      ["an app cannot be mounted in itself"] = function() app:mount("/blog", app) end,
      ['app:on has no event "begin"; there are'] = function() app:on("begin", ok) end,
      ["app:on takes a function"] = function() app:on("start", nil) end,
      ["on_error takes a status from 400 to 599"] = function() app:on_error(200, ok) end,
      ["on_error takes a status"] = function() app:on_error("404", ok) end,
      ["on_error takes a function"] = function() app:on_error(404) end,
      ["every takes seconds"] = function() app:every(0, ok) end,
      ["every takes a function"] = function() app:every(1) end,
      ['every has no option "once"'] = function() app:every(1, ok, { once = true }) end,
    } do
      assert.matches("^%S*app_spec.lua:%d+: " .. what, raised_by(mistake))
    end
  end)

  it("takes one handler for each error", function()
    local app = weft.app()
    app:on_error(404, ok)
    assert.matches("app_spec.lua:%d+: error 404 has a handler already",
      raised_by(function() app:on_error(404, ok) end))
  end)

  it("is over when the app is built: what came later would never be heard of", function()
    local app, mounted, group = weft.app(), weft.app(), nil
    app:group("/in", function(it) group = it end)
    app:mount("/mounted", mounted)
    serve(app)
    for _, late in ipairs {
      function() app:get("/", ok) end,
      function() app:use(ok) end,
      function() app:on("stop", ok) end,
      function() app:on_error(404, ok) end,
      function() app:every(1, ok) end,
      function() app:group("/late", ok) end,
      function() app:mount("/late", weft.app()) end,
      function() group:get("/", ok) end,
      function() mounted:get("/", ok) end,
    } do
      assert.matches("^%S*app_spec.lua:%d+: .*the app is built already", raised_by(late))
    end
  end)

  it("may be served twice, each with layers of its own", function()
    local app, built = weft.app(), 0
    app:use(function(get_response)
      built = built + 1
      return get_response
    end)
    app:get("/", ok)
    assert.equal("ok", serve(app):get("/").body)
    assert.equal("ok", serve(app):get("/").body)
    assert.equal(2, built)
  end)
end)

describe("hooks", function()
  it("of the start run in order, and may wait; then it serves (semantics 73, 75)", function()
    local app, notes = weft.app(), {}
    for i = 1, 2 do
      app:on("start", function()
        weft.sleep(0.001)
        table.insert(notes, i)
      end)
    end
    app:get("/", function() return table.concat(notes, " ") end)
    assert.equal("1 2", serve(app):get("/").body)
  end)

  it("of the start that raise keep it from serving (semantics 75)", function()
    local app = weft.app()
    app:on("start", function() error "no database" end)
    assert.matches("app_spec.lua:%d+: no database", raised_by(testing.client, app))
  end)

  it("of the stop all run, also when one fails", function()
    local log = captured_log.capture()
    local app, notes = weft.app(), {}
    app:on("stop", function() error "first" end)
    app:on("stop", function() table.insert(notes, "second") end)
    testing.client(app):close()
    assert.same({ "second" }, notes)
    assert.matches("a stop hook failed: .*first", log:of("error")[1].message)
  end)

  it("of the request's start may refuse it, and fail it (semantics 72)", function()
    local log = captured_log.capture()
    local app = weft.app()
    app:on("request_started", function(request)
      if request.path == "/down" then weft.abort(503, "down") end
      if request.path == "/boom" then error "boom" end
      request.state.started = true
    end)
    app:get("/", function(request) return tostring(request.state.started) end)
    local client = serve(app)
    assert.equal("true", client:get("/").body)
    assert.equal(503, client:get("/down").status)
    assert.equal(500, client:get("/boom").status)
    assert.equal(2, #log:of("error"))
  end)

  it("of mounted apps run with those of the app around them, once each", function()
    local inner, middle, outer, notes = weft.app(), weft.app(), weft.app(), {}
    for name, app in pairs { inner = inner, middle = middle, outer = outer } do
      app:on("start", function() table.insert(notes, name) end)
    end
    middle:mount("/inner", inner)
    outer:mount("/a", middle)
    outer:mount("/b", middle)
    serve(middle)
    assert.same({ "middle", "inner" }, notes)
    notes = {}
    serve(outer)
    assert.same({ "outer", "middle", "inner" }, notes)
  end)
end)

describe("app:every", function()
  it("runs again and again, also after a failure, until the stop", function()
    local log = captured_log.capture()
    local app, count = weft.app(), 0
    app:every(0.002, function()
      count = count + 1
      if count == 1 then error "first run" end
    end, { one_worker = true })
    app:_build()
    app:_start_every()
    helper.eventually(function() return count >= 3 end)
    app:_run_hooks "stop"
    local seen = count
    weft.sleep(0.02)
    assert.is_true(count <= seen + 1)
    assert.matches("every%(0.002%) at %S*app_spec.lua:%d+ failed: .*first run",
      log:of("error")[1].message)
    assert.equal(1, #log)
  end)

  it("does not hold up a stop, however long it sleeps", function()
    local app = weft.app()
    app:every(3600, function() end)
    app:_build()
    app:_start_every()
    weft.sleep(0.002)
    local job = app._jobs[1]
    app:_run_hooks "stop"
    helper.eventually(function() return job.task.done end)
  end)

  it("lets a run that began come to its end at the stop", function()
    local app, ended = weft.app(), false
    app:every(0.001, function()
      weft.sleep(0.02)
      ended = true
    end)
    app:_build()
    app:_start_every()
    helper.eventually(function() return app._jobs[1].sleeping == false end)
    app:_run_hooks "stop"
    helper.eventually(function() return app._jobs[1].task.done end)
    assert.is_true(ended)
  end)
end)
