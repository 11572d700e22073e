-- The request's body: whole, as JSON, as a form, or as it arrives; the same for everybody.

local captured_log = require "tests.support.captured_log"
local helper = require "tests.support.helper"
local raw_client = require "tests.support.client"
local task = require "weft.task"
local testing = require "weft.testing"
local weft = require "weft"

--- Serves one view; gives the client, and its port for raw bytes.
local function serve(view, options)
  local app = weft.app(options)
  app:any("/*path", view)
  local client = testing.client(app)
  task.defer(function() client:close() end)
  return client, tonumber(client.url:match ":(%d+)$")
end

local function raised_by(fn, ...)
  local ok, raised = pcall(fn, ...)
  assert.is_false(ok)
  return raised
end

local function collect(chunks)
  local parts = {}
  for chunk in chunks do table.insert(parts, chunk) end
  return table.concat(parts)
end

describe("body", function()
  it("is the same for every layer that asks, however it asks (semantics 81)", function()
    local app, seen = weft.app(), {}
    app:use(function(get_response)
      return function(request)
        table.insert(seen, request:body())
        local response = get_response(request)
        table.insert(seen, request:text())
        return response
      end
    end)
    app:post("/", function(request)
      table.insert(seen, collect(request:chunks()))
      table.insert(seen, collect(request:chunks()))
      return { request:json().a, request:body() }
    end)
    local client = testing.client(app)
    task.defer(function() client:close() end)
    assert.same({ 1, '{"a":1}' }, client:post("/", { body = '{"a":1}' }):json())
    assert.same({ '{"a":1}', '{"a":1}', '{"a":1}', '{"a":1}' }, seen)
  end)

  it("of nothing is an empty string, and no chunks", function()
    local client = serve(function(request)
      local chunks = collect(request:chunks())
      return { request.method, chunks }
    end)
    assert.same({ "GET", "" }, client:get("/"):json())
    client = serve(function(request) return { request:body(), collect(request:chunks()) } end)
    assert.same({ "", "" }, client:get("/"):json())
    assert.same({ "", "" }, client:post("/", { body = "" }):json())
  end)

  it("arrives sized or in chunks, in however many pieces", function()
    local _, port = serve(function(request) return request:body() end)
    for _, bytes in ipairs { "Content-Length: 5\r\n\r\nHello",
      "Transfer-Encoding: chunked\r\n\r\n2\r\nHe\r\n3\r\nllo\r\n0\r\n\r\n" } do
      local raw = raw_client.connect(port)
      raw:send "POST / HTTP/1.1\r\nHost: a\r\n"
      raw:send_slowly(bytes, 8)
      assert.equal("Hello", raw:receive_response().body)
    end
  end)

  it("is not waited for by a view that does not ask (semantics 50)", function()
    local _, port = serve(function() return "answered" end)
    local raw = raw_client.connect(port)
    raw:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
    assert.equal("answered", raw:receive_response().body)
  end)

  it("is asked for with 100 Continue, and only then (semantics 50)", function()
    captured_log.capture()
    local _, port = serve(function(request)
      if request.path == "/refused" then weft.abort(403) end
      return request:body()
    end)
    local raw = raw_client.connect(port)
    local head = "HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    raw:send("POST / " .. head)
    assert.equal(100, raw:receive_response().status)
    raw:send "Hello"
    assert.equal("Hello", raw:receive_response().body)
    raw:send("POST /refused " .. head)
    local response = raw:receive_response()
    assert.same({ 403, "close" }, { response.status, response.headers.connection })
  end)

  it("that was read in part is still whole for who asks next", function()
    local _, port = serve(function(request)
      local _, err = weft.timeout(0.02, function() return request:body() end)
      return err.code .. " " .. request:body()
    end)
    local raw = raw_client.connect(port)
    raw:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nHe"
    weft.sleep(0.05)
    raw:send "llo"
    assert.equal("timeout Hello", raw:receive_response().body)
  end)

  it("that was read in part comes first in chunks", function()
    local _, port = serve(function(request)
      weft.timeout(0.02, function() return request:body() end)
      return collect(request:chunks())
    end)
    local raw = raw_client.connect(port)
    raw:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nHe"
    weft.sleep(0.05)
    raw:send "llo"
    assert.equal("Hello", raw:receive_response().body)
  end)

  it("may be read while the response is written", function()
    local _, port = serve(function(request)
      return weft.stream(function(write)
        for chunk in request:chunks() do write(chunk:upper()) end
      end)
    end)
    local raw = raw_client.connect(port)
    raw:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"
    weft.sleep(0.01)
    raw:send "cd"
    assert.equal("ABCD", raw:receive_response().body)
  end)
end)

describe("a body over the limit", function()
  it("is refused before it is read, if its length is announced", function()
    captured_log.capture()
    local _, port = serve(function(request) return request:body() end, { max_body_size = 10 })
    local raw = raw_client.connect(port)
    raw:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    local response = raw:receive_response()
    assert.same({ 413, "close" }, { response.status, response.headers.connection })
    assert.matches("larger than 10 bytes", response.body)
  end)

  it("is refused when it is counted, and stays refused", function()
    captured_log.capture()
    local count = 0
    local app = weft.app { max_body_size = 3 }
    app:use(function(get_response)
      return function(request)
        for _ = 1, 2 do
          count = count + raised_by(request.body, request).status
          count = count + raised_by(request.json, request).status
        end
        return get_response(request)
      end
    end)
    app:post("/", function(request) return request:body() end)
    local client = testing.client(app)
    task.defer(function() client:close() end)
    local raw = raw_client.connect(tonumber(client.url:match ":(%d+)$"))
    raw:send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "2\r\nab\r\n2\r\ncd\r\n")
    assert.equal(413, raw:receive_response().status)
    assert.equal(4 * 413, count)
  end)

  it("of a few bytes leaves the connection usable", function()
    captured_log.capture()
    local _, port = serve(function(request) return request:body() end, { max_body_size = 3 })
    local raw = raw_client.connect(port)
    raw:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
    assert.equal(413, raw:receive_response().status)
    raw:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    assert.equal("abc", raw:receive_response().body)
  end)

  it("counts by the request's own limit, where a middleware sets one", function()
    captured_log.capture()
    local client = serve(function(request)
      request.max_body_size = 5
      return request:body()
    end, { max_body_size = 3 })
    assert.equal("abcde", client:post("/", { body = "abcde" }).body)
    assert.equal(413, client:post("/", { body = "abcdef" }).status)
  end)

  it("is no matter for chunks", function()
    local client = serve(function(request) return tostring(#collect(request:chunks())) end,
      { max_body_size = 3 })
    assert.equal("100000", client:post("/", { body = ("x"):rep(100000) }).body)
  end)
end)

describe("a body that is broken or late", function()
  it("is a 400, and the connection ends", function()
    captured_log.capture()
    local _, port = serve(function(request) return request:body() end)
    local raw = raw_client.connect(port)
    raw:send "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
    local response = raw:receive_response()
    assert.same({ 400, "close" }, { response.status, response.headers.connection })
  end)

  it("is a 408, and the connection ends", function()
    captured_log.capture()
    local _, port = serve(function(request) return request:body() end, { body_timeout = 0.03 })
    local raw = raw_client.connect(port)
    raw:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na"
    local response = raw:receive_response()
    assert.same({ 408, "close" }, { response.status, response.headers.connection })
  end)
end)

describe("chunks", function()
  it("can be read once, and the second reader is told where the first was (semantics 65)",
    function()
      local message
      local client = serve(function(request)
        collect(request:chunks())
        message = raised_by(function()
          local chunks = request:chunks()
          return chunks
        end) .. "\n" .. raised_by(function()
          local body = request:body()
          return body
        end)
        return "ok"
      end)
      client:post("/", { body = "x" })
      local line = "%S*request_body_spec.lua:%d+: the body was already read by chunks%(%), at "
        .. "%S*request_body_spec.lua:%d+"
      assert.matches("^" .. line .. "\n" .. line .. "$", message)
    end)

  it("come as they arrive, and hold back a client that is faster", function()
    local read, go = 0, false
    local _, port = serve(function(request)
      for chunk in request:chunks() do
        read = read + #chunk
        while not go do weft.sleep(0.001) end
      end
      return tostring(read)
    end)
    local size = 8 * 1024 * 1024
    local raw = raw_client.connect(port)
    raw:send(("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"):format(size))
    local sent = false
    local sending = weft.spawn(function()
      raw:send(("x"):rep(size))
      sent = true
    end)
    helper.eventually(function() return read > 0 end)
    weft.sleep(0.03)
    assert.is_false(sent) -- it waits for the reader
    assert.is_true(read < size)
    go = true
    sending:await()
    assert.equal(tostring(size), raw:receive_response().body)
  end)
end)

describe("when the request is over", function()
  --- Runs `late(kept)` when the response is complete; gives what it gave.
  local function after_end(early, late)
    local result
    local _, port = serve(function(request)
      local kept = early(request)
      weft.background(function()
        helper.eventually(function() return request:is_disconnected() end)
        result = { pcall(late, kept, request) }
      end)
      return "ok"
    end)
    local raw = raw_client.connect(port)
    raw:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nHello"
    weft.sleep(0.01)
    raw:send(("x"):rep(95))
    raw:receive_response()
    helper.eventually(function() return result end)
    return unpack(result)
  end

  it("a body that was read is still there, whole and in chunks", function()
    local ok, size = after_end(function(request) return request:body() end, function(_, request)
      return #request:body() + #collect(request:chunks())
    end)
    assert.is_true(ok)
    assert.equal(200, size)
  end)

  it("a body that was read in part says that it is too late", function()
    local ok, message = after_end(function(request)
      local chunks = request:chunks()
      chunks()
      return chunks
    end, function(chunks) return chunks() end)
    assert.is_false(ok)
    assert.equal("the request's body was read after the request had ended", message)
  end)
end)

describe("json", function()
  it("is read once, also when it is null", function()
    local client = serve(function(request)
      return { request:json() == request:json(), tostring(request:json()) }
    end)
    assert.is_true(client:post("/", { body = '{"a":1}' }):json()[1])
    assert.is_true(client:post("/", { body = "null" }):json()[1])
  end)

  it("that is none is a 400 that says where", function()
    captured_log.capture()
    local client = serve(function(request) return request:json() end)
    local response = client:post("/", { body = '{"a":' })
    assert.equal(400, response.status)
    assert.matches("The body is not JSON: ", response.body)
    assert.equal(400, client:post("/", { body = "" }).status)
  end)
end)

describe("form", function()
  local function post(client, body, kind)
    return client:post("/", { body = body, headers = {
      ["Content-Type"] = kind or "application/x-www-form-urlencoded",
    } })
  end

  it("has each name's last value, and lists of all (semantics 79, 81)", function()
    local client = serve(function(request)
      local values, lists = request:form()
      local again = request:form()
      return { values.a, values.b, lists.a, values == again }
    end)
    assert.same({ "2", "", { "1", "2" }, true }, post(client, "a=1&b=&a=2"):json())
    assert.equal(200, post(client, "a=1&b=&a=2",
      "Application/X-WWW-Form-Urlencoded ; charset=UTF-8").status)
  end)

  it("that cannot be read is refused: 415, 400 (semantics 80)", function()
    captured_log.capture()
    local client = serve(function(request) return request:form() end)
    assert.equal(415, post(client, "a=1", "text/plain").status)
    assert.equal(415, client:post("/", { body = "a=1" }).status)
    assert.equal(400, post(client, "a=1",
      "application/x-www-form-urlencoded; charset=latin-1").status)
    assert.equal(200, post(client, ("a&"):rep(1000)).status)
    assert.equal(400, post(client, ("a&"):rep(1001)).status)
  end)
end)
