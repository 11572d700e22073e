--- Stand-ins for two services that are slow, so that the example runs offline.
-- In an app of your own, `users` and `orders` would be the addresses of real ones.
local weft = require "weft"
local testing = require "weft.testing"

local services = { users = nil, orders = nil }

local NAMES = { ["7"] = "Ada", ["8"] = "Grace" }

local function users(request)
  weft.sleep(0.3)
  local id = request.path:match "^/users/(%w+)$"
  if not NAMES[id] then weft.abort(404) end
  return { id = id, name = NAMES[id] }
end

local function orders(request)
  weft.sleep(0.3)
  return { { id = 1, of = request.path:match "%w+$", total = 12.5 } }
end

--- Serves both on loopback, on free ports.
function services.start()
  services.users = testing.upstream(users).url
  services.orders = testing.upstream(orders).url
end

return services
