-- What fetch says and what it makes of the answers. Its connections: fetch_connections_spec.lua.

local headers = require "weft.headers"
local raw = require "tests.support.raw_upstream"
local weft = require "weft"

local OK, answering, answering_once = raw.OK, raw.answering, raw.answering_once

--- What the caller of `weft.fetch` is blamed for.
local function mistake(...)
  local ok, message = pcall(function(...)
    local response, err = weft.fetch(...) -- no tail call, so that this line is there to blame
    return response, err
  end, ...)
  assert.is_false(ok, "it did not raise")
  local text = tostring(message):match "fetch_spec%.lua:%d+: (.*)"
  assert.is_truthy(text, "blames another file: " .. tostring(message))
  return text
end

describe("fetch", function()
  describe("writes a request", function()
    it("of the fewest bytes that every server takes", function()
      local upstream = answering(OK)
      assert(weft.fetch(upstream.url .. "/a?b=c#d"))
      assert.equal("GET /a?b=c HTTP/1.1\nHost: 127.0.0.1:" .. upstream.port
        .. "\nUser-Agent: weft\nAccept: */*\n", upstream.head)
    end)

    it("the same for a plain GET with and without options", function()
      local upstream = answering(OK)
      assert(weft.fetch(upstream.url))
      local plain = upstream.head
      assert(weft.fetch(upstream.url, { timeout = 2, redirects = 0, stream = false }))
      assert.equal(plain, upstream.head)
    end)

    it("for the root when the URL has no path", function()
      local upstream = answering(OK)
      assert(weft.fetch(upstream.url))
      assert.matches("^GET / HTTP", upstream.head)
      assert(weft.fetch(upstream.url .. "?q"))
      assert.matches("^GET /%?q HTTP", upstream.head)
    end)

    it("with a body, its length and POST unless told otherwise", function()
      local upstream = answering(OK)
      assert(weft.fetch(upstream.url, { body = "hello" }))
      assert.matches("^POST / HTTP", upstream.head)
      assert.matches("\nContent%-Length: 5\n", upstream.head)
      assert.equal("hello", upstream.body)
      assert(weft.fetch(upstream.url, { method = "put", body = "" }))
      assert.matches("^PUT / HTTP", upstream.head)
      assert.matches("\nContent%-Length: 0\n", upstream.head)
    end)

    it("of JSON", function()
      local upstream = answering(OK)
      assert(weft.fetch(upstream.url, { json = { a = { 1, 2 } } }))
      assert.equal('{"a":[1,2]}', upstream.body)
      assert.matches("\nContent%-Type: application/json\n", upstream.head)
      assert(weft.fetch(upstream.url, { json = false }))
      assert.equal("false", upstream.body)
    end)

    it("of a form", function()
      local upstream = answering(OK)
      assert(weft.fetch(upstream.url, { form = { name = "J R", tag = { "a", "&" } } }))
      assert.equal("name=J%20R&tag=a&tag=%26", upstream.body)
      assert.matches("\nContent%-Type: application/x%-www%-form%-urlencoded\n", upstream.head)
    end)

    it("with the script's headers, which win over fetch's own", function()
      local upstream = answering(OK)
      assert(weft.fetch(upstream.url, {
        headers = {
          ["user-agent"] = "mine",
          Accept = "text/plain",
          Host = "other.example",
          ["X-Number"] = 5,
          ["X-List"] = { "a", "b" },
        },
      }))
      assert.matches("^GET / HTTP/1.1\nHost: other.example\n", upstream.head)
      assert.matches("\nuser%-agent: mine\n", upstream.head)
      assert.matches("\nAccept: text/plain\n", upstream.head)
      assert.matches("\nX%-Number: 5\n", upstream.head)
      assert.matches("\nX%-List: a\nX%-List: b\n", upstream.head)
      assert.not_matches("weft", upstream.head)
      assert.not_matches("%*/%*", upstream.head)
    end)

    it("with headers of the library's own kind, in their order", function()
      local upstream = answering(OK)
      local fields = headers.new()
      fields["X-One"] = "1"
      fields["X-Two"] = "2"
      assert(weft.fetch(upstream.url, { headers = fields }))
      assert.matches("\nX%-One: 1\nX%-Two: 2\n", upstream.head)
    end)

    it("of a body that is too long for the kernel to take at once", function()
      local upstream = answering(OK)
      local body = ("0123456789abcdef"):rep(256 * 1024)
      assert(weft.fetch(upstream.url, { body = body }))
      collectgarbage()
      assert.is_true(upstream.body == body)
    end)
  end)

  describe("reads a response", function()
    local function body_of(bytes, options)
      local upstream = answering_once(bytes)
      local response, err = weft.fetch(upstream.url, options)
      assert.is_nil(err)
      return response.body, response
    end

    it("whose length is announced", function()
      local body, response = body_of(OK)
      assert.equal("ok", body)
      assert.equal(200, response.status)
      assert.is_true(response.ok)
      assert.equal("ok", response:text())
    end)

    it("of any status, which is no error", function()
      local body, response = body_of "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
      assert.equal("busy", body)
      assert.equal(503, response.status)
      assert.is_false(response.ok)
    end)

    it("that comes in chunks", function()
      assert.equal("hello world", (body_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n")))
    end)

    it("that ends with the connection", function()
      assert.equal("all of it", (body_of "HTTP/1.1 200 OK\r\n\r\nall of it"))
      assert.equal("old", (body_of "HTTP/1.0 200 OK\r\n\r\nold"))
      assert.equal("", (body_of "HTTP/1.1 200 OK\r\n\r\n"))
    end)

    it("that has no body, whatever its headers say", function()
      assert.equal("", (body_of "HTTP/1.1 204 No Content\r\n\r\n"))
      assert.equal("", (body_of "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"))
      assert.equal("", (body_of("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        { method = "HEAD" })))
      assert.equal("", (body_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        { method = "HEAD" })))
    end)

    it("behind interim ones, which are skipped", function()
      assert.equal("ok", (body_of("HTTP/1.1 100 Continue\r\n\r\n"
        .. "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" .. OK)))
      assert.equal("", (body_of("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
        .. "Content-Length: 5\r\n\r\n", { method = "HEAD" })))
    end)

    it("the same however its bytes are split", function()
      local bytes = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
        .. "\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
      local upstream = raw.serve(function(socket)
        while raw.read_request(socket) do
          for i = 1, #bytes do
            socket:write(bytes:sub(i, i))
            weft.sleep(0)
          end
        end
      end)
      for _ = 1, 3 do
        local response = assert(weft.fetch(upstream.url))
        assert.equal("hello world", response.body)
      end
      assert.equal(1, upstream.connections)
    end)

    it("of megabytes", function()
      local long = ("0123456789abcdef"):rep(256 * 1024)
      assert.is_true(long == body_of("HTTP/1.1 200 OK\r\nContent-Length: " .. #long
        .. "\r\n\r\n" .. long))
      assert.is_true(long == body_of("HTTP/1.1 200 OK\r\n\r\n" .. long))
    end)

    it("with its headers", function()
      local _, response = body_of("HTTP/1.1 200 OK\r\nContent-Type:text/plain\r\nX-Empty:\r\n"
        .. "X-Many: a\r\nx-many:\t b \r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
        .. "Content-Length: 2\r\n\r\nok")
      local fields = response.headers
      assert.equal("text/plain", fields["content-type"])
      assert.equal("", fields["X-Empty"])
      assert.equal("a, b", fields["X-MANY"])
      assert.equal("2", fields["Content-Length"])
      assert.same({ "a=1", "b=2" }, headers.values(fields, "set-cookie"))
      assert.is_nil(fields.missing)
      assert.is_true(rawequal(fields, response.headers))
    end)

    it("of JSON", function()
      local _, response = body_of 'HTTP/1.1 200 OK\r\n\r\n{"a":[1]}'
      assert.same({ a = { 1 } }, response:json())
      local _, broken = body_of "HTTP/1.1 200 OK\r\n\r\n{"
      local value, err = broken:json()
      assert.is_nil(value)
      assert.equal("protocol", err.code)
      assert.matches("not JSON", err.message)
    end)

    it("that comes before the whole request was sent", function()
      local upstream = raw.serve(function(socket)
        socket:read "line"
        socket:write "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"
        repeat until not socket:read(65536)
      end)
      local response, err = weft.fetch(upstream.url, { body = ("x"):rep(16 * 1024 * 1024) })
      assert.is_nil(err)
      assert.equal(413, response.status)
      assert.equal("big", response.body)
      assert(weft.fetch(upstream.url, { body = "x", timeout = 2 }))
      assert.equal(2, upstream.connections) -- what was left unsent may not follow
    end)
  end)

  describe("refuses a response", function()
    local function refuses(code, bytes, options)
      local upstream = answering_once(bytes)
      local response, err = weft.fetch(upstream.url, options)
      assert.is_nil(response)
      assert.equal(code, err.code, err.message)
      assert.matches("^%u+ 127%.0%.0%.1:" .. upstream.port .. ": ", err.message)
      return err.message
    end

    it("whose lengths conflict", function()
      refuses("protocol", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc")
      refuses("protocol", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
        .. "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
      refuses("protocol", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")
    end)

    it("whose chunks are malformed", function()
      refuses("protocol", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
      refuses("protocol", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n")
    end)

    it("that ends too early", function()
      refuses("closed", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")
      refuses("closed", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
      refuses("closed", "HTTP/1.1 200 OK\r\nContent-Le")
      refuses("closed", "HTTP/1.1 100 Continue\r\n\r\n")
      assert.matches("before an answer", refuses("closed", ""))
    end)

    it("with bytes behind its end", function()
      refuses("protocol", OK .. "x")
      refuses("protocol", OK .. OK)
      refuses("protocol", OK, { method = "HEAD" })
      refuses("protocol", "HTTP/1.1 204 No Content\r\n\r\nx")
    end)

    it("that is none", function()
      refuses("protocol", "SSH-2.0-OpenSSH_9.2\r\n")
      refuses("protocol", "HTTP/1.1 200 OK\r\nBad Header: x\r\n\r\n")
      refuses("protocol", "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\nContent-Length: 0\r\n\r\n")
      refuses("protocol", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
        .. "Upgrade: x\r\n\r\n")
      refuses("protocol", "HTTP/1.1 200 OK\r\nX: " .. ("x"):rep(70000))
    end)

    it("that breaks off", function()
      local upstream = raw.serve(function(socket)
        raw.read_request(socket)
        socket:write "HTTP/1.1 200 OK\r\n\r\nsome"
        weft.sleep(0.02)
        socket:reset()
      end)
      local response, err = weft.fetch(upstream.url)
      assert.is_nil(response)
      assert.equal("closed", err.code)
      assert.matches("inside the response", err.message)
    end)

    it("whose body is larger than allowed", function()
      local small = { max_body_size = 4 }
      assert.matches("max_body_size %(4 bytes%)", refuses("too_large",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", small))
      refuses("too_large", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", small)
      refuses("too_large", "HTTP/1.1 200 OK\r\n\r\nhello", small)
      local upstream = answering_once "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour"
      assert.equal("four", assert(weft.fetch(upstream.url, small)).body)
    end)
  end)

  describe("raises at the caller's line", function()
    it("for what is no URL", function()
      assert.matches("fetch takes a URL, not nil", mistake(nil))
      for url, why in pairs {
        ["example.com"] = "does not begin with http://",
        ["/path"] = "does not begin with http://",
        ["http:/x"] = "does not begin with http://",
        ["ftp://x/"] = "does not begin with http://",
        ["http://"] = "no valid host name",
        ["http://:80/"] = "no valid host name",
        ["http://a b/"] = "must be escaped",
        ["http://a/\r\nX: y"] = "must be escaped",
        ["http://a/\0"] = "must be escaped",
        ["http://a/\xc3\xa4"] = "must be escaped",
        ["http://a:0/"] = "no valid port",
        ["http://a:65536/"] = "no valid port",
        ["http://a:1x/"] = "no valid port",
        ["http://[::1/"] = "no valid host name",
        ["http://[1.2]/"] = "malformed address",
        ["http://user:secret@a/"] = "user name",
        ["unix:/run/x.sock:/"] = "not there yet",
      } do
        assert.matches(why, mistake(url), 1, true)
      end
    end)

    it("for options that are none, or not of their kind", function()
      local url = "http://127.0.0.1:1/"
      assert.matches("the options are a table, not string", mistake(url, "GET"))
      assert.matches('no option "heders"', mistake(url, { heders = {} }))
      assert.matches("timeout is a number of seconds above 0, not 0", mistake(url, { timeout = 0 }))
      assert.matches("connect_timeout is a number", mistake(url, { connect_timeout = "1" }))
      assert.matches("read_timeout is a number", mistake(url, { read_timeout = 0 / 0 }))
      assert.matches("max_body_size is a number", mistake(url, { max_body_size = -1 }))
      assert.matches("the body is a string, not table", mistake(url, { body = {} }))
      assert.matches("the form is a table, not string", mistake(url, { form = "a=b" }))
      assert.matches("cannot encode a function", mistake(url, { json = print }))
      assert.matches("one of body, json and form", mistake(url, { body = "", json = {} }))
      assert.matches("not there yet", mistake(url, { redirects = 5 }))
      assert.matches("not there yet", mistake(url, { stream = true }))
    end)

    it("for methods and headers that would break the request", function()
      local url = "http://127.0.0.1:1/"
      assert.matches("is not a method", mistake(url, { method = "GET /x HTTP/1.1\r\n" }))
      assert.matches("is not a method", mistake(url, { method = "" }))
      assert.matches("CONNECT", mistake(url, { method = "CONNECT" }))
      assert.matches("line break", mistake(url, { headers = { X = "a\r\nb" } }))
      assert.matches("is not a header name", mistake(url, { headers = { ["X:"] = "a" } }))
      assert.matches("headers are a table", mistake(url, { headers = "X: a" }))
      for _, name in ipairs { "Content-Length", "transfer-encoding", "Connection" } do
        assert.matches("is for fetch to say", mistake(url, { headers = { [name] = "1" } }))
      end
    end)
  end)
end)
