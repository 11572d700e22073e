--- Log lines: `log.info("what happened", { key = value })`.
-- Text for people or JSON for machines, on standard error; the process decides which (`weft run
-- --log-format`, `--log-level`). Fields are plain values; what else is given is made a string.

local core = require "weft.core"

local log = {}

local function plain(fields)
  local result = {}
  for key, value in pairs(fields) do
    local kind = type(value)
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then value = tostring(value) end
    result[tostring(key)] = value
  end
  return result
end

local function write(level, message, fields)
  if not core.log_enabled(level) then return end
  local record = core.record(false)
  local id = record and record.context and record.context.request_id
  if fields or id then
    fields = plain(fields or {})
    fields.request_id = fields.request_id or id
  end
  core.log(level, tostring(message), fields)
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
