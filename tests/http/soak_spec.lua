-- Output of one client in another's answer: never, whatever the others do meanwhile. Clients send
-- random requests, cut at random points, pipeline them, leave in their middle, and check that each
-- answer is the one to their own request. Under the sanitizers this looks for lifetime faults too.

local task = require "weft.task"
local weft = require "weft"
local wire = require "tests.http.wire"

local SECONDS, CLIENTS = 4, 12

local random = math.random

--- Text that tells whose it is, at every point.
local function pattern(id, size)
  return (id .. "."):rep(math.ceil(size / (#id + 1))):sub(1, size)
end

local function serve()
  return wire.serve(function(app)
    local function answer(request, body)
      return weft.text(body, 200, { ["X-Id"] = request.params.id })
    end
    app:get("/text/:id", function(request)
      return answer(request, pattern(request.params.id, tonumber(request.query.size)))
    end)
    app:get("/late/:id", function(request)
      weft.sleep(random() * 0.003)
      return answer(request, pattern(request.params.id, tonumber(request.query.size)))
    end)
    app:get("/stream/:id", function(request)
      local text = pattern(request.params.id, tonumber(request.query.size))
      return weft.stream(function(write)
        for first = 1, #text, 700 do
          write(text:sub(first, first + 699))
          if random(5) == 1 then weft.sleep(0.001) end
        end
      end, { ["X-Id"] = request.params.id })
    end)
    app:post("/echo/:id", function(request) return answer(request, request:body()) end)
    app:post("/chunks/:id", function(request)
      return weft.stream(function(write)
        for bytes in request:chunks() do write(bytes) end
      end, { ["X-Id"] = request.params.id })
    end)
    app:post("/unread/:id", function(request)
      if random(2) == 1 then weft.sleep(0.001) end
      return answer(request, pattern(request.params.id, 10))
    end)
    app:get("/fault/:id", function(request) weft.abort(418, request.params.id) end)
  end)
end

local function chunked(body)
  local parts, first = {}, 1
  while first <= #body do
    local piece = body:sub(first, first + random(2000))
    parts[#parts + 1] = ("%x\r\n%s\r\n"):format(#piece, piece)
    first = first + #piece
  end
  return table.concat(parts) .. "0\r\n\r\n"
end

local KINDS = { "text", "late", "stream", "echo", "chunks", "unread", "fault", "head" }

--- A random request: its bytes, and what the answer must be.
local function make_request(id)
  local kind = KINDS[random(#KINDS)]
  local size = ({ 0, random(50), random(3000), random(60000) })[random(4)]
  local expected = { id = id, status = 200, body = pattern(id, size) }
  local head = "Host: a\r\n"
  if kind == "head" then
    expected.head, expected.body = true, ""
    return ("HEAD /text/%s?size=%d HTTP/1.1\r\n%s\r\n"):format(id, size, head), expected
  elseif kind == "fault" then
    expected.status, expected.body, expected.id = 418, "418 I'm a teapot: " .. id .. "\n", nil
    return ("GET /fault/%s HTTP/1.1\r\n%s\r\n"):format(id, head), expected
  elseif kind == "echo" or kind == "chunks" or kind == "unread" then
    local body = pattern(id, size)
    if kind == "unread" then expected.body = pattern(id, 10) end
    local first = ("POST /%s/%s HTTP/1.1\r\n%s"):format(kind, id, head)
    if random(2) == 1 then
      return ("%sContent-Length: %d\r\n\r\n%s"):format(first, size, body), expected
    end
    return first .. "Transfer-Encoding: chunked\r\n\r\n" .. chunked(body), expected
  end
  return ("GET /%s/%s?size=%d HTTP/1.1\r\n%s\r\n"):format(kind, id, size, head), expected
end

local function send_in_pieces(connection, bytes)
  local first = 1
  while first <= #bytes do
    local size = random(4) == 1 and random(20) or random(40000)
    if not connection:send(bytes:sub(first, first + size - 1)) then return end
    first = first + size
    if random(3) == 1 then weft.sleep(random() * 0.002) end
  end
end

local function check(answer, expected)
  if answer.status ~= expected.status or answer.headers["x-id"] ~= expected.id
    or answer.body ~= expected.body then
    error(("the answer to %s is another: %d, %s, %q"):format(expected.id, answer.status,
      tostring(answer.headers["x-id"]), answer.body:sub(1, 200)), 0)
  end
end

--- One connection: some pipelined requests; sometimes the client leaves before it has all answers.
local function run_connection(port, name, counts)
  local connection = wire.connect(port)
  local requests, expected = {}, {}
  for i = 1, random(8) do
    requests[i], expected[i] = make_request(("%s-%d"):format(name, i))
  end
  local bytes = table.concat(requests)
  local how = random(5) -- 1: it leaves early; 2: it shuts its side and reads on
  local sender = task.spawn(function()
    send_in_pieces(connection, how == 1 and bytes:sub(1, random(#bytes)) or bytes)
    if how == 2 then connection:shutdown() end
  end)
  if how == 1 then
    weft.sleep(random() * 0.004)
    sender:cancel()
    connection[random(2) == 1 and "reset" or "close"](connection)
    return
  end
  for _, this in ipairs(expected) do
    check(connection:receive_response { head = this.head }, this)
    counts.answers = counts.answers + 1
  end
  sender:await()
  if how == 2 then assert.same({ "eof", "" }, { connection:closed() }) end
  connection:close()
end

describe("output of one client in another's answer", function()
  it("is never found", function()
    local seed = os.time()
    math.randomseed(seed)
    local port, served = serve()
    local counts = { answers = 0, connections = 0 }
    local until_when = weft.now() + SECONDS
    local running = {}
    for client = 1, CLIENTS do
      running[client] = task.spawn(function()
        while weft.now() < until_when do
          counts.connections = counts.connections + 1
          task.spawn(run_connection, port, ("c%dn%d"):format(client, counts.connections), counts)
            :await()
        end
      end)
    end
    for _, one in ipairs(running) do
      local ok, err = pcall(one.await, one)
      if not ok then error(("%s (seed %d)"):format(tostring(err), seed), 0) end
    end
    assert.is_true(counts.answers > 500, counts.answers)
    require("tests.support.helper").eventually(function()
      return require("weft.core").connection_count(served._server) == 0
    end)
  end)
end)
