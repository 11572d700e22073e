-- A view that calls two slow services at the same time and joins their answers.
--   make run APP=middleware/examples/gather
--   curl http://127.0.0.1:8080/dashboard/7
-- Both services take 0.3 s; the answer takes 0.3 s, not 0.6.
local weft = require "weft"
local services = require "services"

local app = weft.app()

app:on("start", services.start)

app:get("/dashboard/:id", function(request)
  local id = request.params.id
  local user, orders = weft.gather(
    function() return assert(weft.fetch(services.users .. "/users/" .. id, { timeout = 2 })) end,
    function() return assert(weft.fetch(services.orders .. "/orders/" .. id, { timeout = 2 })) end
  )
  if user.status == 404 then weft.abort(404, "no such user") end
  return { user = user:json(), orders = orders:json() }
end)

return app
