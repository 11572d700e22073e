--- Prints before and after the view.
return function(get_response)
  -- here: once, when the app is loaded
  return function(request)
    print "Before the view"
    local response = get_response(request)
    print "After the view"
    return response
  end
end
