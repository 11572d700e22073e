--- Calling other HTTP services: `weft.fetch(url, options)`.
-- Owns what is said: the bytes of the request, and what a script sees of the response. Connections,
-- look-ups, retries, TLS and time-outs are C's (runtime/net/client.h). Not there yet: redirects,
-- streaming, unix sockets; asking for them is an error, never a silent something else.
--
-- What the script did wrong raises at the line that calls; what the world did is `nil, err`.

local await = require "weft.await"
local core = require "weft.core"
local errors = require "weft.errors"
local headers = require "weft.headers"
local json = require "weft.json"
local query = require "weft.query"
local tls = require "weft.tls"

local find, lower, match, sub = string.find, string.lower, string.match, string.sub
local core_fetch = core.fetch

local M = {}

local TIMEOUT, CONNECT_TIMEOUT = 30, 5 -- seconds
local MAX_BODY_SIZE = 8 * 1024 * 1024
local MAX_MS = 2 ^ 31 - 1 -- what C takes; 24 days

---@class weft.FetchResponse
---@field status integer
---@field ok boolean whether the status is 2xx
---@field headers weft.Headers
---@field body string
---@field url string what was asked for
local Response = { __name = "weft.FetchResponse" }

--- The body as it came.
---@return string
function Response:text() return self.body end

--- The body's JSON.
---@return any value nil when it is none
---@return weft.Error? err code "protocol"
function Response:json()
  local value, message = json.decode(self.body)
  if message then
    return nil, errors.new("protocol", ("%s: the body is not JSON: %s"):format(self.url, message))
  end
  return value
end

--- The lines of a head that C has checked.
local function parse_headers(head)
  local fields = headers.new()
  for name, value in head:gmatch "\r\n([^:\r\n]+):([^\r\n]*)" do
    headers.add(fields, name, value)
  end
  return fields
end

-- Most responses are asked for their status and body only: the rest is made when it is read.
function Response.__index(response, key)
  if key == "headers" then
    local fields = parse_headers(response._head)
    response.headers = fields
    return fields
  end
  if key == "ok" then return response.status >= 200 and response.status <= 299 end
  return Response[key]
end

function Response.__tostring(response)
  return ("weft.FetchResponse (%d from %s)"):format(response.status, response.url)
end

-- ---- URLs ---------------------------------------------------------------------------------------

---@class weft.fetch.Place
---@field key string "host:port", for the pool
---@field host string the Host header
---@field target string
---@field get string? the whole head of a plain GET
---@field tls boolean whether it is https://

local function bad_url(url, why, level)
  error(("fetch: the URL %q %s"):format(url, why), level + 1)
end

--- "[::1]:80" -> "[::1]", "80"; "host" -> "host", ""
local function split_authority(authority, url, level)
  local host, port = match(authority, "^(%[[%x:.]+%])(.*)$")
  if host then
    if not find(host, ":.*:") then bad_url(url, "has a malformed address", level + 1) end
  else
    host, port = match(authority, "^([%w._~-]+)(.*)$")
    if not host or #host > 253 then bad_url(url, "has no valid host name", level + 1) end
  end
  if port ~= "" and port ~= ":" then
    local number = tonumber(match(port, "^:(%d%d?%d?%d?%d?)$"))
    if not number or number < 1 or number > 65535 then
      bad_url(url, "has no valid port", level + 1)
    end
    port = ("%d"):format(number)
  else
    port = ""
  end
  return lower(host), port
end

local function parse_url(url, level)
  if type(url) ~= "string" then
    error(("fetch takes a URL, not %s"):format(type(url)), level + 1)
  end
  if find(url, "[%z\1-\32\127-\255]") then
    bad_url(url, "contains bytes that must be escaped, such as %20 for a space", level + 1)
  end
  local scheme, rest = match(url, "^(%a[%w+.-]*):(.*)$")
  scheme = scheme and lower(scheme)
  if scheme == "unix" then error("fetch: unix sockets are not there yet", level + 1) end
  if (scheme ~= "http" and scheme ~= "https") or sub(rest, 1, 2) ~= "//" then
    bad_url(url, "does not begin with http:// or https://", level + 1)
  end
  local authority, target = match(rest, "^//([^/?#]*)([^#]*)")
  if find(authority, "@", 1, true) then
    bad_url(url, "contains a user name; use an Authorization header", level + 1)
  end
  local host, port = split_authority(authority, url, level + 1)
  local default_port = scheme == "https" and "443" or "80"
  if port == default_port then port = "" end
  if sub(target, 1, 1) ~= "/" then target = "/" .. target end
  return {
    key = host .. ":" .. (port ~= "" and port or default_port),
    host = port ~= "" and host .. ":" .. port or host,
    target = target,
    tls = scheme == "https",
  }
end

-- URLs that were taken apart once: most services call the same few again and again. The table is
-- emptied when it is full, so URLs that never repeat cannot fill memory.
local MAX_KNOWN, MAX_KNOWN_LEN = 1024, 512
local known, known_count = {}, 0

local function learn_url(url, level)
  local place = parse_url(url, level + 1)
  if #url <= MAX_KNOWN_LEN then
    if known_count >= MAX_KNOWN then
      known, known_count = {}, 0
    end
    known_count = known_count + 1
    known[url] = place
  end
  return place
end

-- ---- options ------------------------------------------------------------------------------------

local OPTIONS = {
  method = true,
  headers = true,
  body = true,
  json = true,
  form = true,
  timeout = true,
  connect_timeout = true,
  read_timeout = true,
  max_body_size = true,
  redirects = true,
  stream = true,
  tls = true,
}

local function check_options(options, level)
  if type(options) ~= "table" then
    error(("fetch: the options are a table, not %s"):format(type(options)), level + 1)
  end
  for name in pairs(options) do
    if not OPTIONS[name] then
      error(("fetch has no option %q"):format(tostring(name)), level + 1)
    end
  end
  if options.redirects and options.redirects ~= 0 then
    error("fetch: following redirects is not there yet; redirects = 0 is", level + 1)
  end
  if options.stream then error("fetch: streaming is not there yet", level + 1) end
end

--- Seconds as the milliseconds that C takes.
local function milliseconds(options, name, default, level)
  local seconds = options[name]
  if seconds == nil then return default * 1000 end
  if type(seconds) ~= "number" or seconds ~= seconds or seconds <= 0 then
    error(("fetch: %s is a number of seconds above 0, not %s"):format(name, tostring(seconds)),
      level + 1)
  end
  return math.min(math.ceil(seconds * 1000), MAX_MS)
end

local function max_body_size(options, level)
  local size = options.max_body_size
  if size == nil then return MAX_BODY_SIZE end
  if type(size) ~= "number" or size ~= size or size < 0 then
    error("fetch: max_body_size is a number of bytes, not " .. tostring(size), level + 1)
  end
  return math.min(math.floor(size), MAX_MS)
end

-- Methods that may be sent twice: doing it again changes nothing (RFC 9110 section 9.2.2).
local IDEMPOTENT = {
  GET = true,
  HEAD = true,
  OPTIONS = true,
  PUT = true,
  DELETE = true,
  TRACE = true,
}

local function check_method(method, level)
  if type(method) ~= "string" or not find(method, "^[%w!#$%%&'*+.^_`|~-]+$") then
    error(("fetch: %s is not a method"):format(tostring(method)), level + 1)
  end
  method = method:upper()
  if method == "CONNECT" then error("fetch does not open tunnels: CONNECT", level + 1) end
  return method
end

--- The body, and its Content-Type; nil when there is none.
local function read_body(options, level)
  local count = (options.body ~= nil and 1 or 0) + (options.json ~= nil and 1 or 0)
    + (options.form ~= nil and 1 or 0)
  if count == 0 then return nil end
  if count > 1 then error("fetch takes one of body, json and form", level + 1) end
  if options.body ~= nil then
    if type(options.body) ~= "string" then
      error(("fetch: the body is a string, not %s"):format(type(options.body)), level + 1)
    end
    return options.body
  end
  local ok, body, kind
  if options.json ~= nil then
    ok, body = pcall(json.encode, options.json)
    kind = "application/json"
  else
    if type(options.form) ~= "table" then
      error(("fetch: the form is a table, not %s"):format(type(options.form)), level + 1)
    end
    ok, body = pcall(query.build, options.form)
    kind = "application/x-www-form-urlencoded"
  end
  if not ok then error("fetch: " .. tostring(body), level + 1) end
  return body, kind
end

-- ---- the request's bytes ------------------------------------------------------------------------

-- What the framing is for weft alone to say; and nobody may switch a pooled connection.
local FRAMING = {
  ["content-length"] = true,
  ["transfer-encoding"] = true,
  ["connection"] = true,
  ["keep-alive"] = true,
  ["upgrade"] = true,
  ["te"] = true,
  ["trailer"] = true,
}

local function plain_get(place)
  return "GET " .. place.target .. " HTTP/1.1\r\nHost: " .. place.host
    .. "\r\nUser-Agent: weft\r\nAccept: */*\r\n\r\n"
end

-- Methods for which having no body is worth saying (RFC 9110 section 8.6).
local EXPECTS_BODY = { POST = true, PUT = true, PATCH = true }

local function make_head(place, method, fields, body, kind, level)
  local own = headers.from(fields or {}, level + 2)
  local parts = { method, " ", place.target, " HTTP/1.1\r\nHost: ", own.host or place.host }
  local count = #parts
  for _, name, value in headers.each(own) do
    local small = lower(name)
    if FRAMING[small] then
      error(("fetch: the header %q is for fetch to say"):format(name), level + 1)
    end
    if small ~= "host" then
      parts[count + 1], parts[count + 2] = "\r\n", name
      parts[count + 3], parts[count + 4] = ": ", value
      count = count + 4
    end
  end
  if not own["user-agent"] then parts[#parts + 1] = "\r\nUser-Agent: weft" end
  if not own.accept then parts[#parts + 1] = "\r\nAccept: */*" end
  if kind and not own["content-type"] then parts[#parts + 1] = "\r\nContent-Type: " .. kind end
  if body or EXPECTS_BODY[method] then
    parts[#parts + 1] = "\r\nContent-Length: " .. #(body or "")
  end
  parts[#parts + 1] = "\r\n\r\n"
  return table.concat(parts)
end

-- ---- the exchange -------------------------------------------------------------------------------

-- What to do about it, where the message alone would leave one wondering.
local HINTS = {
  refused = "is it running, and is the port right?",
  dns = "is the name right, and known to DNS or to /etc/hosts?",
}

local function failed(place, method, sizes, status, detail, limit)
  if limit then
    detail = ("timed out while %s; %s is %g s"):format(detail, limit, sizes[limit] / 1000)
  elseif detail and find(detail, "max_body_size", 1, true) then
    detail = ("%s (%d bytes)"):format(detail, sizes.max_body_size)
  end
  local nothing, err = await.finish(method .. " " .. place.key, status, detail)
  if HINTS[err.code] then err.message = err.message .. "; " .. HINTS[err.code] end
  return nothing, err
end

local function finish(url, place, method, sizes, status, ...)
  if status ~= 0 then return failed(place, method, sizes, status, ...) end
  local http_status, head, body = ...
  return setmetatable({ status = http_status, body = body, url = url, _head = head }, Response)
end

local DEFAULTS = {
  timeout = TIMEOUT * 1000,
  connect_timeout = CONNECT_TIMEOUT * 1000,
  read_timeout = 0, -- none but `timeout`
  max_body_size = MAX_BODY_SIZE,
}

local function fetch(url, place, method, head, body, sizes, key, context)
  return finish(url, place, method, sizes, core_fetch(key, head, body, IDEMPOTENT[method],
    method == "HEAD", sizes.timeout, sizes.connect_timeout, sizes.read_timeout,
    sizes.max_body_size, context))
end

-- The context of who says nothing of TLS; made when it is first needed.
local default_context

--- The same over TLS, with the options for it, or nil.
local function fetch_secure(url, place, method, head, body, sizes, options, level)
  local context, server_name = default_context, nil
  if options ~= nil or not context then
    context, server_name = tls.client(options == nil or options, "http/1.1", level + 1)
    if not context then return nil, server_name end
    if options == nil then default_context = context end
  end
  -- who was connected to under another name has shown another certificate
  local key = server_name and place.key .. "|" .. server_name or place.key
  return fetch(url, place, method, head, body, sizes, key, context)
end

local function plain_head(place)
  local head = place.get
  if not head then
    head = plain_get(place)
    place.get = head
  end
  return head
end

---@class weft.fetch.Options
---@field method string? GET, or POST when there is a body
---@field headers table<string, string|number|(string|number)[]>|weft.Headers|nil
---@field body string? the body as it is
---@field json any a body as JSON
---@field form table? a body as a form
---@field timeout number? seconds for all of it; default 30
---@field connect_timeout number? seconds for looking up the name and connecting; default 5
---@field read_timeout number? seconds between two parts of the answer; default: no other limit
---@field max_body_size integer? bytes of the response's body; default 8 MiB
---@field tls weft.tls.Options? for https://; the default verifies with the system's certificates

--- Sends a request and waits for the whole response.
-- Connections are kept and used again. One that its server closed meanwhile is replaced, and the
-- request sent once more, if that cannot make the server do anything twice.
---@param url string "https://host:port/path?query", or "http://..."
---@param options weft.fetch.Options?
---@return weft.FetchResponse? response whatever its status
---@return weft.Error? err code timeout, closed, refused, unreachable, dns, tls, protocol, too_large
function M.fetch(url, options)
  local place = known[url] or learn_url(url, 2)
  if options == nil then
    local head = place.get or plain_head(place)
    if place.tls then return fetch_secure(url, place, "GET", head, "", DEFAULTS, nil, 2) end
    return fetch(url, place, "GET", head, "", DEFAULTS, place.key)
  end
  check_options(options, 2)
  local body, kind = read_body(options, 2)
  local method = check_method(options.method or (body and "POST" or "GET"), 2)
  local sizes = {
    timeout = milliseconds(options, "timeout", TIMEOUT, 2),
    connect_timeout = milliseconds(options, "connect_timeout", CONNECT_TIMEOUT, 2),
    read_timeout = milliseconds(options, "read_timeout", 0, 2),
    max_body_size = max_body_size(options, 2),
  }
  local head = make_head(place, method, options.headers, body, kind, 2)
  if place.tls then
    return fetch_secure(url, place, method, head, body or "", sizes, options.tls, 2)
  end
  return fetch(url, place, method, head, body or "", sizes, place.key)
end

return M
