--- Responses: what views return and middleware change.
-- Owns their fields and the short ways to make one. It writes nothing: lua/weft/serve.lua does.

local cookies = require "weft.cookies"
local headers = require "weft.headers"
local json = require "weft.json"

---@class weft.Response
---@field status integer
---@field headers weft.Headers
---@field body string? nil while streaming
---@field streaming boolean
local Response = { __name = "weft.Response" }
Response.__index = Response

local M = { Response = Response }

function Response:__tostring() return ("weft.Response (%s)"):format(tostring(self.status)) end

---@param value any
---@return boolean
function M.is(value) return getmetatable(value) == Response end

local function check_status(status, level)
  if type(status) ~= "number" or status < 200 or status > 599 or status % 1 ~= 0 then
    error(("a response's status is an integer from 200 to 599, not %s"):format(tostring(status)),
      level + 1)
  end
end

local function make(body, status, fields, content_type, level)
  if status ~= nil then check_status(status, level + 1) end
  local own = fields and headers.from(fields, level + 1) or headers.new()
  if content_type and (not fields or own["Content-Type"] == nil) then
    own["Content-Type"] = content_type
  end
  local response = setmetatable({
    status = status or 200,
    headers = own,
    body = body,
    streaming = false,
  }, Response)
  return response -- no tail call, here and in who calls this: LuaJIT does not compile them
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

--- A response from its parts: `weft.response { status = 200, headers = {}, body = "" }`.
---@param parts { status: integer?, headers: table?, body: string? }
---@return weft.Response
function M.response(parts)
  parts = parts or {}
  for key in pairs(parts) do
    if key ~= "status" and key ~= "headers" and key ~= "body" then
      error(("weft.response has no field %q"):format(tostring(key)), 2)
    end
  end
  local body = check_body(parts.body or "", "body", 2)
  return make(body, parts.status, parts.headers, body ~= "" and TEXT or nil, 2)
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

---@param url string
---@param status integer? 302 unless given: 301, 303, 307 or 308
---@return weft.Response
function M.redirect(url, status)
  status = status or 302
  if type(url) ~= "string" or url == "" then error("redirect takes a URL", 2) end
  if status ~= 301 and status ~= 302 and status ~= 303 and status ~= 307 and status ~= 308 then
    error("redirect: the status is 301, 302, 303, 307 or 308", 2)
  end
  local scheme = url:match "^%s*([%a][%w+.-]*):"
  if scheme and not ({ http = true, https = true, ftp = true })[scheme:lower()] then
    error(("redirect: %s: is not a scheme to send a client to"):format(scheme), 2)
  end
  return make("", status, { Location = url }, nil, 2)
end

---@return weft.Response
function M.no_content() return make("", 204, nil, nil, 2) end

--- A response whose body is written by `producer(write)`, in the request's task, after the head
-- went out. `write(chunk)` waits while the client is slow.
---@param producer fun(write: fun(chunk: string))
---@param fields table?
---@return weft.Response
function M.stream(producer, fields)
  if type(producer) ~= "function" then error("stream takes a function", 2) end
  local response = make(nil, 200, fields, "application/octet-stream", 2)
  response.streaming = true
  response._producer = producer
  return response
end

--- What a view returned, as a response; nil when it is none of what a view may return.
---@param value any
---@return weft.Response?
function M.of(value)
  local kind = type(value)
  if kind == "string" then
    local response = make(value, nil, nil, TEXT, 2)
    return response
  end
  if kind ~= "table" then return nil end
  local metatable = getmetatable(value)
  if metatable == Response then return value end
  if metatable and metatable.__name and metatable.__name ~= "weft.json.array"
    and metatable.__name:find("^weft%.") and metatable.__name ~= "weft.json.object" then
    return nil -- a fetch response, a task: not data
  end
  return make(json.encode(value), nil, nil, JSON, 2)
end

--- Adds a header beside those of the same name.
---@param name string
---@param value string|number
function Response:add_header(name, value) return headers.add(self.headers, name, value) end

--- Says in `Vary` that the response depends on this request header.
---@param name string
function Response:vary(name) return headers.vary(self.headers, name) end

local function put_cookie(self, name, line)
  self._cookies = self._cookies or {}
  for _, cookie in ipairs(self._cookies) do
    if cookie.name == name then
      cookie.line = line
      return
    end
  end
  self._cookies[#self._cookies + 1] = { name = name, line = line }
end

---@param name string
---@param value string|number
---@param options weft.CookieOptions?
function Response:set_cookie(name, value, options)
  put_cookie(self, name, cookies.serialize(name, value, options, 3))
end

---@param name string
---@param options weft.CookieOptions? path and domain as they were set
function Response:delete_cookie(name, options)
  put_cookie(self, name, cookies.delete(name, options, 3))
end

--- Passes every chunk of the body through `fn`, which returns what goes out instead: a string, or
-- nil for nothing. At the end `fn(nil)` may return what is left. A body that is there already
-- becomes what `fn` makes of it.
---@param fn fun(chunk: string?): string?
---@return weft.Response self
function Response:map(fn)
  if type(fn) ~= "function" then error("map takes a function", 2) end
  if not self.streaming then
    self.body = (fn(self.body) or "") .. (fn(nil) or "")
    return self
  end
  local producer = self._producer
  self._producer = function(write)
    producer(function(chunk)
      local mapped = fn(chunk)
      if mapped then write(mapped) end
    end)
    local rest = fn(nil)
    if rest then write(rest) end
  end
  self.headers["Content-Length"] = nil
  return self
end

--- Runs `fn` once the last byte went out, in a task of its own.
---@param fn function
---@return weft.Response self
function Response:after(fn)
  if type(fn) ~= "function" then error("after takes a function", 2) end
  self._after = self._after or {}
  self._after[#self._after + 1] = fn
  return self
end

return M
