--- Query strings and bodies of forms (application/x-www-form-urlencoded).
-- Owns the escaping of names and values, and how text becomes tables and tables text. It does not
-- know requests, looks at no charset (bytes stay as they came), and gives a name with brackets
-- no meaning.

local byte, char, find, sub = string.byte, string.char, string.find, string.sub

local query = {}

-- More fields than any honest form has; what passes it is an attack or a mistake.
local MAX_FIELDS = 1000

-- "4A" and "4a" -> "J", for reading; 74 -> "J" and 32 -> "%20", for writing.
local decoded, encoded = {}, {}
for code = 0, 255 do
  local upper, lower = ("%02X"):format(code), ("%02x"):format(code)
  local letter = char(code)
  decoded[upper], decoded[lower] = letter, letter
  decoded[sub(upper, 1, 1) .. sub(lower, 2)] = letter
  decoded[sub(lower, 1, 1) .. sub(upper, 2)] = letter
  encoded[code] = find(letter, "[A-Za-z0-9._~-]") and letter or "%" .. upper
end

--- Decodes a name or a value: "+" is a space, "%41" is "A"; a broken escape stays as it is.
---@param component string
---@return string
function query.decode(component)
  if find(component, "+", 1, true) then component = component:gsub("+", " ") end
  local percent = find(component, "%", 1, true)
  if not percent then return component end
  local parts, count, from = {}, 0, 1
  repeat
    local letter = decoded[sub(component, percent + 1, percent + 2)]
    if letter then
      parts[count + 1], parts[count + 2] = sub(component, from, percent - 1), letter
      count = count + 2
      from = percent + 3
    end
    percent = find(component, "%", percent + 1, true)
  until not percent
  parts[count + 1] = sub(component, from)
  return table.concat(parts)
end

--- Encodes a name or a value: all but letters, digits and "-._~" is escaped, a space as "%20",
-- so that the result may stand in a path as well.
---@param component string|number
---@return string
function query.encode(component)
  if type(component) == "number" then component = tostring(component) end
  if type(component) ~= "string" then
    error("only strings and numbers can be encoded, not a " .. type(component), 2)
  end
  local parts = {}
  for i = 1, #component do parts[i] = encoded[byte(component, i)] end
  return table.concat(parts)
end

--- Takes a query string apart. Blank values are kept, a name without "=" has the value "", and
-- what is empty between two "&" is no field.
---@param text string without the "?"
---@param limit integer? how many fields are allowed; default 1000
---@return table<string, string>? values each name's last value; nil when there are too many
---@return table<string, string[]>|string lists each name's values in order; or what went wrong
function query.parse(text, limit)
  limit = limit or MAX_FIELDS
  local values, lists, count = {}, {}, 0
  local from, len = 1, #text
  local equals = find(text, "=", 1, true) or len + 1 -- the first one at `from` or behind
  while from <= len do
    local last = (find(text, "&", from, true) or len + 1) - 1
    if last >= from then
      count = count + 1
      if count > limit then return nil, "too many fields" end
      if equals < from then equals = find(text, "=", from, true) or len + 1 end

      local name, value
      if equals <= last then
        name = query.decode(sub(text, from, equals - 1))
        value = query.decode(sub(text, equals + 1, last))
      else
        name, value = query.decode(sub(text, from, last)), ""
      end

      values[name] = value
      local list = lists[name]
      if list then
        list[#list + 1] = value
      else
        lists[name] = { value }
      end
    end
    from = last + 2
  end
  return values, lists
end

--- One "name=value", or an error two levels further out.
local function pair(name, value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    error(("field %q: a value is a string, a number or a boolean, not a %s"):format(name, kind), 3)
  end
  return query.encode(name) .. "=" .. query.encode(tostring(value))
end

--- Makes a query string. Names are sorted, so that the same table always gives the same text
-- (for caches and signatures); a list repeats its name.
---@param fields table<string, string|number|boolean|(string|number|boolean)[]>
---@return string
function query.build(fields)
  local names = {}
  for name in pairs(fields) do
    if type(name) ~= "string" then error("names of fields are strings", 2) end
    names[#names + 1] = name
  end
  table.sort(names)
  local parts = {}
  for _, name in ipairs(names) do
    local value = fields[name]
    if type(value) == "table" then
      for _, item in ipairs(value) do parts[#parts + 1] = pair(name, item) end
    else
      parts[#parts + 1] = pair(name, value)
    end
  end
  return table.concat(parts, "&")
end

return query
