local helper = require "tests.support.helper"
local testing = require "weft.testing"
local weft = require "weft"

local function started(fn, ...)
  local task = weft.spawn(fn, ...)
  weft.sleep(0)
  weft.sleep(0)
  return task
end

local function blamed(fn)
  local ok, message = pcall(fn)
  assert.is_false(ok)
  return assert(tostring(message):match "semaphore_spec%.lua:%d+: (.*)", message)
end

describe("a semaphore", function()
  it("lets so many tasks in at a time", function()
    local gate, inside, most = weft.semaphore(3), 0, 0
    local tasks = {}
    for i = 1, 20 do
      tasks[i] = weft.spawn(function()
        return gate:with(function(...)
          inside = inside + 1
          most = math.max(most, inside)
          weft.sleep(0.002)
          inside = inside - 1
          return ...
        end, i, nil)
      end)
    end
    for i = 1, 20 do assert.same({ i, nil }, { tasks[i]:await() }) end
    assert.equal(3, most)
    assert.equal(3, gate.available)
    assert.equal("weft.Semaphore (3 of 3 available)", tostring(gate))
  end)

  it("gives permits in the order in which they were asked for, past nobody", function()
    local gate, order = weft.semaphore(1), {}
    gate:acquire()
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = started(function()
        gate:acquire()
        order[#order + 1] = i
        gate:release()
      end)
    end
    assert.equal(3, gate.waiting)
    gate:release()
    assert.is_false(gate:try_acquire()) -- it is the first one's, who has not run yet
    for i = 1, 3 do tasks[i]:await() end
    assert.same({ 1, 2, 3 }, order)
    assert.is_true(gate:try_acquire())
  end)

  it("gives the permit back when the function of `with` raises, and raises that", function()
    local gate, value = weft.semaphore(1), {}
    local ok, raised = pcall(gate.with, gate, error, value)
    assert.is_false(ok)
    assert.equal(value, raised)
    assert.equal(1, gate.available)
  end)

  it("passes over a task that was cancelled while it waited", function()
    local gate = weft.semaphore(1)
    gate:acquire()
    local first = started(gate.acquire, gate)
    local second = started(function()
      gate:acquire()
      return "second"
    end)
    first:cancel()
    assert.is_false((pcall(first.await, first)))
    assert.equal(1, gate.waiting)
    gate:release()
    assert.equal("second", second:await())
    assert.equal(1, gate.available)
  end)

  it("loses no permit that was given to a task in the moment it was cancelled", function()
    for _, cancel_first in ipairs { true, false } do
      local gate = weft.semaphore(1)
      gate:acquire()
      local task = started(gate.with, gate, weft.sleep, 60)
      if cancel_first then task:cancel() end
      gate:release()
      task:cancel()
      pcall(task.await, task)
      assert.equal(1, gate.available)
    end
  end)

  it("takes the permits of a task back that ends with them, however it ends", function()
    local gate = weft.semaphore(2)
    weft.spawn(function()
      gate:acquire()
      gate:acquire()
      gate:release()
    end):await()
    assert.equal(2, gate.available)
    local failing = weft.spawn(function()
      assert(gate:try_acquire())
      error("raised", 0)
    end)
    assert.same({ false, "raised" }, { pcall(failing.await, failing) })
    assert.equal(2, gate.available)
    local cancelled = started(gate.with, gate, weft.sleep, 60)
    assert.equal(1, gate.available)
    cancelled:cancel()
    pcall(cancelled.await, cancelled)
    assert.equal(2, gate.available)
    weft.spawn(function()
      weft.defer(function() gate:acquire() end)
    end):await()
    assert.equal(2, gate.available)
  end)

  it("takes a permit back from a task that was started with it", function()
    local gate, most, inside = weft.semaphore(2), 0, 0
    local tasks = {}
    for i = 1, 6 do
      gate:acquire()
      tasks[i] = weft.spawn(function()
        inside = inside + 1
        most = math.max(most, inside)
        weft.sleep(0.002)
        inside = inside - 1
        gate:release()
      end)
    end
    for i = 1, 6 do tasks[i]:await() end
    assert.equal(2, most)
    assert.equal(2, gate.available)
  end)

  it("refuses a permit back that was not taken", function()
    local gate = weft.semaphore(1)
    assert.equal("release: no permit was taken by this task", blamed(function() gate:release() end))
    gate:acquire()
    gate:release()
    assert.equal("release: no permit was taken by this task", blamed(function() gate:release() end))
    assert.equal(1, gate.available)
  end)

  it("can be waited for so long and no longer", function()
    local gate = weft.semaphore(1)
    gate:acquire()
    local seconds = helper.timed(function()
      local taken, err = gate:acquire(0.01)
      assert.is_nil(taken)
      assert.equal("timeout", err.code)
    end)
    assert.is_true(seconds > 0.009 and seconds < 0.5)
    local _, err = weft.timeout(0.01, gate.acquire, gate)
    assert.equal("timeout", err.code)
    assert.equal(0, gate.waiting)
    gate:release()
    assert.equal(1, gate.available)
  end)

  it("loses no permit to a task whose time is over in that very moment", function()
    local clock = testing.clock
    clock:freeze()
    weft.defer(function() clock:resume() end)
    local gate = weft.semaphore(1)
    local holder = started(function()
      gate:acquire()
      weft.sleep(1)
      gate:release()
    end)
    local waiting = started(function() return select(2, gate:acquire(1)).code end)
    clock:advance(1)
    holder:await()
    assert.equal("timeout", waiting:await())
    assert.equal(1, gate.available)
  end)

  it("has at least one permit", function()
    for _, permits in ipairs { 0, -1, 1.5, "1", 0 / 0 } do
      assert.equal("semaphore takes the number of permits, at least 1",
        blamed(function() weft.semaphore(permits) end))
    end
  end)
end)
