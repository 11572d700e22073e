local logged = require "tests.support.logged"
local testing = require "weft.testing"
local weft = require "weft"

describe("the context", function()
  it("belongs to the running task", function()
    weft.context.name = "mine"
    local other
    weft.background(function() other = { weft.context.unheard_of, weft.context.name } end):await()
    weft.context.name = nil
    assert.same({ nil, "mine" }, other)
    assert.is_nil(weft.context.name)
  end)

  it("is copied for tasks that are started, and not back", function()
    weft.context.name = "outer"
    local seen = weft.spawn(function()
      local before = weft.context.name
      weft.context.name = "inner"
      return before .. ", " .. weft.spawn(function() return weft.context.name end):await()
    end):await()
    assert.equal("outer, inner", seen)
    assert.equal("outer", weft.context.name)
    local task = weft.spawn(function() return weft.context.name end)
    weft.context.name = "changed"
    assert.equal("outer", task:await())
  end)

  it("follows into gather, race, timeout and background", function()
    weft.context.name = "value"
    local function name() return weft.context.name end
    assert.same({ "value", "value" }, { weft.gather(name, name) })
    assert.equal("value", weft.race(name))
    assert.equal("value", weft.timeout(1, name))
    assert.equal("value", weft.background(name):await())
  end)

  it("is the same in generators and protected calls of a task", function()
    weft.context.name = "value"
    local generator = coroutine.wrap(function()
      weft.sleep(0)
      coroutine.yield(weft.context.name)
      weft.context.name = "changed"
    end)
    assert.equal("value", generator())
    generator()
    assert.same({ true, "changed" }, { pcall(function() return weft.context.name end) })
  end)

  it("can be gone through, and holds false", function()
    weft.context.a, weft.context.b = false, 2
    local all = {}
    for key, value in pairs(weft.context) do all[key] = value end
    assert.same({ a = false, b = 2 }, all)
    assert.is_false(weft.context.a)
  end)

  it("follows a request from middleware to view, and names it in the log", function()
    local app = weft.app()
    app:use(function(get_response)
      return function(request)
        weft.context.request_id = "r-1"
        local response = get_response(request)
        response.headers["X-Seen"] = weft.context.by_view
        return response
      end
    end)
    app:get("/", function()
      weft.context.by_view = "view"
      weft.spawn(function() weft.log.info "in a task" end):await()
      weft.log.info("in the view", { request_id = "my own" })
      return tostring(weft.context.left) -- nothing of the request before
    end)
    app:get("/left", function()
      weft.context.left = "left"
      return ""
    end)
    local client = testing.client(app)
    weft.defer(function() client:close() end)
    for _ = 1, 3 do client:get "/left" end
    local response
    local lines = logged(function() response = client:get "/" end)
    assert.equal("view", response.headers["X-Seen"])
    assert.equal("nil", response:text())
    assert.equal("r-1", lines[1].fields.request_id)
    assert.equal("my own", lines[2].fields.request_id)
  end)
end)
