--- Responses: what views return and middleware change.
-- Owns their fields and the short ways to make one. It writes nothing: lua/weft/serve.lua does.
-- A response belongs to one request: the layers it passes change it.

local cookies = require "weft.cookies"
local errors = require "weft.errors"
local headers = require "weft.headers"
local json = require "weft.json"

---@class weft.Response
---@field status integer
---@field headers weft.Headers
---@field body string raises while `streaming`; a body that is assigned takes the stream's place
---@field streaming boolean
local Response = { __name = "weft.Response" }
local methods = {}

local M = { Response = Response }

function Response:__tostring() return ("weft.Response (%s)"):format(tostring(self.status)) end

-- Only what is no field of the table comes here: methods, and the body of a stream.
function Response.__index(response, key)
  local method = methods[key]
  if method then return method end
  if key == "body" and rawget(response, "streaming") then
    error("a streaming response has no body: look at response.streaming, or wrap it with "
      .. "response:map", 2)
  end
end

function Response.__newindex(response, key, value)
  rawset(response, key, value)
  if key == "body" and value ~= nil then
    response.streaming = false
    response._producer = nil
  end
end

---@param value any
---@return boolean
function M.is(value) return getmetatable(value) == Response end

-- ---- making one ----

local function check_status(status, body, level)
  if type(status) ~= "number" or status < 200 or status > 599 or status % 1 ~= 0 then
    error(("a response's status is an integer from 200 to 599, not %s"):format(tostring(status)),
      level + 1)
  end
  if (status == 204 or status == 304) and body ~= "" then
    error(("a response of status %d has no body"):format(status), level + 1)
  end
end

-- No tail call of this, nor of what calls it: LuaJIT does not compile them.
local function make(body, status, fields, content_type, level)
  if status ~= nil then check_status(status, body, level + 1) end
  local own = fields and headers.from(fields, level + 2) or headers.new()
  if content_type and (not fields or own["Content-Type"] == nil) then
    own["Content-Type"] = content_type
  end
  local response = setmetatable({
    status = status or 200,
    headers = own,
    body = body,
    streaming = false,
    _cookies = false, -- { name, line } each; they become headers when it is written
    _after = false,
  }, Response)
  return response
end

local TEXT = "text/plain; charset=utf-8"
local HTML = "text/html; charset=utf-8"
local JSON = "application/json"

local function check_body(body, what, level)
  if type(body) ~= "string" then
    if type(body) == "number" then return tostring(body) end
    error(("%s takes a string, not %s"):format(what, type(body)), level + 1)
  end
  return body
end

local PARTS = { status = true, headers = true, body = true }

--- A response from its parts: `weft.response { status = 200, headers = {}, body = "" }`.
---@param parts { status: integer?, headers: table?, body: string? }?
---@return weft.Response
function M.response(parts)
  parts = parts or {}
  if type(parts) ~= "table" then
    error("weft.response takes a table: { status = 200, headers = {}, body = \"\" }", 2)
  end
  for key in pairs(parts) do
    if not PARTS[key] then error(("weft.response has no field %q"):format(tostring(key)), 2) end
  end
  local body = check_body(parts.body or "", "the body of weft.response", 2)
  local response = make(body, parts.status, parts.headers, body ~= "" and TEXT or nil, 2)
  return response
end

---@param body string
---@param status integer?
---@param fields table?
---@return weft.Response
function M.text(body, status, fields)
  local response = make(check_body(body, "weft.text", 2), status, fields, TEXT, 2)
  return response
end

---@param body string
---@param status integer?
---@param fields table?
---@return weft.Response
function M.html(body, status, fields)
  local response = make(check_body(body, "weft.html", 2), status, fields, HTML, 2)
  return response
end

--- A JSON response: `weft.json(value, status, headers)`. The codec is `require "weft.json"`.
---@param value any
---@param status integer?
---@param fields table?
---@return weft.Response
function M.json(value, status, fields)
  local ok, body = pcall(json.encode, value)
  if not ok then error(body, 2) end
  local response = make(body, status, fields, JSON, 2)
  return response
end

local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }
local SCHEMES = { http = true, https = true, ftp = true }

local function escape(byte) return ("%%%02X"):format(byte:byte()) end

--- A redirect. Where to often comes from a client: a scheme that is none to send one to
-- ("javascript:") answers 400, and what a URL cannot contain is escaped.
---@param url string
---@param status integer? 302 unless given: 301, 303, 307 or 308
---@return weft.Response
function M.redirect(url, status)
  status = status or 302
  if type(url) ~= "string" or url == "" then error("redirect takes a URL", 2) end
  if not REDIRECTS[status] then error("redirect: the status is 301, 302, 303, 307 or 308", 2) end
  local scheme = url:match "^%s*(%a[%w+.-]*):"
  if scheme and not SCHEMES[scheme:lower()] then
    errors.abort(400, "The request leads to a URL that is not allowed.")
  end
  local location = url:gsub("[\t \"<>\\^`{|}\128-\255]", escape)
  local response = make("", status, { Location = location }, nil, 2)
  return response
end

---@return weft.Response
function M.no_content()
  local response = make("", 204, nil, nil, 2)
  return response
end

--- A response whose body is written by `producer(write)`, in the request's task, after the head
-- went out. `write(chunk)` waits while the client is slow. For HEAD it is not called.
---@param producer fun(write: fun(chunk: string|number))
---@param fields table?
---@return weft.Response
function M.stream(producer, fields)
  if type(producer) ~= "function" then error("stream takes a function", 2) end
  local response = make(nil, nil, fields, "application/octet-stream", 2)
  response.streaming = true
  response._producer = producer
  return response
end

-- What is data although it has a metatable of ours.
local DATA = { ["weft.json.array"] = true, ["weft.json.object"] = true }

local function is_data(value)
  local metatable = getmetatable(value)
  local name = type(metatable) == "table" and metatable.__name
  return type(name) ~= "string" or DATA[name] or name:sub(1, 5) ~= "weft."
end

--- What a view returned, as a response.
---@param value any
---@return weft.Response? response nil when it is none of what a view may return
---@return string? what it was instead
function M.of(value)
  local kind = type(value)
  if kind == "string" then
    local response = make(value, nil, nil, TEXT, 2)
    return response
  end
  if kind ~= "table" then return nil, value == nil and "nil" or "a " .. kind end
  if getmetatable(value) == Response then return value end
  if not is_data(value) then return nil, tostring(getmetatable(value).__name) end
  local ok, body = pcall(json.encode, value)
  if not ok then return nil, "a table that cannot be JSON: " .. tostring(body) end
  local response = make(body, nil, nil, JSON, 2)
  return response
end

-- ---- changing one ----

--- Adds a header beside those of the same name.
---@param name string
---@param value string|number
function methods:add_header(name, value) return headers.add(self.headers, name, value) end

--- Says in `Vary` that the response depends on this request header.
---@param name string
function methods:vary(name) return headers.vary(self.headers, name) end

local function put_cookie(response, name, line)
  response._cookies = response._cookies or {}
  for _, cookie in ipairs(response._cookies) do
    if cookie.name == name then
      cookie.line = line
      return
    end
  end
  table.insert(response._cookies, { name = name, line = line })
end

--- Sets a cookie; the last one of a name counts.
---@param name string
---@param value string|number
---@param options weft.CookieOptions?
function methods:set_cookie(name, value, options)
  put_cookie(self, name, cookies.serialize(name, value, options, 3))
end

--- Makes the browser forget a cookie.
---@param name string
---@param options weft.CookieOptions? path and domain as they were set
function methods:delete_cookie(name, options)
  put_cookie(self, name, cookies.delete(name, options, 3))
end

--- Passes every chunk of the body through `fn`, which returns what goes out instead: a string, or
-- nil for nothing. At the end `fn(nil)` may return what is left. A body that is there already is
-- one chunk. What was mapped last sees the final bytes.
---@param fn fun(chunk: string?): string?
---@return weft.Response self
function methods:map(fn)
  if type(fn) ~= "function" then error("map takes a function", 2) end
  self.headers["Content-Length"] = nil
  if not self.streaming then
    self.body = (fn(tostring(self.body or "")) or "") .. (fn(nil) or "")
    return self
  end
  local producer = self._producer
  self._producer = function(write)
    producer(function(chunk)
      local mapped = fn(type(chunk) == "number" and tostring(chunk) or chunk)
      if mapped then write(mapped) end
    end)
    local rest = fn(nil)
    if rest then write(rest) end
  end
  return self
end

--- Runs `fn` when the last byte went out, in a task of its own: nobody waits for it, and it runs
-- also when the client left in the middle.
---@param fn function
---@return weft.Response self
function methods:after(fn)
  if type(fn) ~= "function" then error("after takes a function", 2) end
  self._after = self._after or {}
  table.insert(self._after, fn)
  return self
end

return M
