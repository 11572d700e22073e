-- What app/app.lua does, in nginx's phases: the three middleware and the three views. Values
-- that one phase hands to another are in ngx.ctx, as usual. Library functions and constants are
-- locals of the file. There is no lua-resty-http in Debian, so the HTTP call is written out, with
-- as few steps as the answer allows.

-- luacheck: globals ngx

local match, sub = string.match, string.sub
local print, tcp, var = ngx.print, ngx.socket.tcp, ngx.var

local host, port = match(os.getenv("BENCH_UPSTREAM"), "^http://([^:]+):(%d+)")
local upstream_request = "GET / HTTP/1.1\r\nHost: " .. host .. ":" .. port .. "\r\n\r\n"
local pool = { pool = "upstream", pool_size = 256 }

local seen = { count = 0 } -- of this worker: what the logging middleware noted last

local phases = {}

--- access_by_lua: what the middleware do with the request.
function phases.on_request()
  local ctx = ngx.ctx
  ctx.path = var.uri
  ctx.agent = var.http_user_agent
end

--- header_filter_by_lua: what they add to the response.
function phases.on_response()
  local header = ngx.header
  header["X-Custom-Header"] = "Hello"
  header["X-Request-Path"] = ngx.ctx.path
end

--- log_by_lua: what the logging middleware does afterwards.
function phases.on_end()
  seen.count = seen.count + 1
  seen.path, seen.status = ngx.ctx.path, ngx.status
end

local function answer(body)
  ngx.header["Content-Length"] = #body -- else nginx would send it in chunks
  print(body)
end

function phases.hello()
  answer("Hello, World!")
end

function phases.sleep()
  ngx.sleep(30)
  answer("awake")
end

--- One request over a pooled connection. Returns the body, or nil and why not. Reading the
-- head line by line measured faster than one `receiveuntil` for all of it.
local function fetch()
  local socket = tcp()
  socket:settimeout(5000)
  local ok, err = socket:connect(host, port, pool)
  if not ok then
    return nil, err
  end
  ok, err = socket:send(upstream_request)
  if not ok then
    return nil, err
  end

  local line
  line, err = socket:receive()
  if not line then
    return nil, err
  elseif sub(line, 1, 12) ~= "HTTP/1.1 200" then
    return nil, line
  end
  local length
  repeat
    line, err = socket:receive()
    if not line then
      return nil, err
    end
    length = length or tonumber(match(line, "^[Cc]ontent%-[Ll]ength: *(%d+)"))
  until line == ""

  local body
  body, err = socket:receive(length)
  if not body then
    return nil, err
  end
  socket:setkeepalive(60000, 256)
  return body
end

function phases.upstream()
  local body, err = fetch()
  if not body then
    ngx.log(ngx.ERR, err)
    return ngx.exit(502)
  end
  answer(body)
end

return phases
