local core = require "weft.core"
local helper = require "tests.support.helper"
local tcp = require "weft.tcp"
local weft = require "weft"

-- A connected pair of sockets: ours, and the one that the handler got. The handler's is open until
-- ours is closed by the end of the test.
local function pair(address)
  local theirs
  local server = assert(tcp.listen(address or "127.0.0.1:0", function(socket)
    theirs = socket
    weft.sleep(60)
  end))
  local ours = assert(server.port and tcp.connect("127.0.0.1", server.port)
    or tcp.connect(server.url))
  weft.defer(function()
    ours:close()
    theirs:close()
    server:close()
  end)
  helper.eventually(function() return theirs end)
  return ours, theirs, server
end

-- Runs a handler for one connection and gives the socket to it.
local function connect_to(handler)
  local server = assert(tcp.listen("127.0.0.1:0", handler))
  local socket = assert(tcp.connect("127.0.0.1", server.port))
  weft.defer(function()
    socket:close()
    server:close()
  end)
  return socket, server
end

local function code_of(_, err) return err and err.code end

describe("reading from a socket", function()
  it("gives exactly so many bytes, however they arrive", function()
    local ours, theirs = pair()
    local reading = weft.spawn(function() return ours:read(6), ours:read(2) end)
    for piece in ("abcdefgh"):gmatch "..." do
      theirs:write(piece)
      weft.sleep(0.002)
    end
    theirs:write "gh"
    local first, second = reading:await()
    assert.same({ "abcdef", "gh" }, { first, second })
    assert.equal("", ours:read(0))
  end)

  it("gives lines without their ends, CRLF or LF", function()
    local ours, theirs = pair()
    theirs:write "one\r\ntwo\n\r\n\n\rfour\r\n"
    assert.equal("one", ours:read "line")
    assert.equal("two", ours:read "line")
    assert.equal("", ours:read "line")
    assert.equal("", ours:read "line")
    assert.equal("\rfour", ours:read "line")
  end)

  it("finds a delimiter that arrives in pieces", function()
    local ours, theirs = pair()
    local reading = weft.spawn(function() return ours:read_until "--end--" end)
    for piece in ("a-b--en--end--rest"):gmatch "." do
      theirs:write(piece)
      weft.sleep(0.001)
    end
    assert.equal("a-b--en", reading:await())
    assert.equal("rest", ours:read(4))
  end)

  it("gives whatever is there, and waits for the first byte", function()
    local ours, theirs = pair()
    local reading = weft.spawn(function() return ours:read "*" end)
    weft.sleep(0.005)
    theirs:write "some"
    assert.equal("some", reading:await())
  end)

  it("gives all until the end, then nothing more", function()
    local socket = connect_to(function(socket)
      socket:write(("x"):rep(300000))
      socket:write "end"
    end)
    local all = socket:read "all"
    assert.equal(300003, #all)
    assert.equal("xend", all:sub(-4))
    assert.equal("", socket:read "all")
    assert.equal("closed", code_of(socket:read "*"))
    assert.is_false(socket:is_open())
  end)

  it("says what had arrived when the stream ends early", function()
    local socket = connect_to(function(socket) socket:write "half a li" end)
    local line, err = socket:read "line"
    assert.is_nil(line)
    assert.equal("closed", err.code)
    assert.equal("half a li", err.partial)
    assert.is_nil(err.reset)
    assert.matches("^reading from 127%.0%.0%.1:%d+: ", tostring(err))
    local _, again = socket:read(3)
    assert.equal("", again.partial)
  end)

  it("tells a reset from an end", function()
    local socket = connect_to(function(socket)
      socket:write "before"
      socket:read(1)
      socket:reset()
    end)
    assert.equal("before", socket:read(6))
    socket:write "x"
    local _, err = socket:read "all"
    assert.equal("closed", err.code)
    assert.is_true(err.reset)
  end)

  it("keeps what arrived before a time-out for the next read", function()
    local ours, theirs = pair()
    theirs:write "abc"
    local seconds, text = helper.timed(function() return code_of(ours:read(5, 0.03)) end)
    assert.equal("timeout", text)
    assert.is_true(seconds >= 0.025 and seconds < 2)
    ours.timeout = 0.01
    assert.equal("timeout", code_of(ours:read "line"))
    theirs:write "de"
    assert.equal("abcde", ours:read(5, 5))
  end)

  it("refuses a line that is longer than it may be, and can go on otherwise", function()
    local ours, theirs = pair()
    theirs:write(("x"):rep(20), "\r\n")
    assert.equal("too_large", code_of(ours:read_until("\r\n", 10)))
    assert.equal("too_large", code_of(ours:read_until("\r\n", 21)))
    assert.equal(("x"):rep(20), ours:read_until("\r\n", 22))
  end)

  it("refuses a line without an end after 1 MiB", function()
    local socket = connect_to(function(socket)
      local chunk = ("x"):rep(64 * 1024)
      while socket:write(chunk) do end
    end)
    assert.equal("too_large", code_of(socket:read "line"))
  end)

  it("is for one task at a time", function()
    local ours, theirs = pair()
    local reading = weft.spawn(function() return ours:read "line" end)
    weft.sleep(0.005)
    assert.equal("busy", code_of(ours:read "line"))
    theirs:write "mine\n"
    assert.equal("mine", reading:await())
  end)

  it("is cancelled without harm to the socket", function()
    local ours, theirs = pair()
    local reached
    local reading = weft.spawn(function()
      local ok, err = pcall(ours.read, ours, "line")
      reached = not ok and err.code
      ours:read "line"
    end)
    weft.sleep(0.005)
    reading:cancel()
    assert.is_false((pcall(reading.await, reading)))
    assert.equal("cancelled", reached)
    theirs:write "still here\n"
    assert.equal("still here", ours:read "line")
  end)

  it("does not buffer more than a little ahead of the reader", function()
    local ours, theirs = pair()
    theirs.timeout = 0.05
    local written, chunk = 0, ("x"):rep(64 * 1024)
    while written < 1e9 and theirs:write(chunk) do written = written + #chunk end
    assert.is_true(written < 64e6) -- the kernel's buffers, not ours
    local read = 0
    while read < written do read = read + #assert(ours:read "*") end
  end)

  it("refuses at the caller's line what it cannot read", function()
    local ours = pair()
    for _, what in ipairs { -1, 1.5, "lines", 2 ^ 40, false } do
      local ok, message = pcall(function() ours:read(what) end)
      assert.is_false(ok)
      assert.matches("tcp_spec.lua:%d+: read takes", message)
    end
    assert.is_false((pcall(ours.read_until, ours, "")))
    assert.is_false((pcall(ours.read_until, ours, ("x"):rep(129))))
  end)
end)

describe("writing to a socket", function()
  it("waits for a slow reader, and everything arrives in order", function()
    local count, size = 400, 20000
    local socket = connect_to(function(socket)
      for i = 1, count do assert(socket:write(("%06d"):format(i), ("."):rep(size - 6))) end
    end)
    weft.sleep(0.01)
    for i = 1, count do
      assert.equal(i, tonumber(socket:read(6)))
      assert.equal(size - 6, #socket:read(size - 6))
    end
    assert.equal("closed", code_of(socket:read(1)))
  end)

  it("ends with a time-out when nobody reads", function()
    local ours = pair()
    ours.timeout = 0.05
    local big = ("x"):rep(16 * 1024 * 1024)
    assert.equal("timeout", code_of(ours:write(big)))
    assert.equal("timeout", code_of(ours:flush()))
  end)

  it("is for one task at a time, while another reads", function()
    local ours, theirs = pair()
    local big = ("x"):rep(16 * 1024 * 1024)
    local writing = weft.spawn(function() return ours:write(big) end)
    weft.sleep(0.005)
    assert.equal("busy", code_of(ours:write "more"))
    theirs:write "hello\n"
    assert.equal("hello", ours:read "line")
    assert.equal(#big, #theirs:read(#big))
    assert.is_true(writing:await())
  end)

  it("fails once the peer is gone", function()
    local socket = connect_to(function(socket) socket:reset() end)
    local err = helper.eventually(function()
      local _, problem = socket:write "x"
      return problem
    end)
    assert.equal("closed", err.code)
    assert.matches("^writing to 127", tostring(err))
  end)

  it("does not lose the answer of a peer that closes while it is sent more", function()
    local socket = connect_to(function(socket)
      socket:write "not "
      weft.sleep(0.03)
      socket:write "that much, thanks\n" -- and closes with bytes unread: that is a reset
    end)
    socket.timeout = 0.01
    local big = ("x"):rep(8 * 1024 * 1024)
    helper.eventually(function() return code_of(socket:write(big)) == "closed" end)
    assert.equal("not that much, thanks", socket:read "line")
    assert.equal("closed", code_of(socket:read "line"))
  end)

  it("takes numbers, and refuses what is no text", function()
    local ours, theirs = pair()
    ours:write(1, " and ", 2.5, "\n")
    assert.equal("1 and 2.5", theirs:read "line")
    assert.has_error(function() ours:write {} end, "write takes strings, not table")
    assert.is_false((pcall(ours.write, ours, "a", nil)))
  end)
end)

describe("the end of a socket", function()
  it("is half of one after shutdown", function()
    local socket = connect_to(function(socket)
      local all = socket:read "all"
      socket:write(all:upper())
    end)
    socket:write "hello"
    assert.is_true(socket:shutdown())
    assert.equal("closed", code_of(socket:write "more"))
    assert.equal("HELLO", socket:read "all")
  end)

  it("wakes the task that reads, with the code closed", function()
    local ours = pair()
    local reading = weft.spawn(function() return code_of(ours:read(1)) end)
    weft.sleep(0.002)
    ours:close()
    assert.equal("closed", reading:await())
    assert.equal("closed", code_of(ours:read(1)))
    assert.equal("closed", code_of(ours:write "x"))
    assert.equal("closed", code_of(ours:shutdown()))
    assert.is_false(ours:is_open())
    ours:close()
    ours:reset()
  end)

  it("comes after everything that was written", function()
    local size = 8 * 1024 * 1024
    local socket = connect_to(function(socket)
      socket.timeout = 0.001
      socket:write(("x"):rep(size)) -- times out, with most of it unsent
      socket.timeout = 10
    end)
    weft.sleep(0.02)
    assert.equal(size, #socket:read "all")
  end)

  it("comes without what nobody took in time", function()
    local ours, theirs = pair()
    local size = 16 * 1024 * 1024
    ours.timeout = 0.02
    ours:write(("x"):rep(size))
    ours:close()
    weft.sleep(0.06)
    assert.is_true(#theirs:read "all" < size)
  end)

  it("is a reset if that is asked for", function()
    local ours, theirs = pair()
    ours:reset()
    local _, err = theirs:read "*"
    assert.is_true(err.reset)
  end)

  it("comes for a socket that a script forgot", function()
    local ours, theirs, server = pair()
    do
      local _ = assert(tcp.connect("127.0.0.1", server.port))
    end
    ours:close()
    assert.equal("", theirs:read "all")
    local forgotten
    local one = assert(tcp.listen("127.0.0.1:0", function(socket)
      forgotten = socket:read "all"
    end));
    (function() tcp.connect("127.0.0.1", one.port) end)()
    helper.eventually(function()
      collectgarbage()
      return forgotten
    end)
    one:close()
  end)

  it("does not come for a forgotten socket while a task waits for it", function()
    local ours, theirs = pair()
    local boxes = { ours._box }
    ours._box = connect_to(function() end)._box
    -- a tail call, with the box nowhere but in C
    local reading = weft.spawn(function()
      return core.stream_await(table.remove(boxes), 4, 4, 5)
    end)
    weft.sleep(0.005)
    collectgarbage()
    collectgarbage()
    assert(theirs:write "late")
    assert.same({ 0, 4 }, { reading:await() })
  end)
end)

describe("connecting", function()
  it("says who is at the other end", function()
    local ours, theirs, server = pair()
    assert.same({ address = "127.0.0.1", port = server.port }, ours.peer)
    assert.equal("127.0.0.1", theirs.peer.address)
    assert.equal(("weft.Socket (127.0.0.1:%d)"):format(server.port), tostring(ours))
  end)

  it("fails with a code when nobody listens", function()
    local server = assert(tcp.listen("127.0.0.1:0", function() end))
    server:close()
    weft.sleep(0.005)
    local socket, err = tcp.connect("127.0.0.1", server.port)
    assert.is_nil(socket)
    assert.equal("refused", err.code)
    assert.matches("^connecting to 127%.0%.0%.1:%d+: ", tostring(err))
    assert.equal("not_found", code_of(tcp.connect "unix:/nowhere/at/all.sock"))
  end)

  it("gives up after its time, or when the task is cancelled", function()
    local busy = assert(tcp.listen("127.0.0.1:0", function() weft.sleep(60) end,
      { max_connections = 1 }))
    local open = {}
    local function connect() return tcp.connect("127.0.0.1", busy.port, { timeout = 0.1 }) end
    local socket, err = connect()
    while socket and #open < 5000 do -- until the kernel's queue is full too
      open[#open + 1] = socket
      socket, err = connect()
    end
    assert.equal("timeout", err.code)
    local connecting = weft.spawn(function() tcp.connect("127.0.0.1", busy.port) end)
    weft.sleep(0.005)
    connecting:cancel()
    local _, cancelled = pcall(connecting.await, connecting)
    assert.equal("cancelled", cancelled.code)
    for _, one in ipairs(open) do one:reset() end
    busy:close()
  end)

  it("takes localhost, IPv6 and unix sockets", function()
    local server = assert(tcp.listen("localhost:0", function(socket) socket:write "hi" end))
    assert.equal("hi", assert(tcp.connect("localhost", server.port)):read "all")
    server:close()

    local v6 = tcp.listen("[::1]:0", function(socket) socket:write(socket.peer.address) end)
    if v6 then
      assert.equal("::1", assert(tcp.connect("::1", v6.port)):read "all")
      assert.equal("::1", assert(tcp.connect("[::1]", v6.port)):read "all")
      v6:close()
    end

    local ours, theirs = pair("unix:" .. helper.temp_dir() .. "/a.sock")
    ours:write "over a file\n"
    assert.equal("over a file", theirs:read "line")
    assert.same({ address = "unix" }, ours.peer)
    assert.same({ address = "unix" }, theirs.peer)
  end)
end)

describe("listening", function()
  it("fails when the address is taken, or is none", function()
    local server = assert(tcp.listen("127.0.0.1:0", function() end))
    local taken, err = tcp.listen("127.0.0.1:" .. server.port, function() end)
    assert.is_nil(taken)
    assert.matches("^listening on 127.*address already in use", tostring(err))
    assert.equal(("tcp://127.0.0.1:%d"):format(server.port), server.url)
    server:close()
    server:close()
    assert.has_error(function() tcp.listen("8080", function() end) end)
    assert.has_error(function() tcp.listen("127.0.0.1:0", nil) end)
    assert.is_nil((tcp.listen("not-an-address:0", function() end)))
  end)

  it("closes a socket whose handler raises", function()
    local socket = connect_to(function(socket)
      socket:write "so far\n"
      error(require("weft.errors").new("closed", "as if the peer had gone"), 0)
    end)
    assert.equal("so far\n", socket:read "all")
  end)

  it("has more connections wait than it may have at once", function()
    local running, most, served = 0, 0, 0
    local server = assert(tcp.listen("127.0.0.1:0", function(socket)
      running = running + 1
      most = math.max(most, running)
      socket:read "line"
      weft.sleep(0.002)
      running, served = running - 1, served + 1
    end, { max_connections = 2 }))
    local sockets = {}
    for i = 1, 8 do sockets[i] = assert(tcp.connect("127.0.0.1", server.port)) end
    for _, socket in ipairs(sockets) do socket:write "go\n" end
    for _, socket in ipairs(sockets) do assert.equal("", socket:read "all") end
    assert.equal(2, most)
    assert.equal(8, served)
    server:close()
  end)

  it("leaves open connections alone when it closes", function()
    local ours, theirs, server = pair()
    server:close()
    weft.sleep(0.005)
    assert.equal("refused", code_of(tcp.connect("127.0.0.1", server.port)))
    theirs:write "still\n"
    assert.equal("still", ours:read "line")
  end)

  it("survives many connections that come and go", function()
    local server = assert(tcp.listen("127.0.0.1:0", function(socket)
      for _ = 1, 3 do socket:write(assert(socket:read "line"), "\n") end
    end))
    local function talk()
      for _ = 1, 25 do
        local socket = assert(tcp.connect("127.0.0.1", server.port))
        for i = 1, 3 do
          socket:write(i, "\n")
          assert.equal(tostring(i), socket:read "line")
        end
        socket:close()
      end
      return true
    end
    assert.is_true(weft.gather(talk, talk, talk, talk))
    server:close()
  end)
end)
