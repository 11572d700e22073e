--- The lines that are logged in this process while a function runs.

local core = require "weft.core"

--- Runs `fn(...)` and gives what was logged meanwhile, by this task or another, instead of writing
-- it. What `fn` raises is raised.
---@param fn function
---@return { level: string, message: string, fields: table? }[]
return function(fn, ...)
  local lines = {}
  local log, enabled = core.log, core.log_enabled
  core.log_enabled = function() return true end
  core.log = function(level, message, fields)
    lines[#lines + 1] = { level = level, message = message, fields = fields }
  end
  local ok, raised = pcall(fn, ...)
  core.log, core.log_enabled = log, enabled
  if not ok then error(raised, 0) end
  return lines
end
