-- Responses without a body: to HEAD, and those whose status forbids one. A client that does not
-- know where such a response ends would take the next one for its body.

local weft = require "weft"
local wire = require "tests.http.wire"

local function serve()
  return wire.serve(function(app)
    app:get("/text", function() return "text" end)
    app:get("/large", function() return ("x"):rep(100000) end)
    app:get("/stream", function()
      return weft.stream(function(write) write "text" end, { ["Content-Type"] = "text/plain" })
    end)
    app:get("/sized", function()
      return weft.stream(function(write) write "text" end, { ["Content-Length"] = 4 })
    end)
    app:get("/204", function() return weft.no_content() end)
    app:get("/204/body", function()
      local response = weft.text "oops"
      response.status = 204
      return response
    end)
    app:get("/204/stream", function()
      local response = weft.stream(function(write) write "oops" end)
      response.status = 204
      return response
    end)
    app:get("/304", function() return weft.response { status = 304 } end)
    app:get("/304/body", function()
      local response = weft.text "text"
      response.status = 304
      return response
    end)
    app:get("/304/stream", function()
      local response = weft.stream(function(write) write "oops" end)
      response.status = 304
      return response
    end)
    app:get("/abort", function() weft.abort(404, "no") end)
  end)
end

local TYPE = "Content-Type: text/plain; charset=utf-8\r\n"
local LAST = "GET /text HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

--- Fails unless `request` gets the answer `expected`, and the one behind it its own.
local function assert_answer(expected, request)
  assert.equal(expected .. wire.ok("text", "Connection: close\r\n"),
    wire.each_way(serve(), request .. LAST, 3))
end

describe("HEAD", function()
  it("gets the headers of GET and no body", function()
    assert_answer("HTTP/1.1 200 OK\r\n" .. TYPE .. "Content-Length: 4\r\n\r\n",
      "HEAD /text HTTP/1.1\r\nHost: a\r\n\r\n")
  end)

  it("gets the length of a large body and nothing of it", function()
    assert_answer("HTTP/1.1 200 OK\r\n" .. TYPE .. "Content-Length: 100000\r\n\r\n",
      "HEAD /large HTTP/1.1\r\nHost: a\r\n\r\n")
  end)

  it("gets the headers of a stream, and no chunk", function()
    assert_answer("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n", "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n")
  end)

  it("gets the length of a stream that has one", function()
    assert_answer("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
      .. "Content-Length: 4\r\n\r\n", "HEAD /sized HTTP/1.1\r\nHost: a\r\n\r\n")
  end)

  it("gets no body of an error", function()
    assert_answer("HTTP/1.1 404 Not Found\r\n" .. TYPE .. "Content-Length: 18\r\n\r\n",
      "HEAD /abort HTTP/1.1\r\nHost: a\r\n\r\n")
  end)

  it("gets no body of a path without a route", function()
    assert_answer("HTTP/1.1 404 Not Found\r\n" .. TYPE .. "Content-Length: 14\r\n\r\n",
      "HEAD /none HTTP/1.1\r\nHost: a\r\n\r\n")
  end)

  it("in HTTP/1.0 gets no body either", function()
    local answer = wire.exchange(serve(), "HEAD /stream HTTP/1.0\r\n\r\n")
    assert.equal("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n",
      wire.undated(answer))
  end)
end)

describe("a response with the status", function()
  it("204 has neither body nor length", function()
    local expected = "HTTP/1.1 204 No Content\r\n\r\n"
    assert_answer(expected, "GET /204 HTTP/1.1\r\nHost: a\r\n\r\n")
  end)

  it("204 drops the body that a script gave it", function()
    assert_answer("HTTP/1.1 204 No Content\r\n" .. TYPE .. "\r\n",
      "GET /204/body HTTP/1.1\r\nHost: a\r\n\r\n")
    assert_answer("HTTP/1.1 204 No Content\r\nContent-Type: application/octet-stream\r\n\r\n",
      "GET /204/stream HTTP/1.1\r\nHost: a\r\n\r\n")
  end)

  it("304 has no body, and the length that a script knows", function()
    assert_answer("HTTP/1.1 304 Not Modified\r\n\r\n", "GET /304 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert_answer("HTTP/1.1 304 Not Modified\r\n" .. TYPE .. "Content-Length: 4\r\n\r\n",
      "GET /304/body HTTP/1.1\r\nHost: a\r\n\r\n")
    assert_answer("HTTP/1.1 304 Not Modified\r\nContent-Type: application/octet-stream\r\n\r\n",
      "GET /304/stream HTTP/1.1\r\nHost: a\r\n\r\n")
  end)
end)
