--- Runs the real binary with an app, and stops it. The binary is the environment's WEFT_BINARY,
-- or build/weft. A server that is not stopped ends with the task that started it.

local exec = require "weft.exec"
local helper = require "tests.support.helper"
local task = require "weft.task"

local M = {}

local START_SECONDS, STOP_SECONDS = 10, 10

M.binary = os.getenv "WEFT_BINARY" or "build/weft"

---@class weft.TestServer
---@field url string of its first listener
---@field urls string[] of all so far
---@field port integer? of the first; nil for a unix socket
---@field pid integer
---@field output string its standard output so far
local Server = { __name = "weft.TestServer" }
Server.__index = Server

--- Its standard error so far.
---@return string
function Server:log() return table.concat(self._log) end

local function watch_stderr(server)
  server._log_done = task.spawn(function()
    while true do
      local text = server.process.stderr:read("*", math.huge)
      if not text then return end
      table.insert(server._log, text)
    end
  end)
end

local function take_line(server, line)
  server.output = server.output .. line .. "\n"
  local url = line:match "^weft: listening on (%S+)$"
  if not url then return end
  table.insert(server.urls, url)
  server.url = server.urls[1]
  server.port = tonumber(server.url:match ":(%d+)$")
end

local function watch_stdout(server)
  task.spawn(function()
    while true do
      local line = server.process.stdout:read("line", math.huge)
      if not line then return end
      take_line(server, line)
    end
  end)
end

local function failed(server, what)
  server.process:kill "KILL"
  server.process:wait()
  pcall(server._log_done.await, server._log_done)
  error(("%s; its output:\n%s%s"):format(what, server.output, server:log()), 0)
end

local function wait_until_listening(server)
  while not server.url do
    local line, err = server.process.stdout:read("line", START_SECONDS)
    if not line then
      failed(server, err.code == "timeout" and "the server does not listen"
        or "the server ended before it listened")
    end
    take_line(server, line)
  end
end

local function arguments_for(options)
  local app = options.app
  if options.source then
    app = helper.write_file(helper.temp_dir() .. "/app.lua", options.source)
  end
  local arguments = { M.binary, "run", app }
  local listens = false
  for _, argument in ipairs(options.args or {}) do
    listens = listens or tostring(argument):match "^%-%-listen" ~= nil
    table.insert(arguments, argument)
  end
  if not listens then
    table.insert(arguments, "--listen")
    table.insert(arguments, "127.0.0.1:0")
  end
  return arguments
end

--- Starts a server and waits until it listens; fails the spec, with what it wrote, if it does not.
---@param options { app: string?, source: string?, args: string[]?, env: table? } the app's path, or
-- its text; more arguments of `weft run`; changes to the environment
---@return weft.TestServer
function M.start(options)
  local arguments = arguments_for(options)
  arguments.env = options.env
  arguments.stderr = "pipe"
  local process = assert(exec.spawn(arguments))
  local server = setmetatable({
    process = process,
    pid = process.pid,
    urls = {},
    output = "",
    _log = {},
  }, Server)
  watch_stderr(server)
  wait_until_listening(server)
  watch_stdout(server)
  return server
end

--- Asks it to stop, and fails the spec unless it does so in time with exit code 0. Fine twice.
function Server:stop()
  if self._stopped then return end
  self._stopped = true
  self.process:kill "TERM"
  local code, signal = self.process:wait(STOP_SECONDS)
  if not code then failed(self, "the server does not stop") end
  if code ~= 0 then
    failed(self, ("the server ended with exit code %d%s"):format(code,
      signal and " (" .. signal .. ")" or ""))
  end
  self._log_done:await()
end

return M
