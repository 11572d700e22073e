-- Everything that a peer or a script may take too long for ends, with the right answer; and nothing
-- that goes on, however slowly, is cut off.

local helper = require "tests.support.helper"
local weft = require "weft"
local wire = require "tests.http.wire"

local MB = 1024 * 1024

describe("a header that takes too long", function()
  local REFUSAL = "HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\n"
    .. "Connection: close\r\nContent-Length: 36\r\n\r\nThe request's header took too long.\n"

  it("is refused with 408", function()
    local port, seen = wire.serve_echo { header_timeout = 0.05 }
    local head = "GET / HTTP/1.1\r\nHost: a\r\n"
    for _, part in ipairs { "G", head, head .. "\r" } do
      local answer, how = wire.exchange(port, part)
      assert.same({ REFUSAL, "eof" }, { wire.undated(answer), how })
    end
    assert.equal(0, seen.count)
  end)

  it("is refused although its bytes keep coming", function()
    local port = wire.serve_echo { header_timeout = 0.1 }
    local connection = wire.connect(port)
    local seconds = helper.timed(function()
      for _ = 1, 100 do
        if not connection:send "a" then break end
        weft.sleep(0.01)
      end
      assert.equal(REFUSAL, wire.undated((connection:receive_all())))
    end)
    assert.is_true(seconds >= 0.1)
  end)

  it("is refused behind the answer to the request before it", function()
    local port = wire.serve_echo { header_timeout = 0.05 }
    local answer = wire.exchange(port, "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET ")
    assert.equal(wire.ok "GET /a " .. REFUSAL, wire.undated(answer))
  end)

  it("does not count the time before its first byte, nor an empty line", function()
    local port = wire.serve_echo { header_timeout = 0.1 }
    local connection = wire.connect(port)
    for _, blank in ipairs { "", "\r", "\n" } do
      connection:send(blank)
      weft.sleep(0.15)
    end
    connection:send "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.equal("GET /a ", connection:receive_response().body)
  end)
end)

describe("an idle connection", function()
  it("is closed without a word", function()
    local port = wire.serve_echo { idle_timeout = 0.05 }
    local connection = wire.connect(port)
    assert.same({ "eof", "" }, { connection:closed() })
    connection = wire.connect(port)
    connection:send "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.equal("GET /a ", connection:receive_response().body)
    assert.same({ "eof", "" }, { connection:closed() })
  end)

  it("is one whose answers are sent: a slow reader is not idle", function()
    local port = wire.serve(function(app)
      app:get("/large", function() return ("x"):rep(16 * MB) end)
    end, { idle_timeout = 0.1 })
    local connection = wire.connect(port)
    connection:send "GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
    weft.sleep(0.3)
    assert.equal(16 * MB, #connection:receive_response().body)
    assert.same({ "eof", "" }, { connection:closed() })
  end)
end)

describe("the last answer on a connection", function()
  it("is sent whole to a slow reader, however long that takes", function()
    local port = wire.serve(function(app)
      app:get("/large", function() return ("x"):rep(16 * MB) end)
    end)
    local connection = wire.connect(port)
    connection:send "GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    weft.sleep(2.2) -- longer than a connection lingers
    assert.equal(16 * MB, #connection:receive_response().body)
    assert.same({ "eof", "" }, { connection:closed() })
  end)

  it("lets the connection go 2 s later, if the client does not close it", function()
    local port = wire.serve_echo()
    local connection = wire.connect(port)
    connection:send "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    connection:receive_response()
    local seconds = helper.timed(function()
      while connection:send "x" do weft.sleep(0.02) end
    end)
    assert.is_true(seconds > 1.5 and seconds < 3, seconds)
  end)
end)

describe("a body", function()
  local function serve(options)
    return wire.serve(function(app)
      app:post("/read", function(request) return "read " .. request:body() end)
      app:post("/late", function(request)
        weft.sleep(0.15)
        return "read " .. request:body()
      end)
      app:post("/unread", function() return "unread" end)
      app:post("/caught", function(request)
        local ok = pcall(request.body, request)
        return ok and "read" or "not read"
      end)
    end, options)
  end

  it("that takes too long gives 408 and closes the connection", function()
    local port = serve { body_timeout = 0.05 }
    for _, sent in ipairs { "", "a" } do
      local answer, how = wire.exchange(port,
        "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n" .. sent)
      assert.matches("^HTTP/1%.1 408 Request Timeout\r\n.*\r\nConnection: close\r\n", answer)
      assert.equal("eof", how)
    end
  end)

  it("that takes too long closes the connection also when the script does not care", function()
    local port = serve { body_timeout = 0.05 }
    assert.equal(wire.ok("not read", "Connection: close\r\n"), wire.undated((wire.exchange(port,
      "POST /caught HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na"))))
  end)

  it("may take long as a whole", function()
    local port = serve { body_timeout = 0.1 }
    local connection = wire.connect(port)
    connection:send "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    for i = 1, 5 do
      weft.sleep(0.04)
      connection:send(tostring(i))
    end
    assert.equal("read 12345", connection:receive_response().body)
  end)

  it("has its time from when it is asked for", function()
    local port = serve { body_timeout = 0.1 }
    local connection = wire.connect(port)
    connection:send "POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
    weft.sleep(0.2)
    connection:send "ab"
    assert.equal("read ab", connection:receive_response().body)
  end)

  it("that nobody read and that never ends closes the connection", function()
    local port = serve { body_timeout = 0.05 }
    assert.equal(wire.ok "unread", wire.undated((wire.exchange(port,
      "POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na"))))
  end)
end)

describe("a client that reads nothing", function()
  it("is given up, and the script that writes to it is cancelled", function()
    local written, outcome = 0, nil
    local port = wire.serve(function(app)
      app:get("/stream", function()
        return weft.stream(function(write)
          local piece = ("x"):rep(64 * 1024)
          local ok, err = pcall(function()
            while written < 256 * MB do
              write(piece)
              written = written + #piece
            end
          end)
          outcome = ok and "written" or err.code
          error(err, 0)
        end)
      end)
    end, { write_timeout = 0.1 })
    local connection = wire.connect(port)
    connection:send "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"
    helper.eventually(function() return outcome end)
    assert.equal("cancelled", outcome)
    -- what the kernel holds for a connection, and no more than 64 KiB or so of ours
    assert.is_true(written < 32 * MB, written)
    assert.equal("reset", select(2, connection:receive_all()))
  end)

  it("is given up behind a response that was complete", function()
    local aborted
    local port, served = wire.serve(function(app)
      app:get("/large", function() return ("x"):rep(64 * MB) end)
      app:on("request_finished", function(_, about) aborted = about.aborted end)
    end, { write_timeout = 0.1 })
    local connection = wire.connect(port)
    connection:send "GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
    helper.eventually(function() return aborted ~= nil end)
    assert.is_true(aborted)
    assert.equal("reset", select(2, connection:receive_all()))
    helper.eventually(function()
      return require("weft.core").connection_count(served._server) == 0
    end)
  end)

  it("but goes on in time is not given up", function()
    local port = wire.serve(function(app)
      app:get("/large", function() return ("x"):rep(16 * MB) end)
    end, { write_timeout = 0.25 })
    local connection = wire.connect(port)
    connection:send "GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
    local read = 0
    for _ = 1, 8 do
      weft.sleep(0.1)
      read = read + #connection.socket:read(MB)
    end
    read = read + #connection.socket:read(15 * MB - read)
    assert.equal(15 * MB, read)
  end)
end)

describe("a request that takes too long", function()
  local function serve(options)
    local seen = { cancelled = 0 }
    local port = wire.serve(function(app)
      app:any("/slow", function()
        local ok, err = pcall(weft.sleep, 5)
        if not ok then
          seen.cancelled = seen.cancelled + 1
          error(err, 0)
        end
      end)
      app:get("/deaf", function(request)
        weft.shield(function() weft.sleep(tonumber(request.query.seconds)) end)
        seen.deaf = true
        return "deaf"
      end)
      app:post("/read", function(request) return request:body() end)
      app:get("/stream", function()
        return weft.stream(function(write)
          for _ = 1, 10 do
            write "x"
            weft.sleep(0.02)
          end
        end, { ["Content-Type"] = "text/plain" })
      end)
      app:get("/next", function()
        weft.sleep(0.001) -- would raise in a task that is still cancelled
        return "next"
      end)
      if options.on_error then app:on_error(504, options.on_error) end
    end, { request_timeout = options.request_timeout })
    return port, seen
  end

  it("is cancelled and answered with 504, and the connection stays", function()
    local port, seen = serve { request_timeout = 0.05 }
    local connection = wire.connect(port)
    for i = 1, 3 do
      connection:send "GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n"
      assert.equal(504, connection:receive_response().status)
      assert.equal("next", connection:receive_response().body)
      assert.equal(i, seen.cancelled)
    end
  end)

  it("is answered by the app's own handler", function()
    local port = serve {
      request_timeout = 0.05,
      on_error = function()
        weft.sleep(0.01)
        return weft.text("too slow", 504)
      end,
    }
    local connection = wire.connect(port)
    connection:send "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
    local answer = connection:receive_response()
    assert.same({ 504, "too slow" }, { answer.status, answer.body })
  end)

  it("because its body does not come is answered with 504", function()
    local port = serve { request_timeout = 0.05 }
    local connection = wire.connect(port)
    connection:send "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na"
    assert.equal(504, connection:receive_response().status)
    connection:send "bGET /next HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.equal("next", connection:receive_response().body)
  end)

  it("is not one whose answer has begun: the client's pace counts then", function()
    local port = serve { request_timeout = 0.05 }
    local connection = wire.connect(port)
    connection:send "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.equal(("x"):rep(10), connection:receive_response().body)
  end)

  it("and does not care is answered with 504 all the same, 5 s later", function()
    local port, seen = serve { request_timeout = 0.05 }
    local connection = wire.connect(port)
    connection.socket.timeout = 8
    connection:send("GET /deaf?seconds=5.4 HTTP/1.1\r\nHost: a\r\n\r\n"
      .. "GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal("HTTP/1.1 504 Gateway Timeout\r\nContent-Type: text/plain; charset=utf-8\r\n"
      .. "Content-Length: 20\r\n\r\n504 Gateway Timeout\n",
      wire.undated(connection:receive_response().raw))
    assert.equal("next", connection:receive_response().body)
    assert.is_nil(seen.deaf)
    helper.eventually(function() return seen.deaf end) -- what it returns goes nowhere
    connection:send "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.equal("next", connection:receive_response().body)
  end)

  it("only because the client reads slowly is whole, and no hook is told otherwise", function()
    local finished
    local port = wire.serve(function(app)
      app:get("/large", function() return ("x"):rep(16 * MB) end)
      app:on("request_finished", function(_, about) finished = about end)
    end, { request_timeout = 0.1 })
    local connection = wire.connect(port)
    connection:send "GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
    weft.sleep(0.3)
    assert.is_nil(finished)
    assert.equal(16 * MB, #connection:receive_response().body)
    helper.eventually(function() return finished end)
    assert.is_false(finished.aborted)
  end)
end)
