--- `weft test`: runs busted inside the runtime, so that specs may await. Each `it` is a task of its
-- own: what it spawned and forgot ends with it, and its deferred functions run.

local core = require "weft.core"
local task = require "weft.task"

local M = {}

--- Runs the specs that the arguments name; busted reads `.busted` for the rest.
---@param arguments string[] as for busted
---@return boolean ok whether there was no failure
function M.run(arguments)
  -- Busted forgets what modules a spec file loaded; those of weft are one and stay.
  for _, module in ipairs(core.modules()) do
    if not module:find("^weft%.middleware%.") then require(module) end
  end
  local found, message = pcall(require, "busted.core")
  if not found then
    error("weft test needs busted (on Debian: apt-get install lua-busted)\n" .. message, 0)
  end
  local exit = {}
  require("busted.compatibility").exit = function(code)
    exit.code = code
    error(exit, 0)
  end
  local new_core = package.loaded["busted.core"]
  package.loaded["busted.core"] = function(...)
    local busted = new_core(...)
    local safe = busted.safe
    function busted.safe(descriptor, run, element)
      if descriptor ~= "it" then return safe(descriptor, run, element) end
      return task.spawn(safe, descriptor, run, element):await()
    end
    return busted
  end
  arguments[0] = "weft test"
  _G.arg = arguments
  package.path = "./?.lua;./?/init.lua;" .. package.path
  local ok, raised = pcall(require "busted.runner", { standalone = false })
  io.stdout:flush()
  if not ok and raised ~= exit then error(raised, 0) end
  return ok or exit.code == 0
end

return M
