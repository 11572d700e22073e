--- The body of a request: read when somebody asks, and the same for everybody who asks.
-- What was read stays with the request until the body is whole, so that a reader that gave up (a
-- time-out, say) loses nothing for the next. Only `chunks` keeps nothing.

local errors = require "weft.errors"
local exchange = require "weft.exchange"

local M = {}

local REFUSED = {
  [400] = "The request's body is not framed as HTTP.",
  [408] = "The request's body took too long.",
}

local function refuse(request, status, message)
  request._body_refused = { status = status, message = message }
  errors.abort(status, message)
end

--- The next bytes from the client; nil at the end.
local function read(request)
  local refused = rawget(request, "_body_refused")
  if refused then errors.abort(refused.status, refused.message) end
  local bytes, err, status = exchange.read(request._handle)
  if status then refuse(request, status, REFUSED[status]) end
  if err then
    if not exchange.alive(request._handle) then
      error("the request's body was read after the request had ended", 0)
    end
    error(err, 0)
  end
  return bytes
end

--- What `body` has read before it was interrupted, as one string.
local function take_parts(request)
  local parts = rawget(request, "_body_parts")
  if not parts then return "" end
  request._body_parts = nil
  return table.concat(parts)
end

local function check_not_streamed(request, level)
  local where = rawget(request, "_streamed_at")
  if where then error("the body was already read by chunks(), at " .. where, level + 1) end
end

--- See `weft.Request:body`.
---@param request weft.Request
---@param limit integer
---@return string
function M.whole(request, limit)
  local body = rawget(request, "_body")
  if body then return body end
  check_not_streamed(request, 3)
  local parts = rawget(request, "_body_parts")
  if not parts then
    parts = { size = 0 }
    request._body_parts = parts
  end
  local too_large = ("The request's body is larger than %d bytes."):format(limit)
  if request._announced > limit then refuse(request, 413, too_large) end
  while request._announced ~= 0 do
    local bytes = read(request)
    if not bytes then break end
    parts[#parts + 1] = bytes
    parts.size = parts.size + #bytes
    if parts.size > limit then refuse(request, 413, too_large) end
  end
  request._body = take_parts(request)
  return request._body
end

--- See `weft.Request:chunks`.
---@param request weft.Request
---@return fun(): string?
function M.chunks(request)
  local first = rawget(request, "_body")
  local whole = first ~= nil
  if not whole then
    check_not_streamed(request, 3)
    local caller = debug.getinfo(3, "Sl")
    request._streamed_at = ("%s:%d"):format(caller.short_src, caller.currentline)
    first = take_parts(request)
  end
  return function()
    if first and first ~= "" then
      local bytes = first
      first = nil
      return bytes
    end
    if whole or request._announced == 0 then return nil end
    return read(request)
  end
end

return M
