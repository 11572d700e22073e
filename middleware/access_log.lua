--- Logs one line for each request when it is done: method, path, route, status, seconds, peer.
-- The query is not logged: it may hold secrets. A request whose client went away first is logged
-- with `aborted`. Requests that the parser refuses never get here; weft logs those itself.
-- Options: `level` (default "info"), `slow` (seconds; a slower request is logged as a warning;
-- default none), `skip` (a function of the request: true leaves it out; default none).
local weft = require "weft"

local AccessLog = { name = "access_log", after = { "request_id" } }
AccessLog.__index = AccessLog

local KINDS = { level = "string", slow = "number", skip = "function" }

function AccessLog.new(get_response, options)
  for key, value in pairs(options) do
    if not KINDS[key] then error(("access_log has no option %q"):format(tostring(key)), 2) end
    if type(value) ~= KINDS[key] then
      error(("access_log: `%s` is a %s, not a %s"):format(key, KINDS[key], type(value)), 2)
    end
  end
  local level = options.level or "info"
  if level ~= "debug" and level ~= "info" and level ~= "warn" and level ~= "error" then
    error("access_log: `level` is debug, info, warn or error", 2)
  end
  return setmetatable({
    get_response = get_response,
    level = level,
    slow = options.slow,
    skip = options.skip,
  }, AccessLog)
end

function AccessLog:write(request, response, seconds)
  local slow = self.slow and seconds > self.slow
  weft.log[slow and "warn" or self.level](slow and "slow request" or "request", {
    method = request.method,
    path = request.path,
    route = request.route and request.route.pattern or nil,
    status = response and response.status or nil,
    aborted = not response or nil,
    seconds = math.floor(seconds * 1e6 + 0.5) / 1e6,
    peer = request.ip,
    request_id = request.id,
  })
end

function AccessLog:__call(request)
  if self.skip and self.skip(request) then return self.get_response(request) end
  local started, response = weft.clock(), nil
  request.ip = request.ip -- read now: at the end the connection may be gone
  weft.defer(function() self:write(request, response, weft.clock() - started) end)
  response = self.get_response(request)
  return response
end

return AccessLog
