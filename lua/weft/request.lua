--- The request, as middleware and views see it.
-- Its fields are read from C when they are first asked for, and are then plain fields of the
-- table, so a middleware may replace them. What was never asked for cannot be read once the
-- response is complete; then it is an error, not a wrong value.

local cookies = require "weft.cookies"
local core = require "weft.core"
local errors = require "weft.errors"
local exchange = require "weft.exchange"
local json = require "weft.json"
local negotiate = require "weft.negotiate"
local query = require "weft.query"
local request_body = require "weft.request_body"
local request_headers = require "weft.request_headers"

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
---@field max_body_size integer? the app's limit counts unless a middleware sets this
local Request = { __name = "weft.Request" }

local M = { Request = Request }

function Request:__tostring() return ("weft.Request (%s %s)"):format(self.method, self.path) end

-- ---- fields ----

local getters = {}

--- Raises at the line that reads the field, however many getters lie between.
local function too_late(name)
  if core.cancelled() then error(errors.cancelled(), 0) end -- the client is gone: no fault
  local here, level = debug.getinfo(1, "S").source, 2
  while (debug.getinfo(level, "S") or {}).source == here do level = level + 1 end
  error(("request.%s was first read after the response was complete: read it before"):format(name),
    level)
end

local function part(request, name, which)
  local value = exchange.part(request._handle, which)
  if value == false then too_late(name) end
  return value
end

function getters.target(request)
  local value = part(request, "target", exchange.TARGET)
  return value
end

function getters.raw_path(request)
  local value = part(request, "raw_path", exchange.RAW_PATH)
  return value
end

function getters.query_string(request)
  return part(request, "query_string", exchange.QUERY) or ""
end

--- What stands for the host and the port: that of the target, or the Host header.
function getters._authority(request)
  return part(request, "host", exchange.AUTHORITY) or request.headers["host"] or ""
end

function getters.headers(request)
  local fields = request_headers.new(request._handle)
  return fields
end

function getters.state() return {} end

function getters.params() return {} end

local prefix, last_id = core.random_hex(6), 0

function getters.id()
  last_id = (last_id + 1) % 0x100000000
  return ("%s%08x"):format(prefix, last_id)
end

function getters.scheme() return "http" end

function getters.received_at() return core.time() end

local function parse_query(request)
  local values, lists = query.parse(request.query_string)
  if not values then errors.abort(400, "The query has too many fields.") end
  request._query_lists = lists
  return values
end

function getters.query(request)
  local values = parse_query(request)
  return values
end

function getters.cookies(request)
  local line = request.headers["cookie"]
  if line and line:find(",", 1, true) then -- maybe several lines: those are one list
    line = table.concat(request:header_values "cookie", "; ")
  end
  return cookies.parse(line)
end

--- What C tells together becomes fields together; what a middleware has set stays.
local function info(request, name, label)
  local minor, address, port, announced = exchange.info(request._handle)
  if not minor then too_late(label or name) end
  local told = {
    http_version = minor == 0 and "1.0" or "1.1",
    peer = { address = address, port = port },
    _announced = announced,
  }
  for field, value in pairs(told) do
    if rawget(request, field) == nil then rawset(request, field, value) end
  end
  return told[name]
end

function getters.http_version(request)
  local value = info(request, "http_version")
  return value
end

function getters.peer(request)
  local value = info(request, "peer")
  return value
end

--- The body's length; -1 if the client does not say it before.
function getters._announced(request)
  local value = info(request, "_announced", "body")
  return value
end

function getters.ip(request) return request.peer.address end

function getters.host(request)
  local full = request._authority
  local host = full:match "^%[.*%]" or full:match "^[^:]*"
  return (host:lower():gsub("%.$", ""))
end

function getters.port(request)
  return tonumber(request._authority:match ":(%d+)$") or (request.scheme == "https" and 443 or 80)
end

function getters.url(request)
  local port = request.port ~= (request.scheme == "https" and 443 or 80) and ":" .. request.port
  local text = request.query_string
  return ("%s://%s%s%s%s"):format(request.scheme, request.host, port or "", request.raw_path,
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
  local list = request_headers.values(self.headers, name)
  return list
end

--- Which of these media types the client wants most: `request:accepts("text/html", "text/plain")`.
---@param ... string in our order of preference
---@return string? # nil when it wants none of them
function methods:accepts(...) return negotiate.accepts(self.headers["accept"], { ... }) end

--- Whether the client is gone, so that nobody will read the response.
---@return boolean
function methods:is_disconnected() return not exchange.alive(self._handle) end

--- The whole body; a second call returns the same. Over `max_body_size`: 413.
---@return string
function methods:body()
  local limit = rawget(self, "max_body_size") or self.app.max_body_size
  local body = request_body.whole(self, limit)
  return body
end

methods.text = methods.body

--- Goes through the body as it arrives; it never is in memory as a whole, and has no limit. Once,
-- unless `body` has read it before: then every call gives the same bytes.
---@return fun(): string?
function methods:chunks()
  local next_chunk = request_body.chunks(self)
  return next_chunk
end

--- The body as JSON; a body that is none gives the client a 400.
---@return any
function methods:json()
  if rawget(self, "_json_known") then return self._json end
  local value, message = json.decode(self:body())
  if message then errors.abort(400, "The body is not JSON: " .. message .. ".") end
  self._json_known, self._json = true, value
  return value
end

local UTF8 = { ["utf-8"] = true, utf8 = true, ["us-ascii"] = true }

--- The fields of a form body (`application/x-www-form-urlencoded`), each name's last value.
---@return table<string, string> values
---@return table<string, string[]> lists
function methods:form()
  if rawget(self, "_form") then return self._form, self._form_lists end
  local kind = (self.headers["content-type"] or ""):lower()
  if kind:match "^%s*([^;%s]*)" ~= "application/x-www-form-urlencoded" then
    errors.abort(415, "The body is not a form (application/x-www-form-urlencoded).")
  end
  local charset = kind:match ";%s*charset%s*=%s*\"?([^%s;\"]*)"
  if charset and not UTF8[charset] then
    errors.abort(400, "The form is not encoded as UTF-8.")
  end
  local values, lists = query.parse(self:body())
  if not values then errors.abort(400, "The form has too many fields.") end
  self._form, self._form_lists = values, lists
  return values, lists
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

local KEPT = { "target", "raw_path", "query_string", "_authority", "peer" }

--- Reads all that C has, so that whoever hears of the request's end finds it there, also when the
-- client is gone.
---@param request weft.Request
function M.keep(request)
  for _, name in ipairs(KEPT) do rawset(request, name, request[name]) end
  request_headers.keep(request.headers)
end

return M
