--- What C calls: `main` runs a command in a task, `finish` ends a task that has a record.
-- Loading is here: an app's file, text only, with `require` looking beside it first; afterwards
-- globals are closed, so that nothing leaks from one request into another.

local core = require "weft.core"
local stdlib = require "weft.stdlib"

stdlib.install()

local errors = require "weft.errors"
local task = require "weft.task"

local M = { finish = task.finish }

local served -- the app of this generation; nil before it is loaded

--- Prints an error of loading, for people: what, where, then the way there.
local function complain(raised)
  local value = errors.is_fault(raised) and raised.value or raised
  io.stderr:write("weft: ", tostring(value), "\n")
  if errors.is_fault(raised) then io.stderr:write(raised.traceback, "\n") end
end

local function close_globals()
  setmetatable(_G, {
    __newindex = function(_, name)
      error(("assignment to the undeclared global %q: make it local"):format(tostring(name)), 2)
    end,
  })
end

local function directory_of(path) return path:match "^(.*)/[^/]*$" or "." end

--- Finds the app's file: a Lua file, or a directory with an app.lua.
local function find_app(path)
  local file = io.open(path, "r")
  if file and file:read(0) ~= nil then
    file:close()
    return path
  end
  if file then file:close() end
  local inside = path:gsub("/$", "") .. "/app.lua"
  file = io.open(inside, "r")
  if file then
    file:close()
    return inside
  end
  error(("there is no app at %s (nor %s)"):format(path, inside), 0)
end

--- Loads an app's file, which returns the app.
---@param path string
---@return weft.App
function M.load_app(path)
  path = find_app(path)
  local directory = directory_of(path)
  local beside = directory .. "/?.lua;" .. directory .. "/?/init.lua;"
  if package.path:sub(1, #beside) ~= beside then package.path = beside .. package.path end
  local chunk, message = loadfile(path)
  if not chunk then error(message, 0) end
  local app = chunk()
  if getmetatable(app) ~= require("weft.app").App then
    error(("%s returned %s; it must return the app (is `return app` missing?)"):format(path,
      app == nil and "nothing" or "a " .. type(app)), 0)
  end
  return app
end

local commands = {}

function commands.run(path, dev)
  local app = M.load_app(path)
  app.dev = dev == "dev"
  local serve = require("weft.serve").new(app)
  app:_run_hooks "start"
  close_globals()
  app:_start_every()
  served = app
  core.serve(serve, app.limits)
end

function commands.stop()
  if served then
    served._stopping = true
    served:_run_hooks "stop"
  end
end

function commands.check(path)
  require("weft.check").print(M.load_app(path))
end

function commands.test(...)
  if not require("weft.test_runner").run { ... } then core.set_exit(1) end
end

function M.main(command, ...)
  local ok, raised = xpcall(commands[command], errors.on_raise, ...)
  if not ok then
    complain(raised)
    core.set_exit(1)
  end
end

return M
