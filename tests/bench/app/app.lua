-- The app under measurement: three middleware as an app might have them, and a view for each
-- case. ../nginx.lua does the same in nginx; ../floor.c answers the same bytes without any of it.

local weft = require "weft"

local upstream = os.getenv("BENCH_UPSTREAM")

local app = weft.app {}

app:use(function(get_response)
  return function(request)
    local response = get_response(request)
    response.headers["X-Custom-Header"] = "Hello"
    return response
  end
end)

-- What a logging middleware does, without its output.
app:use(function(get_response)
  local seen = { count = 0 }
  return function(request)
    local path = request.path
    local response = get_response(request)
    seen.count = seen.count + 1
    seen.path, seen.status = path, response.status
    return response
  end
end)

app:use(function(get_response)
  return function(request)
    request.state.agent = request.headers["user-agent"]
    local response = get_response(request)
    response.headers["X-Request-Path"] = request.path
    return response
  end
end)

app:get("/", function()
  return "Hello, World!"
end)

app:get("/upstream", function()
  local response = assert(weft.fetch(upstream))
  return response:text()
end)

app:get("/sleep", function()
  weft.sleep(30)
  return "awake"
end)

return app
