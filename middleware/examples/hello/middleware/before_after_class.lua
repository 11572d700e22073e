--- Prints before and after the view; as a class.
local BeforeAfter = {}
BeforeAfter.__index = BeforeAfter

function BeforeAfter.new(get_response)
  return setmetatable({ get_response = get_response }, BeforeAfter)
end

function BeforeAfter:__call(request)
  print "Before the view"
  local response = self.get_response(request)
  print "After the view"
  return response
end

return BeforeAfter
