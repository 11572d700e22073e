--- What the specs of the protocol share: an app on loopback, and the ways in which the same bytes
-- may arrive. What is sent and what is expected stand in the specs, byte for byte.

local assert = require "luassert"
local core = require "weft.core"
local client = require "tests.support.client"
local task = require "weft.task"
local testing = require "weft.testing"
local weft = require "weft"

local wire = { connect = client.connect, exchange = client.exchange }

--- Serves an app until the running task (an `it`, say) ends.
---@param fill fun(app: weft.App)
---@param options table? of weft.app
---@return integer port
---@return weft.testing.Client served
function wire.serve(fill, options)
  local app = weft.app(options)
  fill(app)
  local served = testing.client(app)
  task.defer(function() served:close() end)
  return tonumber(served.url:match ":(%d+)$"), served
end

--- An app that answers every request with its method, path and body, and counts them.
---@param options table? of weft.app
---@return integer port
---@return { count: integer, paths: table<string, true> } seen
---@return fun(): integer connections that are open
function wire.serve_echo(options)
  local seen = { count = 0, paths = {} }
  local port, served = wire.serve(function(app)
    app:any("/*path", function(request)
      seen.count, seen.paths[request.path] = seen.count + 1, true
      return request.method .. " " .. request.path .. " " .. request:body()
    end)
  end, options)
  return port, seen, function() return core.connection_count(served._server) end
end

--- Without its Date lines, of which one is expected in each final response.
---@param bytes string
---@return string
function wire.undated(bytes)
  return (bytes:gsub("\r\nDate: %a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT\r\n", "\r\n"))
end

--- The bytes of a response, as weft writes one of a text.
---@param body string
---@param more string? further header lines, with their ends
---@return string
function wire.ok(body, more)
  return "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
    .. ("Content-Length: %d\r\n%s\r\n%s"):format(#body, more or "", body)
end

--- Sends pieces, each of which arrives in a read of its own, and gives all that comes back.
local function exchange_in_pieces(port, pieces)
  local connection = client.connect(port)
  for i, piece in ipairs(pieces) do
    if i > 1 then weft.sleep(0.001) end
    if not connection:send(piece) then break end
  end
  local answer, how = connection:receive_all()
  connection:close()
  return answer, how
end

--- Sends the same bytes on connections of their own: at once, byte by byte, and cut in two at every
-- point. Fails unless each gives the same answer until the server closes.
---@param port integer
---@param bytes string
---@param step integer? for long ones: how many bytes are one of those points (1)
---@return string answer without its Date
function wire.each_way(port, bytes, step)
  step = step or 1
  local pieces = {}
  local ways = { ["at once"] = { bytes }, ["piece by piece"] = pieces }
  for i = 1, #bytes, step do pieces[#pieces + 1] = bytes:sub(i, i + step - 1) end
  for i = 1, #bytes - 1, step do
    ways["cut behind byte " .. i] = { bytes:sub(1, i), bytes:sub(i + 1) }
  end
  local answers, running = {}, {}
  for name, way in pairs(ways) do
    running[name] = task.spawn(function()
      local answer, how = exchange_in_pieces(port, way)
      answers[name] = { wire.undated(answer), how }
    end)
  end
  for _, one in pairs(running) do one:await() end
  local expected = answers["at once"]
  for name, answer in pairs(answers) do
    if answer[1] ~= expected[1] or answer[2] ~= expected[2] then
      error(("%s: %s, %q\nbut at once: %s, %q"):format(name, answer[2], answer[1]:sub(1, 500),
        expected[2], expected[1]:sub(1, 500)), 2)
    end
  end
  assert.equal("eof", expected[2])
  return expected[1]
end

return wire
