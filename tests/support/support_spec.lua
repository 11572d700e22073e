local client = require "tests.support.client"
local helper = require "tests.support.helper"
local server = require "tests.support.server"
local tcp = require "weft.tcp"

local APP = [[
local weft = require "weft"
local app = weft.app()
print "the app is loaded"
app:get("/", function() return "Hello" end)
app:get("/stream", function()
  return weft.stream(function(write) write("a") write("bc") end)
end)
app:post("/echo", function(request) return request:body() end)
app:get("/log", function()
  weft.log.warn("it is logged")
  return ""
end)
return app
]]

describe("a server of a spec", function()
  it("serves an app, gives its output and stops in order", function()
    local up = server.start { source = APP, args = { "--log-format", "text" } }
    assert.equal(("http://127.0.0.1:%d"):format(up.port), up.url)
    client.exchange(up.port, "GET /log HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    helper.eventually(function() return up:log():find("it is logged", 1, true) end)
    assert.matches("the app is loaded\n", up.output)
    up:stop()
    assert.is_false(helper.is_process(up.pid))
    up:stop()
  end)

  it("says why it does not start", function()
    local ok, message = pcall(server.start, { source = "error 'oh no'" })
    assert.is_false(ok)
    assert.matches("ended before it listened.*app.lua:1: oh no", message)
  end)

  it("fails the spec when it does not end well", function()
    local up = server.start { source = APP }
    up.process:kill "ABRT"
    local ok, message = pcall(up.stop, up)
    assert.is_false(ok)
    assert.matches("exit code 134 %(ABRT%)", message)
  end)
end)

describe("a client of a spec", function()
  local up
  setup(function() up = server.start { source = APP } end)
  teardown(function() up:stop() end)

  it("reads one response after the other", function()
    local c = client.connect(up.port)
    c:send "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
    local sized, chunked = c:receive_response(), c:receive_response()
    assert.same({ 200, "OK", "Hello" }, { sized.status, sized.reason, sized.body })
    assert.equal("5", sized.headers["content-length"])
    assert.matches("^HTTP/1.1 200 OK\r\n.*\r\n\r\nHello$", sized.raw)
    assert.same({ "a", "bc" }, chunked.chunks)
    assert.equal("abc", chunked.body)
    c:send_slowly("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.equal("", c:receive_response({ head = true }).body)
    c:send_slowly("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 3)
    assert.equal("hello", c:receive_response().body)
    c:send "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert.equal("Hello", c:receive_response().body)
    assert.equal("eof", c:closed())
  end)

  it("gives everything until the end", function()
    assert.matches("^HTTP/1.1 400", (client.exchange(up.port, "nonsense\r\n\r\n")))
  end)

  local function response_to(bytes)
    local fake = assert(tcp.listen("127.0.0.1:0", function(socket) socket:write(bytes) end))
    local ok, result = pcall(function() return client.connect(fake.port):receive_response() end)
    fake:close()
    return ok and result or nil, not ok and result or nil
  end

  it("takes no response that is not well formed", function()
    for bytes, complaint in pairs {
      ["HTTP/1.1 2OO OK\r\n\r\n"] = "is not a status line",
      ["HTTP/1.1 200 OK\r\nA b\r\n\r\n"] = "is not a header",
      ["HTTP/1.1 200 OK\nA: b\n\n"] = "expected a response",
      ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"] = "expected a response, .*abc",
      ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n"] = "has no end",
      ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"] = "is not the size",
      [""] = "expected a response",
    } do
      local response, message = response_to(bytes)
      assert.is_nil(response)
      assert.matches(complaint, message)
    end
  end)

  it("reads a body until the end when nothing else says how long it is", function()
    local response = response_to "HTTP/1.0 200\r\nA: 1\r\na:2\r\n\r\nrest"
    assert.equal("1.0", response.version)
    assert.equal("", response.reason)
    assert.same({ a = "1, 2" }, response.headers)
    assert.same({ { name = "A", value = "1" }, { name = "a", value = "2" } },
      response.headers_list)
    assert.equal("rest", response.body)
    assert.is_true(response.until_close)
  end)
end)
