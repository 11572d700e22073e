--- Logs the request's path before the view and the response's status after it; as a class.
local Logging = {}
Logging.__index = Logging

function Logging.new(get_response)
  return setmetatable({ get_response = get_response }, Logging)
end

function Logging:__call(request)
  print("Handling request path: " .. request.path)
  local response = self.get_response(request)
  print("Response status: " .. response.status)
  return response
end

return Logging
