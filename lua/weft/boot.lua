--- What C calls: `main` runs a command in a task, `finish` ends a task that has a record.
-- Loading is here: an app's file, text only, with `require` looking beside it first. While it
-- loads, and in its start hooks, it may set globals; afterwards they are closed, so that nothing
-- leaks from one request into another.

local core = require "weft.core"
local stdlib = require "weft.stdlib"

stdlib.install()

local errors = require "weft.errors"
local load_error = require "weft.load_error"
local task = require "weft.task"
local traceback = require "weft.traceback"

local M = { finish = task.finish }

-- A start hook that waits for longer than this waits for something that does not come.
local START_SECONDS = 60

local served -- the app of this generation; nil before it is loaded

local read_file = stdlib.loading.read_file
function stdlib.loading.read_file(path)
  if path then traceback.add_script(path) end
  return read_file(path)
end

-- ---- the app's file ----

local function directory_of(path) return path:match "^(.*)/[^/]*$" or "." end

--- Finds the app's file: a Lua file, or a directory with an app.lua.
local function find_app(path)
  local file, message = io.open(path, "r")
  if file then
    local is_directory = select(2, file:read(0)) ~= nil
    file:close()
    if not is_directory then return path end
  elseif not message:find("No such file", 1, true) then
    error("cannot read the app: " .. message, 0)
  end
  local inside = path:gsub("/$", "") .. "/app.lua"
  if file then
    file, message = io.open(inside, "r")
    if file then
      file:close()
      return inside
    end
    error("there is no app in this directory: " .. message, 0)
  end
  error(("there is no app at %s: name a Lua file, or a directory with an app.lua"):format(path), 0)
end

local function load_file(path)
  local chunk, message = loadfile(path)
  if chunk then return chunk end
  error(traceback.split_place(message) and message or ("%s: %s"):format(path, message), 0)
end

--- Loads an app's file, which returns the app.
---@param path string
---@return weft.App
function M.load_app(path)
  path = find_app(path)
  local directory = directory_of(path)
  local beside = directory .. "/?.lua;" .. directory .. "/?/init.lua;"
  if package.path:sub(1, #beside) ~= beside then package.path = beside .. package.path end
  local app = load_file(path)()
  if getmetatable(app) ~= require("weft.app").App then
    error(("%s returned %s; it must return the app (is `return app` missing?)"):format(path,
      app == nil and "nothing" or "a " .. type(app)), 0)
  end
  return app
end

local function close_globals()
  setmetatable(_G, {
    __newindex = function(_, name)
      error(("assignment to the undeclared global %q: make it local"):format(tostring(name)), 2)
    end,
  })
end

--- The globals that `load` sets, with the place where each was set first.
---@param load function
---@return { name: string, where: string }[]
---@return any ... what it returned
function M.watch_globals(load, ...)
  local set = {}
  setmetatable(_G, {
    __newindex = function(globals, name, value)
      local at = debug.getinfo(2, "Sl")
      set[#set + 1] = {
        name = tostring(name),
        where = traceback.expand(("%s:%d"):format(at.short_src, at.currentline)),
      }
      rawset(globals, name, value)
    end,
  })
  return set, load(...)
end

-- ---- start ----

local function place_of(fn)
  local info = type(fn) == "function" and debug.getinfo(fn, "S")
  return info and traceback.expand(("%s:%d"):format(info.short_src, info.linedefined))
end

--- Runs the start hooks, one after the other. Raises what one raises, also when it does not end.
---@param app weft.App
---@param seconds number? how long each may take
function M.run_start_hooks(app, seconds)
  seconds = seconds or START_SECONDS
  for _, fn in ipairs(app._hooks.start or {}) do
    local _, err = task.timeout(seconds, function() fn() end) -- what it returns is not ours
    if err then
      local where = place_of(fn)
      error(("%sthe start hook has not ended after %g s: what does it wait for?"):format(
        where and where .. ": " or "", seconds), 0)
    end
  end
end

-- ---- commands ----

local commands = {}

function commands.run(path, dev, version)
  local app = M.load_app(path)
  app.dev = dev == "dev"
  if app.dev then require("weft.dev_page").version = version end
  local serve = require("weft.serve").new(app)
  M.run_start_hooks(app)
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
  local globals, app = M.watch_globals(M.load_app, path)
  require("weft.check").print(app, globals)
end

function commands.test(...)
  core.set_exit(require("weft.test_runner").run { ... })
end

function M.main(command, ...)
  local ok, raised = xpcall(commands[command], errors.on_raise, ...)
  if ok then return end
  local stopped = errors.is_cancelled(raised) and core.cancelled()
  io.stderr:write("weft: ", stopped and "stopped before it was ready"
    or load_error.explain(raised), "\n")
  core.set_exit(1)
end

return M
