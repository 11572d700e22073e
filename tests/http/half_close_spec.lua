-- A client that shuts its writing side still reads: what it asked for whole is answered.

local helper = require "tests.support.helper"
local weft = require "weft"
local wire = require "tests.http.wire"

local function serve(options)
  local seen = { cancelled = 0, ended = 0 }
  local port, served = wire.serve(function(app)
    app:post("/read", function(request) return "read " .. request:body() end)
    app:get("/late", function()
      weft.defer(function() seen.ended = seen.ended + 1 end)
      local ok, err = pcall(weft.sleep, 0.05)
      if ok then return "late" end
      seen.cancelled = seen.cancelled + 1
      error(err, 0)
    end)
    app:post("/held", function()
      local _, err = pcall(weft.sleep, 5)
      seen.cancelled = seen.cancelled + 1
      error(err, 0)
    end)
    app:post("/soon", function()
      weft.sleep(0.02)
      return "soon"
    end)
    app:get("/large/:kilobytes", function(request)
      return ("x"):rep(tonumber(request.params.kilobytes) * 1024)
    end)
    app:get("/stream", function()
      return weft.stream(function(write)
        for _ = 1, 5 do
          write "one "
          weft.sleep(0.005)
        end
      end, { ["Content-Type"] = "text/plain" })
    end)
  end, options)
  return port, seen, served
end

--- Sends and shuts the writing side at once; gives all that comes.
local function send_and_shut(port, bytes)
  local connection = wire.connect(port)
  connection:send(bytes)
  connection:shutdown()
  return connection:receive_all()
end

describe("a client that shuts its writing side", function()
  it("behind a request gets its answer", function()
    local port, seen = serve()
    assert.same({ wire.ok("late", "Connection: close\r\n"), "eof" },
      { wire.undated((send_and_shut(port, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n"))), "eof" })
    assert.same({ cancelled = 0, ended = 1 }, seen)
  end)

  it("behind a request with a body gets its answer", function()
    local port = serve()
    local answer = send_and_shut(port,
      "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
    assert.matches("\r\n\r\nread ab$", answer)
  end)

  it("behind several pipelined requests gets all answers", function()
    local port = serve()
    local answer, how = send_and_shut(port, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n"
      .. "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
      .. "GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal(wire.ok "late" .. wire.ok "read ab" .. wire.ok("late", "Connection: close\r\n"),
      wire.undated(answer))
    assert.equal("eof", how)
  end)

  it("behind requests whose answers are large gets them whole", function()
    local port = serve()
    local connection = wire.connect(port)
    connection:send(("GET /large/8192 HTTP/1.1\r\nHost: a\r\n\r\n"):rep(3))
    connection:shutdown()
    weft.sleep(0.05) -- the server has done what it can
    for _ = 1, 3 do assert.equal(8 * 1024 * 1024, #connection:receive_response().body) end
    assert.same({ "eof", "" }, { connection:closed() })
  end)

  it("gets large answers also when that was seen before the first of them began", function()
    local port = serve()
    local connection = wire.connect(port)
    connection:send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n"
      .. ("GET /large/8192 HTTP/1.1\r\nHost: a\r\n\r\n"):rep(3))
    connection:shutdown()
    weft.sleep(0.1)
    assert.equal("late", connection:receive_response().body)
    for _ = 1, 3 do assert.equal(8 * 1024 * 1024, #connection:receive_response().body) end
    assert.same({ "eof", "" }, { connection:closed() })
  end)

  it("gets its answer whole, however much of it the kernel still takes", function()
    local port = serve()
    local connections = {}
    for kilobytes = 400, 8000, 200 do
      local connection = wire.connect(port)
      connection:send(("GET /large/%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(kilobytes))
      connection:shutdown()
      connections[kilobytes] = connection
    end
    weft.sleep(0.05)
    for kilobytes, connection in pairs(connections) do
      assert.equal(kilobytes * 1024, #connection:receive_response().body)
      assert.same({ "eof", "" }, { connection:closed() })
    end
  end)

  it("inside a body gets the answer before it whole, whatever the kernel still takes", function()
    local port = serve()
    local connections = {}
    for kilobytes = 400, 8000, 200 do
      local connection = wire.connect(port)
      connection:send(("GET /large/%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(kilobytes)
        .. "POST /soon HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
      connection:shutdown()
      connections[kilobytes] = connection
    end
    weft.sleep(0.05)
    for kilobytes, connection in pairs(connections) do
      assert.equal(kilobytes * 1024, #connection:receive_response().body)
      assert.same({ "eof", "" }, { connection:closed() })
    end
  end)

  it("gets a stream to its end", function()
    local port = serve()
    local answer = send_and_shut(port, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.matches("\r\n\r\n.*4\r\none \r\n0\r\n\r\n$", answer)
  end)

  it("without a request gets nothing", function()
    local port = serve()
    assert.same({ "", "eof" }, { send_and_shut(port, "") })
  end)

  it("inside a head gets nothing but the answers before it", function()
    local port = serve()
    assert.same({ "", "eof" }, { send_and_shut(port, "GET /late HTTP/1.1\r\nHos") })
    local answer, how = send_and_shut(port,
      "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabGET /late HTT")
    assert.same({ wire.ok "read ab", "eof" }, { wire.undated(answer), how })
  end)

  it("inside a body gets the answers before it, and its request ends", function()
    local port, seen = serve()
    local answer, how = send_and_shut(port,
      "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
      .. "POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
    assert.same({ wire.ok "read ab", "eof" }, { wire.undated(answer), how })
    helper.eventually(function() return seen.cancelled == 1 end)
  end)

  it("inside a body that waits behind another request ends it without a time-out", function()
    local port, seen = serve()
    local before = weft.now()
    local answer = send_and_shut(port, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n"
      .. "POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
    assert.equal(wire.ok "late", wire.undated(answer))
    helper.eventually(function() return seen.cancelled == 1 end)
    assert.is_true(weft.now() - before < 2)
  end)

  it("is gone, for an app that says so", function()
    local port, seen = serve { disconnect = "eof" }
    assert.equal("", (send_and_shut(port, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n")))
    helper.eventually(function() return seen.ended == 1 end)
    assert.equal(1, seen.cancelled)
  end)
end)
