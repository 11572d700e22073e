--- Adds a header to every response; as a class.
-- Options: `name` (default "X-Custom-Header"), `value` (default "Hello").
local CustomHeader = {}
CustomHeader.__index = CustomHeader

function CustomHeader.new(get_response, options)
  return setmetatable({
    get_response = get_response,
    name = options.name or "X-Custom-Header",
    value = options.value or "Hello",
  }, CustomHeader)
end

function CustomHeader:__call(request)
  local response = self.get_response(request)
  response.headers[self.name] = self.value
  return response
end

return CustomHeader
