--- Log lines of the running spec, collected and not written until its task (an `it`) ends.

local core = require "weft.core"
local task = require "weft.task"

local M = {}

---@class weft.TestLog a list of { level, message, fields }
local Log = {}
Log.__index = Log

--- The lines of these levels, in their order: `log:of("error", "warn")`.
---@param ... string
---@return { level: string, message: string, fields: table }[]
function Log:of(...)
  local lines = {}
  for _, line in ipairs(self) do
    for i = 1, select("#", ...) do
      if line.level == select(i, ...) then table.insert(lines, line) end
    end
  end
  return lines
end

--- Starts to collect, all levels.
---@return weft.TestLog
function M.capture()
  local log = setmetatable({}, Log)
  local write, enabled = core.log, core.log_enabled
  function core.log(level, message, fields)
    table.insert(log, { level = level, message = message, fields = fields or {} })
  end
  function core.log_enabled() return true end
  task.defer(function() core.log, core.log_enabled = write, enabled end)
  return log
end

return M
