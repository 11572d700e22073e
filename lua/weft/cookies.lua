--- Cookies: the `Cookie` header as a table, and the lines of `Set-Cookie`.
-- Reading takes whatever a browser may send and never raises; writing is strict and raises at
-- the caller's line, because what a browser would drop in silence is hard to find later. Owns no
-- headers, signs nothing and encrypts nothing.

local byte, char, find, lower, sub = string.byte, string.char, string.find, string.lower, string.sub

local cookies = {}

-- Browsers keep fewer for a site; what follows in the header is ignored.
local MAX_COOKIES = 200

local WEEKDAYS = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" } -- 1970 began on a Thursday
local MAX_EPOCH = 253402300799 -- the last second of the year 9999: years have four digits

-- The days of a leap year as HTTP writes them: DAYS[1] is "01 Jan", DAYS[366] is "31 Dec".
local DAYS = {}
for month, len in ("Jan31Feb29Mar31Apr30May31Jun30Jul31Aug31Sep30Oct31Nov30Dec31")
  :gmatch("(%a+)(%d+)") do
  for day = 1, tonumber(len) do DAYS[#DAYS + 1] = ("%02d %s"):format(day, month) end
end

local floor = math.floor

--- How many days lie between 1970 and the first day of a year.
local function days_before(year)
  local past = year - 1
  return 365 * (year - 1970) + floor(past / 4) - floor(past / 100) + floor(past / 400) - 477
end

--- A point in time as HTTP writes it: "Sun, 06 Nov 1994 08:49:37 GMT". Not os.date, whose names
-- follow the locale. What lies outside 1970 to 9999 becomes the first or the last second of it.
---@param epoch number seconds since 1970, UTC
---@return string
function cookies.http_date(epoch)
  epoch = floor(math.max(0, math.min(epoch, MAX_EPOCH)))
  local days = floor(epoch / 86400)
  local seconds = epoch - days * 86400

  local year = 1970 + floor(days / 365.2425) -- may be one off near New Year
  if days < days_before(year) then year = year - 1 end
  if days >= days_before(year + 1) then year = year + 1 end
  local day = days - days_before(year) + 1
  if day > 59 and days_before(year + 1) - days_before(year) == 365 then day = day + 1 end

  return ("%s, %s %04d %02d:%02d:%02d GMT"):format(WEEKDAYS[days % 7 + 1], DAYS[day], year,
    floor(seconds / 3600), floor(seconds / 60) % 60, seconds % 60)
end

local function is_blank(code) return code == 32 or code == 9 end

--- The bytes from `first` to `last` without the spaces and tabs around them.
local function trimmed(text, first, last)
  while first <= last and is_blank(byte(text, first)) do first = first + 1 end
  while last > first and is_blank(byte(text, last)) do last = last - 1 end
  return sub(text, first, last)
end

--- Replaces one escape of a quoted value: an octal code, or a byte that stands for itself.
local function unescape(code)
  if find(code, "^[0-3][0-7][0-7]$") then return char(tonumber(code, 8)) end
  return code
end

local function unquote(value)
  if byte(value, 1) ~= 34 or #value < 2 or byte(value, -1) ~= 34 then return value end
  value = sub(value, 2, -2)
  if find(value, "\\", 1, true) then value = value:gsub("\\(.[0-7]?[0-7]?)", unescape) end
  return value
end

--- Reads a `Cookie` header. Of one name the last cookie counts; a chunk without "=" is the value
-- of the empty name. Values are not percent-decoded: cookies have no such encoding.
---@param header string? nil gives an empty table
---@return table<string, string>
function cookies.parse(header)
  local values = {}
  if not header then return values end
  local from, len, count = 1, #header, 0
  local equals = find(header, "=", 1, true) or len + 1 -- the first one at `from` or behind
  while from <= len and count < MAX_COOKIES do
    count = count + 1
    local last = (find(header, ";", from, true) or len + 1) - 1
    if equals < from then equals = find(header, "=", from, true) or len + 1 end

    local name = ""
    if equals <= last then
      name = trimmed(header, from, equals - 1)
      from = equals + 1
    end
    local value = trimmed(header, from, last)
    if name ~= "" or value ~= "" then values[name] = unquote(value) end
    from = last + 2
  end
  return values
end

---@class weft.CookieOptions
---@field max_age integer? seconds; writes `Expires` as well
---@field expires number? seconds since 1970; without both, the cookie ends with the browser
---@field path string? default "/"
---@field domain string? default: the host alone, without its subdomains
---@field secure boolean? sent over https only
---@field http_only boolean? hidden from the page's scripts
---@field same_site "lax"|"strict"|"none"|nil "none" requires secure

local OPTIONS = {
  max_age = "number",
  expires = "number",
  path = "string",
  domain = "string",
  secure = "boolean",
  http_only = "boolean",
  same_site = "string",
}
local SAME_SITE = { lax = "Lax", strict = "Strict", none = "None" }

--- Says what is wrong with the types and names of options, or nothing.
local function check_options(options)
  for option, value in pairs(options) do
    local wanted = OPTIONS[option]
    if not wanted then return ("there is no option %q"):format(tostring(option)) end
    if type(value) ~= wanted then
      return ("%s is a %s, not a %s"):format(option, wanted, type(value))
    end
  end
end

--- Says what is wrong with a cookie, or nothing.
local function check(name, value, options)
  if find(value, "[^!#-+%-.-:<-[%]^-~]") then
    return "the value has a byte that cookies cannot carry (RFC 6265); encode it"
  end
  local reason = check_options(options)
  if reason then return reason end

  local path, domain = options.path or "/", options.domain
  if not find(path, "^/[\32-\58\60-\126]*$") then return 'path must begin with "/", without ";"' end
  if domain and not find(domain, "^%.?%w[%w.-]*$") then return "domain is not a host name" end
  if options.max_age and options.expires then return "give max_age or expires, not both" end
  local seconds = options.max_age or options.expires
  if seconds and seconds ~= seconds then return "max_age and expires must be numbers" end
  if options.same_site and not SAME_SITE[options.same_site] then
    return 'same_site is "lax", "strict" or "none"'
  end
  if options.same_site == "none" and not options.secure then
    return 'same_site = "none" requires secure'
  end

  local prefix = lower(sub(name, 1, 9)) -- browsers compare it without case
  if find(prefix, "__secure-", 1, true) and not options.secure then
    return "its prefix requires secure"
  end
  if find(prefix, "__host-", 1, true) and not (options.secure and path == "/" and not domain) then
    return 'its prefix requires secure, the path "/" and no domain'
  end
end

--- Writes a line whose parts have been checked.
local function write(name, value, options, max_age, expires)
  local line = name .. "=" .. value
  if expires then line = line .. "; Expires=" .. cookies.http_date(expires) end
  if max_age then line = line .. ("; Max-Age=%d"):format(max_age) end
  line = line .. "; Path=" .. (options.path or "/")
  if options.domain then line = line .. "; Domain=" .. options.domain end
  if options.secure then line = line .. "; Secure" end
  if options.http_only then line = line .. "; HttpOnly" end
  if options.same_site then line = line .. "; SameSite=" .. SAME_SITE[options.same_site] end
  return line
end

local NO_OPTIONS = {}

local function check_name(name, level)
  if type(name) ~= "string" or not find(name, "^[%w!#$%%&'*+.^_`|~-]+$") then
    error(("%q is not a cookie's name"):format(tostring(name)), level + 1)
  end
end

--- The value of a `Set-Cookie` header.
---@param name string a token
---@param value string|number printable ASCII without space, quotes, comma, semicolon, backslash
---@param options weft.CookieOptions?
---@param level integer? whom to blame for a mistake, as in `error`; default 2, the caller
---@return string
function cookies.serialize(name, value, options, level)
  level = level or 2
  options = options or NO_OPTIONS
  check_name(name, level)
  if type(value) == "number" then value = tostring(value) end
  if type(value) ~= "string" then
    error(("cookie %q: the value is a string, not a %s"):format(name, type(value)), level)
  end
  local reason = check(name, value, options)
  if reason then error(("cookie %q: %s"):format(name, reason), level) end

  local max_age, expires = options.max_age, options.expires
  if max_age then
    max_age = floor(math.max(0, math.min(max_age, MAX_EPOCH)))
    expires = max_age > 0 and os.time() + max_age or 0
  end
  return write(name, value, options, max_age, expires)
end

--- The `Set-Cookie` header that makes a browser forget a cookie. Path and domain must be those
-- it was set with; Secure is added where the browser would refuse the line without it.
---@param name string
---@param options weft.CookieOptions? max_age and expires mean nothing here
---@param level integer? as in `serialize`
---@return string
function cookies.delete(name, options, level)
  level = level or 2
  check_name(name, level)
  local copy = {}
  for option, value in pairs(options or NO_OPTIONS) do copy[option] = value end
  local small = lower(name)
  if copy.same_site == "none" or find(small, "^__secure%-") or find(small, "^__host%-") then
    copy.secure = true
  end
  local reason = check(name, "", copy)
  if reason then error(("cookie %q: %s"):format(name, reason), level) end
  return write(name, "", copy, 0, 0)
end

return cookies
