--- Log lines: `log.info("what happened", { key = value })`.
-- Text for people or JSON for machines, on standard error; the process decides which (`weft run
-- --log-format`, `--log-level`). Fields are plain values; what else is given is made a string. A
-- line says which request it belongs to if `context.request_id` is set. Logging raises only if it
-- is called wrongly, and waits only if a `__tostring` does.

local core = require "weft.core"
local errors = require "weft.errors"

local log = {}

local function plain(fields)
  local result = {}
  for key, value in next, fields do
    local kind = type(value)
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      value = errors.text(value)
    end
    result[errors.text(key)] = value
  end
  return result
end

local function write(level, message, fields)
  if fields ~= nil and type(fields) ~= "table" then
    error(("log.%s takes a message and a table of fields, not a %s"):format(level, type(fields)), 3)
  end
  if not core.log_enabled(level) then return end
  local record = core.record(false)
  local id = record and record.context and record.context.request_id
  if fields or id ~= nil then
    fields = plain(fields or {})
    if fields.request_id == nil and id ~= nil then fields.request_id = errors.text(id) end
  end
  core.log(level, errors.text(message), fields)
end

---@param message string
---@param fields table<string, any>?
function log.debug(message, fields) write("debug", message, fields) end

---@param message string
---@param fields table<string, any>?
function log.info(message, fields) write("info", message, fields) end

---@param message string
---@param fields table<string, any>?
function log.warn(message, fields) write("warn", message, fields) end

---@param message string
---@param fields table<string, any>?
function log.error(message, fields) write("error", message, fields) end

return log
