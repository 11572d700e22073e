--- Adds a header to every response.
-- Options: `name` (default "X-Custom-Header"), `value` (default "Hello").
return function(get_response, options)
  local name = options.name or "X-Custom-Header"
  local value = options.value or "Hello"
  return function(request)
    local response = get_response(request)
    response.headers[name] = value
    return response
  end
end
