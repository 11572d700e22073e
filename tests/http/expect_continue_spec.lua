-- Expect: 100-continue is answered when a script first asks for the body, and only then.

local weft = require "weft"
local wire = require "tests.http.wire"

local CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n"

local function serve()
  return wire.serve(function(app)
    app:any("/read", function(request) return "read " .. request:body() end)
    app:post("/twice", function(request)
      local first = request:body()
      return first .. request:text()
    end)
    app:post("/late", function(request)
      weft.sleep(0.02)
      return "read " .. request:body()
    end)
    app:post("/unread", function() return "unread" end)
    app:post("/early", function(request) -- answers, then asks for the body
      return weft.stream(function(write)
        write "early "
        write(request:body())
      end, { ["Content-Type"] = "text/plain" })
    end)
    app:get("/next", function() return "next" end)
  end)
end

local HEAD = "Host: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
local NEXT = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
local NEXT_ANSWER = wire.ok("next", "Connection: close\r\n")

describe("100 Continue", function()
  it("is sent when a script asks for the body, once, and then the answer", function()
    for _, path in ipairs { "/read", "/late", "/twice" } do
      local connection = wire.connect((serve()))
      connection:send("POST " .. path .. " HTTP/1.1\r\n" .. HEAD .. "\r\n")
      assert.equal(CONTINUE, connection:receive_response().raw)
      connection:send("ab" .. NEXT)
      assert.equal(wire.ok(path == "/twice" and "abab" or "read ab") .. NEXT_ANSWER,
        wire.undated((connection:receive_all())))
    end
  end)

  it("is sent for a chunked body", function()
    local connection = wire.connect((serve()))
    connection:send("POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
      .. "Expect: 100-Continue\r\n\r\n")
    assert.equal(CONTINUE, connection:receive_response().raw)
    connection:send("2\r\nab\r\n0\r\n\r\n" .. NEXT)
    assert.equal(wire.ok "read ab" .. NEXT_ANSWER, wire.undated((connection:receive_all())))
  end)

  it("is not sent before a script asks", function()
    local connection = wire.connect((serve()))
    connection:send("POST /unread HTTP/1.1\r\n" .. HEAD .. "\r\n")
    assert.equal(wire.ok("unread", "Connection: close\r\n"),
      wire.undated((connection:receive_all())))
  end)

  it("is not sent behind the head of the answer", function()
    local connection = wire.connect((serve()))
    connection:send("POST /early HTTP/1.1\r\n" .. HEAD .. "\r\n")
    weft.sleep(0.02)
    connection:send "ab"
    assert.is_nil(connection:receive_all():find("100 Continue", 1, true))
  end)

  it("is not sent to who sends the body without waiting", function()
    local connection = wire.connect((serve()))
    connection:send("POST /late HTTP/1.1\r\n" .. HEAD .. "\r\nab" .. NEXT)
    assert.equal(wire.ok "read ab" .. NEXT_ANSWER, wire.undated((connection:receive_all())))
  end)

  it("is not sent for a request without a body", function()
    local port = serve()
    assert.equal(wire.ok "read " .. wire.ok "read " .. NEXT_ANSWER, wire.each_way(port,
      "GET /read HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"
      .. "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n"
      .. NEXT, 3))
  end)

  it("is not sent in HTTP/1.0", function()
    local port = serve()
    assert.equal(wire.ok("read ab", "Connection: close\r\n"),
      wire.each_way(port, "POST /read HTTP/1.0\r\n" .. HEAD .. "\r\nab"))
  end)

  it("that was not sent closes the connection: the client may send the body, or may not", function()
    local port = serve()
    for _, behind in ipairs { "", "ab", "GET /next HTTP/1.1\r\nHost: a\r\n\r\n" } do
      local connection = wire.connect(port)
      connection:send("POST /unread HTTP/1.1\r\n" .. HEAD .. "\r\n")
      local answer = connection:receive_response()
      assert.equal("close", answer.headers.connection)
      connection:send(behind)
      assert.same({ "eof", "" }, { connection:closed() })
    end
  end)
end)
