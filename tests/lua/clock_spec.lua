-- Virtual time: testing.clock.

local testing = require "weft.testing"
local weft = require "weft"
local core = require "weft.core"

describe("the virtual clock", function()
  local clock = testing.clock

  after_each(function() clock:resume() end)

  local function real_seconds(fn)
    local from = core.clock()
    fn()
    return core.clock() - from
  end

  it("stands still while it is frozen", function()
    clock:freeze()
    local shown = clock:now()
    local until_when = core.clock() + 0.02
    while core.clock() < until_when do weft.spawn(function() end):await() end
    assert.equal(shown, clock:now())
  end)

  it("wakes a sleeper without any real time", function()
    clock:freeze()
    local woken
    weft.spawn(function()
      weft.sleep(3600)
      woken = clock:now()
    end)
    local start = clock:now()
    local took = real_seconds(function() clock:advance(3600) end)
    assert.near(start + 3600, woken, 1e-6)
    assert.is_true(took < 5)
  end)

  it("does not wake who sleeps longer", function()
    clock:freeze()
    local woken = false
    local task = weft.spawn(function()
      weft.sleep(10)
      woken = true
    end)
    clock:advance(9.999)
    assert.is_false(woken)
    clock:advance(0.001)
    assert.is_true(woken)
    task:await()
  end)

  it("runs each timer at its own moment, in their order", function()
    clock:freeze()
    local start, log = clock:now(), {}
    for _, seconds in ipairs { 3, 1, 2 } do
      weft.spawn(function()
        weft.sleep(seconds)
        log[#log + 1] = math.floor((clock:now() - start) * 1e3 + 0.5) / 1e3
        weft.sleep(10)
        log[#log + 1] = math.floor((clock:now() - start) * 1e3 + 0.5) / 1e3
      end)
    end
    clock:advance(20)
    assert.same({ 1, 2, 3, 11, 12, 13 }, log)
  end)

  it("gives up on a slow service after its time-out", function()
    local slow = testing.upstream(function()
      weft.sleep(60)
      return "late"
    end)
    clock:freeze()
    local task = weft.spawn(function() return weft.fetch(slow.url, { timeout = 5 }) end)
    clock:advance(5)
    local response, err = task:await()
    assert.is_nil(response)
    assert.equal("timeout", err.code)
    clock:resume()
    slow:close()
  end)

  it("ends a request at its deadline with a 504", function()
    local app = weft.app { request_timeout = 30 }
    app:get("/", function() weft.sleep(100) end)
    local client = testing.client(app)
    clock:freeze()
    local pending = client:start("GET", "/", { timeout = 300 })
    clock:advance(30)
    assert.equal(504, pending:await().status)
  end)

  it("moves the time of day along", function()
    clock:freeze()
    local before = weft.time()
    clock:advance(86400)
    local passed = weft.time() - before
    assert.is_true(passed > 86399 and passed < 86410, tostring(passed))
  end)

  it("runs on from where it was", function()
    clock:freeze()
    clock:advance(100)
    local shown = clock:now()
    clock:resume()
    local took = real_seconds(function() weft.sleep(0.02) end)
    assert.is_true(clock:now() - shown >= 0.019)
    assert.is_true(took >= 0.018, tostring(took))
  end)

  it("refuses to advance while it runs", function()
    assert.has_error(function() clock:advance(1) end, "the clock is not frozen: call freeze first")
  end)

  it("can be cancelled while it advances", function()
    clock:freeze()
    local task = weft.spawn(function()
      while true do clock:advance(1) end
    end)
    weft.spawn(function() task:cancel() end)
    assert.has_error(function() task:await() end)
  end)
end)
