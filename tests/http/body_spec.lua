-- Request bodies: read when somebody asks, held back while nobody does, and got out of the way when
-- nobody did.

local weft = require "weft"
local wire = require "tests.http.wire"

local KB, MB = 1024, 1024 * 1024

--- An app that does with a body what the path says.
local function serve(options)
  local gate = { open = false, requests = 0, read = 0 }
  local port = wire.serve(function(app)
    app:on("request_started", function() gate.requests = gate.requests + 1 end)
    app:post("/length", function(request) return tostring(#request:body()) end)
    app:post("/late", function(request)
      weft.sleep(0.02) -- the body is there, as far as it may be
      return tostring(#request:body())
    end)
    app:post("/piecewise", function(request)
      for bytes in request:chunks() do
        gate.read = gate.read + #bytes
        weft.sleep(0.001)
      end
      return tostring(gate.read)
    end)
    app:post("/held", function(request)
      while not gate.open do weft.sleep(0.005) end
      for bytes in request:chunks() do gate.read = gate.read + #bytes end
      return tostring(gate.read)
    end)
    app:post("/unread", function() return "unread" end)
    app:post("/unread/later", function()
      weft.sleep(0.02)
      return "unread"
    end)
    app:post("/refused", function() weft.abort(403, "no") end)
    app:post("/large_answer", function() return ("x"):rep(MB) end)
    app:post("/stream", function()
      return weft.stream(function(write)
        write "one"
        weft.sleep(0.03)
        write "two"
      end)
    end)
    app:get("/next", function() return "next" end)
  end, options)
  return port, gate
end

local NEXT = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
local NEXT_ANSWER = wire.ok("next", "Connection: close\r\n")

describe("the chain starts when the headers are complete", function()
  it("so that an answer may come before the body", function()
    local connection = wire.connect((serve()))
    connection:send "POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    assert.equal(wire.ok "unread", wire.undated(connection:receive_response().raw))
    connection:send("abcde" .. NEXT)
    assert.equal(NEXT_ANSWER, wire.undated((connection:receive_all())))
  end)

  it("so that an upload of 1 GB is refused after reading none of it", function()
    local port, gate = serve()
    for _, path in ipairs { "/refused", "/unread", "/length" } do
      local connection = wire.connect(port)
      connection:send("POST " .. path .. " HTTP/1.1\r\nHost: a\r\n"
        .. "Content-Length: 1073741824\r\n\r\n")
      local answer = connection:receive_response()
      assert.equal(({ ["/refused"] = 403, ["/unread"] = 200, ["/length"] = 413 })[path],
        answer.status)
      assert.equal("close", answer.headers.connection)
      assert.equal("eof", (connection:closed()))
    end
    assert.equal(3, gate.requests)
  end)
end)

describe("a body", function()
  for _, size in ipairs { 0, 1, 64 * KB - 1, 64 * KB, 64 * KB + 1, 128 * KB, 128 * KB + 1, MB } do
    it(("of %d bytes is read whole, at once or late, sized or in chunks"):format(size), function()
      local port = serve()
      for _, path in ipairs { "/length", "/late" } do
        local body = ("x"):rep(size)
        local first = "POST " .. path .. " HTTP/1.1\r\nHost: a\r\n"
        local sized = first .. ("Content-Length: %d\r\n\r\n"):format(size)
        local chunk = size > 0 and ("%x\r\n%s\r\n"):format(size, body) or ""
        local chunked = first .. "Transfer-Encoding: chunked\r\n\r\n"
        assert.equal(wire.ok(tostring(size)) .. wire.ok(tostring(size)) .. NEXT_ANSWER,
          wire.undated((wire.exchange(port,
            sized .. body .. chunked .. chunk .. "0\r\n\r\n" .. NEXT))))
      end
    end)
  end

  it("that comes in pieces of its own is read whole, late too", function()
    local port = serve()
    for _, path in ipairs { "/length", "/late" } do
      for _, pieces in ipairs { { 60000, 40000 }, { 65535, 1 }, { 40000, 40000, 40000 } } do
        local total = 0
        for _, size in ipairs(pieces) do total = total + size end
        local connection = wire.connect(port)
        connection:send(("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"):format(path,
          total))
        for _, size in ipairs(pieces) do
          weft.sleep(0.002)
          connection:send(("x"):rep(size))
        end
        assert.equal(tostring(total), connection:receive_response().body)
      end
    end
  end)

  it("is not read past 64 KiB or so before somebody asks, and whole afterwards", function()
    local port, gate = serve()
    local connection = wire.connect(port)
    local size = 64 * MB -- more than the kernel holds for a connection
    connection:send(("POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"):format(size))
    local piece, sent = ("x"):rep(64 * KB), 0
    connection.socket.timeout = 0.3 -- it is the server that makes it wait
    local err
    while sent < size and not err do
      err = select(2, connection:send(piece))
      sent = sent + #piece
    end
    assert.equal("timeout", err and err.code)
    assert.equal(0, gate.read)
    gate.open = true
    connection.socket.timeout = 5
    while sent < size do
      assert(connection:send(piece))
      sent = sent + #piece
    end
    assert.equal(tostring(size), connection:receive_response().body)
  end)

  it("goes through slowly while the script reads piece by piece", function()
    local port = serve()
    local connection = wire.connect(port)
    local size = 4 * MB
    connection:send("POST /piecewise HTTP/1.1\r\nHost: a\r\n"
      .. ("Content-Length: %d\r\n\r\n"):format(size))
    for _ = 1, size / MB do assert(connection:send(("x"):rep(MB))) end
    assert.equal(tostring(size), connection:receive_response().body)
  end)
end)

describe("a body that nobody read", function()
  for _, path in ipairs { "/unread", "/unread/later", "/refused" } do
    for _, size in ipairs { 1, 64 * KB } do
      local name = ("of %d bytes is dropped, and the next request answered: %s"):format(size, path)
      it(name, function()
        local port = serve()
        local answer = wire.undated((wire.exchange(port,
          ("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"):format(path, size,
            ("x"):rep(size)) .. NEXT)))
        assert.equal(NEXT_ANSWER, answer:sub(-#NEXT_ANSWER))
        answer = wire.undated((wire.exchange(port,
          ("POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n")
            :format(path, size, ("x"):rep(size)) .. NEXT)))
        assert.equal(NEXT_ANSWER, answer:sub(-#NEXT_ANSWER))
      end)
    end
  end

  it("of more than 64 KiB closes the connection, and the answer says so", function()
    local port, gate = serve()
    local size = 64 * KB + 1
    local answer, how = wire.exchange(port,
      ("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"):format(size,
        ("x"):rep(size)) .. NEXT)
    assert.equal(wire.ok("unread", "Connection: close\r\n"), wire.undated(answer))
    assert.equal("eof", how)
    assert.equal(1, gate.requests)
  end)

  it("of more than 64 KiB in chunks closes the connection behind the answer", function()
    local port, gate = serve()
    local answer = wire.exchange(port,
      "POST /unread HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. "32000\r\n" .. ("x"):rep(200 * KB) .. "\r\n0\r\n\r\n" .. NEXT)
    assert.equal(wire.ok "unread", wire.undated(answer))
    assert.equal(1, gate.requests)
  end)

  it("and that the client goes on sending does not cost it the answer", function()
    local port = serve()
    for _, path in ipairs { "/unread", "/refused", "/large_answer", "/length" } do
      local connection = wire.connect(port)
      connection:send(("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"):format(path,
        100 * MB))
      connection.socket.timeout = 0.2
      local piece, sent = ("x"):rep(64 * KB), 0
      while sent < 100 * MB and connection:send(piece) do -- without a look at what comes
        sent = sent + #piece
      end
      assert.is_true(sent < 32 * MB, "what the kernel holds, and some that is dropped")
      connection.socket.timeout = 5
      local answer = connection:receive_response()
      assert.equal("close", answer.headers.connection)
      assert.equal(({ ["/refused"] = 403, ["/length"] = 413 })[path] or 200, answer.status)
    end
  end)

  it("and is malformed ends the connection behind an answer that had begun", function()
    local port = serve()
    local connection = wire.connect(port)
    connection:send "POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.socket:read_until "one"
    connection:send("2\r\nabXX0\r\n\r\n" .. NEXT)
    assert.equal("\r\n3\r\ntwo\r\n0\r\n\r\n", (connection:receive_all()))
  end)
end)

describe("a body over the limit", function()
  it("is refused before it was read, when its length was announced", function()
    local port, gate = serve { max_body_size = 100 }
    local connection = wire.connect(port)
    connection:send "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n"
    assert.equal(413, connection:receive_response().status)
    assert.equal(1, gate.requests)
  end)

  it("is refused when it is counted, in chunks", function()
    local port = serve { max_body_size = 100 }
    local connection = wire.connect(port)
    connection:send("POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "64\r\n" .. ("x"):rep(100) .. "\r\n")
    weft.sleep(0.01)
    connection:send "1\r\n"
    weft.sleep(0.01)
    connection:send "x"
    assert.equal(413, connection:receive_response().status)
  end)

  it("and cheap to drop lets the connection stay", function()
    local port = serve { max_body_size = 100 }
    for _, request in ipairs {
      "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n" .. ("x"):rep(101),
      "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n"
        .. ("x"):rep(101) .. "\r\n0\r\n\r\n",
    } do
      local connection = wire.connect(port)
      connection:send(request .. NEXT)
      local answer = connection:receive_response()
      assert.equal(413, answer.status)
      assert.is_nil(answer.headers.connection)
      assert.equal(NEXT_ANSWER, wire.undated((connection:receive_all())))
    end
  end)

  it("of exactly the limit is fine", function()
    local port = serve { max_body_size = 100 }
    assert.equal(wire.ok "100" .. NEXT_ANSWER, wire.undated((wire.exchange(port,
      "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
        .. ("x"):rep(100) .. NEXT))))
  end)
end)
