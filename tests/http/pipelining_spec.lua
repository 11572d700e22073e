-- Several requests in one go: each is answered, in their order, whatever becomes of the others.

local weft = require "weft"
local wire = require "tests.http.wire"

--- An app whose /slow answers only after `gate.open` was set, or after a moment.
local function serve_slow()
  local gate = { open = false, started = {}, large = 0 }
  local port = wire.serve(function(app)
    app:get("/slow", function()
      table.insert(gate.started, "slow")
      for _ = 1, 20 do
        if gate.open then break end
        weft.sleep(0.005)
      end
      return "slow"
    end)
    app:get("/held", function()
      while not gate.open do weft.sleep(0.005) end
      return "held"
    end)
    app:get("/fast/:name", function(request)
      table.insert(gate.started, "fast")
      return request.params.name
    end)
    app:post("/unread", function() return "unread" end)
    app:post("/read", function(request) return "read " .. request:body() end)
    app:get("/large", function(request)
      gate.large = gate.large + 1
      return request.query.letter:rep(tonumber(request.query.size))
    end)
    app:get("/fault", function() error "a fault" end)
  end)
  return port, gate
end

describe("pipelined requests", function()
  it("are answered in order, however they arrive", function()
    local port = wire.serve_echo()
    assert.equal(wire.ok "GET /1 " .. wire.ok "POST /2 two" .. wire.ok "PUT /3 three"
      .. wire.ok("GET /4 ", "Connection: close\r\n"),
      wire.each_way(port, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
        .. "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo"
        .. "PUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\n"
        .. "GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
  end)

  it("are answered in order when a later one would be ready first", function()
    local port, gate = serve_slow()
    local answer = wire.exchange(port, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
      .. "GET /fast/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.equal(wire.ok "slow" .. wire.ok("1", "Connection: close\r\n"), wire.undated(answer))
    assert.same({ "slow", "fast" }, gate.started)
  end)

  it("behind a request whose body nobody read are answered", function()
    local port = serve_slow()
    assert.equal(wire.ok "unread" .. wire.ok("1", "Connection: close\r\n"),
      wire.each_way(port, "POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 37\r\n\r\n"
        .. "GET /smuggled HTTP/1.1\r\nHost: abc\r\n\r\n"
        .. "GET /fast/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
  end)

  it("behind a fault of a script are answered", function()
    local port = serve_slow()
    local connection = wire.connect(port)
    connection:send("GET /fault HTTP/1.1\r\nHost: a\r\n\r\nGET /fast/1 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal(500, connection:receive_response().status)
    assert.equal("1", connection:receive_response().body)
  end)

  it("are all answered, a thousand of them in one write", function()
    local port = serve_slow()
    local connection = wire.connect(port)
    local requests = {}
    for i = 1, 1000 do
      requests[i] = ("GET /fast/%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(i)
    end
    connection:send(table.concat(requests))
    for i = 1, 1000 do assert.equal(tostring(i), connection:receive_response().body) end
  end)

  for _, size in ipairs { 8 * 1024, 100 * 1024 } do
    it(("are all answered when their answers of %d bytes are more than may be unsent"):format(size),
      function()
        local port = serve_slow()
        local connection = wire.connect(port)
        local count, requests = 6 * 1024 * 1024 / size, {}
        for i = 1, count do
          requests[i] = ("GET /large?letter=%s&size=%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(
            string.char(65 + i % 26), size)
        end
        local before = weft.now()
        connection:send(table.concat(requests))
        weft.sleep(0.05) -- the server writes until the client would have to read
        for i = 1, count do
          local expected = string.char(65 + i % 26):rep(size)
          assert.is_true(expected == connection:receive_response().body, "answer " .. i)
        end
        assert.is_true(weft.now() - before < 10, "the answers come, but with pauses")
      end)
  end

  it("are not begun without a limit while the client reads nothing", function()
    local port, gate = serve_slow()
    local connection = wire.connect(port)
    connection:send(("GET /large?letter=a&size=1000000 HTTP/1.1\r\nHost: a\r\n\r\n"):rep(100))
    weft.sleep(0.3)
    local begun = gate.large
    assert.is_true(begun < 32, begun) -- what the kernel holds for a connection, and some more
    for _ = 1, 100 do assert.equal(1000000, #connection:receive_response().body) end
    assert.equal(100, gate.large)
  end)

  it("are not read without a limit while the first one runs", function()
    local port, gate = serve_slow()
    local connection = wire.connect(port)
    connection:send "GET /held HTTP/1.1\r\nHost: a\r\n\r\n"
    local request = "GET /fast/1 HTTP/1.1\r\nHost: a\r\nX: " .. ("x"):rep(20000) .. "\r\n\r\n"
    connection.socket.timeout = 0.3 -- it is the server that makes it wait
    local sent, err = 0, nil
    while sent < 4000 do -- 80 MB, more than the kernel holds for a connection
      err = select(2, connection:send(request))
      if err then break end
      sent = sent + 1
    end
    assert.equal("timeout", err and err.code)
    gate.open = true
    connection.socket.timeout = 5
    assert.equal("held", connection:receive_response().body)
    for _ = 1, sent do assert.equal("1", connection:receive_response().body) end
  end)

  it("behind one that closes the connection are not answered", function()
    local port, seen = wire.serve_echo()
    assert.equal(wire.ok("GET /1 ", "Connection: close\r\n"),
      wire.each_way(port, "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        .. "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", 3))
    assert.is_nil(seen.paths["/2"])
  end)
end)

describe("the refusal of a later pipelined request", function()
  local function assert_behind(port, first, answer)
    local got = wire.each_way(port, first .. "GET / HTTP/1.1\r\nHost: a\r\nBad : b\r\n\r\n")
    assert.equal(answer, got:sub(1, #answer))
    assert.matches("^HTTP/1%.1 400 Bad Request\r\n", got:sub(#answer + 1))
  end

  it("does not swallow the answers before it", function()
    local port = serve_slow()
    assert_behind(port, "GET /fast/1 HTTP/1.1\r\nHost: a\r\n\r\n"
      .. "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
      wire.ok "1" .. wire.ok "read ab")
  end)

  it("does not overtake an answer that takes long", function()
    local port = serve_slow()
    local answer = wire.exchange(port, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
      .. "GET / HTTP/1.1\r\nBad : b\r\n\r\n")
    local first = wire.ok "slow"
    assert.equal(first, wire.undated(answer):sub(1, #first))
    assert.matches("^HTTP/1%.1 400 Bad Request\r\n", wire.undated(answer):sub(#first + 1))
  end)

  it("does not cut off a large answer before it", function()
    local port = serve_slow()
    local connection = wire.connect(port)
    connection:send("GET /large?letter=a&size=102400 HTTP/1.1\r\nHost: a\r\n\r\n" .. "BAD\r\n\r\n")
    weft.sleep(0.02)
    assert.equal(100 * 1024, #connection:receive_response().body)
    assert.equal(400, connection:receive_response().status)
    assert.equal("eof", (connection:closed()))
  end)
end)

describe("a request with Upgrade that nobody upgrades", function()
  it("is an ordinary request, and the bytes after it are the next one", function()
    local port = wire.serve_echo()
    assert.equal(wire.ok "GET /1 " .. wire.ok("GET /2 ", "Connection: close\r\n"),
      wire.each_way(port, "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
        .. "Upgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
  end)

  it("may have a body", function()
    local port = wire.serve_echo()
    assert.equal(wire.ok "POST /1 ab" .. wire.ok("GET /2 ", "Connection: close\r\n"),
      wire.each_way(port, "POST /1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        .. "Content-Length: 2\r\n\r\nabGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
  end)
end)
