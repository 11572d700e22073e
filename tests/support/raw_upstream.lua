--- Upstreams that speak raw bytes, so that a spec shows both sides of the wire, and so that they
-- can misbehave. For specs that run inside the runtime (`weft test`); each upstream ends with the
-- `it` that made it.

local tcp = require "weft.tcp"
local weft = require "weft"

local M = {}

M.OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

--- Reads a request: its head with "\n" for line ends, and as much body as it announces. Nil at the
-- connection's end.
function M.read_request(socket)
  local lines = {}
  repeat
    local line = socket:read "line"
    if not line then return nil end
    lines[#lines + 1] = line
  until line == ""
  local head = table.concat(lines, "\n")
  local len = tonumber(head:lower():match "\ncontent%-length: (%d+)") or 0
  return head, len > 0 and socket:read(len) or ""
end

--- A server that runs `script(socket, number)` for each connection, and counts them.
function M.serve(script)
  local upstream = { connections = 0 }
  local server = assert(tcp.listen("127.0.0.1:0", function(socket)
    upstream.connections = upstream.connections + 1
    script(socket, upstream.connections)
    socket:close()
  end))
  upstream.port = server.port
  upstream.url = "http://127.0.0.1:" .. server.port
  function upstream.close() server:close() end
  weft.defer(upstream.close)
  return upstream
end

--- A server that answers every request on every connection with these bytes. It keeps what it
-- heard last as `head` and `body`.
function M.answering(bytes)
  local upstream
  upstream = M.serve(function(socket)
    while true do
      local head, body = M.read_request(socket)
      if not head then return end
      upstream.head, upstream.body = head, body
      if not socket:write(bytes) then return end
    end
  end)
  return upstream
end

--- A server that answers one request on each connection with these bytes, and closes it.
function M.answering_once(bytes)
  return M.serve(function(socket)
    M.read_request(socket)
    socket:write(bytes)
  end)
end

return M
