-- The request's fields and methods, but for the body (request_body_spec).

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

--- Sends a whole request as bytes; gives the response.
local function exchange(port, ...)
  local raw = raw_client.connect(port)
  raw:send(table.concat({ ... }, "\r\n") .. "\r\n\r\n")
  local response = raw:receive_response()
  raw:close()
  return response
end

--- What `read(request)` gives for a request of these lines, as JSON that was decoded again.
local function read_of(read, ...)
  local _, port = serve(function(request) return { value = read(request) } end)
  return weft.json.decode(exchange(port, ...).body).value
end

local function raised_by(fn, ...)
  local ok, raised = pcall(fn, ...)
  assert.is_false(ok)
  return raised
end

describe("a request", function()
  it("tells what was asked for (semantics 76)", function()
    assert.same({
      method = "PUT",
      target = "/a%20b/../c%2Fd?x=%31&y",
      path = "/c%2Fd",
      raw_path = "/a%20b/../c%2Fd",
      query_string = "x=%31&y",
      http_version = "1.1",
      scheme = "http",
      host = "a.example",
      port = 8080,
      url = "http://a.example:8080/a%20b/../c%2Fd?x=%31&y",
      ip = "127.0.0.1",
      peer = "127.0.0.1",
      is_port = true,
    }, read_of(function(request)
      local value = {}
      for _, field in ipairs { "method", "target", "path", "raw_path", "query_string",
        "http_version", "scheme", "host", "port", "url", "ip" } do
        value[field] = request[field]
      end
      value.peer = request.peer.address
      value.is_port = request.peer.port > 0
      return value
    end, "PUT /a%20b/../c%2Fd?x=%31&y HTTP/1.1", "Host: A.Example:8080", "Content-Length: 0"))
  end)

  it("has defaults where the client says nothing", function()
    assert.same({ "1.0", "", 80, "http:///x", "", 0, 0, 0 }, read_of(function(request)
      local function count(t)
        local n = 0
        for _ in pairs(t) do n = n + 1 end
        return n
      end
      return { request.http_version, request.host, request.port, request.url, request.query_string,
        count(request.query), count(request.cookies), count(request.state) }
    end, "GET /x HTTP/1.0"))
  end)

  it("takes host and port from the target or the Host header (semantics 83)", function()
    local function authority(request) return { request.host, request.port } end
    for _, case in ipairs {
      { "GET / HTTP/1.1", "Host: a.example", "a.example", 80 },
      { "GET / HTTP/1.1", "Host: A.EXAMPLE.:81", "a.example", 81 },
      { "GET / HTTP/1.1", "Host: [::1]:81", "[::1]", 81 },
      { "GET / HTTP/1.1", "Host: [::1]", "[::1]", 80 },
      { "GET http://b.example:82/ HTTP/1.1", "Host: b.example:82", "b.example", 82 },
    } do
      assert.same({ case[3], case[4] }, read_of(authority, case[1], case[2]))
    end
  end)

  it("makes its URL of fields that a middleware may have replaced (semantics 84, 85)", function()
    assert.same({ "https://front.example/x?y", "https://front.example:8443/x?y", 443 },
      read_of(function(request)
        request.scheme, request.host = "https", "front.example"
        local first, port = request.url, request.port
        request.url, request.port = nil, 8443
        return { first, request.url, port }
      end, "GET /x?y HTTP/1.1", "Host: internal"))
  end)

  it("keeps what was replaced, whatever is read later", function()
    assert.same({ "10.0.0.1", "1.1", "10.0.0.1" }, read_of(function(request)
      request.peer = { address = "10.0.0.1", port = 1 }
      return { request.ip, request.http_version, request.peer.address }
    end, "GET / HTTP/1.1", "Host: a"))
  end)

  it("has an id of its own, a state of its own, the app, the time", function()
    local app
    local client = serve(function(request)
      app = request.app
      local before = request.state.seen
      request.state.seen = true
      return { id = request.id, same = request.id == request.id, before = before,
        age = weft.time() - request.received_at, text = tostring(request) }
    end)
    local first, second = client:get("/"):json(), client:get("/"):json()
    assert.not_equal(first.id, second.id)
    assert.is_true(first.same)
    assert.is_nil(second.before)
    assert.is_true(first.age < 1)
    assert.equal("weft.Request (GET /)", first.text)
    assert.equal(client.app, app)
  end)

  it("has nothing that a client could name: fields and methods are not the client's", function()
    local value = read_of(function(request)
      return { request.query.body, request.query.headers, request.cookies.body,
        request.headers["state"], type(request.body), tostring(request.query.json),
        tostring(request.nothing) }
    end, "GET /?body=q&headers=h&__index=x HTTP/1.1", "Host: a", "Cookie: body=c", "State: s")
    assert.same({ "q", "h", "c", "s", "function", "nil", "nil" }, value)
  end)
end)

describe("its headers", function()
  it("ignore case; repeats are joined in their order (semantics 77, 78)", function()
    assert.same({ "b", "b", "1, 2", "nil", { "1", "2" }, { "b" }, {} }, read_of(function(request)
      return { request.headers["x-a"], request.headers["X-A"], request.headers["x-list"],
        tostring(request.headers["x-none"]), request:header_values "X-List",
        request:header_values "x-a", request:header_values "x-none" }
    end, "GET / HTTP/1.1", "Host: a", "X-A: b", "X-List: 1", "x-list: 2"))
  end)

  it("with an underscore are no other spelling of those with a dash (semantics 77)", function()
    assert.same({ "nil", "b" }, read_of(function(request)
      return { tostring(request.headers["x-a"]), request.headers["x_a"] or "b" }
    end, "GET / HTTP/1.1", "Host: a", "X_A: b"))
  end)

  it("are gone through as they arrived, one by one", function()
    assert.same({ "Host: a", "X-B: 1", "x-b: 2" }, read_of(function(request)
      local all = {}
      for name, value in pairs(request.headers) do table.insert(all, name .. ": " .. value) end
      return all
    end, "GET / HTTP/1.1", "Host: a", "X-B: 1", "x-b: 2"))
  end)

  it("may be assigned, also with a table of one's own", function()
    assert.same({ "c", "nil", "y", "a", { "c" } }, read_of(function(request)
      request.headers["X-A"] = "c"
      request.headers["X-B"] = nil
      request.headers["X-New"] = "y"
      return { request.headers["x-a"], tostring(request.headers["x-b"]), request.headers["x-new"],
        request.headers.host, request:header_values "x-a" }
    end, "GET / HTTP/1.1", "Host: a", "X-A: b", "X-B: b"))
  end)

  it("take strings as names", function()
    local _, port = serve(function(request)
      return raised_by(function() return request.headers[true] end)
        .. tostring(request.headers[7])
    end)
    assert.matches("header names are stringsnil$", exchange(port, "GET / HTTP/1.1", "Host: a").body)
  end)
end)

describe("its query", function()
  it("keeps blank values and the order; the last value counts (semantics 79)", function()
    assert.same({ "2", "", "", "x y", "nil", { "1", "2" }, {} }, read_of(function(request)
      return { request.query.a, request.query.b, request.query.c, request.query["d e"],
        tostring(request.query.none), request:query_values "a", request:query_values "none" }
    end, "GET /?a=1&b=&c&a=2&d+e=x%20y HTTP/1.1", "Host: a"))
  end)

  it("of more than 1000 fields is refused (semantics 80)", function()
    captured_log.capture()
    local client = serve(function(request) return request.query.a or "none" end)
    assert.equal(200, client:get("/?" .. ("a&"):rep(1000)).status)
    assert.equal(400, client:get("/?" .. ("a&"):rep(1001)).status)
  end)

  it("may be replaced", function()
    assert.same({ "1", "2" }, read_of(function(request)
      local first = request.query.a
      request.query = { a = "2" }
      return { first, request.query.a }
    end, "GET /?a=1 HTTP/1.1", "Host: a"))
  end)
end)

describe("its cookies", function()
  it("are read as browsers send them (semantics 82)", function()
    local value = read_of(function(request)
      local cookies = request.cookies
      return { cookies.a, cookies.b, cookies.c, cookies[""], cookies.e, tostring(cookies.none) }
    end, "GET / HTTP/1.1", "Host: a", 'Cookie: a=1;b = "x y" ; c=x=y; alone; e=1; e=2')
    assert.same({ "1", "x y", "x=y", "alone", "2", "nil" }, value)
  end)

  it("of several lines are one list (semantics 78)", function()
    assert.same({ "1", "2" }, read_of(function(request)
      return { request.cookies.a, request.cookies.b }
    end, "GET / HTTP/1.1", "Host: a", "Cookie: a=1", "Cookie: b=2"))
    assert.same({ "1,x" }, read_of(function(request) return { request.cookies.a } end,
      "GET / HTTP/1.1", "Host: a", "Cookie: a=1,x"))
  end)
end)

describe("request:accepts", function()
  it("is the type that the client wants most (semantics 86)", function()
    local function wanted(request)
      return tostring(request:accepts("text/html", "application/json"))
    end
    for accept, expected in pairs {
      ["application/json"] = "application/json",
      ["text/*;q=0.5, application/json;q=0.4"] = "text/html",
      ["text/html;q=0, */*"] = "application/json",
      ["image/png"] = "nil",
    } do
      assert.equal(expected, read_of(wanted, "GET / HTTP/1.1", "Host: a", "Accept: " .. accept))
    end
    assert.equal("text/html", read_of(wanted, "GET / HTTP/1.1", "Host: a"))
  end)
end)

describe("read too late", function()
  --- Runs `late(request)` when its response is complete; gives what it raised.
  local function after_end(late, early)
    local result
    local client = serve(function(request)
      if early then early(request) end
      weft.background(function()
        while not request:is_disconnected() do weft.sleep(0.001) end
        result = { pcall(late, request) }
      end)
      return "ok"
    end)
    client:get "/"
    helper.eventually(function() return result end)
    return unpack(result)
  end

  it("a field says so, at the line that reads it", function()
    for _, field in ipairs { "target", "raw_path", "query_string", "peer", "ip", "http_version",
      "host", "url", "query" } do
      local ok, message = after_end(function(request)
        local value = request[field]
        return value
      end)
      assert.is_false(ok)
      assert.matches("^%S*request_spec.lua:%d+: request%.%S+ was first read after the response was "
        .. "complete", message)
    end
  end)

  it("headers say so", function()
    for _, read in ipairs {
      function(request) return request.headers["x-a"] .. "" end,
      function(request) request.headers["x-a"] = "b" end,
      function(request) return #request:header_values "x-a" end,
    } do
      local ok, message = after_end(read)
      assert.is_false(ok)
      assert.matches("^%S*request_spec.lua:%d+: request.headers was first read after", message)
    end
    local ok, message = after_end(function(request) return pairs(request.headers) end)
    assert.is_false(ok)
    assert.matches("request.headers was first read after", message)
  end)

  it("the body says so", function()
    local ok, message = after_end(function(request) return #request:body() end)
    assert.is_false(ok)
    assert.matches("request.body was first read after the response was complete", message)
  end)

  it("is no matter for what was read before, nor for what is the request's own", function()
    local ok, value = after_end(function(request)
      return table.concat({ request.method, request.path, request.query.a or "none", request.ip,
        request.headers.host, #request.id }, " ")
    end, function(request)
      request.state.read = { request.query, request.ip, tostring(request.headers) }
    end)
    assert.is_true(ok)
    assert.matches("^GET / none 127.0.0.1 127.0.0.1:%d+ 20$", value)
  end)
end)
