--- The headers of a response: an ordered multi-map whose names ignore case.
-- To a script it is a plain table: assigning replaces every value of the name (a list assigns
-- several, nil removes), reading joins repeats with ", ", `pairs` goes through the fields. It has
-- no methods, so that a header called "add" is a header; what else there is to do stands here as
-- a function of the module. It refuses what could break the message on the wire, at the line that
-- assigns it. It does not know what a header means, and does not write bytes.
--
-- Layout. One flat array holds everything, and is walked by whoever writes the response:
--   h[1]            how many fields there are: n
--   h[3 * i - 1]    field i, for i = 1 .. n: its name, as given
--   h[3 * i]                                 its name in lower case
--   h[3 * i + 1]                             its value, checked and trimmed
-- The proxy never has string keys of its own, so both metamethods always fire for names. Slots
-- up to 3 * n + 1 are never nil: plain indexing reads and overwrites them without a metamethod;
-- beyond that only rawset may be used.

local new_table = require "table.new"
local clear_table = require "table.clear"

local byte, find, lower, sub = string.byte, string.find, string.lower, string.sub

---@class weft.Headers
---@field [string] string|number|(string|number)[]|nil
local Headers = { __name = "weft.Headers" }

local headers = {}

headers.COUNT = 1 -- the slot of the count
headers.FIRST = 2 -- the slot of the first field's name
headers.STRIDE = 3 -- slots of one field: name, name in lower case, value

-- Room for six fields before the array has to grow: most responses have fewer.
local SLOTS = 3 * 6 + 2

-- What was checked once is remembered: names -> lower case, values -> trimmed. A response's
-- names and most of its values repeat, and one lookup costs less than looking at every byte.
-- Both tables are emptied when they are full, so values that never repeat cannot fill memory.
local MAX_KNOWN = 1024
local MAX_KNOWN_LEN = 128 -- longer values are checked each time and not kept
local names, name_count = {}, 0
local values, value_count = {}, 0

--- Checks a name that is not known yet and gives it in lower case.
local function learn_name(name, level)
  if type(name) ~= "string" then error("header names are strings", level + 1) end
  if not find(name, "^[%w!#$%%&'*+.^_`|~-]+$") then
    error(("%q is not a header name"):format(name), level + 1)
  end
  if name_count >= MAX_KNOWN then
    clear_table(names)
    name_count = 0
  end
  name_count = name_count + 1
  local small = lower(name)
  names[name] = small
  return small
end

local function is_blank(code) return code == 32 or code == 9 end

--- Without the spaces and tabs around it: they are not part of a value (RFC 9110 section 5.5).
local function trim(value)
  local first, last = 1, #value
  while first <= last and is_blank(byte(value, first)) do first = first + 1 end
  while last > first and is_blank(byte(value, last)) do last = last - 1 end
  return sub(value, first, last)
end

--- Checks a value that is not known yet and gives it trimmed.
local function learn_value(name, value, level)
  if type(value) == "number" then return tostring(value) end
  if type(value) ~= "string" then
    error(("header %q: a value is a string or a number, not a %s"):format(name, type(value)),
      level + 1)
  end
  if find(value, "\r", 1, true) or find(value, "\n", 1, true) then
    error(("header %q: the value contains a line break"):format(name), level + 1)
  end
  for i = 1, #value do
    local code = byte(value, i)
    if code < 32 and code ~= 9 or code == 127 then
      error(("header %q: the value contains the control byte %d"):format(name, code), level + 1)
    end
  end
  local trimmed = trim(value)
  if #value <= MAX_KNOWN_LEN then
    if value_count >= MAX_KNOWN then
      clear_table(values)
      value_count = 0
    end
    value_count = value_count + 1
    values[value] = trimmed
  end
  return trimmed
end

local function append(h, name, small, value)
  local count = h[1] + 1
  h[1] = count
  rawset(h, 3 * count - 1, name)
  rawset(h, 3 * count, small)
  rawset(h, 3 * count + 1, value)
end

--- Removes the fields called `small`, from the lower-case slot `from` on, and closes the gaps.
local function drop(h, small, from)
  local last, to = 3 * h[1], from
  for at = from, last, 3 do
    if h[at] ~= small then
      if to ~= at then
        h[to - 1], h[to], h[to + 1] = h[at - 1], h[at], h[at + 1]
      end
      to = to + 3
    end
  end
  h[1] = to / 3 - 1
  for at = to - 1, last + 1 do h[at] = nil end
end

--- Makes `value` the only one of its name; the first field of that name keeps its place.
local function put(h, name, small, value)
  for at = 3, 3 * h[1], 3 do
    if h[at] == small then
      h[at - 1] = name
      h[at + 1] = value
      return drop(h, small, at + 3)
    end
  end
  append(h, name, small, value)
end

--- A copy of the list with its values checked, so that a bad one changes nothing.
local function checked_list(name, list, level)
  local checked = {}
  for i = 1, #list do
    checked[i] = values[list[i]] or learn_value(name, list[i], level + 1)
  end
  return checked
end

--- Replaces all values of a name: with one, with a list of them, or with none (nil).
---@param h weft.Headers
---@param name string
---@param value string|number|(string|number)[]|nil
function headers.set(h, name, value)
  local small = names[name] or learn_name(name, 2)
  if value == nil then return drop(h, small, 3) end
  if type(value) == "table" then
    local list = checked_list(name, value, 2)
    if #list == 0 then return drop(h, small, 3) end
    put(h, name, small, list[1])
    for i = 2, #list do append(h, name, small, list[i]) end
    return
  end
  put(h, name, small, values[value] or learn_value(name, value, 2))
end

--- Adds a value (or a list of them) beside those the name has already.
-- Errors are raised at the caller's line: a method that wraps this and means its own caller's
-- line makes it a tail call.
---@param h weft.Headers
---@param name string
---@param value string|number|(string|number)[]
function headers.add(h, name, value)
  local small = names[name] or learn_name(name, 2)
  if type(value) == "table" then
    local list = checked_list(name, value, 2)
    for i = 1, #list do append(h, name, small, list[i]) end
    return
  end
  append(h, name, small, values[value] or learn_value(name, value, 2))
end

--- The value of a name: repeats joined with ", ", but of `set-cookie` the last, for its values
-- cannot be joined. Nil when there is none.
---@param h weft.Headers
---@param name string
---@return string?
function headers.get(h, name)
  local small = names[name]
  if not small then
    if type(name) ~= "string" then error("header names are strings", 2) end
    small = lower(name)
  end
  local value
  for at = 3, 3 * h[1], 3 do
    if h[at] == small then
      if value and small ~= "set-cookie" then
        value = value .. ", " .. h[at + 1]
      else
        value = h[at + 1]
      end
    end
  end
  return value
end

--- All values of a name, as a list of the caller's own.
---@param h weft.Headers
---@param name string
---@return string[]
function headers.values(h, name)
  if type(name) ~= "string" then error("header names are strings", 2) end
  local small = names[name] or lower(name)
  local list, count = {}, 0
  for at = 3, 3 * h[1], 3 do
    if h[at] == small then
      count = count + 1
      list[count] = h[at + 1]
    end
  end
  return list
end

--- Removes a name; fine when it is not there.
---@param h weft.Headers
---@param name string
function headers.remove(h, name)
  if type(name) ~= "string" then error("header names are strings", 2) end
  drop(h, names[name] or lower(name), 3)
end

--- How many fields there are, each repeat counted.
---@param h weft.Headers
---@return integer
function headers.count(h) return h[1] end

--- Whether the comma-separated `list` has the token `small`; both are in lower case.
local function has_token(list, small)
  local from = 1
  while true do
    local first, last = find(list, small, from, true)
    if not first then return false end
    local before, after = byte(list, first - 1), byte(list, last + 1)
    if (first == 1 or before == 44 or is_blank(before))
      and (not after or after == 44 or is_blank(after)) then
      return true
    end
    from = last + 1
  end
end

--- Adds a name to `Vary`, unless it is there already or `*` says it all.
---@param h weft.Headers
---@param name string
function headers.vary(h, name)
  local small = names[name] or learn_name(name, 2)
  local last
  for at = 3, 3 * h[1], 3 do
    if h[at] == "vary" then
      local list = lower(h[at + 1])
      if has_token(list, small) or has_token(list, "*") then return end
      last = at + 1
    end
  end
  if small == "*" or not last then
    put(h, "Vary", "vary", name)
  elseif h[last] == "" then
    h[last] = name
  else
    h[last] = h[last] .. ", " .. name
  end
end

local function next_slot(h, at)
  at = at + 3
  if at < 3 * h[1] then return at, h[at], h[at + 2] end
end

--- For our own loops, without a copy: `for _, name, value in headers.each(h)`. The fields must
-- not be added or removed meanwhile.
---@param h weft.Headers
---@return fun(h: weft.Headers, at: integer): integer?, string?, string?
---@return weft.Headers
---@return integer
function headers.each(h) return next_slot, h, -1 end

local function next_field(fields)
  local at = fields.at
  fields.at = at + 2
  return fields[at], fields[at + 1]
end

--- Goes through a copy of the fields, so a script may assign and remove while it walks. The
-- place is kept in the copy: a closure for each loop could not be compiled.
local function pairs_of(h)
  local count = h[1]
  local fields = new_table(2 * count, 1)
  fields.at = 1
  for i = 1, count do
    fields[2 * i - 1] = h[3 * i - 1]
    fields[2 * i] = h[3 * i + 1]
  end
  return next_field, fields
end

local function to_string(h)
  local lines = {}
  for i = 1, h[1] do lines[i] = h[3 * i - 1] .. ": " .. h[3 * i + 1] end
  return table.concat(lines, "\n")
end

Headers.__index = headers.get
Headers.__newindex = headers.set
Headers.__pairs = pairs_of
Headers.__tostring = to_string

--- Whether `value` was made here, so that it may be walked by its layout.
---@param value any
---@return boolean
function headers.is(value) return getmetatable(value) == Headers end

--- Headers without fields.
---@return weft.Headers
function headers.new()
  local h = new_table(SLOTS, 0)
  h[1] = 0 -- before the metatable is there to catch it
  setmetatable(h, Headers) -- no tail call: LuaJIT could not compile one of a C function
  return h
end

--- Headers with the fields of a table (values as in `set`) or of other headers, always a copy.
-- The fields of a plain table come in the order of `pairs`, which is no order at all.
---@param fields table<string, string|number|(string|number)[]>|weft.Headers
---@param level integer? whom to blame for a bad field, as in `error`; default 2, the caller
---@return weft.Headers
function headers.from(fields, level)
  level = level or 2
  local h = headers.new()
  if getmetatable(fields) == Headers then
    for at = 1, 3 * fields[1] + 1 do rawset(h, at, fields[at]) end
    return h
  end
  if type(fields) ~= "table" then
    error("headers are a table, not a " .. type(fields), level)
  end
  for name, value in pairs(fields) do
    local small = names[name] or learn_name(name, level)
    if type(value) == "table" then
      local list = checked_list(name, value, level)
      for i = 1, #list do append(h, name, small, list[i]) end
    else
      append(h, name, small, values[value] or learn_value(name, value, level))
    end
  end
  return h
end

return headers
