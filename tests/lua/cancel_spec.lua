local client = require "tests.support.client"
local core = require "weft.core"
local exec = require "weft.exec"
local helper = require "tests.support.helper"
local logged = require "tests.support.logged"
local servers = require "tests.support.server"
local tcp = require "weft.tcp"
local testing = require "weft.testing"
local weft = require "weft"

local eventually, timed = helper.eventually, helper.timed

-- Starts a task and lets it come to its first wait.
local function started(fn, ...)
  local task = weft.spawn(fn, ...)
  weft.sleep(0)
  weft.sleep(0)
  return task
end

-- How a task has ended: the code of its error, or what it returned.
local function ending(task)
  local ok, result = pcall(task.await, task)
  return not ok and (type(result) == "table" and result.code or result) or result
end

-- Waits once, and says with which code that raised.
local function code_of_a_wait()
  local ok, raised = pcall(weft.sleep, 60)
  return not ok and raised.code
end

describe("cancelling a task", function()
  it("that waits ends the wait with an error of the code `cancelled`", function()
    local code
    local task = started(function()
      local ok, raised = pcall(weft.sleep, 60)
      code = not ok and raised.code
      error(raised, 0)
    end)
    task:cancel()
    assert.is_nil(code) -- not before the loop's next turn
    assert.equal("cancelled", ending(task))
    assert.equal("cancelled", code)
  end)

  it("that has not begun keeps it from beginning", function()
    local ran = false
    local task = weft.spawn(function() ran = true end)
    task:cancel()
    assert.equal("cancelled", ending(task))
    assert.is_false(ran)
  end)

  it("that is about to go on raises in its next wait", function()
    local other = started(weft.sleep, 60)
    local task = started(function()
      pcall(other.await, other)
      return code_of_a_wait()
    end)
    other:cancel()
    eventually(function() return other.done end) -- so that it has been woken
    task:cancel()
    assert.equal("cancelled", ending(task))
  end)

  it("that runs, which is oneself, raises in the next wait", function()
    local task
    task = weft.spawn(function()
      task:cancel()
      return code_of_a_wait()
    end)
    assert.equal("cancelled", ending(task))
  end)

  it("that waits for its children changes nothing: it has its result", function()
    local release
    local task = started(function()
      weft.spawn(weft.shield, function()
        release = weft.spawn(weft.sleep, 60)
        pcall(release.await, release)
      end)
      weft.sleep(0)
      return "result"
    end)
    eventually(function() return release end)
    weft.sleep(0.01)
    assert.is_false(task.done)
    task:cancel()
    weft.sleep(0)
    release:cancel()
    assert.equal("result", ending(task))
  end)

  it("that runs what it has deferred does not reach that", function()
    local ended
    local task = started(function()
      weft.defer(function()
        weft.sleep(0.02)
        ended = true
      end)
    end)
    task:cancel()
    task:await()
    assert.is_true(ended)
  end)

  it("that has ended does nothing, not even to who has its coroutine now", function()
    local task = weft.spawn(function() return "result" end)
    task:await()
    local other = started(function()
      weft.sleep(0.01)
      return "other"
    end)
    task:cancel()
    assert.equal("other", ending(other))
    assert.equal("result", ending(task))
  end)

  it("reaches its children and theirs", function()
    local codes = {}
    local function nest(depth)
      return function()
        if depth > 0 then weft.spawn(nest(depth - 1)) end
        local code = code_of_a_wait()
        codes[#codes + 1] = code
      end
    end
    local task = started(nest(3))
    weft.sleep(0.01)
    task:cancel()
    ending(task)
    assert.same({ "cancelled", "cancelled", "cancelled", "cancelled" }, codes)
  end)

  it("reaches a generator in the middle of it, and who waits in a protected call", function()
    local code, after
    local task = started(function()
      local generator = coroutine.wrap(function()
        local ok, raised = pcall(weft.sleep, 60)
        code = not ok and raised.code
        coroutine.yield "from the generator"
      end)
      after = generator()
    end)
    task:cancel()
    ending(task)
    assert.equal("cancelled", code)
    assert.equal("from the generator", after)
  end)

  it("is raised by each later wait, and tasks that are started then do not run", function()
    local codes, ran = {}, false
    local task = started(function()
      for i = 1, 5 do codes[i] = code_of_a_wait() end
      local child = weft.spawn(function() ran = true end)
      local ok, raised = pcall(child.await, child)
      codes[6] = not ok and raised.code
      ok, raised = pcall(weft.gather, function() ran = true end)
      codes[7] = not ok and raised.code
      return "swallowed"
    end)
    task:cancel()
    assert.equal("swallowed", ending(task))
    assert.same({ "cancelled", "cancelled", "cancelled", "cancelled", "cancelled", "cancelled",
      "cancelled" }, codes)
    assert.is_false(ran)
  end)

  it("is no end for one that awaits another: that goes on", function()
    local other = started(function()
      weft.sleep(0.02)
      return "other"
    end)
    local waiting = started(other.await, other)
    waiting:cancel()
    assert.equal("cancelled", ending(waiting))
    assert.equal("other", ending(other))
  end)

  it("a hundred thousand times costs about the same for each", function()
    local function round(count)
      local tasks = {}
      for i = 1, count do tasks[i] = weft.spawn(weft.sleep, 60) end
      weft.sleep(0)
      for i = 1, count do tasks[i]:cancel() end
      for i = 1, count do pcall(tasks[i].await, tasks[i]) end
    end
    round(5000)
    local few, many = timed(round, 5000), timed(round, 50000)
    assert.is_true(many < 40 * few + 0.1, ("%g s, then %g s"):format(few, many))
  end)
end)

describe("a shield", function()
  it("gives what its function returned, or raises what that raised", function()
    assert.same({ 1, nil, 3 }, { weft.shield(function(...) return ... end, 1, nil, 3) })
    assert.same({ false, "raised" }, { pcall(weft.shield, error, "raised", 0) })
    assert.is_false((core.cancelled()))
  end)

  it("holds a cancellation up until its end", function()
    local seen = {}
    local task = started(function()
      weft.shield(function()
        weft.shield(weft.sleep, 0.01)
        weft.sleep(0.01)
        seen[1] = "shielded"
      end)
      seen[2] = code_of_a_wait()
    end)
    task:cancel()
    ending(task)
    assert.same({ "shielded", "cancelled" }, seen)
  end)

  it("covers tasks that are started in it, and not those started before", function()
    local seen = {}
    local task = started(function()
      local before = weft.spawn(function() seen.before = code_of_a_wait() end)
      weft.sleep(0)
      weft.shield(function()
        seen.a, seen.b = weft.gather(function()
          weft.sleep(0.01)
          return weft.spawn(function() weft.sleep(0.01) return "a" end):await()
        end, function()
          return select(2, weft.timeout(0.005, weft.sleep, 60)).code
        end)
        before:await()
      end)
    end)
    task:cancel()
    ending(task)
    assert.same({ before = "cancelled", a = "a", b = "timeout" }, seen)
  end)

  it("leaves tasks behind that are cancelled when it ends", function()
    local code
    local task = started(function()
      local child
      weft.shield(function()
        child = weft.spawn(function() code = code_of_a_wait() end)
        weft.sleep(0.01)
      end)
      assert.is_nil(code)
      weft.shield(function() pcall(child.await, child) end)
      assert.equal("cancelled", code)
      return "ended"
    end)
    task:cancel()
    assert.equal("ended", ending(task))
  end)

  it("is not left half when its function raises", function()
    local task = started(function()
      pcall(weft.shield, error, "raised")
      weft.sleep(60)
    end)
    task:cancel()
    assert.equal("cancelled", ending(task))
  end)
end)

describe("an operation that ends late", function()
  it("does not resume who uses the coroutine by then", function()
    for _ = 1, 50 do
      local first = started(weft.sleep, 0.002)
      first:cancel()
      ending(first)
      local second = started(function()
        local before = weft.now()
        weft.sleep(0.02)
        return weft.now() - before
      end)
      weft.sleep(0.003)
      assert.is_false(second.done)
      second:cancel()
    end
  end)

  it("on a socket does not resume who uses the coroutine by then", function()
    local theirs
    local server = assert(tcp.listen("127.0.0.1:0", function(socket)
      theirs = socket
      weft.sleep(60)
    end))
    local ours = assert(tcp.connect("127.0.0.1", server.port))
    eventually(function() return theirs end)
    local reading = started(ours.read, ours, 1)
    reading:cancel()
    ending(reading)
    local second = started(weft.sleep, 0.03)
    theirs:write "x"
    weft.sleep(0.01)
    assert.is_false(second.done)
    second:await()
    assert.equal("x", ours:read(1))
    ours:close()
    theirs:close()
    server:close()
  end)

  it("does not wake a later wait of the same task", function()
    local other = started(weft.sleep, 0.01)
    local seconds
    local task = started(function()
      pcall(other.await, other)
      seconds = timed(weft.shield, weft.sleep, 0.03)
    end)
    task:cancel() -- it waits for `other` no longer, which ends while it sleeps
    other:await()
    ending(task)
    assert.is_true(seconds > 0.025)
  end)

  it("finds a ticket void that was not the last", function()
    local handle, old, new
    local task = started(function()
      handle, old = core.ticket()
      handle, new = core.ticket()
      return core.park(60)
    end)
    assert.is_false(core.wake(handle, old))
    assert.is_true(core.wake(handle, new))
    assert.is_false(core.wake(handle, new))
    assert.equal(0, ending(task))
    assert.is_false(core.wake(handle, new))
  end)

  it("wakes by a ticket only who parks, and at once if that came first", function()
    local status, void, later
    started(function()
      local handle, stamp = core.ticket()
      weft.spawn(function() void = core.wake(handle, stamp) end)
      core.sleep(0.005) -- a sleep is no park
      weft.spawn(function() void = void or core.wake(handle, stamp) end)
      weft.sleep(0.005)
      handle, stamp = core.ticket()
      assert(core.wake(handle, stamp))
      assert(not core.wake(handle, stamp))
      status = core.park(60)
      assert(core.wake(core.ticket()))
      core.ticket()
      later = { core.park(0.001) }
      assert(core.wake(core.ticket()))
      core.sleep(0.001)
      later[2] = core.park(0.001)
    end):await()
    assert.is_false(void)
    assert.equal(0, status)
    assert.same({ -110, -110 }, later) -- ETIMEDOUT
  end)
end)

describe("a task that ignores its cancellation for ever", function()
  it("is ended, its deferred functions run, and who awaits it is told", function()
    local path = helper.write_file(helper.temp_dir() .. "/ignoring_spec.lua", [[
      local weft = require "weft"
      it("ignores", function()
        local raised, seen = 0, {}
        local task = weft.spawn(function()
          weft.defer(function() weft.sleep(0.01) seen[#seen + 1] = "deferred first" end)
          weft.defer(function() weft.sleep(0.01) seen[#seen + 1] = "deferred last" end)
          weft.spawn(function() weft.defer(function() seen[#seen + 1] = "child" end) end)
          weft.sleep(0)
          local generator = coroutine.wrap(function()
            while true do if not pcall(weft.sleep, 60) then raised = raised + 1 end end
          end)
          generator()
        end)
        weft.sleep(0.01)
        task:cancel()
        local ok, err = pcall(task.await, task)
        assert.same({ false, "cancelled" }, { ok, err.code })
        assert.same({ "child", "deferred last", "deferred first" }, seen)
        assert.equal(101, raised) -- the wait it was in, and a hundred more
      end)
    ]])
    local result = exec.run { servers.binary, "test", path, timeout = 20 }
    assert.equal(0, result.code, result.stdout .. result.stderr)
    assert.matches("error a task ignored its cancellation and is ended:.*ignoring_spec",
      result.stderr)
  end)
end)

describe("what is deferred and hangs", function()
  it("is cancelled after its time; the rest runs, and who awaits is told", function()
    local path = helper.write_file(helper.temp_dir() .. "/hanging_spec.lua", [[
      local weft = require "weft"
      it("hangs", function()
        require("weft.core").set_patience(0.05, 5)
        local seen = {}
        local task = weft.spawn(function()
          weft.defer(function()
            weft.spawn(weft.shield, weft.sleep, 60)
            weft.sleep(0)
          end)
          weft.defer(function() seen[#seen + 1] = pcall(weft.sleep, 60) end)
          weft.defer(function() seen[#seen + 1] = "rest" end)
          weft.defer(function() while true do pcall(weft.sleep, 60) end end)
          weft.defer(function()
            seen[#seen + 1] = pcall(weft.shield, weft.sleep, 60)
          end)
          return "result"
        end)
        assert.equal("result", task:await())
        assert.same({ false, "rest", false }, seen)
      end)
    ]])
    local seconds, result = timed(exec.run, { servers.binary, "test", path, timeout = 20 })
    assert.equal(0, result.code, result.stdout .. result.stderr)
    assert.matches("deferred functions have waited for too long: cancelled here\n.*hanging_spec",
      result.stderr)
    assert.is_true(seconds < 3)
  end)
end)

describe("the end of the runtime", function()
  it("ends tasks in every state, and runs what they have deferred", function()
    local path = helper.write_file(helper.temp_dir() .. "/states_spec.lua", [[
      local weft = require "weft"
      local gate, queue = weft.semaphore(1), weft.channel(1)
      local function background(name, fn)
        weft.background(function()
          weft.defer(function() weft.sleep(0.01) io.stdout:write(name, "\n") end)
          fn()
        end)
      end
      it("leaves tasks behind", function()
        background("parked", function() weft.sleep(60) end)
        background("joining", function()
          weft.spawn(weft.shield, weft.sleep, 0.05)
          weft.sleep(0)
        end)
        background("finishing", function() weft.defer(function() weft.sleep(0.05) end) end)
        background("shielded", function() weft.shield(weft.sleep, 0.05) end)
        background("with children", function() weft.gather(function() weft.sleep(60) end) end)
        background("looping", function() while true do weft.sleep(0) end end)
        background("holding", function() gate:with(weft.sleep, 60) end)
        background("waiting", function() weft.sleep(0.005) gate:acquire() end)
        background("receiving", function() queue:receive() end)
        background("ignoring", function() while true do pcall(weft.sleep, 60) end end)
        background("starting", function()
          pcall(weft.sleep, 60)
          weft.background(function() io.stdout:write "never\n" end)
          weft.spawn(function() io.stdout:write "never\n" end)
        end)
        weft.sleep(0.02)
      end)
    ]])
    local seconds, result = timed(exec.run, { servers.binary, "test", path, timeout = 20 })
    assert.equal(0, result.code, result.stdout .. result.stderr)
    for _, name in ipairs { "parked", "joining", "finishing", "shielded", "with children",
      "looping", "holding", "waiting", "receiving", "ignoring", "starting" } do
      assert.matches("\n" .. name .. "\n", result.stdout)
    end
    assert.not_matches("never", result.stdout)
    assert.is_true(seconds < 3)
  end)

  it("comes when all wait for each other, and says where", function()
    local path = helper.write_file(helper.temp_dir() .. "/deadlock_spec.lua", [[
      local weft = require "weft"
      it("waits", function() weft.gather(function() weft.channel(1):receive() end) end)
    ]])
    local result = exec.run { servers.binary, "test", path, timeout = 20 }
    assert.equal(1, result.code, result.stdout .. result.stderr)
    assert.equal(1, select(2, result.stderr:gsub("a task waits for what can never come", "")))
    assert.matches("in function 'receive'\n[^\n]*deadlock_spec.lua:2:", result.stderr)
  end)

  it("is held up by shields for a while, and not for ever", function()
    local path = helper.write_file(helper.temp_dir() .. "/shields_spec.lua", [[
      local weft = require "weft"
      it("leaves shields behind", function()
        require("weft.core").set_patience(30, 0.1)
        require("weft.core").log_setup("warn", false)
        weft.background(function()
          weft.defer(function() io.stdout:write "deferred\n" end)
          weft.defer(function() weft.shield(weft.sleep, 60) end)
          weft.shield(function()
            weft.gather(function() weft.sleep(60) end, function() weft.shield(weft.sleep, 60) end)
          end)
        end)
        weft.background(function()
          weft.spawn(weft.shield, weft.sleep, 60)
          weft.sleep(0)
        end)
        weft.background(function()
          for _ in coroutine.wrap(function()
            weft.shield(function() coroutine.yield(1) end)
          end) do break end
          weft.sleep(60)
        end)
        weft.sleep(0.01)
      end)
    ]])
    local seconds, result = timed(exec.run, { servers.binary, "test", path, timeout = 20 })
    assert.equal(0, result.code, result.stdout .. result.stderr)
    assert.matches("\ndeferred\n", result.stdout)
    assert.matches("warn  %d tasks ran on for too long", result.stderr)
    assert.is_true(seconds > 0.09 and seconds < 3)
  end)
end)

describe("a request", function()
  -- Serves views in this process; gives the port, and what the views note.
  local function serve(views, options)
    local app = weft.app(options)
    for path, view in pairs(views) do app:get(path, view) end
    local served = testing.client(app)
    weft.defer(function() served:close() end)
    return tonumber(served.url:match ":(%d+)$")
  end

  local function get(port, path)
    local peer = client.connect(port)
    peer:send("GET " .. path .. " HTTP/1.1\r\nHost: x\r\n\r\n")
    return peer
  end

  it("is cancelled with its tasks when its client is gone, and its deferred run", function()
    local seen = {}
    local port = serve {
      ["/"] = function()
        weft.defer(function()
          weft.sleep(0.005)
          seen.deferred = true
        end)
        weft.spawn(function() seen.child = code_of_a_wait() end)
        seen.began = true
        seen.view = code_of_a_wait()
        seen.again = code_of_a_wait()
        seen.shielded = weft.shield(function()
          weft.sleep(0.005)
          return true
        end)
        weft.sleep(60)
      end,
    }
    local lines = logged(function()
      local peer = get(port, "/")
      eventually(function() return seen.began end)
      peer:reset()
      eventually(function() return seen.deferred end)
    end)
    assert.same({ began = true, child = "cancelled", view = "cancelled", again = "cancelled",
      shielded = true, deferred = true }, seen)
    assert.same({}, lines)
  end)

  it("that reads in a shield is told that the client is gone, not that it is cancelled", function()
    local told, after
    local app = weft.app()
    app:post("/", function(request)
      weft.shield(function()
        local ok, raised = pcall(request.body, request)
        told = not ok and raised
        weft.sleep(0.001)
      end)
      after = code_of_a_wait()
    end)
    local served = testing.client(app)
    weft.defer(function() served:close() end)
    local peer = client.connect(tonumber(served.url:match ":(%d+)$"))
    peer:send "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"
    weft.sleep(0.02)
    peer:reset()
    eventually(function() return after end)
    assert.matches("the request had ended", told)
    assert.equal("cancelled", after)
  end)

  it("is answered with 504 when its time is over", function()
    local overdue
    local port = serve({
      ["/"] = function()
        local ok, raised = pcall(weft.gather, function() weft.sleep(60) end)
        overdue = not ok and raised.code == "cancelled" and raised.overdue
        error(raised, 0)
      end,
    }, { request_timeout = 0.05 })
    logged(function() assert.equal(504, get(port, "/"):receive_response().status) end)
    assert.is_true(overdue)
  end)

  it("is answered with 504 also if it swallows that for ever", function()
    local path = helper.write_file(helper.temp_dir() .. "/app.lua", [[
      local weft = require "weft"
      local app = weft.app { request_timeout = 0.05 }
      local deferred = 0
      app:get("/", function()
        weft.defer(function()
          weft.sleep(0.005)
          deferred = deferred + 1
        end)
        while true do pcall(weft.sleep, 0.01) end
      end)
      app:get("/deferred", function() return tostring(deferred) end)
      return app
    ]])
    local server = servers.start { app = path }
    for _ = 1, 2 do assert.equal(504, get(server.port, "/"):receive_response().status) end
    eventually(function() return get(server.port, "/deferred"):receive_response().body == "2" end)
    server:stop()
    assert.matches("a task ignored its cancellation and is ended", server:log())
  end)

  it("sees nothing of the one whose coroutine it uses", function()
    local seen = {}
    local port = serve {
      ["/"] = function(request)
        seen[#seen + 1] = { weft.context.left, (core.cancelled()), core.record(false) }
        weft.context.left = "left"
        weft.defer(function() seen.deferred = (seen.deferred or 0) + 1 end)
        if request.query.gone then weft.sleep(60) end
        return "x"
      end,
    }
    for i = 1, 3 do
      local peer = get(port, "/?gone=1")
      eventually(function() return #seen == 2 * i - 1 end)
      peer:reset()
      eventually(function() return seen.deferred == 2 * i - 1 end)
      assert.equal("x", get(port, "/"):receive_response().body)
      eventually(function() return seen.deferred == 2 * i end)
    end
    for i = 1, 6 do assert.same({ nil, false, nil }, seen[i]) end
  end)

  it("that awaits a task which was cancelled by another fails, and is logged", function()
    local port = serve {
      ["/"] = function()
        local task = weft.spawn(weft.sleep, 60)
        weft.sleep(0)
        task:cancel()
        task:await()
      end,
    }
    local lines = logged(function()
      assert.equal(500, get(port, "/"):receive_response().status)
    end)
    assert.matches("the task started at .* was cancelled\n", lines[1].message)
  end)
end)
