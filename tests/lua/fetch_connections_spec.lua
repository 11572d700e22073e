-- The connections of fetch: kept, retried, waited for, found. What is said on them: fetch_spec.lua.

local core = require "weft.core"
local raw = require "tests.support.raw_upstream"
local tcp = require "weft.tcp"
local testing = require "weft.testing"
local weft = require "weft"

local OK, answering, answering_once = raw.OK, raw.answering, raw.answering_once
local read_request, serve = raw.read_request, raw.serve

--- Waits until `condition` is true, at most two seconds.
local function eventually(condition)
  local due = weft.time() + 2
  while not condition() do
    if weft.time() > due then error("it did not become true", 2) end
    weft.sleep(0.001)
  end
end

local function fails(code, ...)
  local response, err = weft.fetch(...)
  assert.is_nil(response)
  assert.equal(code, err.code, err.message)
  return err.message
end

describe("fetch", function()
  describe("keeps connections", function()
    it("for the next request to the same host and port", function()
      local upstream, other = answering(OK), answering(OK)
      for _ = 1, 10 do assert(weft.fetch(upstream.url)) end
      assert(weft.fetch(other.url))
      assert.equal(1, upstream.connections)
      assert.equal(1, other.connections)
    end)

    it("after every framing that says where the response ends", function()
      for _, bytes in ipairs {
        OK,
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
      } do
        local upstream = answering(bytes)
        for _ = 1, 3 do assert(weft.fetch(upstream.url)) end
        assert.equal(1, upstream.connections, bytes)
      end
    end)

    it("not when the server does not agree", function()
      for _, bytes in ipairs {
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
      } do
        local upstream = answering(bytes)
        for _ = 1, 3 do assert(weft.fetch(upstream.url)) end
        assert.equal(3, upstream.connections, bytes)
      end
    end)

    it("not for those that answered HEAD with a body, however late", function()
      local upstream = serve(function(socket)
        while read_request(socket) do
          socket:write "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
          weft.sleep(0.02)
          socket:write "ok"
        end
      end)
      assert(weft.fetch(upstream.url, { method = "HEAD" }))
      weft.sleep(0.05)
      assert(weft.fetch(upstream.url, { method = "HEAD" }))
      assert.equal(2, upstream.connections)
    end)

    it("and drops an idle one as soon as its server ends it", function()
      local upstream = serve(function(socket)
        read_request(socket)
        socket:write(OK)
      end)
      for i = 1, 3 do
        assert(weft.fetch(upstream.url))
        weft.sleep(0.01)
        assert.equal(i, upstream.connections)
      end
    end)

    it("and drops an idle one on which bytes arrive", function()
      local ended = 0
      local upstream = serve(function(socket)
        while read_request(socket) do
          socket:write(OK)
          weft.sleep(0.01)
          socket:write "HTTP/1.1 408 Request Timeout\r\n\r\n"
        end
        ended = ended + 1
      end)
      for i = 1, 3 do
        assert.equal(200, assert(weft.fetch(upstream.url)).status)
        eventually(function() return ended == i end)
      end
      assert.equal(3, upstream.connections)
    end)

    it("and does not lose a POST to one that ended this very moment", function()
      local kept
      local upstream = serve(function(socket)
        kept = socket
        repeat until not read_request(socket) or not socket:write(OK)
      end)
      assert(weft.fetch(upstream.url))
      kept:close()
      assert(weft.fetch(upstream.url, { method = "POST", body = "not to be lost" }))
      assert.equal(2, upstream.connections)
    end)

    it("one for each of many requests at the same time", function()
      local upstream = testing.upstream(function()
        weft.sleep(0.02)
        return "ok"
      end)
      local tasks = {}
      for round = 1, 2 do
        for i = 1, 20 do tasks[i] = weft.spawn(weft.fetch, upstream.url) end
        for i = 1, 20 do assert.equal("ok", assert(tasks[i]:await()).body, round) end
      end
      assert.equal(20, upstream:connections())
      upstream:close()
    end)

    it("64 idle ones at most", function()
      local upstream = testing.upstream(function()
        weft.sleep(0.05)
        return "ok"
      end)
      local tasks = {}
      for i = 1, 80 do tasks[i] = weft.spawn(weft.fetch, upstream.url) end
      for i = 1, 80 do assert(tasks[i]:await()) end
      eventually(function() return upstream:connections() == 64 end)
      upstream:close()
    end)

    it("256 to one host at most; more requests stand in line", function()
      local most, order, tasks, open = 0, {}, {}, false
      local upstream
      upstream = testing.upstream(function(request)
        order[#order + 1] = request.path
        most = math.max(most, upstream:connections())
        while not open do weft.sleep(0.01) end
        return "ok"
      end)
      for i = 1, 300 do tasks[i] = weft.spawn(weft.fetch, upstream.url .. "/" .. i) end
      local late = weft.spawn(weft.fetch, upstream.url, { timeout = 0.05 })
      local _, err = late:await()
      assert.equal("timeout", err.code)
      assert.matches("waiting for a free connection; timeout is 0.05 s", err.message)
      eventually(function() return #order == 256 end, 20)
      open = true
      for i = 1, 300 do assert.equal("ok", assert(tasks[i]:await()).body) end
      assert.equal(256, most)
      for i = 257, 300 do assert.equal("/" .. i, order[i]) end
      upstream:close()
    end)

    it("not, and still the line moves on", function()
      local upstream = answering_once "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"
      local tasks = {}
      for i = 1, 300 do tasks[i] = weft.spawn(weft.fetch, upstream.url) end
      for i = 1, 300 do assert.equal("ok", assert(tasks[i]:await()).body) end
      assert.equal(300, upstream.connections)
    end)
  end)

  describe("sends a request once more", function()
    --- Answers one request on each connection, and closes it when the next one has come.
    local function forgetful()
      local upstream
      upstream = serve(function(socket)
        read_request(socket)
        socket:write(OK)
        if read_request(socket) then upstream.dropped = (upstream.dropped or 0) + 1 end
      end)
      return upstream
    end

    it("when a kept connection ends before any answer", function()
      local upstream = forgetful()
      for _ = 1, 3 do assert.equal("ok", assert(weft.fetch(upstream.url)).body) end
      assert.equal(2, upstream.dropped)
      assert.equal(3, upstream.connections)
      for _, method in ipairs { "PUT", "DELETE", "OPTIONS" } do
        assert(weft.fetch(upstream.url, { method = method }))
      end
      assert.equal(5, upstream.dropped)
    end)

    it("on a new connection, for the other kept ones may have ended too", function()
      local upstream = forgetful()
      local first = weft.spawn(weft.fetch, upstream.url)
      local second = weft.spawn(weft.fetch, upstream.url)
      assert(first:await())
      assert(second:await())
      assert(weft.fetch(upstream.url))
      assert.equal(1, upstream.dropped)
      assert.equal(3, upstream.connections)
    end)

    it("not if the server might do it twice", function()
      local upstream = forgetful()
      assert(weft.fetch(upstream.url))
      fails("closed", upstream.url, { method = "POST", body = "pay" })
      assert.equal(1, upstream.connections)
      assert(weft.fetch(upstream.url))
      fails("closed", upstream.url, { method = "PATCH", body = "pay" })
    end)

    it("not when a part of the answer has come", function()
      local upstream = serve(function(socket)
        read_request(socket)
        socket:write(OK)
        read_request(socket)
        socket:write "H"
      end)
      assert(weft.fetch(upstream.url))
      fails("closed", upstream.url)
      assert.equal(1, upstream.connections)
    end)

    it("not on a new connection", function()
      local upstream = answering_once ""
      fails("closed", upstream.url)
      assert.equal(1, upstream.connections)
    end)

    it("but not twice", function()
      local upstream = serve(function(socket, number)
        read_request(socket)
        if number == 1 then
          socket:write(OK)
          read_request(socket)
        end
      end)
      assert(weft.fetch(upstream.url))
      fails("closed", upstream.url)
      assert.equal(2, upstream.connections)
    end)
  end)

  describe("waits no longer than", function()
    it("`timeout` for all of it", function()
      local upstream = serve(function(socket)
        read_request(socket)
        socket:read(1)
      end)
      assert.equal(("GET 127.0.0.1:%d: timed out while waiting for the answer; timeout is 0.05 s")
        :format(upstream.port), fails("timeout", upstream.url, { timeout = 0.05 }))
    end)

    it("`timeout` for an answer that never ends", function()
      local upstream = serve(function(socket)
        read_request(socket)
        socket:write "HTTP/1.1 200 OK\r\n\r\n"
        repeat weft.sleep(0.01) until not socket:write "x"
      end)
      assert.matches("reading the response", fails("timeout", upstream.url,
        { timeout = 0.1, read_timeout = 0.09 }))
    end)

    it("`timeout` for a server that does not read", function()
      local upstream = serve(function(socket)
        socket:read(1)
        weft.sleep(10)
      end)
      assert.matches("sending the request; timeout is 0.1 s", fails("timeout", upstream.url,
        { body = ("x"):rep(32 * 1024 * 1024), timeout = 0.1, read_timeout = 0.02 }))
    end)

    it("`read_timeout` between two parts of the answer", function()
      local upstream = serve(function(socket)
        read_request(socket)
        socket:write "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"
        socket:read(1)
      end)
      assert.matches("reading the response; read_timeout is 0.05 s",
        fails("timeout", upstream.url, { read_timeout = 0.05 }))
    end)

    it("`connect_timeout` for a connection", function()
      local ffi = require "ffi"
      ffi.cdef [[
        int socket(int domain, int type, int protocol);
        int bind(int fd, const void *address, unsigned len);
        int listen(int fd, int backlog);
        int getsockname(int fd, void *address, unsigned *len);
        int close(int fd);
      ]]
      -- A socket whose queue is full: further connections get no answer at all.
      local fd = ffi.C.socket(2, 1, 0)
      local address = ffi.new("uint8_t[16]", 2, 0, 0, 0, 127, 0, 0, 1)
      local len = ffi.new("unsigned[1]", 16)
      assert.equal(0, ffi.C.bind(fd, address, 16))
      assert.equal(0, ffi.C.listen(fd, 0))
      assert.equal(0, ffi.C.getsockname(fd, address, len))
      local url = ("http://127.0.0.1:%d/"):format(address[2] * 256 + address[3])
      local fillers = {}
      for i = 1, 4 do fillers[i] = weft.spawn(weft.fetch, url, { timeout = 2 }) end
      weft.sleep(0.02)
      local message = fails("timeout", url, { connect_timeout = 0.05 })
      for i = 1, 4 do fillers[i]:cancel() end
      ffi.C.close(fd)
      assert.matches("connecting; connect_timeout is 0.05 s", message)
    end)

    it("the task that asks is wanted", function()
      local gone = false
      local upstream = serve(function(socket)
        read_request(socket)
        gone = socket:read(1) == nil
      end)
      local asking = weft.spawn(weft.fetch, upstream.url)
      eventually(function() return upstream.connections == 1 end)
      asking:cancel()
      local ok, raised = pcall(asking.await, asking)
      assert.is_false(ok)
      assert.equal("cancelled", raised.code)
      eventually(function() return gone end)
    end)

    it("the task that asks is wanted, also while names are looked up", function()
      -- more than there are threads, so that some have to wait; no names, so that no server is
      -- asked
      local tasks, label = {}, ("a"):rep(80)
      for i = 1, 50 do
        tasks[i] = weft.spawn(weft.fetch, ("http://%s%d.invalid/"):format(label, i))
      end
      weft.sleep(0)
      for i = 50, 1, -1 do tasks[i]:cancel() end
      for i = 1, 50 do
        local ok, raised = pcall(tasks[i].await, tasks[i])
        assert.is_true(ok or raised.code == "cancelled")
      end
    end)
  end)

  describe("finds hosts", function()
    it("by name", function()
      local upstream = answering(OK)
      assert(weft.fetch("http://localhost:" .. upstream.port))
      assert.matches("\nHost: localhost:" .. upstream.port .. "\n", upstream.head)
      assert(weft.fetch("http://LOCALHOST:" .. upstream.port))
      assert.equal(1, upstream.connections)
    end)

    it("by name, many at the same time", function()
      local upstream = answering(OK)
      local tasks = {}
      for i = 1, 10 do
        tasks[i] = weft.spawn(weft.fetch, "http://localhost:" .. upstream.port .. "/" .. i)
      end
      for i = 1, 10 do assert(tasks[i]:await()) end
    end)

    it("by IPv6 address", function()
      local heard
      local server = tcp.listen("[::1]:0", function(socket)
        heard = read_request(socket)
        socket:write(OK)
        socket:close()
      end)
      if not server then return pending "this machine has no ::1" end
      assert(weft.fetch("http://[::1]:" .. server.port .. "/"))
      assert.matches("\nHost: %[::1%]:" .. server.port .. "\n", heard)
      server:close()
    end)

    it("not, and says so", function()
      -- a label of over 63 bytes is no name: the resolver says so without asking a server
      local host = ("a"):rep(80) .. ".invalid"
      local message = fails("dns", "http://" .. host .. "/")
      assert.matches("^GET " .. host .. ":80: .*name.*/etc/hosts", message)
      assert.equal(message, fails("dns", "http://" .. host .. "/"))
    end)

    it("that nobody serves, and says so", function()
      local upstream = answering(OK)
      upstream.close()
      assert.equal("PUT 127.0.0.1:" .. upstream.port
        .. ": connection refused; is it running, and is the port right?",
        fails("refused", upstream.url, { method = "PUT", body = "x" }))
    end)
  end)

  it("leaves nothing behind when a task ends in the middle of it", function()
    local upstream = serve(function(socket)
      read_request(socket)
      socket:read(1)
    end)
    local before = core.task_count()
    weft.spawn(function()
      weft.spawn(weft.fetch, upstream.url)
      weft.spawn(weft.fetch, "http://" .. ("b"):rep(80) .. ".invalid/")
      weft.sleep(0.01)
    end):await()
    eventually(function() return core.task_count() == before end)
  end)
end)
