--- For development: names who sets a header that is weft's own to set. What frames a message is
-- written by C, which also warns, but cannot know whose header it was.

local headers = require "weft.headers"
local log = require "weft.log"
local responses = require "weft.response"

local M = {}

local OURS = { "Connection", "Date", "Keep-Alive", "Transfer-Encoding" }

local function drop(who, request, response, name)
  response.headers[name] = nil
  log.warn(("%s set the header %s; weft's own framing is sent instead"):format(who, name), {
    method = request.method,
    path = request.path,
  })
end

local function check(who, request, response)
  for _, name in ipairs(OURS) do
    if response.headers[name] then drop(who, request, response, name) end
  end
  local length = response.headers["Content-Length"]
  if not length or response.status == 304 then return end
  if response.streaming and length:find "^%d+$" then return end
  if response.streaming or length ~= tostring(#tostring(response.body or "")) then
    drop(who, request, response, "Content-Length")
  end
end

--- The same as `answer`, with an eye on the headers of its responses.
---@param who string for the log
---@param answer fun(request: weft.Request): any, any
---@return fun(request: weft.Request): any, any
function M.watch(who, answer)
  return function(request)
    local response, reason = answer(request)
    if responses.is(response) and headers.is(response.headers) then
      check(who, request, response)
    end
    return response, reason
  end
end

return M
