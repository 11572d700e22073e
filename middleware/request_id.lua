--- Gives every request an id: in `request.id`, in its log lines and in the response.
-- An id that the client sends is taken over only if it is told to, and only if it is sane: up to
-- 128 letters, digits, `-`, `_` or `=`.
-- Options: `header` (default "X-Request-Id"), `trust` (default false: ids of clients are ignored).
local weft = require "weft"

local RequestId = { name = "request_id" }
RequestId.__index = RequestId

local function check(options)
  for key in pairs(options) do
    if key ~= "header" and key ~= "trust" then
      error(("request_id has no option %q"):format(tostring(key)), 3)
    end
  end
  local header = options.header or "X-Request-Id"
  if type(header) ~= "string" or not header:find "^[%w-]+$" then
    error("request_id: `header` is the name of a header", 3)
  end
  if options.trust ~= nil and type(options.trust) ~= "boolean" then
    error("request_id: `trust` is true or false", 3)
  end
  return header
end

function RequestId.new(get_response, options)
  return setmetatable({
    get_response = get_response,
    header = check(options),
    trust = options.trust == true,
  }, RequestId)
end

local function is_sane(id) return id and #id <= 128 and id:find "^[%w_=-]+$" ~= nil end

function RequestId:__call(request)
  local sent = self.trust and request.headers[self.header] or nil
  if is_sane(sent) then request.id = sent end
  weft.context.request_id = request.id
  local response = self.get_response(request)
  response.headers[self.header] = request.id
  return response
end

return RequestId
