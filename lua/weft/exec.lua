--- Programs: start one, talk to it, wait for its end. No shell is in between: the arguments reach
-- the program as they are. A program ends with the task that started it, unless it was waited for;
-- its pipes read and write as sockets do (weft.byte_stream).

local core = require "weft.core"
local await = require "weft.await"
local byte_stream = require "weft.byte_stream"
local task = require "weft.task"

local M = {}

local OUTPUT_MAX = 8 * 1024 * 1024

---@class weft.Pipe : weft.ByteStream
local Pipe = setmetatable({ __name = "weft.Pipe" }, { __index = byte_stream.ByteStream })
Pipe.__index = Pipe
Pipe.__tostring = byte_stream.ByteStream.__tostring

---@class weft.Process
---@field pid integer
---@field stdin weft.Pipe? when options.stdin was true
---@field stdout weft.Pipe? unless options.stdout was something else than "pipe"
---@field stderr weft.Pipe? when options.stderr was "pipe"
local Process = { __name = "weft.Process" }
Process.__index = Process

function Process:__tostring() return ("weft.Process (%s, pid %d)"):format(self._name, self.pid) end

local function new_pipe(box, name)
  return box and byte_stream.init(setmetatable({}, Pipe), box, name) or nil
end

local function end_process(process)
  if not core.process_result(process._box) then
    core.process_kill(process._box, "KILL")
    core.process_wait(process._box, math.huge)
  end
  for _, pipe in ipairs { "stdin", "stdout", "stderr" } do
    if process[pipe] then core.stream_close(process[pipe]._box, false, 0) end
  end
end

-- For each task's record, the set of programs that end with it; and those that end with the app.
local running = setmetatable({}, { __mode = "k" })
local in_background = {}

local function programs_of_task()
  local record = core.record()
  local programs = running[record]
  if not programs then
    programs = {}
    running[record] = programs
    task.defer(function()
      for process in pairs(programs) do end_process(process) end
    end)
  end
  return programs
end

--- Keeps a program until its owner ends. Those that have ended meanwhile are forgotten.
local function keep(process, programs)
  for other in pairs(programs) do
    if core.process_result(other._box) then programs[other] = nil end
  end
  programs[process] = true
end

--- Our own environment with changes, as a list for C; nil if there are none.
local function environment(changes)
  if not changes then return nil end
  local merged, list = core.environment(), {}
  for name, value in pairs(changes) do merged[name] = value end
  for name, value in pairs(merged) do
    if value ~= false then list[#list + 1] = ("%s=%s"):format(name, tostring(value)) end
  end
  return list
end

local function check_options(options, level)
  if type(options) ~= "table" or options[1] == nil then
    error('the program is missing: { "program", "argument" ... }', level + 1)
  end
  for _, name in ipairs { "stdout", "stderr" } do
    local how = options[name]
    if how ~= nil and how ~= "pipe" and how ~= "inherit" and how ~= "null" then
      error(('%s is "pipe", "inherit" or "null"'):format(name), level + 1)
    end
  end
  if options.stdin ~= nil and options.stdin ~= true and type(options.stdin) ~= "string" then
    error("stdin is a string, or true for a pipe to write to", level + 1)
  end
end

local function spawn(options, stderr, background)
  local arguments = {}
  for i, argument in ipairs(options) do arguments[i] = tostring(argument) end
  local name = arguments[1]
  local status, box, pid, stdin, stdout, errout = core.process_spawn(arguments,
    environment(options.env), options.cwd, options.stdin and "pipe" or "null",
    options.stdout or "pipe", options.stderr or stderr)
  if status ~= 0 then return await.finish("starting " .. name, status) end
  local process = setmetatable({
    pid = pid,
    stdin = new_pipe(stdin, name),
    stdout = new_pipe(stdout, name),
    stderr = new_pipe(errout, name .. " (standard error)"),
    _name = name,
    _box = box,
  }, Process)
  keep(process, background and in_background or programs_of_task())
  if type(options.stdin) == "string" then -- whether the program reads it is its own business
    core.stream_write(stdin, options.stdin, nil)
    core.stream_close(stdin, false, math.huge)
    process.stdin = nil
  end
  return process
end

--- Starts a program: `spawn { "sort", "-r", stdin = "b\na\n" }`.
-- It is killed when the running task ends, unless it has ended before. Read from its pipes, or it
-- will stand still when they are full.
---@param options table the program, looked for in PATH, and its arguments; `env`: changes to our
-- environment (false removes one); `cwd`: its directory; `stdin`: a string, true for a pipe to
-- write to, nothing otherwise; `stdout` ("pipe"), `stderr` ("inherit"): "pipe", "inherit" or
-- "null"; `background`: it may outlive the task, but not the app
---@return weft.Process?
---@return weft.Error?
function M.spawn(options)
  check_options(options, 2)
  return spawn(options, "inherit", options.background)
end

---@param seconds number?
---@return string? line of its standard output, without the end of line
---@return weft.Error?
function Process:read_line(seconds) return self.stdout:read("line", seconds) end

---@param seconds number?
---@return string? all that is left of its standard output
---@return weft.Error?
function Process:read_all(seconds) return self.stdout:read("all", seconds) end

--- Sends a signal: "TERM" unless told otherwise. It says nothing about whether the program obeys.
---@param signal string? "TERM", "KILL", "INT", "HUP", "USR1" ...
---@return boolean whether it was still running
function Process:kill(signal) return core.process_kill(self._box, signal or "TERM") == 0 end

--- Waits for its end.
---@param seconds number? no longer than this
---@return integer? code what it exited with; 128 and the signal's number if a signal ended it
---@return string|weft.Error? signal its name: "TERM", "KILL" ...; nil if it ended by itself
function Process:wait(seconds)
  local status = core.process_wait(self._box, seconds or math.huge)
  if status ~= 0 then return await.finish("waiting for " .. self._name, status) end
  return core.process_result(self._box)
end

--- Runs a program to its end: `run { "git", "rev-parse", "HEAD" }`.
-- If it writes more than 8 MiB to either stream, or needs more than `timeout` seconds, it is
-- killed, and that is an error. What it exits with is no error.
---@param options table as for spawn, and `timeout` (none)
---@return { code: integer, signal: string?, stdout: string?, stderr: string? }?
---@return weft.Error?
function M.run(options)
  check_options(options, 2)
  local seconds = options.timeout or math.huge
  local deadline = core.now() + seconds
  local process, err = spawn(options, "pipe", false)
  if not process then return nil, err end
  local failure
  local function collect(stream)
    if not stream then return nil end
    local text, problem = stream:_read_all(OUTPUT_MAX, seconds)
    if not text then
      failure = failure or problem
      end_process(process)
    end
    return text
  end
  local stdout, stderr = task.gather(function() return collect(process.stdout) end,
    function() return collect(process.stderr) end)
  local code, signal
  if not failure then code, signal = process:wait(math.max(0, deadline - core.now())) end
  end_process(process)
  if failure then return nil, failure end
  if not code then return nil, signal end
  return { code = code, signal = signal, stdout = stdout, stderr = stderr }
end

return setmetatable(M, { __call = function(_, options) return M.run(options) end })
