-- Requests that are none, or that two readers could read in two ways: each is refused however its
-- bytes arrive, closes the connection, and never reaches a view.

local wire = require "tests.http.wire"

--- Fails unless `answer` is one complete, small refusal with this status.
local function assert_refusal(status, answer)
  local head, body = answer:match "^(.-\r\n)\r\n([^\r\n]+\n)$"
  assert.is_truthy(head, ("not a refusal: %q"):format(answer))
  assert.equal(status, tonumber(head:match "^HTTP/1%.1 (%d%d%d) [^\r\n]+\r\n"), answer)
  assert.equal(#body, tonumber(head:match "\r\nContent%-Length: (%d+)\r\n"))
  assert.matches("\r\nContent%-Type: text/plain; charset=utf%-8\r\n", head)
  assert.matches("\r\nConnection: close\r\n", head)
end

local function repeated(count, line)
  local lines = {}
  for i = 1, count do lines[i] = line:format(i) end
  return table.concat(lines)
end

local REFUSED = {
  ["the request line"] = {
    { "has no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has an empty target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has a space in its target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has a HTAB in its target", "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has a NUL in its target", "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has DEL in its target", "GET /a\127b HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has a byte above ASCII in its target", "GET /\195\164 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has two spaces before its version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has a HTAB between its parts", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has a space behind its version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400 },
    { "has a method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has an empty method", " / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has http in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has a space before its method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has a LF before its method", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has two CRLF before its method", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "speaks RTSP", "GET / RTSP/1.0\r\nHost: a\r\n\r\n", 400 },
    { "speaks ICE", "SOURCE / ICE/1.0\r\nHost: a\r\n\r\n", 400 },
    { "has no version", "GET /\r\nHost: a\r\n\r\n", 400 },
    { "has a version without a minor", "GET / HTTP/1\r\nHost: a\r\n\r\n", 400 },
    { "has a minor of two digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400 },
    { "asks for HTTP/2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505 },
    { "asks for HTTP/0.9 in words", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505 },
    { "is the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400 },
    { "is TLS", "\22\3\1\2\0\1\0\1\252\3\3", 400 },
    { "has a method that nobody knows", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501 },
    { "has a method in lower case", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 501 },
    { "has a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has user information", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "is CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400 },
    { "has an authority as its target", "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400 },
    { "has * as its target, with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has a target without a slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
  },
  ["a path"] = {
    { "with a broken escape", "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "with an escape that is not hex", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "with an escaped NUL", "GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "that climbs out of the root", "GET /a/../../b HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "that climbs in escapes", "GET /%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
  },
  ["a line"] = {
    { "with a bare CR", "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400 },
    { "that ends with LF", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400 },
    { "of LF alone at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400 },
    { "of the request that ends with LF", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400 },
    { "that ends with CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400 },
    { "with a NUL in its value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400 },
    { "with a control byte in its value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\1b\r\n\r\n", 400 },
    { "with DEL in its value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\127b\r\n\r\n", 400 },
    { "that is folded", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400 },
    { "that is folded with a HTAB", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", 400 },
    { "that begins with a space, the first", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400 },
  },
  ["a header name"] = {
    { "that is empty", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400 },
    { "that is missing", "GET / HTTP/1.1\r\nHost: a\r\nb\r\n\r\n", 400 },
    { "that is no token", "GET / HTTP/1.1\r\nHost: a\r\nX(y: b\r\n\r\n", 400 },
    { "with a space before its colon", "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400 },
    { "with a HTAB before its colon", "GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n", 400 },
    { "with a space inside",
      "POST / HTTP/1.1\r\nHost: a\r\nContent Length: 1\r\n\r\na", 400 },
    { "with a byte above ASCII", "GET / HTTP/1.1\r\nHost: a\r\nX\195\164: b\r\n\r\n", 400 },
  },
  ["Host"] = {
    { "is missing", "GET / HTTP/1.1\r\nX: a\r\n\r\n", 400 },
    { "is missing, with no header at all", "GET / HTTP/1.1\r\n\r\n", 400 },
    { "comes twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
    { "comes twice, the same", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400 },
    { "comes twice in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400 },
    { "has a slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400 },
    { "has a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400 },
    { "has user information", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400 },
    { "has a port that is none", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400 },
    { "has two hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400 },
    { "is another than the target's", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400 },
    { "is empty, and the target's is not", "GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", 400 },
    { "has another port than the target's", "GET http://a/ HTTP/1.1\r\nHost: a:81\r\n\r\n", 400 },
  },
  ["Content-Length"] = {
    { "has a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400 },
    { "is negative", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\na", 400 },
    { "is in hex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na", 400 },
    { "is a list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1,1\r\n\r\na", 400 },
    { "is a list with a space",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na", 400 },
    { "has a space inside", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\na", 400 },
    { "has a fraction", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1.0\r\n\r\na", 400 },
    { "has letters behind it", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1a\r\n\r\na", 400 },
    { "is empty", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\na", 400 },
    { "is blank", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t \r\n\r\na", 400 },
    { "is 2^63",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\na", 400 },
    { "is 2^64 + 1",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\na", 400 },
    { "comes twice",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400 },
    { "comes twice, the same",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400 },
  },
  ["Transfer-Encoding"] = {
    { "comes with Content-Length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
    { "comes before Content-Length", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
      .. "Content-Length: 5\r\n\r\n0\r\n\r\n", 400 },
    { "comes in two lines", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
    { "has chunked twice",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400 },
    { "has chunked before another",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400 },
    { "is empty", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", 400 },
    { "has an empty element",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n", 400 },
    { "is in HTTP/1.0",
      "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
    { "is one that we do not have",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501 },
    { "is identity",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 501 },
    { "is chunked with a word before",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501 },
    { "is chunked in quotes",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400 },
    { "hides behind a vertical tab",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \11chunked\r\n\r\n0\r\n\r\n", 400 },
  },
  ["Expect"] = {
    { "asks for something else", "GET / HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\n\r\n", 417 },
    { "asks for more than 100-continue",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue, b\r\n\r\na", 417 },
  },
}

describe("a request is refused and its connection closed when", function()
  for what, cases in pairs(REFUSED) do
    describe(what, function()
      for _, case in ipairs(cases) do
        local name, bytes, status = case[1], case[2], case[3]
        it(name .. " (" .. status .. ")", function()
          local port, seen = wire.serve_echo()
          assert_refusal(status, wire.each_way(port, bytes))
          assert.equal(0, seen.count)
        end)
      end
    end)
  end

  it("its target is longer than 8 KiB (414)", function()
    local port, seen = wire.serve_echo()
    local target = "/" .. ("a"):rep(8 * 1024)
    assert_refusal(414, wire.each_way(port,
      "GET " .. target .. " HTTP/1.1\r\nHost: a\r\n\r\n", 997))
    assert.equal(0, seen.count)
  end)

  it("its headers are larger than 32 KiB (431)", function()
    local port, seen = wire.serve_echo()
    local bytes = "GET / HTTP/1.1\r\nHost: a\r\nX: " .. ("a"):rep(32 * 1024) .. "\r\n\r\n"
    assert_refusal(431, wire.each_way(port, bytes, 3989))
    assert.equal(0, seen.count)
  end)

  it("it has more than 100 headers (431)", function()
    local port, seen = wire.serve_echo()
    local bytes = "GET / HTTP/1.1\r\nHost: a\r\n" .. repeated(100, "X-%d: a\r\n") .. "\r\n"
    assert_refusal(431, wire.each_way(port, bytes, 101))
    assert.equal(0, seen.count)
  end)

  it("its headers never end: before the limit of their size is passed twice", function()
    local port = wire.serve_echo()
    local connection = wire.connect(port)
    local sent = 0
    connection:send "GET / HTTP/1.1\r\nHost: a\r\nX: "
    while sent < 64 * 1024 and connection:send(("a"):rep(1024)) do sent = sent + 1024 end
    assert_refusal(431, wire.undated((connection:receive_all())))
  end)
end)

describe("what follows a refused request is not read as a request, when", function()
  local SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
  for name, bytes in pairs {
    ["Content-Length and Transfer-Encoding disagree"] = "POST / HTTP/1.1\r\nHost: a\r\n"
      .. "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ["two lengths disagree"] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
      .. "Content-Length: 44\r\n\r\n",
    ["a bare LF ends the head for some"] = "GET / HTTP/1.1\r\nHost: a\n\n",
    ["a folded line hides a coding"] = "POST / HTTP/1.1\r\nHost: a\r\nX: b\r\n"
      .. " Transfer-Encoding: chunked\r\n\r\n",
  } do
    it(name, function()
      local port, seen = wire.serve_echo()
      assert_refusal(400, wire.each_way(port, bytes .. SMUGGLED))
      assert.equal(0, seen.count)
    end)
  end
end)

describe("not refused, although unusual, is", function()
  for name, case in pairs {
    ["one CRLF before the request"] = { "\r\nGET /a HTTP/1.1\r\nHost: a\r\n", "GET /a " },
    ["an unknown minor version, which is 1.1"] = { "GET /a HTTP/1.7\r\nHost: a\r\n", "GET /a " },
    ["an empty Host"] = { "GET /a HTTP/1.1\r\nHost:\r\n", "GET /a " },
    ["an absolute target with its own Host"] = { "GET http://a/b HTTP/1.1\r\nHost: a\r\n",
      "GET /b " },
    ["an absolute target and Host in another case"] =
      { "GET http://A.b/c HTTP/1.1\r\nHost: a.B\r\n", "GET /c " },
    ["an absolute target without a path"] = { "GET http://a HTTP/1.1\r\nHost: a\r\n", "GET / " },
    ["an IPv6 Host with a port"] = { "GET /a HTTP/1.1\r\nHost: [::1]:80\r\n", "GET /a " },
    ["white space of all kinds around a value"] = {
      "POST /a HTTP/1.1\r\nHost:\t a \t\r\nContent-Length: \t2\t \r\n", "POST /a ab", "ab" },
    ["a header without a value"] = { "GET /a HTTP/1.1\r\nHost: a\r\nX:\r\n", "GET /a " },
    ["a length with zeros in front"] = {
      "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0000000000000000000002\r\n",
      "POST /a ab", "ab" },
    ["Transfer-Encoding in another case"] = {
      "POST /a HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\n", "POST /a ab",
      "2\r\nab\r\n0\r\n\r\n" },
    ["a path with dots inside"] = { "GET /a/./b/../c HTTP/1.1\r\nHost: a\r\n", "GET /a/c " },
    ["a path in escapes"] = { "GET /%61%2Fb HTTP/1.1\r\nHost: a\r\n", "GET /a%2Fb " },
    ["a request without Host in HTTP/1.0"] = { "GET /a HTTP/1.0\r\n", "GET /a " },
  } do
    it(name, function()
      local port = wire.serve_echo()
      local bytes = case[1] .. "Connection: close\r\n\r\n" .. (case[3] or "")
      assert.equal(wire.ok(case[2], "Connection: close\r\n"), wire.each_way(port, bytes))
    end)
  end

  it("the largest target, 8 KiB, and the largest head, 32 KiB", function()
    local port = wire.serve_echo()
    local target = "/" .. ("a"):rep(8 * 1024 - 1)
    local head = "GET " .. target .. " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: "
    head = head .. ("b"):rep(32 * 1024 - #head - 2) .. "\r\n"
    assert.equal(32 * 1024, #head)
    assert.equal(wire.ok("GET " .. target .. " ", "Connection: close\r\n"),
      wire.each_way(port, head .. "\r\n", 3989))
  end)

  it("100 headers", function()
    local port = wire.serve_echo()
    local bytes = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
      .. repeated(98, "X-%d: a\r\n") .. "\r\n"
    assert.equal(wire.ok("GET /a ", "Connection: close\r\n"), wire.each_way(port, bytes, 101))
  end)
end)

describe("OPTIONS *", function()
  it("is answered", function()
    local port = wire.serve_echo()
    local answer = wire.each_way(port,
      "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.equal("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", answer)
  end)
end)

describe("a method that is known, but not on this path,", function()
  it("is answered with 405 and Allow, and the connection stays", function()
    local port = wire.serve(function(app)
      app:get("/a", function() return "a" end)
    end)
    local connection = wire.connect(port)
    connection:send "DELETE /a HTTP/1.1\r\nHost: a\r\n\r\n"
    local refused = connection:receive_response()
    assert.equal(405, refused.status)
    assert.equal("GET, HEAD, OPTIONS", refused.headers.allow)
    connection:send "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.equal(wire.ok "a", wire.undated(connection:receive_response().raw))
  end)
end)
