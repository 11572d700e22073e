--- Tasks: run things beside each other, wait for them, end them.
-- A task is a coroutine of the runtime. A child never outlives its parent: when the parent ends,
-- its children are cancelled and awaited, then its deferred functions run. The coroutine and the
-- cancellation are C's (runtime/vm/task.c); what tasks hand each other is here.

local core = require "weft.core"
local await = require "weft.await"
local errors = require "weft.errors"
local log = require "weft.log"
local stdlib = require "weft.stdlib"

local xpcall = stdlib.raw.xpcall -- errors.on_raise waits for nothing

local M = {}

---@class weft.Task
---@field done boolean it has ended, its children and deferred functions too
local Task = { __name = "weft.Task" }
Task.__index = Task

function Task:__tostring()
  return ("weft.Task (%s, started at %s)"):format(self.done and "ended" or "running", self.where)
end

local function callable(fn)
  if type(fn) == "function" then return true end
  local metatable = getmetatable(fn)
  return type(metatable) == "table" and metatable.__call ~= nil
end

local function check_callable(fn, what, level)
  if not callable(fn) then
    error(("%s takes a function, not %s"):format(what, type(fn)), level + 1)
  end
end

local function settle(task, ok, ...)
  task.ok = ok
  task.count = select("#", ...)
  task.results = { ... }
end

local function run(task, fn, ...)
  if core.cancelled() then return settle(task, false, errors.cancelled()) end
  return settle(task, xpcall(fn, errors.on_raise, ...))
end

local function copy(context)
  if not context then return nil end
  local new = {}
  for key, value in next, context do new[key] = value end
  return new
end

local function start(background, what, fn, ...)
  check_callable(fn, what, 3)
  if type(fn) ~= "function" then
    local object = fn
    fn = function(...) return object(...) end
  end
  local caller = debug.getinfo(3, "Sl")
  local parent = core.record()
  local task = setmetatable({
    done = false,
    where = caller and ("%s:%d"):format(caller.short_src, caller.currentline) or "?",
    context = parent and copy(parent.context),
    parent = not background and parent or nil,
  }, Task)
  task.handle = core.spawn(background, task, run, task, fn, ...)
  return task
end

--- Runs `fn(...)` beside us, as a child of the running task, from the loop's next turn on.
---@param fn function
---@return weft.Task
function M.spawn(fn, ...) return start(false, "spawn", fn, ...) end

--- Runs `fn(...)` as a task of nobody: it goes on after the request, and a shutdown waits for it.
---@param fn function
---@return weft.Task
function M.background(fn, ...) return start(true, "background", fn, ...) end

local function log_unawaited(task)
  local raised = task.results[1]
  log.error("a task that nobody awaited failed: " .. tostring(raised) .. "\n"
    .. (errors.is_fault(raised) and raised.traceback or "")
    .. "\n\tstarted at " .. task.where)
end

local function wake(ticket) core.wake(ticket[1], ticket[2]) end

local function run_deferred(task)
  local deferred = task.deferred
  while deferred and #deferred > 0 do
    local ok, raised = xpcall(table.remove(deferred), errors.on_raise)
    if not ok then
      log.error("a deferred function failed: " .. tostring(raised) .. "\n"
        .. (errors.is_fault(raised) and raised.traceback or ""))
    end
  end
end

--- The end of a task that has a record: C calls it, in the task, when its children have ended.
---@param task table
function M.finish(task)
  run_deferred(task)
  for _, child in ipairs(task.unawaited or {}) do
    if not child.awaited then log_unawaited(child) end
  end
  if getmetatable(task) ~= Task then return end -- a request's: nobody waits for it by this
  if task.ok == nil then settle(task, false, errors.cancelled()) end -- it never came to its end
  task.done = true
  local failed = not task.ok and not errors.is_cancelled(task.results[1])
  local group = task.group
  if group then
    group.pending = group.pending - 1
    group.first = group.first or task
    if not task.ok then group.failed = group.failed or task end
    if group.ticket then wake(group.ticket) end
  elseif failed and not task.awaited and not task.waiters then
    local parent = task.parent
    if parent then
      parent.unawaited = parent.unawaited or {}
      parent.unawaited[#parent.unawaited + 1] = task
    else
      log_unawaited(task)
    end
  end
  for _, ticket in ipairs(task.waiters or {}) do wake(ticket) end
end

--- Waits until the task has ended. What it raised is raised here again.
---@return any ... what its function returned
function Task:await()
  self.awaited = true
  while not self.done do
    self.waiters = self.waiters or {}
    self.waiters[#self.waiters + 1] = { core.ticket() }
    await.status(core.park())
  end
  if not self.ok then errors.raise(self.results[1]) end
  return unpack(self.results, 1, self.count)
end

--- Cancels it and its children: the await they sit in raises, and every later one. Returns at
-- once; `await` says when it has ended.
function Task:cancel() core.cancel(self.handle) end

-- A group: tasks that one other waits for. Its `ticket` is woken at the end of each of them.
local function start_group(what, ...)
  local count = select("#", ...)
  local group = { pending = count, tasks = {} }
  for i = 1, count do check_callable((select(i, ...)), what, 3) end
  for i = 1, count do
    local task = start(false, what, (select(i, ...)))
    task.group = group
    task.awaited = true
    group.tasks[i] = task
  end
  return group
end

local function wait_for(group, seconds)
  group.ticket = { core.ticket() }
  local status = core.park(seconds)
  group.ticket = nil
  return await.status(status)
end

local function cancel_rest(group)
  for _, task in ipairs(group.tasks) do
    if not task.done then task:cancel() end
  end
  core.mask(true) -- they are ending: that is waited for even if we are cancelled ourselves
  while group.pending > 0 do wait_for(group) end
  core.mask(false)
end

--- Runs all of them at the same time and waits for all.
-- The first error cancels the others, and is raised when they have ended.
---@param ... function
---@return any ... the first result of each, in their order
function M.gather(...)
  local group = start_group("gather", ...)
  while group.pending > 0 and not group.failed do wait_for(group) end
  if group.failed then
    cancel_rest(group)
    errors.raise(group.failed.results[1])
  end
  local results = {}
  for i, task in ipairs(group.tasks) do results[i] = task.results[1] end
  return unpack(results, 1, #group.tasks)
end

--- Runs all of them; the first to end wins, the rest are cancelled.
---@param ... function
---@return any ... what the winner returned; what it raised is raised
function M.race(...)
  if select("#", ...) == 0 then error("race takes at least one function", 2) end
  local group = start_group("race", ...)
  while not group.first do wait_for(group) end
  cancel_rest(group)
  local first = group.first
  if not first.ok then errors.raise(first.results[1]) end
  return unpack(first.results, 1, first.count)
end

--- Runs `fn(...)` for at most so long; then it is cancelled.
---@param seconds number
---@param fn function
---@return any ... what it returned; or nil and an error with the code "timeout"
function M.timeout(seconds, fn, ...)
  if type(seconds) ~= "number" or not (seconds >= 0) then
    error("timeout takes seconds, not negative", 2)
  end
  check_callable(fn, "timeout", 2)
  local task = start(false, "timeout", fn, ...)
  local group = { pending = 1, tasks = { task } }
  task.group, task.awaited = group, true
  local until_when = core.now() + seconds
  while group.pending > 0 do
    wait_for(group, math.max(0, until_when - core.now()))
    if group.pending > 0 and core.now() >= until_when then
      cancel_rest(group)
      if not task.ok and errors.is_cancelled(task.results[1]) then
        return nil, errors.new("timeout", ("gave up after %g s"):format(seconds))
      end
    end
  end
  if not task.ok then errors.raise(task.results[1]) end
  return unpack(task.results, 1, task.count)
end

local function unshield(ok, ...)
  core.mask(false)
  if not ok then errors.raise((...)) end
  return ...
end

--- Runs `fn(...)` to its end: a cancellation waits until then.
---@param fn function
---@return any ...
function M.shield(fn, ...)
  check_callable(fn, "shield", 2)
  core.mask(true)
  return unshield(xpcall(fn, errors.on_raise, ...))
end

--- Has `fn` run when this task ends, however it ends; the last deferred runs first.
---@param fn function
function M.defer(fn)
  check_callable(fn, "defer", 2)
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
