--- `string.gsub` and `string.format` that await through what they call.
--
-- The C versions cannot be left by a yield: gsub while its replacement function or the `__index`
-- of its table runs, format while a `__tostring` runs. These do the calling in Lua and leave the
-- rest to C. Results and errors are those of the originals, but that a parenthesis left open in a
-- pattern is an error with a table too. A match costs about four times as much as in C, so what
-- cannot await (a string, a table without a metatable) goes to C as a whole.

local bit = require "bit"

local raw_format, raw_gsub = string.format, string.gsub
local byte, find, gmatch, sub = string.byte, string.find, string.gmatch, string.sub

local M = {}

local CARET = byte("^")

-- What `pcall(find, ...)` found, with what is to stand there instead: ok, first, last, value.
local function replaced(replacement, s, ok, first, last, ...)
  if not ok or not first then
    return ok, first
  end
  if type(replacement) == "function" then
    if select("#", ...) > 0 then
      return true, first, last, (replacement(...))
    end
    return true, first, last, (replacement(sub(s, first, last)))
  end
  if select("#", ...) > 0 then
    return true, first, last, replacement[(...)]
  end
  return true, first, last, replacement[sub(s, first, last)]
end

local function is_text(value)
  local kind = type(value)
  return kind == "string" or kind == "number"
end

--- `string.gsub`, whose function or table may await.
---@param s string
---@param pattern string
---@param replacement string|function|table
---@param ... integer? at most so many replacements
---@return string
---@return integer count of the matches
function M.gsub(s, pattern, replacement, ...)
  local kind = type(replacement)
  local limit = ...
  local max = limit == nil and math.huge or tonumber(limit)
  local may_await = kind == "function" or kind == "table" and getmetatable(replacement) ~= nil
  if not may_await or not (is_text(s) and is_text(pattern) and max) then
    return raw_gsub(s, pattern, replacement, ...) -- needs no help, or raises
  end
  s, pattern = tostring(s), tostring(pattern)
  if limit ~= nil then
    max = bit.tobit(max - max % 1) -- the C version reads an int
  end

  local anchored = byte(pattern) == CARET
  if not find(pattern, "[%^%$%*%+%?%.%(%[%%%-]") then
    pattern = pattern .. ".-" -- matches nothing more, but keeps find from its plain search
  end
  local parts, filled = {}, 0
  local count = 0
  local at = 1 -- where the next match may begin
  local copied = 1 -- what is before is in parts already
  while count < max and at <= #s + 1 do
    -- A pattern's error is to name the caller's line, not this one.
    local ok, first, last, value = replaced(replacement, s, pcall(find, s, pattern, at))
    if not ok then
      error(first, 2)
    end
    if not first then
      break
    end
    count = count + 1
    if value then
      if not is_text(value) then
        error("invalid replacement value (a " .. type(value) .. ")", 2)
      end
      if first > copied then
        filled = filled + 1
        parts[filled] = sub(s, copied, first - 1)
      end
      filled = filled + 1
      parts[filled] = value
      copied = last + 1
    end
    if anchored then
      break
    end
    at = math.max(last, first) + 1 -- past the match; past one byte if it is empty
  end
  parts[filled + 1] = sub(s, copied)
  return table.concat(parts), count
end

local function is_object(value)
  local kind = type(value)
  return kind == "table" or kind == "userdata" or kind == "cdata"
end

local function has_object(...)
  for i = 1, select("#", ...) do
    if is_object((select(i, ...))) then
      return true
    end
  end
  return false
end

-- The arguments, with objects that are to be printed as text turned into it.
local function spelled(pattern, ...)
  local values = { ... }
  local i = 0
  for directive in gmatch(pattern, "%%[^%a%%]*([%a%%])") do
    if directive ~= "%" then
      i = i + 1
    end
    if (directive == "s" or directive == "q") and is_object(values[i]) then
      values[i] = tostring(values[i])
    end
  end
  return unpack(values, 1, select("#", ...))
end

--- `string.format`, with a `__tostring` that may await.
---@param pattern string
---@return string
function M.format(pattern, ...)
  -- The first few are looked at by name, which compiles into straight code.
  local a, b, c, d = ...
  if is_object(a) or is_object(b) or is_object(c) or is_object(d)
    or select("#", ...) > 4 and has_object(...) then
    if type(pattern) == "string" then
      return raw_format(pattern, spelled(pattern, ...))
    end
  end
  return raw_format(pattern, ...)
end

return M
