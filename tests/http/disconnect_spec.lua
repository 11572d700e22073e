-- Clients that go away: what runs for them ends, once, and nobody else notices.

local core = require "weft.core"
local helper = require "tests.support.helper"
local weft = require "weft"
local wire = require "tests.http.wire"

--- An app that notes what becomes of its requests.
local function serve(options)
  local seen = { started = 0, deferred = 0, codes = {} }
  local function note(fn, ...)
    seen.started = seen.started + 1
    weft.defer(function() seen.deferred = seen.deferred + 1 end)
    local ok, err = pcall(fn, ...)
    if ok then return end
    table.insert(seen.codes, type(err) == "table" and err.code or err)
    error(err, 0)
  end
  local port, served = wire.serve(function(app)
    app:get("/sleep", function() note(weft.sleep, 5) end)
    app:get("/again", function(request)
      pcall(weft.sleep, 5)
      seen.disconnected = request:is_disconnected()
      note(weft.sleep, 5) -- every later wait raises again
    end)
    app:get("/looks", function(request)
      pcall(weft.sleep, 5)
      note(function() return request.query_string end)
    end)
    app:get("/children", function()
      weft.spawn(function() note(weft.sleep, 5) end)
      weft.spawn(function() note(weft.sleep, 5) end)
      weft.sleep(5)
    end)
    app:post("/read", function(request) note(request.body, request) end)
    app:get("/stream", function()
      return weft.stream(function(write)
        note(function()
          for _ = 1, 1000 do
            write "a small piece"
            weft.sleep(0.001)
          end
        end)
      end)
    end)
    app:get("/flood", function()
      return weft.stream(function(write)
        note(function()
          while true do write(("x"):rep(64 * 1024)) end
        end)
      end)
    end)
    app:get("/large", function() return ("x"):rep(32 * 1024 * 1024) end)
    app:get("/ok", function() return "ok" end)
    if options and options.hook then app:on("request_finished", options.hook) end
  end)
  return port, seen, function() return core.connection_count(served._server) end
end

local function start(port, path)
  local connection = wire.connect(port)
  connection:send("GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n")
  return connection
end

describe("a client that resets its connection", function()
  it("while its request waits ends it", function()
    local port, seen, connections = serve()
    local connection = start(port, "/sleep")
    helper.eventually(function() return seen.started == 1 end)
    connection:reset()
    helper.eventually(function() return seen.deferred == 1 end)
    assert.same({ "cancelled" }, seen.codes)
    helper.eventually(function() return connections() == 0 end)
  end)

  it("ends every later wait of its request too", function()
    local port, seen = serve()
    local connection = start(port, "/again")
    weft.sleep(0.01)
    connection:reset()
    helper.eventually(function() return seen.deferred == 1 end)
    assert.same({ "cancelled" }, seen.codes)
    assert.is_true(seen.disconnected)
  end)

  it("ends its request also where that looks for what is gone, and that is no fault", function()
    local port, seen = serve()
    local connection = start(port, "/looks?a=b")
    weft.sleep(0.01)
    connection:reset()
    helper.eventually(function() return #seen.codes == 1 end)
    assert.same({ "cancelled" }, seen.codes)
  end)

  it("ends the children of its request", function()
    local port, seen = serve()
    local connection = start(port, "/children")
    helper.eventually(function() return seen.started == 2 end)
    connection:reset()
    helper.eventually(function() return seen.deferred == 2 end)
    assert.same({ "cancelled", "cancelled" }, seen.codes)
  end)

  it("in the middle of its body ends its request", function()
    local port, seen = serve()
    local connection = wire.connect(port)
    connection:send "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"
    helper.eventually(function() return seen.started == 1 end)
    connection:reset()
    helper.eventually(function() return seen.deferred == 1 end)
    assert.same({ "cancelled" }, seen.codes)
  end)

  it("in the middle of a large answer costs nothing but the connection", function()
    local port, _, connections = serve()
    local connection = start(port, "/large")
    connection.socket:read(1000)
    connection:reset()
    helper.eventually(function() return connections() == 0 end)
    assert.equal("ok", start(port, "/ok"):receive_response().body)
  end)

  it("in the middle of a flood ends who writes it", function()
    local port, seen = serve()
    local connection = start(port, "/flood")
    connection.socket:read(1000000)
    connection:reset()
    helper.eventually(function() return seen.deferred == 1 end)
    assert.equal(1, #seen.codes)
  end)

  it("before its queued requests were begun ends those unseen", function()
    local port, seen, connections = serve()
    local connection = wire.connect(port)
    connection:send(("GET /sleep HTTP/1.1\r\nHost: a\r\n\r\n"):rep(5))
    helper.eventually(function() return seen.started == 1 end)
    connection:reset()
    helper.eventually(function() return connections() == 0 end)
    assert.equal(1, seen.started)
  end)
end)

describe("a client that leaves", function()
  it("in the middle of a thousand small writes ends who writes them", function()
    for _, leave in ipairs { "close", "reset" } do
      local port, seen, connections = serve()
      local connection = start(port, "/stream")
      assert(connection.socket:read_until "a small piece")
      connection[leave](connection)
      helper.eventually(function() return seen.deferred == 1 end)
      assert.equal(1, #seen.codes)
      helper.eventually(function() return connections() == 0 end)
    end
  end)

  it("inside its head, again and again, leaves nothing behind", function()
    local port, seen, connections = serve()
    for i = 1, 100 do
      local connection = wire.connect(port)
      connection:send(("GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"):sub(1, i % 30))
      connection[i % 2 == 0 and "close" or "reset"](connection)
    end
    helper.eventually(function() return connections() == 0 end)
    assert.equal(0, seen.started)
  end)

  it("is told to request_finished once, as aborted", function()
    local told = {}
    local port, seen = serve { hook = function(_, about) table.insert(told, about.aborted) end }
    local connection = start(port, "/sleep")
    helper.eventually(function() return seen.started == 1 end)
    connection:reset()
    helper.eventually(function() return #told > 0 end)
    assert.equal("ok", start(port, "/ok"):receive_response().body)
    helper.eventually(function() return #told == 2 end)
    assert.same({ true, false }, told)
  end)
end)
