--- `weft test`: runs busted inside the runtime, so that specs may await. Each `it` is a task of its
-- own: what it spawned and forgot ends with it, and its deferred functions run. Busted reads the
-- options and prints; here are the default paths, the count at the end, and the exit code.

local core = require "weft.core"
local task = require "weft.task"

local M = {}

-- Stands for "no path was given", as busted's own default cannot be told from a path.
local NO_PATHS = "tests/ or spec/"

-- These print one document: a line behind it would spoil it.
local DOCUMENTS = { json = true, junit = true }

local OK, FAILED, USAGE = 0, 1, 2

---@class weft.TestRun
---@field passed integer
---@field failed integer errors outside of tests too: a file that does not load, a setup
---@field skipped integer
---@field settings table? what busted made of the options and of `.busted`
---@field refused integer? exit code, once the options were refused
local function new_run() return { passed = 0, failed = 0, skipped = 0 } end

-- Puts a module of busted in place of its own: `wrap` is called with what the original makes.
local function replace(module, wrap)
  local original = require(module)
  package.loaded[module] = function(...) return wrap(original(...)) end
end

local COUNTED = { success = "passed", pending = "skipped", failure = "failed", error = "failed" }

local function count(run, busted)
  busted.subscribe({ "test", "end" }, function(_, _, status)
    local field = COUNTED[status]
    run[field] = run[field] + 1
    return nil, true
  end)
  local function outside(element)
    if element.descriptor ~= "it" then run.failed = run.failed + 1 end
    return nil, true
  end
  busted.subscribe({ "error" }, outside)
  busted.subscribe({ "failure" }, outside)
end

-- A clock that a test left frozen would hold up all that follow, and the end.
local function with_time(...)
  core.clock_freeze(false)
  return ...
end

local function make_tasks(busted)
  local safe = busted.safe
  function busted.safe(descriptor, run, element)
    if descriptor ~= "it" then return safe(descriptor, run, element) end
    return with_time(task.spawn(safe, descriptor, run, element):await())
  end
end

-- The paths to look in; nil and a message if there is nothing at one.
local function find_roots(settings)
  local path = require "pl.path"
  local function here(name) return path.join(settings.directory, name) end
  local roots = type(settings.ROOT) == "table" and settings.ROOT or { settings.ROOT }
  if roots[1] == NO_PATHS then
    local found = {}
    for _, name in ipairs { "tests", "spec" } do
      if path.isdir(here(name)) then found[#found + 1] = name end
    end
    if #found > 0 then return found end
    return nil, "no spec found: there is no tests/ and no spec/ here; name a file or a directory"
  end
  for _, root in ipairs(roots) do
    if not path.exists(here(root)) then
      return nil, ("no spec found: there is no %s"):format(root)
    end
  end
  return roots
end

local function read_options(run, cli)
  cli:set_name "weft test"
  return {
    set_name = function() end,
    parse = function(_, arguments)
      local settings, message = cli:parse(arguments)
      if not settings then
        run.refused = USAGE
        message = message:gsub("^weft test: error: ", "")
          :gsub("; re%-run with %-%-help for usage%.$", "; see `weft help test`")
        return nil, "weft: " .. message
      end
      if settings.version then return settings end
      settings.ROOT, message = find_roots(settings)
      if not settings.ROOT then
        run.refused = FAILED
        return nil, "weft: " .. message
      end
      run.settings = settings
      return settings
    end,
  }
end

local function prepare(run)
  replace("busted.core", function(busted)
    count(run, busted)
    make_tasks(busted)
    return busted
  end)
  replace("cliargs.core", function(cli)
    local splat = cli.splat
    function cli:splat(key, text, _, ...) return splat(self, key, text, NO_PATHS, ...) end
    return cli
  end)
  replace("busted.modules.cli", function(cli) return read_options(run, cli) end)
end

-- Runs busted; it ends with a call of its own `exit`, or returns.
local function run_busted()
  local exit = {}
  require("busted.compatibility").exit = function() error(exit, 0) end
  local runner = require "busted.runner"
  local ok, raised = pcall(runner, { standalone = false })
  if not ok and raised ~= exit then error(raised, 0) end
end

-- The last line, and what the process ends with.
local function conclude(run)
  io.stdout:flush()
  if run.refused then return run.refused end
  if not run.settings or run.settings.list then return OK end -- --version, --list
  local line = ("%d passed, %d failed"):format(run.passed, run.failed)
  if run.skipped > 0 then line = ("%s, %d skipped"):format(line, run.skipped) end
  local none = run.passed + run.failed + run.skipped == 0
  if none then io.stderr:write "weft: no test ran: do the options leave none?\n" end
  local out = DOCUMENTS[run.settings.output] and io.stderr or io.stdout
  out:write(line, "\n")
  out:flush()
  return (run.failed > 0 or none) and FAILED or OK
end

--- Runs the specs that the arguments name. The last line on standard output is "2 passed,
-- 1 failed", and ", 1 skipped" where there are any.
---@param arguments string[] as for busted
---@return integer code what the process ends with
function M.run(arguments)
  -- Busted forgets what modules a spec file loaded; those of weft are one and stay.
  for _, module in ipairs(core.modules()) do
    if not module:find("^weft%.middleware%.") then require(module) end
  end
  local found, message = pcall(require, "busted.core")
  if not found then
    error("weft test needs busted (on Debian: apt-get install lua-busted)\n" .. message, 0)
  end
  local run = new_run()
  prepare(run)
  arguments[0] = "weft test"
  _G.arg = arguments
  package.path = "./?.lua;./?/init.lua;" .. package.path
  run_busted()
  return conclude(run)
end

return M
