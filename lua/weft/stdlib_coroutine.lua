--- Coroutines that an await passes through.
--
-- An await yields `core.AWAIT`, alone, out of the innermost coroutine. Between it and the loop
-- may stand coroutines that the script made itself; here `coroutine.resume` and `wrap` pass the
-- sentinel outward and the answer inward, so that the script sees neither. Also owned: the
-- tracebacks of coroutines that an error has crossed. Not owned: tasks and their coroutines,
-- which only the loop resumes.

local core = require "weft.core"

local AWAIT = core.AWAIT
local is_task_thread, set_no_await = core.is_task_thread, core.set_no_await
local raw_create, raw_wrap = coroutine.create, coroutine.wrap
local raw_isyieldable = coroutine.isyieldable
local raw_resume, raw_yield = coroutine.resume, coroutine.yield
local raw_running, raw_status = coroutine.running, coroutine.status
local debug_traceback = debug.traceback

local TASK = "cannot resume a task: use task:await()"
local WAITING = "cannot resume a coroutine that is waiting"
local BOUNDARY = "cannot wait here: a C function has called back into Lua"
local MISPLACED = "attempt to yield from outside a coroutine"

-- So many tracebacks of one error are kept; a deeper nest is a recursion and repeats itself.
local MAX_CROSSED = 16

-- What the real resume says when it has not run the coroutine at all.
local NOT_RUN = {
  ["cannot resume dead coroutine"] = true,
  ["cannot resume non-suspended coroutine"] = true,
}

local M = {}

-- Coroutines that a script may not resume now, with the reason. A task's coroutine enters when
-- `running` hands it out, as there is no other way to get hold of one, so that resume need not
-- ask C each time. A waiting one enters while its await is under way.
local held = setmetatable({}, { __mode = "k" })

-- The innermost coroutine of the script's that runs, nil in a task's own. True at each moment,
-- as every await and every yield puts it back level by level on its way out. Coroutines that
-- something else resumed do not show here, so nil has to be checked before it is believed.
local current

-- The last error that crossed a coroutine: its value, the coroutine it went on in, and the
-- tracebacks so far, innermost first. Weak, so that an old error keeps nothing alive.
local last = setmetatable({}, { __mode = "v" })
local crossed = {}

local function note(co, err)
  if NOT_RUN[err] then
    return
  end
  if not (rawequal(last.err, err) and last.co == co) then
    crossed = {}
  end
  last.err, last.co = err, raw_running()
  if #crossed < MAX_CROSSED then
    crossed[#crossed + 1] = debug_traceback(co)
  end
end

--- The tracebacks of the coroutines that the error came through, innermost first; nil if it
-- came through none. Gives them once: they are forgotten then.
---@param err any the very value that was raised
---@return string? tracebacks
function M.crossed(err)
  if #crossed == 0 or not rawequal(last.err, err) then
    return nil
  end
  local text = table.concat(crossed, "\nresumed by another coroutine, there\n")
  crossed = {}
  last.err, last.co = nil, nil
  return text
end

-- Why nothing can wait now; nil if it can. While there is a reason no other task runs, as what
-- runs cannot be left.
local barred

--- Makes every await raise this reason, until it is called with nil.
---@param reason string?
function M.bar(reason)
  barred = reason
  set_no_await(reason)
end

--- The reason given to `bar`.
---@return string?
function M.barred() return barred end

local function unbarred(...)
  M.bar(nil)
  return ...
end

-- Whether a C function (a sort of its own, an FFI callback) is between this coroutine of the
-- script's and one that it is about to resume. An await in there would have begun before the yield
-- gets here and fails. Between a task's own coroutine and the innermost one C looks itself.
local function at_boundary(outer)
  return outer and not barred and not raw_isyieldable()
end

-- The switches below make no table and no closure: what has to survive one travels as arguments.
-- `outer` is what `current` was before.

local resume_again, wrap_again

local function resumed(outer, co, ok, ...)
  current = outer
  if ok then
    if (...) == AWAIT then
      held[co] = WAITING
      return resume_again(outer, co, raw_yield(AWAIT))
    end
  else
    note(co, (...))
  end
  return ok, ...
end

function resume_again(outer, co, ...)
  held[co] = nil
  current = co
  return resumed(outer, co, raw_resume(co, ...))
end

-- Stock LuaJIT puts the caller's position before a string. We keep the value as it is, so that
-- it can be compared all the way out; the tracebacks tell more than the position did.
local function wrap_result(ok, ...)
  if ok then
    return ...
  end
  local err = ...
  error(err, NOT_RUN[err] and 2 or 0)
end

local function wrapped(outer, co, ok, ...)
  current = outer
  if ok then
    if (...) == AWAIT then
      held[co] = WAITING
      return wrap_again(outer, co, raw_yield(AWAIT))
    end
    return ...
  end
  note(co, (...))
  return wrap_result(false, ...)
end

function wrap_again(outer, co, ...)
  held[co] = nil
  current = co
  return wrapped(outer, co, raw_resume(co, ...))
end

--- `coroutine.resume`, which awaits what the coroutine awaits. Refuses tasks, and coroutines
-- that are waiting in another task.
---@param co thread
---@return boolean ok
---@return any ... what it yielded or returned, or the error
function M.resume(co, ...)
  if type(co) ~= "thread" then
    return raw_resume(co, ...) -- raises, and names the caller's line
  end
  local reason = held[co]
  if reason then
    return false, reason
  end
  local outer = current
  if at_boundary(outer) then
    M.bar(BOUNDARY)
    return unbarred(M.resume(co, ...))
  end
  current = co
  return resumed(outer, co, raw_resume(co, ...))
end

--- `coroutine.wrap`, which awaits what the coroutine awaits and rethrows errors as they are.
---@param fn function
---@return fun(...): any ...
function M.wrap(fn)
  if type(fn) ~= "function" then
    return raw_wrap(fn) -- raises, and names the caller's line
  end
  local co = raw_create(fn)
  return function(...)
    if held[co] then
      error(held[co], 2)
    end
    local outer = current
    if at_boundary(outer) then
      return wrap_result(M.resume(co, ...))
    end
    current = co
    return wrapped(outer, co, raw_resume(co, ...))
  end
end

-- Whether nothing of the script's is there to yield to.
local function misplaced()
  local co = raw_running()
  return co == nil or is_task_thread(co)
end

--- `coroutine.yield`. A task's own coroutine belongs to the loop: yielding from it is an error.
---@return any ... what the next resume passes
function M.yield(...)
  if current == nil and misplaced() then
    error(MISPLACED, 2)
  end
  return raw_yield(...)
end

--- `coroutine.isyieldable`: false in a task's own coroutine too, though it can await.
---@return boolean
function M.isyieldable()
  return raw_isyieldable() and not (current == nil and misplaced())
end

--- `coroutine.running`.
---@return thread?
function M.running()
  local co = raw_running()
  if co and current ~= co and is_task_thread(co) then
    held[co] = TASK
  end
  return co
end

--- `coroutine.status`; "normal" for those that are alive but may not be resumed: they wait.
---@param co thread
---@return string
function M.status(co)
  if held[co] and raw_status(co) == "suspended" then
    return "normal"
  end
  return raw_status(co)
end

--- What a message handler shows of an error: the coroutines it came through, then the one the
-- handler runs in.
---@param err any
---@param level integer? the function to begin with; 1, the default, is the caller
---@return string
function M.traceback(err, level)
  local inner = M.crossed(err)
  local here = debug_traceback("", (level or 1) + 1):sub(2)
  return inner and inner .. "\nresumed by\n" .. here or here
end

return M
