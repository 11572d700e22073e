--- The options of `weft.app`: which there are, what they may be, and what is said about a wrong
-- one. Their defaults are C's (runtime/net/server.h), but for that of `max_body_size`.

local M = {}

-- The least and the most of each, as C takes them (runtime/vm/lua_exchange.c).
local YEAR = 365 * 24 * 3600
local SECONDS = {
  request_timeout = { 0, YEAR }, -- 0: none
  header_timeout = { 0.001, YEAR },
  body_timeout = { 0.001, YEAR },
  write_timeout = { 0.001, YEAR },
  idle_timeout = { 0.001, YEAR },
}
local COUNTS = {
  max_body_size = { 0, 2 ^ 40 },
  max_header_size = { 256, 65535 },
  max_target_size = { 1, 65535 },
  max_header_count = { 1, 10000 },
  max_connections = { 1, 2 ^ 20 },
}
local DISCONNECT = { reset = true, eof = true }

local UNITS = { [""] = 1, K = 1024, M = 1024 ^ 2, G = 1024 ^ 3 }

local function count_of(value)
  if type(value) == "number" then return value >= 0 and value % 1 == 0 and value or nil end
  local number, unit = tostring(value):match "^(%d+)([KMG]?)$"
  return number and tonumber(number) * UNITS[unit]
end

--- How many letters must be added, dropped or replaced to make one word of the other.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local replaced = diagonal + (a:byte(i) == b:byte(j) and 0 or 1)
      diagonal = row[j]
      row[j] = math.min(replaced, row[j] + 1, row[j - 1] + 1)
    end
  end
  return row[#b]
end

local function nearest(name)
  local best, best_distance = nil, math.floor(#name / 2)
  for _, set in ipairs { SECONDS, COUNTS, { disconnect = true } } do
    for known in pairs(set) do
      local far = distance(name, known)
      if far < best_distance or far == best_distance and best and known < best then
        best, best_distance = known, far
      end
    end
  end
  return best and (' (did you mean "%s"?)'):format(best) or ""
end

local function in_range(value, range) return value >= range[1] and value <= range[2] end

local function check(name, value)
  if SECONDS[name] then
    local range = SECONDS[name]
    if type(value) == "number" and in_range(value, range) then return value end
    return nil, (" option %s: a number of seconds from %g to %d, not %s"):format(name, range[1],
      range[2], tostring(value))
  elseif COUNTS[name] then
    local count, range = count_of(value), COUNTS[name]
    if count and in_range(count, range) then return count end
    return nil, (' option %s: a number from %d to %d, or text like "1M", not %s'):format(name,
      range[1], range[2], tostring(value))
  elseif name == "disconnect" then
    if DISCONNECT[value] then return value end
    return nil, (' option disconnect: "reset" or "eof", not %s'):format(tostring(value))
  end
  return nil, (" has no option %q%s"):format(tostring(name), nearest(tostring(name)))
end

--- Checks the options of an app.
---@param options table?
---@param level integer whom to blame for a mistake, as in `error`
---@return table<string, number|string> limits as C takes them; only those that were given
---@return integer max_body_size
function M.read(options, level)
  options = options == nil and {} or options
  if type(options) ~= "table" then error("weft.app takes a table of options", level + 1) end
  local limits = {}
  for name, value in pairs(options) do
    local checked, reason = check(name, value)
    if reason then error("weft.app" .. reason, level + 1) end
    limits[name] = checked
  end
  local max_body_size = limits.max_body_size or UNITS.M
  limits.max_body_size = nil -- the body is counted where it is read
  return limits, max_body_size
end

return M
