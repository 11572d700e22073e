local core = require "weft.core"
local errors = require "weft.errors"
local helper = require "tests.support.helper"
local logged = require "tests.support.logged"
local tcp = require "weft.tcp"
local weft = require "weft"

local eventually, timed = helper.eventually, helper.timed

local function pause() weft.sleep(0.005) end

local function nothing() end

-- A function that waits, notes its name, and returns it.
local function noting(list, name, seconds)
  return function()
    weft.sleep(seconds or 0.005)
    list[#list + 1] = name
    return name
  end
end

-- What `fn` raises must blame a line of this file; the message without that.
local function blamed(fn, ...)
  local ok, message = pcall(function(...)
    local result = fn(...)
    return result
  end, ...)
  assert.is_false(ok)
  return assert(tostring(message):match "task_spec%.lua:%d+: (.*)", message)
end

describe("a task", function()
  it("runs beside the one that started it, from the next turn on", function()
    local seen = {}
    local task = weft.spawn(function(...)
      seen[#seen + 1] = { ... }
      pause()
      seen[#seen + 1] = "later"
    end, 1, nil, 3)
    assert.same({}, seen)
    weft.sleep(0)
    assert.same({ { 1, nil, 3 } }, seen)
    assert.is_false(task.done)
    task:await()
    assert.is_true(task.done)
    assert.equal("later", seen[2])
  end)

  it("gives all that its function returned, nils too", function()
    local function count(...) return select("#", ...), ... end
    assert.equal(0, (count(weft.spawn(nothing):await())))
    assert.equal(1, (count(weft.spawn(function() return nil end):await())))
    local n, a, b, c = count(weft.spawn(function() return nil, 2, nil end):await())
    assert.same({ 3, nil, 2, nil }, { n, a, b, c })
  end)

  it("gives the same to everybody who awaits it, also after its end", function()
    local task = weft.spawn(function()
      pause()
      return "value"
    end)
    local others = {}
    for i = 1, 3 do others[i] = weft.spawn(function() return task:await() end) end
    assert.equal("value", task:await())
    for i = 1, 3 do assert.equal("value", others[i]:await()) end
    assert.equal("value", task:await())
  end)

  it("raises what its function raised where it is awaited, each time", function()
    local value = { "any value" }
    local task = weft.spawn(function() error(value) end)
    for _ = 1, 2 do
      local ok, raised = pcall(task.await, task)
      assert.is_false(ok)
      assert.equal(value, raised)
    end
    task = weft.spawn(error)
    local ok, raised = pcall(task.await, task)
    assert.same({ false, nil }, { ok, raised })
  end)

  it("keeps the traceback of what it raised when that is raised again", function()
    local function fail_deep_inside() error("deep", 0) end
    local task = weft.spawn(function()
      pause()
      fail_deep_inside()
    end)
    local _, fault = xpcall(task.await, errors.on_raise, task)
    assert.equal("deep", fault.value)
    assert.matches("fail_deep_inside.*awaited by", fault.traceback)
    -- ... and no other error gets it
    pcall(task.await, task)
    local _, other = xpcall(function() weft.spawn(pause):await() error("deep", 0) end,
      errors.on_raise)
    assert.not_matches("fail_deep_inside", other.traceback)
  end)

  it("may be anything that can be called", function()
    local object = setmetatable({ 5 }, { __call = function(self, n) return self[1] + n end })
    assert.equal(7, weft.spawn(object, 2):await())
    local hidden = setmetatable({}, { __metatable = false, __call = function() return "x" end })
    assert.equal("x", weft.spawn(hidden):await())
    assert.equal("spawn takes a function, not table", blamed(weft.spawn, {}))
    assert.equal("background takes a function, not nil", blamed(weft.background))
  end)

  it("says where it was started", function()
    local task = weft.spawn(nothing)
    assert.matches("running, started at .*task_spec.lua:%d+", tostring(task))
    task:await()
    assert.matches("ended", tostring(task))
  end)

  it("ends its children, and their deferred functions, before it ends itself", function()
    local seen = {}
    weft.spawn(function()
      weft.spawn(function()
        weft.defer(noting(seen, "child"))
        weft.sleep(60)
      end)
      weft.defer(noting(seen, "parent"))
      pause()
      return "value"
    end):await()
    assert.same({ "child", "parent" }, seen)
  end)

  it("is cancelled with its parent before it has begun", function()
    local ran = false
    weft.spawn(function() weft.spawn(function() ran = true end) end):await()
    assert.is_false(ran)
  end)

  it("that is started by a deferred function ends before anybody hears of the end", function()
    local seen = {}
    weft.spawn(function()
      weft.defer(function()
        weft.spawn(function()
          weft.defer(noting(seen, "child"))
          weft.sleep(60)
        end)
        weft.sleep(0)
      end)
    end):await()
    assert.same({ "child" }, seen)
  end)

  it("that is started as background outlives what started it", function()
    local seen, task = {}, nil
    weft.spawn(function() task = weft.background(noting(seen, "background", 0.02)) end):await()
    assert.same({}, seen)
    assert.equal("background", task:await())
  end)

  it("may await in protected calls, metamethods, iterators and generators", function()
    local object = setmetatable({}, {
      __index = function(_, key) pause() return key end,
      __add = function(_, n) pause() return n end,
      __call = function(_, n) pause() return n end,
      __tostring = function() pause() return "text" end,
    })
    local function iterate(n)
      pause()
      if n < 3 then return n + 1 end
    end
    local seen = {}
    for n in function(_, n) return iterate(n) end, nil, 0 do seen[#seen + 1] = n end
    for n in coroutine.wrap(function() for n = 4, 6 do pause() coroutine.yield(n) end end) do
      seen[#seen + 1] = n
    end
    assert.same({ 1, 2, 3, 4, 5, 6 }, seen)
    assert.same({ "key", 1, 2, "text" }, { object.key, object + 1, object(2), tostring(object) })
    assert.same({ true, "x" }, { pcall(function() pause() return "x" end) })
  end)

  it("is told that it cannot wait below a C function, and goes on", function()
    local proxy = newproxy(true)
    local told
    getmetatable(proxy).__gc = function() told = select(2, pcall(weft.sleep, 0)) end
    proxy = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.matches("cannot wait here", told)
    pause()
    local ran = false
    local function run() ran = true end
    for _, fn in ipairs {
      function() weft.gather(run) end,
      function() weft.race(run) end,
      function() weft.timeout(1, run) end,
    } do
      told = nil
      local _, fault = xpcall(error, function() told = select(2, pcall(fn)) end)
      assert.is_nil(fault)
      assert.matches("a message handler cannot wait", told)
    end
    pause()
    assert.is_false(ran)
  end)

  it("sees nothing of the task that used its coroutine before", function()
    local seen = {}
    for i = 1, 3 do
      weft.spawn(function()
        seen[i] = { weft.context.left, getfenv(0) == _G, (core.cancelled()) }
        weft.context.left = "something"
        weft.defer(nothing)
        setfenv(0, {})
        if i == 2 then core.mask(true) end
      end):await()
    end
    local task = weft.spawn(weft.sleep, 60)
    weft.sleep(0)
    task:cancel() -- the mask is gone too
    assert.is_false((pcall(task.await, task)))
    for i = 1, 3 do assert.same({ nil, true, false }, seen[i]) end
  end)

  it("is one of a hundred thousand that sleep", function()
    local tasks = {}
    for i = 1, 100000 do tasks[i] = weft.spawn(weft.sleep, 60) end
    local before = core.task_count()
    assert.is_true(before > 100000)
    weft.sleep(0.01)
    for i = 1, 100000 do tasks[i]:cancel() end
    eventually(function() return core.task_count() <= before - 100000 end)
    assert.is_true(tasks[1].done and tasks[100000].done)
  end)

  it("may stand in a long line of parents and children", function()
    local depth, deepest = 0, nil
    local function nest()
      depth = depth + 1
      if depth < 20000 then return weft.spawn(nest):await() end
      deepest = true
      weft.sleep(60)
    end
    local task = weft.spawn(nest)
    eventually(function() return deepest end)
    task:cancel()
    assert.is_false((pcall(task.await, task)))
    assert.equal(20000, depth)
  end)
end)

describe("a wait that could never end", function()
  it("is refused for a task that awaits itself", function()
    local task
    task = weft.spawn(function() return blamed(task.await, task) end)
    assert.equal("a task cannot await itself", task:await())
  end)

  it("is refused for a task that awaits one that started it", function()
    local parent, told
    parent = weft.spawn(function()
      weft.spawn(function()
        weft.spawn(function() told = blamed(parent.await, parent) end)
        pause()
      end)
      pause()
    end)
    parent:await()
    assert.matches("cannot await the one that started it", told)
  end)

  it("is refused for tasks that await each other", function()
    local a, b, c
    a = weft.spawn(function() return b:await() end)
    b = weft.spawn(function() return c:await() end)
    c = weft.spawn(function()
      pause()
      return blamed(a.await, a)
    end)
    assert.matches("deadlock: weft.Task .* waits for this task itself", a:await())
  end)
end)

it("a wait that was given up is no reason to refuse another", function()
  local a, b
  a = weft.spawn(function()
    pcall(b.await, b)
    weft.shield(weft.sleep, 0.02)
    return "a"
  end)
  b = weft.spawn(function()
    pause()
    return a:await() .. "b"
  end)
  weft.sleep(0)
  weft.sleep(0)
  a:cancel()
  assert.equal("ab", b:await())
end)

describe("an error that nobody awaits", function()
  it("is logged once when the parent ends, with its traceback and where it was started", function()
    local lines = logged(function()
      weft.spawn(function()
        weft.spawn(function() error "forgotten" end)
        pause()
      end):await()
    end)
    assert.equal(1, #lines)
    assert.equal("error", lines[1].level)
    assert.matches("nobody awaited failed: .*task_spec.lua:%d+: forgotten\n", lines[1].message)
    assert.matches("in function.*\n\tstarted at .*task_spec.lua:%d+$", lines[1].message)
  end)

  it("is not logged if somebody awaits it after all", function()
    local lines = logged(function()
      weft.spawn(function()
        local task = weft.spawn(error, "awaited")
        pause()
        assert.is_true(task.done)
        local before = core.task_count()
        assert.is_false((pcall(task.await, task)))
        eventually(function() return core.task_count() < before end)
      end):await()
    end)
    assert.same({}, lines)
  end)

  it("is logged though who wanted it has gone before it came", function()
    local lines = logged(function()
      weft.spawn(function()
        local task = weft.spawn(function()
          pause()
          error "late"
        end)
        local waiting = weft.spawn(task.await, task)
        weft.sleep(0)
        waiting:cancel()
        weft.sleep(0.01)
      end):await()
    end)
    assert.equal(1, #lines)
    assert.matches("late", lines[1].message)
  end)

  it("is logged at once if too many tasks have failed", function()
    local lines = logged(function()
      local tasks = {}
      for i = 1, 1001 do tasks[i] = weft.spawn(error, "many") end
      eventually(function() return tasks[1001].done end)
      for i = 1, 1001 do pcall(tasks[i].await, tasks[i]) end
    end)
    assert.equal(1, #lines)
  end)

  it("may be a value that cannot be printed", function()
    local lines = logged(function()
      weft.spawn(function()
        weft.spawn(function() error(setmetatable({}, { __tostring = error })) end)
        weft.spawn(function() error(setmetatable({}, { __tostring = function() end })) end)
        pause()
      end):await()
    end)
    assert.equal(2, #lines)
    assert.matches("a table that cannot be printed", lines[1].message)
  end)

  it("is no error if it is a cancellation", function()
    local lines = logged(function()
      weft.spawn(function()
        weft.spawn(weft.sleep, 60)
        pause()
      end):await()
    end)
    assert.same({}, lines)
  end)

  it("is that of another task if that was cancelled", function()
    local lines = logged(function()
      weft.spawn(function()
        weft.spawn(function()
          local other = weft.spawn(weft.sleep, 60)
          weft.sleep(0)
          other:cancel()
          other:await()
        end)
        weft.sleep(0.02)
      end):await()
    end)
    assert.equal(1, #lines)
    assert.matches("the task started at .*task_spec.lua:%d+ was cancelled", lines[1].message)
  end)
end)

describe("gather", function()
  it("runs all at the same time and gives the first result of each in order", function()
    local seconds, results = timed(function()
      return { weft.gather(function() weft.sleep(0.03) return 1, "unused" end,
        function() weft.sleep(0.01) end, function() return 3 end) }
    end)
    assert.same({ 1, nil, 3 }, results)
    assert.is_true(seconds < 0.045)
    assert.equal(0, select("#", weft.gather()))
  end)

  it("raises the first error when the others have been cancelled and have ended", function()
    local seen = {}
    local function slow()
      weft.defer(noting(seen, "ended", 0.01))
      weft.sleep(60)
    end
    local ok, raised = pcall(weft.gather, slow, function() pause() error("first", 0) end, slow)
    assert.same({ false, "first" }, { ok, raised })
    assert.same({ "ended", "ended" }, seen)
  end)

  it("logs the errors that it does not raise", function()
    local lines = logged(function()
      local _, raised = pcall(weft.gather, function() error("first", 0) end, function()
        if not pcall(weft.sleep, 60) then error("second", 0) end
      end)
      assert.equal("first", raised)
    end)
    assert.equal(1, #lines)
    assert.matches("second.*started at .*task_spec.lua:%d+$", lines[1].message)
  end)

  it("that is cancelled ends its tasks before it raises", function()
    local seen = {}
    local gathering = weft.spawn(function()
      pcall(weft.gather, function()
        weft.defer(noting(seen, "child", 0.01))
        weft.sleep(60)
      end)
      seen[#seen + 1] = "gather"
    end)
    weft.sleep(0)
    weft.sleep(0)
    gathering:cancel()
    gathering:await()
    assert.same({ "child", "gather" }, seen)
  end)

  it("starts nothing unless all are functions", function()
    local ran = false
    assert.equal("gather takes functions, not nil", blamed(weft.gather, function() ran = true end,
      nil))
    pause()
    assert.is_false(ran)
  end)
end)

describe("race", function()
  it("gives all results of the first to end, when the others have ended", function()
    local seen = {}
    local function slow()
      weft.defer(noting(seen, "ended"))
      weft.sleep(60)
    end
    local a, b = weft.race(slow, function() pause() return "first", 2 end, slow)
    assert.same({ "first", 2 }, { a, b })
    assert.same({ "ended", "ended" }, seen)
  end)

  it("raises if the first to end raised", function()
    local ok, raised = pcall(weft.race, function() weft.sleep(60) end, function()
      error("first", 0)
    end)
    assert.same({ false, "first" }, { ok, raised })
    assert.equal("race takes at least one function", blamed(weft.race))
  end)
end)

describe("timeout", function()
  it("gives what the function returned in time", function()
    assert.same({ 1, nil, 3 }, { weft.timeout(1, function(...) pause() return ... end, 1, nil, 3) })
    assert.equal("now", weft.timeout(0, function() return "now" end))
  end)

  it("gives the code `timeout` when the function has been cancelled and has ended", function()
    local seen = {}
    local result, err = weft.timeout(0.01, function()
      weft.defer(noting(seen, "ended"))
      weft.sleep(60)
    end)
    assert.is_nil(result)
    assert.equal("timeout", err.code)
    assert.equal("gave up after 0.01 s", tostring(err))
    assert.same({ "ended" }, seen)
  end)

  it("raises what the function raises, before or after the time", function()
    assert.same({ false, "early" }, { pcall(weft.timeout, 1, error, "early", 0) })
    assert.same({ false, "late" }, { pcall(weft.timeout, 0.005, function()
      pcall(weft.sleep, 60)
      error("late", 0)
    end) })
  end)

  it("may stand in another", function()
    local result, err = weft.timeout(1, function()
      local _, inner = weft.timeout(0.005, weft.sleep, 60)
      return "went on after: " .. inner.code
    end)
    assert.equal("went on after: timeout", result, err)
    local _, outer = weft.timeout(0.005, weft.timeout, 1, weft.sleep, 60)
    assert.equal("timeout", outer.code)
  end)

  it("takes seconds", function()
    assert.equal("timeout takes seconds, not negative", blamed(weft.timeout, -1, nothing))
    assert.equal("timeout takes seconds, not negative", blamed(weft.timeout, nil, nothing))
    assert.equal("timeout takes a function, not nil", blamed(weft.timeout, 1))
  end)
end)

describe("what is deferred", function()
  it("runs last in, first out, once, when the function has returned", function()
    local seen = {}
    local task = weft.spawn(function()
      for i = 1, 3 do weft.defer(function() seen[#seen + 1] = i end) end
      seen[1] = "returned"
      return "value"
    end)
    assert.equal("value", task:await())
    assert.same({ "returned", 3, 2, 1 }, seen)
  end)

  it("runs when the function has raised, and what that waits for is waited for", function()
    local seen = {}
    local task = weft.spawn(function()
      weft.defer(noting(seen, "deferred"))
      error("raised", 0)
    end)
    assert.same({ false, "raised" }, { pcall(task.await, task) })
    assert.same({ "deferred" }, seen)
  end)

  it("may defer more, which runs next", function()
    local seen = {}
    weft.spawn(function()
      weft.defer(function() seen[#seen + 1] = "last" end)
      weft.defer(function()
        weft.defer(function() seen[#seen + 1] = "more" end)
        seen[#seen + 1] = "first"
      end)
    end):await()
    assert.same({ "first", "more", "last" }, seen)
  end)

  it("may start tasks and wait for them", function()
    local seen = {}
    local task = weft.spawn(function()
      weft.defer(function()
        weft.gather(noting(seen, "a"), noting(seen, "b"))
        seen[#seen + 1] = weft.spawn(noting({}, "c")):await()
        seen[#seen + 1] = select(2, weft.timeout(0.005, weft.sleep, 60)).code
      end)
      weft.sleep(60)
    end)
    weft.sleep(0)
    task:cancel()
    assert.is_false((pcall(task.await, task)))
    assert.same({ "a", "b", "c", "timeout" }, seen)
  end)

  it("does not keep the rest from running when it raises, and that is logged", function()
    local seen = {}
    local lines = logged(function()
      weft.spawn(function()
        weft.defer(function() seen[#seen + 1] = "rest" end)
        weft.defer(function() error "cleanup" end)
      end):await()
    end)
    assert.same({ "rest" }, seen)
    assert.equal(1, #lines)
    assert.matches("a deferred function failed: .*cleanup\n.*task_spec", lines[1].message)
  end)

  it("sees the context of its task", function()
    local seen
    weft.spawn(function()
      weft.context.name = "value"
      weft.defer(function() seen = weft.context.name end)
    end):await()
    assert.equal("value", seen)
  end)

  it("must be a function", function()
    assert.equal("defer takes a function, not nil", blamed(weft.defer))
  end)
end)

describe("the loop's turns", function()
  it("come in the order of time to those who sleep", function()
    local seen, tasks = {}, {}
    for _, ms in ipairs { 30, 10, 20, 5, 25, 15 } do
      tasks[#tasks + 1] = weft.spawn(noting(seen, ms, ms / 1000))
    end
    for _, task in ipairs(tasks) do task:await() end
    assert.same({ 5, 10, 15, 20, 25, 30 }, seen)
  end)

  it("come in the order of going to sleep to those who sleep until the same time", function()
    local seen, expected, tasks = {}, {}, {}
    for i = 1, 100 do
      expected[i] = i
      tasks[i] = weft.spawn(noting(seen, i, 0.01))
    end
    for _, task in ipairs(tasks) do task:await() end
    assert.same(expected, seen)
  end)

  it("come in turn to those who sleep(0)", function()
    local seen = {}
    local function three(name)
      return function()
        for _ = 1, 3 do
          seen[#seen + 1] = name
          weft.sleep(0)
        end
      end
    end
    weft.gather(three "a", three "b")
    assert.equal("ababab", table.concat(seen))
  end)

  -- How long so many exchanges of a byte take while `fn` runs, from so many seconds on.
  local function echo_beside(fn, count, after)
    local server = assert(tcp.listen("127.0.0.1:0", function(socket)
      while true do
        local bytes = socket:read "*"
        if not bytes then return end
        socket:write(bytes)
      end
    end))
    local socket = assert(tcp.connect("127.0.0.1", server.port))
    weft.defer(function()
      socket:close()
      server:close()
    end)
    local beside = weft.spawn(fn)
    weft.sleep(after or 0)
    local seconds = timed(function()
      for _ = 1, count or 20 do
        socket:write "x"
        assert.equal("x", socket:read(1))
      end
    end)
    beside:cancel()
    return seconds
  end

  it("come to sockets beside a task that goes on with sleep(0)", function()
    assert.is_true(echo_beside(function() while true do weft.sleep(0) end end) < 0.2)
  end)

  it("come to sockets beside tasks that start each other for ever", function()
    local before = core.task_count()
    assert.is_true(echo_beside(function()
      local function start_another(n)
        if n > 0 then weft.background(start_another, n - 1) end
      end
      for _ = 1, 50 do weft.background(start_another, 500) end
      weft.sleep(60)
    end) < 0.2)
    eventually(function() return core.task_count() < before + 50 end, 20)
  end)

  it("come to sockets beside tens of thousands that are ready", function()
    local busy = {}
    local seconds = echo_beside(function()
      for i = 1, 30000 do busy[i] = weft.background(function() weft.sleep(0) end) end
      weft.sleep(60)
    end)
    eventually(function() return busy[30000] and busy[30000].done end)
    assert.is_true(seconds < 1, seconds)
  end)

  it("come to sockets beside many tasks that compute for a while in each turn", function()
    local function busy()
      while true do
        local before = core.clock()
        repeat until core.clock() - before > 0.005
        weft.sleep(0)
      end
    end
    assert.is_true(echo_beside(function()
      for _ = 1, 100 do weft.spawn(busy) end
      weft.sleep(60)
    end, 5) < 1)
  end)

  it("come to sockets beside many who slept until the same time", function()
    assert.is_true(echo_beside(function()
      for _ = 1, 100 do
        weft.spawn(function()
          weft.sleep(0.02)
          local before = core.clock()
          repeat until core.clock() - before > 0.005
        end)
      end
      weft.sleep(60)
    end, 3, 0.025) < 0.3)
  end)

  it("that are asked for by sleep(0) take no time", function()
    assert.is_true(timed(function() for _ = 1, 1000 do weft.sleep(0) end end) < 0.5)
  end)

  it("are none while all wait: an idle process uses no time of the CPU", function()
    local before = os.clock()
    weft.sleep(0.3)
    assert.is_true(os.clock() - before < 0.03)
  end)
end)
