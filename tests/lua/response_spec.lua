-- Responses: making them, changing them, and what of them reaches the wire.

local captured_log = require "tests.support.captured_log"
local raw_client = require "tests.support.client"
local responses = require "weft.response"
local task = require "weft.task"
local testing = require "weft.testing"
local weft = require "weft"

local function raised_by(fn, ...)
  local ok, raised = pcall(fn, ...)
  assert.is_false(ok)
  return raised
end

--- What a client gets of a view, byte by byte.
local function wire(view, method)
  local app = weft.app()
  app:any("/", view)
  local client = testing.client(app)
  task.defer(function() client:close() end)
  local raw = raw_client.connect(tonumber(client.url:match ":(%d+)$"))
  raw:send((method or "GET") .. " / HTTP/1.1\r\nHost: a\r\n\r\n")
  return raw:receive_response { head = method == "HEAD" }
end

describe("making a response", function()
  it("has a status, headers and a body, with defaults (semantics 88)", function()
    local response = weft.response {}
    assert.same({ 200, "", false }, { response.status, response.body, response.streaming })
    assert.is_nil(response.headers["content-type"])
    response = weft.response { status = 201, headers = { ["X-A"] = "b" }, body = "text" }
    assert.same({ 201, "text", "b", "text/plain; charset=utf-8" }, { response.status,
      response.body, response.headers["x-a"], response.headers["content-type"] })
    assert.equal("text/plain; charset=utf-8", weft.text("x").headers["content-type"])
    assert.equal("text/html; charset=utf-8", weft.html("x").headers["content-type"])
    assert.equal("application/json", weft.json({}).headers["content-type"])
    local own = weft.text("x", 200, { ["content-type"] = "text/x" })
    assert.equal("text/x", own.headers["Content-Type"])
    assert.same({ 204, "" }, { weft.no_content().status, weft.no_content().body })
  end)

  it("checks its arguments at the line that gives them (semantics 88)", function()
    for what, mistake in pairs {
      ["a response's status is an integer from 200 to 599, not 99"] = function()
        local response = weft.text("", 99)
        return response
      end,
      ["a response's status is .* not 600"] = function()
        local response = weft.response { status = 600 }
        return response
      end,
      ["a response's status is .* not 200.5"] = function()
        local response = weft.html("", 200.5)
        return response
      end,
      ["a response's status is .* not 100"] = function()
        local response = weft.json({}, 100)
        return response
      end,
      ["weft.text takes a string, not nil"] = function()
        local response = weft.text(nil)
        return response
      end,
      ["the body of weft.response takes a string, not table"] = function()
        local response = weft.response { body = {} }
        return response
      end,
      ['weft.response has no field "code"'] = function()
        local response = weft.response { code = 1 }
        return response
      end,
      ["weft.response takes a table"] = function()
        local response = weft.response "text"
        return response
      end,
      ["redirect takes a URL"] = function()
        local response = weft.redirect(nil)
        return response
      end,
      ["redirect: the status is 301"] = function()
        local response = weft.redirect("/", 200)
        return response
      end,
      ["stream takes a function"] = function()
        local response = weft.stream "text"
        return response
      end,
      ['header "Location": the value contains a line break'] = function()
        local response = weft.redirect "/a\r\nX: y"
        return response
      end,
      ['header "X": the value contains a line break'] = function()
        local response = weft.text("", 200, { X = "a\nb" })
        return response
      end,
      ['"X A" is not a header name'] = function()
        local response = weft.stream(print, { ["X A"] = "b" })
        return response
      end,
      ["headers are a table, not a number"] = function()
        local response = weft.response { headers = 42 }
        return response
      end,
    } do
      assert.matches("^%S*response_spec.lua:%d+: " .. what, raised_by(mistake))
    end
  end)

  it("has no body where there can be none (semantics 94)", function()
    for _, status in ipairs { 204, 304 } do
      assert.matches("response_spec.lua:%d+: a response of status " .. status .. " has no body",
        raised_by(function()
          local response = weft.text("x", status)
          return response
        end))
      assert.equal("", weft.response({ status = status }).body)
    end
  end)

  it("takes a number as a body", function()
    assert.equal("42", weft.text(42).body)
    assert.equal("42", weft.response({ body = 42 }).body)
  end)

  it("as JSON: weft.json is a function, and the codec", function()
    local response = weft.json({ a = 1 }, 201, { ["X-A"] = "b" })
    assert.same({ 201, '{"a":1}' }, { response.status, response.body })
    assert.equal("b", response.headers["x-a"])
    assert.same({ a = 1 }, weft.json.decode(weft.json.encode { a = 1 }))
    assert.matches("^%S*response_spec.lua:%d+: ", raised_by(function()
      local bad = weft.json { print }
      return bad
    end))
  end)

  it("is told from other tables", function()
    assert.is_true(responses.is(weft.text "x"))
    for _, value in ipairs { "text", 42, {}, { status = 200, headers = {}, body = "" } } do
      assert.is_false(responses.is(value))
    end
    assert.equal("weft.Response (200)", tostring(weft.text "x"))
  end)
end)

describe("redirects", function()
  it("go to http, https, ftp, and to paths (semantics 93)", function()
    for _, url in ipairs { "/", "/a?b=c#d", "https://a.example/", "HTTP://a/", "ftp://a/", "?q=1",
      "//a.example/x", "a/b:c" } do
      local response = weft.redirect(url)
      assert.same({ 302, url, "" }, { response.status, response.headers.location, response.body })
    end
    for _, status in ipairs { 301, 302, 303, 307, 308 } do
      assert.equal(status, weft.redirect("/", status).status)
    end
  end)

  it("to another scheme are the client's mistake: 400 (semantics 93)", function()
    for _, url in ipairs { "javascript:alert(1)", " JavaScript:x", "data:text/html,x", "\tfile:/x" }
    do
      assert.equal(400, raised_by(weft.redirect, url).status)
    end
  end)

  it("escape what a URL cannot contain", function()
    assert.equal("/a%20b/%C3%A9%22%3C", weft.redirect("/a b/é\"<").headers.location)
    assert.equal("/a%20b?c=%25", weft.redirect("/a%20b?c=%25").headers.location)
    assert.equal("java%09script:x", weft.redirect("java\tscript:x").headers.location)
  end)
end)

describe("headers", function()
  it("ignore case, replace, take lists, and keep their names as given (semantics 89)",
    function()
      local response = wire(function()
        local it = weft.text("x", 200, { ["X-Given"] = "a" })
        it.headers["x-given"] = "b"
        it.headers["X-List"] = { "1", "2" }
        it.headers["X-Gone"] = "x"
        it.headers["x-gone"] = nil
        it:add_header("X-List", 3)
        it:vary "Accept"
        it:vary "Cookie"
        it:vary "accept"
        return it
      end)
      assert.same({ "b", "1, 2, 3", "Accept, Cookie" }, { response.headers["x-given"],
        response.headers["x-list"], response.headers.vary })
      assert.is_nil(response.headers["x-gone"])
      assert.matches("\r\nx%-given: b\r\n", response.raw)
      assert.matches("\r\nX%-List: 1\r\nX%-List: 2\r\nX%-List: 3\r\n", response.raw)
    end)

  it("with CR, LF or NUL are refused at the line that sets them (semantics 89)", function()
    local response = weft.text "x"
    for _, value in ipairs { "a\rb", "a\nb", "a\0b", "a\r\nX: y" } do
      assert.matches("^%S*response_spec.lua:%d+: header",
        raised_by(function() response.headers["X-A"] = value end))
      assert.matches("^%S*response_spec.lua:%d+: header",
        raised_by(function() response:add_header("X-A", value) end))
    end
    assert.matches("^%S*response_spec.lua:%d+: .* is not a header name",
      raised_by(function() response.headers["X A"] = "b" end))
    assert.is_nil(response.headers["x-a"])
  end)

  it("may be replaced by a plain table, which is checked before it is written", function()
    local response = wire(function()
      local it = weft.text "x"
      it.headers = { ["X-A"] = "b" }
      return it
    end)
    assert.same({ "b", "x" }, { response.headers["x-a"], response.body })
    local log = captured_log.capture()
    response = wire(function()
      local it = weft.text "x"
      it.headers = { ["X-A"] = "a\nb" }
      return it
    end)
    assert.equal(500, response.status)
    assert.matches("line break", log:of("error")[1].message)
  end)
end)

describe("fields that a script has spoilt", function()
  it("are an error, and the client gets the page for it", function()
    for field, values in pairs {
      status = { 99, 600, "200", 200.5, false },
      headers = { 42, "x" },
      body = { {}, true, print },
      streaming = { true },
    } do
      for _, value in ipairs(values) do
        local log = captured_log.capture()
        local response = wire(function()
          local it = weft.text "x"
          it[field] = value
          return it
        end)
        assert.equal(500, response.status, field)
        assert.equal(1, #log:of "error")
      end
    end
  end)

  it("are mended where that is plain: a number is text, nil is nothing", function()
    assert.equal("42", wire(function()
      local it = weft.text "x"
      it.body = 42
      return it
    end).body)
    assert.equal("0", wire(function()
      local it = weft.text "x"
      it.body = nil
      return it
    end).headers["content-length"])
  end)
end)

describe("cookies", function()
  it("are lines behind the other headers, of each name the last (semantics 90)", function()
    local response = wire(function()
      local it = weft.text "x"
      it:set_cookie("a", "1")
      it:set_cookie("b", 2, { http_only = true, same_site = "lax", path = "/p" })
      it:set_cookie("a", "3")
      it.headers["X-Last"] = "y"
      return it
    end)
    assert.matches("X%-Last: y\r\nSet%-Cookie: a=3; Path=/\r\n"
      .. "Set%-Cookie: b=2; Path=/p; HttpOnly; SameSite=Lax\r\n", response.raw)
    assert.not_matches("a=1", response.raw)
  end)

  it("are forgotten by delete_cookie (semantics 91)", function()
    local response = wire(function()
      local it = weft.text "x"
      it:set_cookie("a", "1", { max_age = 60 })
      it:delete_cookie "a"
      it:delete_cookie("__Host-b")
      return it
    end)
    assert.matches("Set%-Cookie: a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max%-Age=0; Path=/\r\n",
      response.raw)
    assert.matches("Set%-Cookie: __Host%-b=; .*; Secure\r\n", response.raw)
  end)

  it("are checked at the line that sets them (semantics 91)", function()
    local response = weft.text "x"
    for _, mistake in ipairs {
      function() response:set_cookie("a b", "1") end,
      function() response:set_cookie("a", "1;2") end,
      function() response:set_cookie("a", "1", { max_age = 1, expires = 1 }) end,
      function() response:set_cookie("a", "1", { same_site = "some" }) end,
      function() response:set_cookie("a", "1", { httponly = true }) end,
      function() response:delete_cookie("a b") end,
    } do
      assert.matches("^%S*response_spec.lua:%d+: ", raised_by(mistake))
    end
  end)

  it("of a middleware and the view go out together", function()
    local app = weft.app()
    app:use(function(get_response)
      return function(request)
        local response = get_response(request)
        response:set_cookie("layer", "1")
        return response
      end
    end)
    app:get("/", function()
      local response = weft.text "x"
      response:set_cookie("view", "1")
      return response
    end)
    local client = testing.client(app)
    local values = {}
    for name, value in pairs(client:get("/").headers) do
      if name == "Set-Cookie" then table.insert(values, value:match "^%w+") end
    end
    client:close()
    assert.same({ "view", "layer" }, values)
  end)
end)

describe("map", function()
  local function upper(chunk) return chunk and chunk:upper() or "!" end

  it("changes a body that is there, and its length", function()
    local response = wire(function()
      return weft.text("abc", 200, { ["Content-Length"] = 3 }):map(upper):map(function(chunk)
        return chunk and "<" .. chunk .. ">" or nil
      end)
    end)
    assert.same({ "<ABC!>", "6" }, { response.body, response.headers["content-length"] })
  end)

  it("changes a stream chunk by chunk; what is mapped last sees the final bytes (semantics 64, 67)",
    function()
      local response = wire(function()
        return weft.stream(function(write)
          write "a"
          write(1)
          write "drop"
        end, { ["Content-Length"] = 6 }):map(function(chunk)
          if chunk ~= "drop" then return upper(chunk) end
        end):map(function(chunk) return chunk and "<" .. chunk .. ">" or "." end)
      end)
      assert.equal("<A><1><!>.", response.body)
      assert.same({ "<A>", "<1>", "<!>", "." }, response.chunks)
      assert.is_nil(response.headers["content-length"])
    end)

  it("takes a function", function()
    assert.matches("^%S*response_spec.lua:%d+: map takes a function",
      raised_by(function() weft.text("x"):map "upper" end))
  end)
end)

describe("a streaming response", function()
  it("has no body: reading it says what to do (semantics 63)", function()
    local response = weft.stream(function() end)
    assert.is_true(response.streaming)
    assert.matches("^%S*response_spec.lua:%d+: a streaming response has no body: look at",
      raised_by(function() return #response.body end))
    assert.is_false(weft.text("x").streaming)
  end)

  it("is replaced by a body that is assigned", function()
    local response = wire(function()
      local it = weft.stream(function(write) write "stream" end)
      it.body = "whole"
      return it
    end)
    assert.same({ "whole", "5" }, { response.body, response.headers["content-length"] })
  end)

  it("has the headers and the status that it is given", function()
    local response = wire(function()
      local it = weft.stream(function(write) write "x" end, { ["Content-Type"] = "text/x" })
      it.status = 203
      return it
    end)
    assert.same({ 203, "text/x", "chunked", "x" }, { response.status,
      response.headers["content-type"], response.headers["transfer-encoding"], response.body })
  end)
end)

describe("on the wire", function()
  it("HEAD, 204 and 304 never have a body (semantics 95)", function()
    local called = false
    local function stream(status)
      return function()
        local it = weft.stream(function() called = true end)
        it.status = status
        return it
      end
    end
    local function late(status)
      return function()
        local it = weft.text "body"
        it.status = status
        return it
      end
    end
    assert.equal("4", wire(late(200), "HEAD").headers["content-length"])
    assert.matches("\r\n\r\n$", wire(late(204)).raw)
    assert.is_nil(wire(late(204)).headers["content-length"])
    assert.matches("\r\n\r\n$", wire(late(304)).raw)
    assert.matches("\r\n\r\n$", wire(stream(200), "HEAD").raw)
    assert.matches("\r\n\r\n$", wire(stream(204)).raw)
    assert.matches("\r\n\r\n$", wire(stream(304)).raw)
    assert.is_false(called)
  end)
end)
