--- What specs share: waiting with a deadline, temporary directories, files.

local exec = require "weft.exec"
local task = require "weft.task"
local weft = require "weft"

local helper = {}

--- Waits until `fn()` gives something that is not false or nil, and returns it.
---@param fn fun(): any
---@param seconds number? before it is a failure (5)
---@return any
function helper.eventually(fn, seconds)
  seconds = seconds or 5
  local deadline = weft.now() + seconds
  while true do
    local value = fn()
    if value then return value end
    if weft.now() > deadline then error(("still not so after %g s"):format(seconds), 2) end
    weft.sleep(0.005)
  end
end

--- Calls and says how long it took.
---@param fn function
---@return number seconds
---@return any result the first one
function helper.timed(fn, ...)
  local before = weft.now()
  local result = fn(...)
  return weft.now() - before, result
end

--- A directory of its own, which is removed when the running task (an `it`, say) ends.
---@return string path
function helper.temp_dir()
  local made = assert(exec.run { "mktemp", "-d", "-t", "weft.XXXXXX" })
  local path = made.stdout:gsub("\n$", "")
  assert(made.code == 0 and path ~= "", made.stderr)
  task.defer(function() exec.run { "rm", "-rf", path } end)
  return path
end

---@param path string
---@param text string
---@return string path
function helper.write_file(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
  return path
end

---@param path string
---@return string
function helper.read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

--- Whether a process of this id is there, a zombie included.
---@param pid integer
---@return boolean
function helper.is_process(pid)
  local file = io.open(("/proc/%d/stat"):format(pid), "r")
  if file then file:close() end
  return file ~= nil
end

return helper
