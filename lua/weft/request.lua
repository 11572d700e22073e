--- The request, as middleware and views see it.
-- Its fields are read from C when they are first asked for, and are then plain fields of the
-- table, so a middleware may replace them. What was never asked for cannot be read once the
-- response is complete; then it is an error, not a wrong value.

local cookies = require "weft.cookies"
local core = require "weft.core"
local errors = require "weft.errors"
local exchange = require "weft.exchange"
local headers = require "weft.headers"
local json = require "weft.json"
local query = require "weft.query"

---@class weft.Request
---@field method string
---@field path string percent-decoded and normalised
---@field target string as received
---@field raw_path string the path as received
---@field query_string string without the "?"
---@field http_version string "1.1" or "1.0"
---@field scheme string
---@field host string without the port
---@field port integer
---@field url string
---@field ip string
---@field peer { address: string, port: integer }
---@field tls nil until TLS is there
---@field headers weft.Headers
---@field query table<string, string> the last value of each name
---@field cookies table<string, string>
---@field params table<string, string>
---@field id string
---@field state table what middleware hand each other
---@field app table
---@field route table|false { method, pattern, where }; false before a route was found
---@field received_at number seconds since 1970
local Request = { __name = "weft.Request" }

local M = { Request = Request }

function Request:__tostring() return ("weft.Request (%s %s)"):format(self.method, self.path) end

local function too_late(name)
  error(("request.%s was first read after the response was complete: read it before"):format(name),
    4)
end

local function part(request, name, which)
  local value = exchange.part(request._handle, which)
  if value == false then too_late(name) end
  return value
end

-- ---- headers: read one by one from C, copied only if somebody writes or iterates ----

local Lazy = { __name = "weft.Headers" }

local function materialise(lazy)
  local list = exchange.headers(lazy[1])
  if not list then too_late "headers" end
  local all = headers.new()
  for i = 1, #list, 2 do headers.add(all, list[i], list[i + 1]) end
  rawset(lazy, 2, all)
  return all
end

function Lazy.__index(lazy, name)
  local all = rawget(lazy, 2)
  if all then return all[name] end
  if type(name) ~= "string" then
    if type(name) == "number" then return nil end
    error("header names are strings", 2)
  end
  local value, count = exchange.header(lazy[1], name:lower())
  if count < 0 then too_late "headers" end
  if count > 1 then return materialise(lazy)[name] end
  return value
end

function Lazy.__newindex(lazy, name, value)
  local all = rawget(lazy, 2) or materialise(lazy)
  return headers.set(all, name, value)
end

function Lazy.__pairs(lazy) return pairs(rawget(lazy, 2) or materialise(lazy)) end

function Lazy.__tostring(lazy) return tostring(rawget(lazy, 2) or materialise(lazy)) end

-- ---- fields ----

local prefix, last_id = core.random_hex(6), 0

local function next_id()
  last_id = (last_id + 1) % 0x100000000
  return ("%s%08x"):format(prefix, last_id)
end

local getters = {}

function getters.target(request) return part(request, "target", exchange.TARGET) end

function getters.raw_path(request) return part(request, "raw_path", exchange.RAW_PATH) end

function getters.query_string(request)
  return part(request, "query_string", exchange.QUERY) or ""
end

function getters.headers(request)
  local lazy = setmetatable({ request._handle }, Lazy)
  return lazy
end

function getters.state() return {} end

function getters.params() return {} end

function getters.id() return next_id() end

function getters.scheme() return "http" end

function getters.received_at() return core.time() end

local function parse_query(request)
  local values, lists = query.parse(request.query_string)
  if not values then errors.abort(400, "The query has too many fields.") end
  request._query_lists = lists
  return values
end

function getters.query(request) return parse_query(request) end

function getters.cookies(request) return cookies.parse(request.headers["cookie"]) end

local function info(request, name)
  local minor, address, port, announced = exchange.info(request._handle)
  if not minor then too_late(name) end
  rawset(request, "http_version", minor == 0 and "1.0" or "1.1")
  rawset(request, "peer", { address = address, port = port })
  rawset(request, "_announced", announced)
  return rawget(request, name)
end

function getters.http_version(request) return info(request, "http_version") end

function getters.peer(request) return info(request, "peer") end

function getters._announced(request) return info(request, "_announced") end

function getters.ip(request) return request.peer.address end

local function authority(request)
  return part(request, "host", exchange.AUTHORITY) or request.headers["host"] or ""
end

function getters.host(request)
  local full = authority(request)
  return (full:match "^(%[.*%])" or full:match "^([^:]*)"):lower()
end

function getters.port(request)
  return tonumber(authority(request):match ":(%d+)$") or (request.scheme == "https" and 443 or 80)
end

function getters.url(request)
  local text = request.query_string
  return ("%s://%s%s%s"):format(request.scheme, authority(request):lower(), request.raw_path,
    text ~= "" and "?" .. text or "")
end

-- ---- methods ----

local methods = {}

--- All values of a query field, in their order.
---@param name string
---@return string[]
function methods:query_values(name)
  if not rawget(self, "_query_lists") then parse_query(self) end
  return self._query_lists[name] or {}
end

--- All values of a header, in their order.
---@param name string
---@return string[]
function methods:header_values(name)
  local lazy = self.headers
  if getmetatable(lazy) ~= Lazy then return headers.values(lazy, name) end
  return headers.values(rawget(lazy, 2) or materialise(lazy), name)
end

--- Whether the client is gone, so that nobody will read the response.
---@return boolean
function methods:is_disconnected() return not exchange.alive(self._handle) end

local function refuse_body(request, status, message)
  request._body_refused = { status, message }
  error(errors.new_abort(status, message, { close = true }), 0)
end

local REASONS = {
  [400] = "The request's body is not framed as HTTP.",
  [408] = "The request's body took too long.",
}

local function read_chunk(request)
  local bytes, err, status = exchange.read(request._handle)
  if err then error(err, 0) end
  if status then refuse_body(request, status, REASONS[status]) end
  return bytes
end

local function next_chunk(request)
  if rawget(request, "_body") then
    if request._replayed then return nil end
    request._replayed = true
    return request._body ~= "" and request._body or nil
  end
  return read_chunk(request)
end

--- Goes through the body as it arrives; it never is in memory as a whole. Once, unless `body`
-- has read it before: then every call gives the same bytes.
---@return fun(request: weft.Request): string?
---@return weft.Request
function methods:chunks()
  if rawget(self, "_body") then
    self._replayed = false
  elseif rawget(self, "_chunked_at") then
    error("the body was already read by chunks(), at " .. self._chunked_at, 2)
  else
    local caller = debug.getinfo(2, "Sl")
    self._chunked_at = ("%s:%d"):format(caller.short_src, caller.currentline)
  end
  return next_chunk, self
end

--- The whole body; a second call returns the same. Over the app's `max_body_size`: 413.
---@return string
function methods:body()
  local body = rawget(self, "_body")
  if body then return body end
  if rawget(self, "_chunked_at") then
    error("the body was already read by chunks(), at " .. self._chunked_at, 2)
  end
  local refused = rawget(self, "_body_refused")
  if refused then refuse_body(self, refused[1], refused[2]) end
  local limit = rawget(self, "max_body_size") or self.app.max_body_size
  local too_large = ("The request's body is larger than %d bytes."):format(limit)
  if self._announced > limit then refuse_body(self, 413, too_large) end
  if self._announced == 0 then
    self._body = ""
    return ""
  end
  local parts, size = {}, 0
  for bytes in read_chunk, self do
    size = size + #bytes
    if size > limit then refuse_body(self, 413, too_large) end
    parts[#parts + 1] = bytes
  end
  self._body = table.concat(parts)
  return self._body
end

--- The same as `body`.
---@return string
function methods:text() return self:body() end

--- The body as JSON; a body that is none gives the client a 400.
---@return any
function methods:json()
  if rawget(self, "_json_known") then return self._json end
  local value, message = json.decode(self:body())
  if message then errors.abort(400, "The body is not JSON: " .. message .. ".") end
  self._json_known, self._json = true, value
  return value
end

--- The fields of a form body (`application/x-www-form-urlencoded`), each name's last value.
---@return table<string, string> values
---@return table<string, string[]> lists
function methods:form()
  if not rawget(self, "_form") then
    local kind = (self.headers["content-type"] or ""):lower():match "^%s*([^;%s]*)"
    if kind ~= "application/x-www-form-urlencoded" then
      errors.abort(415, "The body is not a form (application/x-www-form-urlencoded).")
    end
    local values, lists = query.parse(self:body())
    if not values then errors.abort(400, "The form has too many fields.") end
    self._form, self._form_lists = values, lists
  end
  return self._form, self._form_lists
end

function Request.__index(request, key)
  local method = methods[key]
  if method then return method end
  local getter = getters[key]
  if not getter then return nil end
  local value = getter(request)
  rawset(request, key, value)
  return value
end

--- A request for an exchange; the serve function makes it.
---@param handle number
---@param method string
---@param path string
---@param app table
---@return weft.Request
function M.new(handle, method, path, app)
  local request = setmetatable({
    _handle = handle,
    method = method,
    path = path,
    app = app,
    route = false,
  }, Request)
  return request
end

return M
