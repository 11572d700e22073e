-- Bodies in chunks: of requests, where each malformed one is refused, and of responses.

local weft = require "weft"
local wire = require "tests.http.wire"

local HEAD = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"

describe("a request's chunked body", function()
  for name, case in pairs {
    ["is read, of one chunk"] = { "2\r\nab\r\n0\r\n\r\n", "ab" },
    ["is read, of several"] = { "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", "abcde" },
    ["is read, of none"] = { "0\r\n\r\n", "" },
    ["may have zeros in front of a size"] = { "0002\r\nab\r\n0000\r\n\r\n", "ab" },
    ["may have sizes in upper and lower case"] =
      { "a\r\n0123456789\r\nA\r\nabcdefghij\r\n0\r\n\r\n", "0123456789abcdefghij" },
    ["may have extensions"] = { "2;x=y;z=\"q\"\r\nab\r\n0;last\r\n\r\n", "ab" },
    ["may have trailers, which are dropped"] =
      { "2\r\nab\r\n0\r\nX-Trailer: 1\r\nContent-Length: 9\r\n\r\n", "ab" },
    ["may contain what looks like its end"] =
      { "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n" },
  } do
    it(name, function()
      local port = wire.serve_echo()
      assert.equal(wire.ok("POST /a " .. case[2], "Connection: close\r\n"),
        wire.each_way(port, HEAD .. "Connection: close\r\n\r\n" .. case[1]))
    end)
  end

  local MALFORMED = {
    ["has a size that is not hex"] = "g\r\nab\r\n0\r\n\r\n",
    ["has an empty size"] = "\r\nab\r\n0\r\n\r\n",
    ["has an empty size with an extension"] = ";x\r\nab\r\n0\r\n\r\n",
    ["has a signed size"] = "+2\r\nab\r\n0\r\n\r\n",
    ["has a negative size"] = "-2\r\nab\r\n0\r\n\r\n",
    ["has a size with 0x"] = "0x2\r\nab\r\n0\r\n\r\n",
    ["has white space before a size"] = " 2\r\nab\r\n0\r\n\r\n",
    ["has white space behind a size"] = "2 \r\nab\r\n0\r\n\r\n",
    ["has white space before an extension"] = "2 ;x\r\nab\r\n0\r\n\r\n",
    ["has a size of 17 digits"] = "00000000000000002\r\nab\r\n0\r\n\r\n",
    ["has a size line that ends with LF"] = "2\nab\r\n0\r\n\r\n",
    ["has a bare CR in an extension"] = "2;x\ry\r\nab\r\n0\r\n\r\n",
    ["has a bare LF in an extension"] = "2;x\ny\r\nab\r\n0\r\n\r\n",
    ["has a NUL in an extension"] = "2;x\0\r\nab\r\n0\r\n\r\n",
    ["has a chunk longer than its size"] = "2\r\nabc\r\n0\r\n\r\n",
    ["has a chunk that ends with LF"] = "2\r\nab\n0\r\n\r\n",
    ["has a chunk that ends with other bytes"] = "2\r\nabXX0\r\n\r\n",
    ["has no CRLF at its end"] = "2\r\nab\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
    ["has a trailer without a colon"] = "0\r\nX\r\n\r\n",
    ["has a trailer with a space in its name"] = "0\r\nX : a\r\n\r\n",
    ["has a folded trailer"] = "0\r\nX: a\r\n b\r\n\r\n",
    ["has a trailer with a bare LF"] = "0\r\nX: a\n\r\n",
  }

  for name, body in pairs(MALFORMED) do
    it("is refused with 400 when it " .. name, function()
      local port = wire.serve_echo()
      local answer = wire.each_way(port,
        HEAD .. "\r\n" .. body .. "GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.matches("^HTTP/1%.1 400 Bad Request\r\n", answer)
      assert.matches("\r\nConnection: close\r\n\r\n[^\r\n]*\n$", answer)
    end)
  end

  it("that is malformed ends the connection behind the answer of who never asked for it", function()
    local seen = 0
    local port = wire.serve(function(app)
      app:any("/*path", function()
        seen = seen + 1
        weft.sleep(0.01) -- the body has arrived by now
        return "unread"
      end)
    end)
    local bytes = HEAD .. "\r\n2\r\nabXX0\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"
    local answer = wire.exchange(port, bytes)
    assert.equal(wire.ok("unread", "Connection: close\r\n"), wire.undated(answer))
    assert.equal(1, seen)
  end)

  it("is refused with 400 when the extensions of a line pass 1 KiB", function()
    local port = wire.serve_echo()
    local answer = wire.each_way(port,
      HEAD .. "\r\n2;" .. ("x"):rep(1100) .. "\r\nab\r\n0\r\n\r\n", 97)
    assert.matches("^HTTP/1%.1 400 ", answer)
  end)

  it("is refused with 400 when all extensions pass 16 KiB", function()
    local port = wire.serve_echo()
    local chunk = "1;" .. ("x"):rep(1000) .. "\r\na\r\n"
    local answer = wire.each_way(port, HEAD .. "\r\n" .. chunk:rep(17) .. "0\r\n\r\n", 1511)
    assert.matches("^HTTP/1%.1 400 ", answer)
  end)

  it("is refused with 400 when its trailers pass the limits of headers", function()
    local port = wire.serve_echo()
    local many, large = ("X: a\r\n"):rep(101), "X: " .. ("a"):rep(32 * 1024) .. "\r\n"
    assert.matches("^HTTP/1%.1 400 ",
      wire.each_way(port, HEAD .. "\r\n0\r\n" .. many .. "\r\n", 97))
    assert.matches("^HTTP/1%.1 400 ",
      wire.each_way(port, HEAD .. "\r\n0\r\n" .. large .. "\r\n", 4001))
  end)

  it("never makes a header of a trailer", function()
    local port = wire.serve(function(app)
      app:post("/a", function(request)
        local body = request:body()
        return body .. tostring(request.headers["x-trailer"])
      end)
    end)
    assert.equal(wire.ok("abnil", "Connection: close\r\n"), wire.each_way(port,
      HEAD .. "Connection: close\r\n\r\n2\r\nab\r\n0\r\nX-Trailer: 1\r\n\r\n"))
  end)
end)

describe("a response that is streamed", function()
  local function serve()
    return wire.serve(function(app)
      app:get("/words", function()
        return weft.stream(function(write)
          write "one"
          write "" -- is no chunk: an empty one would be the end
          weft.sleep(0.01)
          write(("x"):rep(26))
        end, { ["Content-Type"] = "text/plain" })
      end)
      app:get("/sized", function()
        return weft.stream(function(write)
          write "one"
          write "two"
        end, { ["Content-Type"] = "text/plain", ["Content-Length"] = 6 })
      end)
      app:get("/empty", function() return weft.stream(function() end) end)
      app:get("/torn", function()
        return weft.stream(function(write)
          write "one"
          error "in the middle"
        end)
      end)
      app:get("/torn_later", function()
        return weft.stream(function(write)
          write "one"
          weft.sleep(0.01)
          error "in the middle"
        end)
      end)
      app:get("/short", function()
        return weft.stream(function(write) write "one" end, { ["Content-Length"] = 6 })
      end)
    end)
  end
  local TYPE = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"

  it("goes out in chunks in HTTP/1.1, and the connection stays", function()
    local port = serve()
    assert.equal(TYPE .. "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n1a\r\n" .. ("x"):rep(26)
      .. "\r\n0\r\n\r\n" .. TYPE .. "Content-Length: 6\r\nConnection: close\r\n\r\nonetwo",
      wire.each_way(port, "GET /words HTTP/1.1\r\nHost: a\r\n\r\n"
        .. "GET /sized HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
  end)

  it("ends with the connection in HTTP/1.0, also if that was to stay", function()
    local port = serve()
    assert.equal(TYPE .. "Connection: close\r\n\r\none" .. ("x"):rep(26),
      wire.each_way(port, "GET /words HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"))
  end)

  it("stays in HTTP/1.0 when its length is known", function()
    local port = serve()
    assert.equal(TYPE .. "Content-Length: 6\r\nConnection: keep-alive\r\n\r\nonetwo"
      .. TYPE .. "Content-Length: 6\r\nConnection: close\r\n\r\nonetwo",
      wire.each_way(port, "GET /sized HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        .. "GET /sized HTTP/1.0\r\n\r\n"))
  end)

  it("may be empty", function()
    local port = serve()
    local answer = wire.exchange(port,
      "GET /empty HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.matches("\r\nTransfer%-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n$", answer)
  end)

  for _, path in ipairs { "/torn", "/torn_later" } do
    it("ends without the last chunk after an error in its middle: " .. path, function()
      local port = serve()
      local answer = wire.exchange(port, "GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n"
        .. "GET /sized HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.matches("\r\nTransfer%-Encoding: chunked\r\n\r\n3\r\none\r\n$", answer)
    end)

    it("ends with a reset after an error, where only the end says that it is whole: " .. path,
      function()
        local port = serve()
        local _, how = wire.exchange(port, "GET " .. path .. " HTTP/1.0\r\n\r\n")
        assert.equal("reset", how)
      end)
  end

  it("that is shorter than it said ends the connection", function()
    local port = serve()
    local answer = wire.exchange(port, "GET /short HTTP/1.1\r\nHost: a\r\n\r\n"
      .. "GET /sized HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.matches("\r\nContent%-Length: 6\r\n\r\none$", answer)
  end)

  it("that is torn does not take the answers before it along", function()
    local port = serve()
    local answer = wire.exchange(port, "GET /sized HTTP/1.1\r\nHost: a\r\n\r\n"
      .. "GET /torn HTTP/1.1\r\nHost: a\r\n\r\n")
    local first = TYPE .. "Content-Length: 6\r\n\r\nonetwo"
    assert.equal(first, wire.undated(answer):sub(1, #first))
  end)
end)
