-- Which connections stay open for a next request, and which close, said and done.

local helper = require "tests.support.helper"
local weft = require "weft"
local wire = require "tests.http.wire"

describe("a connection", function()
  for name, request in pairs {
    ["in HTTP/1.1"] = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    ["in HTTP/1.1 with Connection: keep-alive"] =
      "GET /a HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    ["with a Connection that names another header"] =
      "GET /a HTTP/1.1\r\nHost: a\r\nConnection: x-close\r\n\r\n",
    ["with a header whose value is close"] = "GET /a HTTP/1.1\r\nHost: a\r\nX: close\r\n\r\n",
  } do
    it("stays " .. name, function()
      local port = wire.serve_echo()
      local connection = wire.connect(port)
      for _ = 1, 3 do
        connection:send(request)
        assert.equal(wire.ok "GET /a ", wire.undated(connection:receive_response().raw))
      end
    end)
  end

  for name, request in pairs {
    ["with Connection: close"] = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n",
    ["with close in another case"] = "GET /a HTTP/1.1\r\nHost: a\r\nconnection: Close\r\n",
    ["with white space around close"] = "GET /a HTTP/1.1\r\nHost: a\r\nConnection:\t close\t \r\n",
    ["with close in a list"] = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: x,\tclose , y\r\n",
    ["with close in a second line"] =
      "GET /a HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n",
    ["in HTTP/1.0"] = "GET /a HTTP/1.0\r\nHost: a\r\n",
    ["in HTTP/1.0 with keep-alive and close"] =
      "GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, close\r\n",
  } do
    it("closes " .. name, function()
      local port = wire.serve_echo()
      assert.equal(wire.ok("GET /a ", "Connection: close\r\n"),
        wire.each_way(port, request .. "\r\n"))
    end)
  end

  it("stays in HTTP/1.0 for a client that asks for it", function()
    local port = wire.serve_echo()
    assert.equal(wire.ok("GET /1 ", "Connection: keep-alive\r\n")
      .. wire.ok("POST /2 ab", "Connection: keep-alive\r\n")
      .. wire.ok("GET /3 ", "Connection: close\r\n"),
      wire.each_way(port, "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        .. "POST /2 HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nab"
        .. "GET /3 HTTP/1.0\r\n\r\n"))
  end)

  it("that closes drops the bytes behind the last request", function()
    local port, seen, count = wire.serve_echo()
    assert.equal(wire.ok("GET /1 ", "Connection: close\r\n"), wire.undated(
      (wire.exchange(port, "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        .. "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n\1\2\3"))))
    assert.equal(1, seen.count)
    helper.eventually(function() return count() == 0 end, 1)
  end)

  it("with one CRLF behind each body stays", function()
    local port = wire.serve_echo()
    assert.equal(wire.ok "POST /1 ab" .. wire.ok("POST /2 cd", "Connection: close\r\n"),
      wire.each_way(port, "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab\r\n"
        .. "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\ncd\r\n"))
  end)
end)

describe("a connection stays after", function()
  local function serve()
    return wire.serve(function(app)
      app:get("/ok", function() return "ok" end)
      app:any("/fault", function() error "a fault" end)
      app:any("/late", function()
        weft.sleep(0.005)
        error { code = "odd" }
      end)
      app:get("/abort", function() weft.abort(403, "no") end)
      app:get("/nothing", function() end)
      app:get("/status", function() return weft.response { status = 299 } end)
    end)
  end

  for name, case in pairs {
    ["an error of a script"] = { "GET /fault HTTP/1.1\r\nHost: a\r\n\r\n", 500 },
    ["an error behind an await"] = { "GET /late HTTP/1.1\r\nHost: a\r\n\r\n", 500 },
    ["an error in front of a body"] =
      { "POST /fault HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", 500 },
    ["an error in front of a chunked body"] =
      { "POST /late HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        500 },
    ["an abort"] = { "GET /abort HTTP/1.1\r\nHost: a\r\n\r\n", 403 },
    ["a view that returned nothing"] = { "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 500 },
    ["a path without a route"] = { "GET /none HTTP/1.1\r\nHost: a\r\n\r\n", 404 },
    ["a method without a route"] = { "PUT /ok HTTP/1.1\r\nHost: a\r\n\r\n", 405 },
    ["a status that has no name"] = { "GET /status HTTP/1.1\r\nHost: a\r\n\r\n", 299 },
  } do
    it(name, function()
      local connection = wire.connect(serve())
      for _ = 1, 3 do
        connection:send(case[1])
        local answer = connection:receive_response()
        assert.equal(case[2], answer.status)
        assert.is_nil(answer.headers.connection)
        connection:send "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"
        assert.equal(wire.ok "ok", wire.undated(connection:receive_response().raw))
      end
    end)
  end
end)

describe("framing headers that a script sets", function()
  it("lose against weft's own", function()
    local port = wire.serve(function(app)
      app:get("/a", function()
        return weft.text("body", 200, {
          ["Content-Length"] = "1",
          ["Transfer-Encoding"] = "chunked",
          ["Connection"] = "close",
          ["Keep-Alive"] = "timeout=5",
          ["Date"] = "yesterday",
        })
      end)
    end)
    assert.equal(wire.ok "body" .. wire.ok("body", "Connection: close\r\n"),
      wire.each_way(port, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
        .. "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 7))
  end)

  it("with CR, LF or NUL are an error, and nothing of them is sent", function()
    local port = wire.serve(function(app)
      app:get("/:kind", function(request)
        local kind = request.params.kind
        local response = weft.text "body"
        response.headers["X-Value"] =
          ({ cr = "a\rb", lf = "a\nSet-Cookie: x=1", nul = "a\0b" })[kind]
        if kind == "name" then response.headers["X: y\r\nZ"] = "1" end
        return response
      end)
    end)
    for _, kind in ipairs { "cr", "lf", "nul", "name" } do
      local connection = wire.connect(port)
      connection:send("GET /" .. kind .. " HTTP/1.1\r\nHost: a\r\n\r\n")
      local answer = connection:receive_response()
      assert.equal(500, answer.status)
      assert.is_nil(answer.raw:lower():find("x-value", 1, true))
      assert.is_nil(answer.headers["set-cookie"])
      connection:send "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"
      assert.equal(wire.ok "body", wire.undated(connection:receive_response().raw))
    end
  end)
end)

describe("Date", function()
  it("is in every response, once, and says now", function()
    local port = wire.serve_echo()
    local connection = wire.connect(port)
    connection:send "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    local answer = connection:receive_response()
    local day, month, year, hour, minute, second = answer.headers.date:match
      "^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$"
    month = (("JanFebMarAprMayJunJulAugSepOctNovDec"):find(month) + 2) / 3
    local sent = os.time {
      year = year, month = month, day = day, hour = hour, min = minute, sec = second,
      isdst = false,
    }
    local now = os.date("!*t")
    now.isdst = false
    assert.is_true(math.abs(os.time(now) - sent) <= 2)
  end)
end)
