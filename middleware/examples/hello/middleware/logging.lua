--- Logs the request's path before the view and the response's status after it.
return function(get_response)
  return function(request)
    print("Handling request path: " .. request.path)
    local response = get_response(request)
    print("Response status: " .. response.status)
    return response
  end
end
