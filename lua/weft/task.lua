--- Tasks: run things beside each other, wait for them, end them.
-- A task is a coroutine of the runtime. A child never outlives its parent: when the parent's
-- function ends, its children are cancelled and waited for, then its deferred functions run, and
-- only then does whoever awaits it hear of it. The coroutine, the tree of tasks and the
-- cancellation are C's (runtime/vm/task.c); what tasks hand each other is here.

local core = require "weft.core"
local await = require "weft.await"
local errors = require "weft.errors"
local log = require "weft.log"
local stdlib = require "weft.stdlib"
local waiters = require "weft.waiters"

local xpcall = stdlib.raw.xpcall -- errors.on_raise waits for nothing
local getinfo, getmetatable, select, unpack = debug.getinfo, getmetatable, select, unpack

local CANCELED = await.CANCELED

-- A task that failed and that nobody awaits is kept for so long before its error is logged, as
-- somebody may just be busy with another one; and so many of them at a time.
local LINGER_SECONDS, LINGER_MAX = 10, 1000

local M = {}

---@class weft.Task
---@field done boolean it has ended, its children and deferred functions too
-- Private: `ok` (nil while its function runs), `first` (what that returned first, or raised),
-- `results` (all it returned, unless that is one value), `source` and `line` of who started it.
local Task = { __name = "weft.Task" }
Task.__index = Task

local function where(task) return ("%s:%d"):format(task.source, task.line) end

function Task:__tostring()
  return ("weft.Task (%s, started at %s)"):format(self.done and "ended" or "running", where(self))
end

-- ---- start ----

local function callable(fn)
  if type(fn) == "function" then return true end
  local metatable = debug.getmetatable(fn)
  return type(metatable) == "table" and metatable.__call ~= nil
end

local function check_callable(fn, what)
  if not callable(fn) then
    error(("%s takes a function, not %s"):format(what, type(fn)), 3)
  end
end

local NOTHING = { n = 0 }

local function settle(task, ok, ...)
  local count = select("#", ...)
  task.ok, task.first = ok, ...
  if count ~= 1 then
    task.results = count == 0 and NOTHING or { n = count, ... }
  end
end

local function run(task, fn, ...)
  if core.cancelled() then return settle(task, false, errors.cancelled()) end
  return settle(task, xpcall(fn, errors.on_raise, ...))
end

local function copy(context)
  local new = {}
  for key, value in next, context do new[key] = value end
  return new
end

-- `fn` has been checked; `level` is the function that asks for the task, as for debug.getinfo.
local function start(level, background, fn, ...)
  if type(fn) ~= "function" then
    local object = fn
    fn = function(...) return object(...) end
  end
  local caller, parent = getinfo(level, "Sl"), core.record()
  while caller and caller.currentline < 0 do -- pcall, say
    level = level + 1
    caller = getinfo(level, "Sl")
  end
  local task = setmetatable({
    done = false,
    source = caller and caller.short_src or "?",
    line = caller and caller.currentline or 0,
    parent = not background and parent or nil,
    handle = 0,
  }, Task)
  if parent and parent.context then task.context = copy(parent.context) end
  task.handle = core.spawn(background, task, run, task, fn, ...)
  return task
end

--- Runs `fn(...)` beside us, as a child of the running task, from the loop's next turn on. It ends
-- with us at the latest.
---@param fn function
---@return weft.Task
function M.spawn(fn, ...)
  check_callable(fn, "spawn")
  local task = start(3, false, fn, ...)
  return task
end

--- Runs `fn(...)` as a task of nobody: it goes on after the request, and a shutdown waits for it.
---@param fn function
---@return weft.Task
function M.background(fn, ...)
  check_callable(fn, "background")
  local task = start(3, true, fn, ...)
  return task
end

-- ---- end ----

local function log_unawaited(task)
  log.error(("a task that nobody awaited failed: %s\n\tstarted at %s"):format(
    errors.report(task.first), where(task)))
end

-- Newly deferred functions run too: those that are deferred last run first.
local function run_deferred(deferred)
  while #deferred > 0 do
    local fn = deferred[#deferred]
    deferred[#deferred] = nil -- before it runs: whatever becomes of it, it runs once
    local ok, raised = xpcall(fn, errors.on_raise)
    if not ok then log.error("a deferred function failed: " .. errors.report(raised)) end
  end
end

local lingering = 0

-- Gives others a while to await a task that failed. The end of its parent ends the wait.
local function linger(task)
  if lingering < LINGER_MAX then
    lingering = lingering + 1
    task.linger = waiters.new()
    core.mask(false) -- deferred functions are through, and this may be cut short
    task.linger:wait(nil, LINGER_SECONDS)
    core.mask(true)
    lingering = lingering - 1
  end
  if not task.awaited then log_unawaited(task) end
end

-- Tells those who wait. Whether there was anybody.
local function tell(task)
  local told = task.waiters and task.waiters:wake_all() > 0
  local group = task.group
  if group then
    group.pending = group.pending - 1
    group.winner = group.winner or task
    if not task.ok then group.failed = group.failed or task end
    if group.waiter then core.wake(group.waiter, group.ticket) end
    told = true
  end
  return told
end

--- The end of a task that has a record: C calls it, in the task and masked, when its children have
-- ended; again if it says so, or if a deferred function did not let it end.
---@param task table
---@return boolean? again once children that deferred functions started have ended
function M.finish(task)
  local deferred = task.deferred
  if deferred and #deferred > 0 then
    run_deferred(deferred)
    return true
  end
  if getmetatable(task) ~= Task then return end -- a request's: nobody waits for it by this
  if task.ok == nil then settle(task, false, errors.cancelled()) end -- it did not come to its end
  task.done = true
  local told = tell(task)
  task.parent, task.deferred, task.waiters, task.group = nil, nil, nil, nil
  if not (task.ok or told or errors.is_cancelled(task.first)) then linger(task) end
end

-- ---- await ----

-- Refuses a wait that could never end.
local function check_deadlock(task, me)
  local other = task
  while other do
    if other == me then
      error(task == me and "a task cannot await itself"
        or ("deadlock: %s waits for this task itself"):format(tostring(task)), 4)
    end
    other = other.awaiting
  end
  if task.parent == me then return end -- the usual case
  other = me.parent
  while other do
    if other == task then
      error("a task cannot await the one that started it: that ends after its children", 4)
    end
    other = other.parent
  end
end

local function wait_for_end(task)
  local me = core.record()
  if me then check_deadlock(task, me) end
  task.waiters = task.waiters or waiters.new()
  if me then me.awaiting = task end
  local status = task.waiters:wait()
  if me then me.awaiting = nil end
  await.status(status)
end

-- Raises what a task raised. That it was cancelled is another thing than that we are.
local function raise(task)
  if errors.is_cancelled(task.first) then
    error(errors.new("cancelled", "the task started at " .. where(task) .. " was cancelled"), 0)
  end
  errors.raise(task.first)
end

local function results(task)
  if not task.ok then raise(task) end
  local all = task.results
  if not all then return task.first end
  return unpack(all, 1, all.n)
end

--- Waits until the task has ended. What it raised is raised here again.
---@return any ... what its function returned
function Task:await()
  if not self.done then wait_for_end(self) end
  self.awaited = true
  if self.linger then self.linger:wake_all() end
  return results(self)
end

--- Cancels it and its children: the wait they sit in raises, and every later one. Returns at once;
-- `await` says when it has ended.
function Task:cancel() core.cancel(self.handle) end

-- ---- groups: tasks that one other waits for ----

local function start_group(what, ...)
  local count = select("#", ...)
  for i = 1, count do
    if not callable((select(i, ...))) then
      error(("%s takes functions, not %s"):format(what, type((select(i, ...)))), 3)
    end
  end
  core.ticket() -- raises here where nothing can wait, before anything has started
  local group = { pending = count, tasks = {} }
  for i = 1, count do
    local task = start(4, false, (select(i, ...)))
    task.group = group
    group.tasks[i] = task
  end
  return group
end

-- Waits until one more has ended; gives the status.
local function park(group, seconds)
  group.waiter, group.ticket = core.ticket()
  local status = core.park(seconds)
  group.waiter = nil
  return status
end

-- Cancels those that still run and waits for their end, even if we are cancelled ourselves. What
-- they raise then is told to nobody but the log; `known` is raised or returned by the caller.
local function end_group(group, known)
  for _, task in ipairs(group.tasks) do
    if not task.done then task:cancel() end
  end
  core.mask(true)
  local status = 0
  while group.pending > 0 and status ~= CANCELED do status = park(group) end
  core.mask(false)
  for _, task in ipairs(group.tasks) do
    if task ~= known and task.done and errors.is_fault(task.first) and not task.ok then
      log_unawaited(task)
    end
  end
end

local function wait_for(group, seconds)
  if park(group, seconds) == CANCELED then
    end_group(group)
    await.status(CANCELED)
  end
end

--- Runs all of them at the same time and waits for all.
-- The first error cancels the others, and is raised when they have ended.
---@param ... function
---@return any ... the first result of each, in their order
function M.gather(...)
  local group = start_group("gather", ...)
  while group.pending > 0 and not group.failed do wait_for(group) end
  if group.failed then
    end_group(group, group.failed)
    raise(group.failed)
  end
  local firsts = {}
  for i, task in ipairs(group.tasks) do firsts[i] = task.first end
  return unpack(firsts, 1, #group.tasks)
end

--- Runs all of them; the first to end wins, the rest are cancelled.
---@param ... function
---@return any ... what the winner returned; what it raised is raised
function M.race(...)
  if select("#", ...) == 0 then error("race takes at least one function", 2) end
  local group = start_group("race", ...)
  while not group.winner do wait_for(group) end
  local winner = group.winner
  end_group(group, winner)
  return results(winner)
end

--- Runs `fn(...)` for at most so long; then it is cancelled, and waited for: a part of it that is
-- shielded makes this take longer. If it returns in spite of that, its results count.
---@param seconds number
---@param fn function
---@return any ... what it returned; or nil and an error with the code "timeout"
function M.timeout(seconds, fn, ...)
  if type(seconds) ~= "number" or not (seconds >= 0) then
    error("timeout takes seconds, not negative", 2)
  end
  check_callable(fn, "timeout")
  core.ticket()
  local task = start(3, false, fn, ...)
  local group = { pending = 1, tasks = { task } }
  task.group = group
  local deadline = core.now() + seconds
  while not task.done do
    wait_for(group, math.max(0, deadline - core.now()))
    if not task.done and core.now() >= deadline then
      end_group(group, task)
      if not task.ok and errors.is_cancelled(task.first) then
        return nil, errors.new("timeout", ("gave up after %g s"):format(seconds))
      end
    end
  end
  return results(task)
end

-- ---- the running task ----

local function unshield(ok, ...)
  core.mask(false)
  if not ok then errors.raise((...)) end
  return ...
end

--- Runs `fn(...)` to its end: a cancellation of this task, and of tasks that `fn` starts, waits
-- until then. `fn` must come to its end: only that of the whole generation cuts it short, and a
-- generator that is left in the middle of a shield leaves its task shielded.
---@param fn function
---@return any ...
function M.shield(fn, ...)
  check_callable(fn, "shield")
  core.mask(true)
  return unshield(xpcall(fn, errors.on_raise, ...))
end

--- Has `fn` run when this task ends, however it ends; the last deferred runs first. It may wait:
-- a cancellation does not reach it, but all that a task has deferred gets 30 seconds.
---@param fn function
function M.defer(fn)
  check_callable(fn, "defer")
  local record = core.record()
  if not record then error("defer: no task is running", 2) end
  record.deferred = record.deferred or {}
  record.deferred[#record.deferred + 1] = fn
end

--- Waits.
---@param seconds number 0 lets the others have a turn
function M.sleep(seconds) await.status(core.sleep(seconds)) end

--- Values that belong to the running task: its children start with a copy.
---@type table<string, any>
M.context = setmetatable({}, {
  __index = function(_, key)
    local record = core.record(false)
    return record and record.context and record.context[key]
  end,
  __newindex = function(_, key, value)
    local record = core.record()
    if not record then error("context: no task is running", 2) end
    record.context = record.context or {}
    record.context[key] = value
  end,
  __pairs = function()
    local record = core.record(false)
    return next, record and record.context or {}
  end,
})

return M
