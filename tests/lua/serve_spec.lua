-- The way out: what is written, in which order, and what comes after it.

local captured_log = require "tests.support.captured_log"
local helper = require "tests.support.helper"
local raw_client = require "tests.support.client"
local task = require "weft.task"
local testing = require "weft.testing"
local weft = require "weft"

--- Serves an app; gives the client and a raw connection to it.
local function serve(app)
  local client = testing.client(app)
  task.defer(function() client:close() end)
  local port = tonumber(client.url:match ":(%d+)$")
  return client, function() return raw_client.connect(port) end
end

local GET = "GET %s HTTP/1.1\r\nHost: a\r\n\r\n"

describe("the end of a request", function()
  it("is: head, body, request_finished, the next request (semantics 72)", function()
    local app, notes, go = weft.app(), {}, false
    app:on("request_finished", function(request)
      table.insert(notes, "finished " .. request.path)
      helper.eventually(function() return go end)
    end)
    app:get("/*path", function(request)
      table.insert(notes, "view " .. request.path)
      return "Hello"
    end)
    local _, connect = serve(app)
    local raw = connect()
    raw:send(GET:format "/1" .. GET:format "/2")
    assert.equal("Hello", raw:receive_response().body) -- also while the hook waits
    assert.same({ "view /1", "finished /1" }, notes)
    go = true
    assert.equal("Hello", raw:receive_response().body)
    assert.same({ "view /1", "finished /1", "view /2", "finished /2" }, notes)
  end)

  it("of a stream comes when all of it is out, and the client has all of it (semantics 70)",
    function()
      local app, notes, go = weft.app(), {}, false
      app:on("request_finished", function(_, result)
        table.insert(notes, ("finished, %d bytes"):format(result.bytes))
        helper.eventually(function() return go end)
      end)
      app:get("/", function()
        table.insert(notes, "view")
        return weft.stream(function(write)
          write "one"
          weft.sleep(0.001)
          write "two"
          table.insert(notes, "written")
        end)
      end)
      local _, connect = serve(app)
      local raw = connect()
      raw:send(GET:format "/")
      assert.equal("onetwo", raw:receive_response().body) -- with the last chunk
      assert.same({ "view", "written", "finished, 6 bytes" }, notes)
      go = true
    end)

  it("tells request_finished what became of it", function()
    captured_log.capture()
    local app, results = weft.app(), {}
    app:on("request_finished", function(request, result)
      results[request.path] = result
      result.agent = request.headers["user-agent"]
    end)
    app:get("/plain", function() return "Hello" end)
    app:get("/cookie", function()
      local response = weft.text("", 201)
      response:set_cookie("a", "1")
      return response
    end)
    app:get("/error", function() error "boom" end)
    app:get("/stream", function() return weft.stream(function(write) write "Hello" end) end)
    app:get("/torn", function()
      return weft.stream(function(write)
        write "Hel"
        error "boom"
      end)
    end)
    local client, connect = serve(app)
    for path, expected in pairs {
      ["/plain"] = { 200, 5, false },
      ["/cookie"] = { 201, 0, false },
      ["/error"] = { 500, 26, false },
      ["/stream"] = { 200, 5, false },
      ["/nowhere"] = { 404, 14, false },
    } do
      client:get(path)
      local result = results[path]
      assert.same(expected, { result.status, result.bytes, result.aborted }, path)
      assert.is_true(result.duration >= 0 and result.duration < 1)
      assert.is_string(result.agent)
    end
    local raw = connect()
    raw:send(GET:format "/torn")
    raw:closed()
    assert.same({ 200, true }, { results["/torn"].status, results["/torn"].aborted })
  end)

  it("runs every request_finished hook, also when one fails", function()
    local log = captured_log.capture()
    local app, count = weft.app(), 0
    app:on("request_finished", function() error "first" end)
    app:on("request_finished", function() count = count + 1 end)
    app:get("/", function() return "ok" end)
    local client = serve(app)
    assert.equal("ok", client:get("/").body)
    helper.eventually(function() return count == 1 end)
    assert.matches("a request_finished hook failed: .*first", log:of("error")[1].message)
  end)
end)

describe("response:after", function()
  it("runs when the last byte is out, and holds up nothing", function()
    local app, notes, go = weft.app(), {}, false
    app:on("request_finished", function() table.insert(notes, "finished") end)
    app:get("/:kind", function(request)
      local response = request.params.kind == "stream"
        and weft.stream(function(write) write "ok" end) or weft.text "ok"
      return response:after(function()
        helper.eventually(function() return go end)
        table.insert(notes, "after")
      end)
    end)
    local client = serve(app)
    assert.equal("ok", client:get("/text").body)
    assert.equal("ok", client:get("/stream").body)
    helper.eventually(function() return #notes == 2 end)
    assert.same({ "finished", "finished" }, notes)
    go = true
    helper.eventually(function() return #notes == 4 end)
    assert.same({ "finished", "finished", "after", "after" }, notes)
  end)

  it("works without hooks, keeps the context, and logs what fails", function()
    local log = captured_log.capture()
    local app, seen = weft.app(), {}
    app:get("/", function()
      weft.context.user = "ada"
      return weft.text("ok")
        :after(function() table.insert(seen, weft.context.user) end)
        :after(function() error "boom" end)
    end)
    assert.equal("ok", (serve(app)):get("/").body)
    helper.eventually(function() return #seen == 1 and #log:of "error" == 1 end)
    assert.same({ "ada" }, seen)
    assert.matches("boom", log:of("error")[1].message)
  end)

  it("of a response that another took the place of is forgotten with it", function()
    captured_log.capture()
    local app, ran = weft.app(), false
    app:use(function(get_response)
      return function(request)
        get_response(request)
        return weft.text "other"
      end
    end)
    app:get("/", function() return weft.text("ok"):after(function() ran = true end) end)
    assert.equal("other", (serve(app)):get("/").body)
    weft.sleep(0.01)
    assert.is_false(ran)
  end)
end)

describe("a stream", function()
  local function serve_stream(producer, fields)
    local app = weft.app()
    app:get("/", function() return weft.stream(producer, fields) end)
    local client, connect = serve(app)
    return connect, client
  end

  --- All bytes that the client gets of it.
  local function bytes_of(producer, fields)
    local raw = serve_stream(producer, fields)()
    raw:send(GET:format "/")
    local how, bytes = raw:closed()
    return bytes, how
  end

  it("is chunked, or sized if it says so (semantics 67)", function()
    local raw = serve_stream(function(write) write "Hello" end)()
    raw:send(GET:format "/")
    assert.same({ "Hello" }, raw:receive_response().chunks)
    raw = serve_stream(function(write) write "Hello" end, { ["Content-Length"] = 5 })()
    raw:send(GET:format "/")
    local response = raw:receive_response()
    assert.same({ "Hello", "5" }, { response.body, response.headers["content-length"] })
    assert.is_nil(response.headers["transfer-encoding"])
  end)

  it("is chunked when its length is no number of digits", function()
    for _, length in ipairs { "0x5", "5e0", "-5", "5, 5", "five" } do
      local raw = serve_stream(function(write) write "Hello" end, { ["Content-Length"] = length })()
      raw:send(GET:format "/")
      assert.same({ "Hello" }, raw:receive_response().chunks)
    end
  end)

  it("that fails after the head ends the connection without the last chunk (semantics 68)",
    function()
      local log = captured_log.capture()
      local bytes = bytes_of(function(write)
        write "Hel"
        error "boom"
      end)
      assert.matches("\r\n\r\n3\r\nHel\r\n$", bytes)
      local lines = log:of("error", "warn")
      assert.equal(1, #lines)
      assert.matches("serve_spec.lua:%d+: boom\n", lines[1].message)
      assert.same({ "response cut off", "/" }, { lines[1].fields.layer, lines[1].fields.path })
    end)

  it("that aborts after the head is cut off as well, and it is logged", function()
    local log = captured_log.capture()
    local bytes = bytes_of(function(write)
      write "Hel"
      weft.abort(404, "too late")
    end)
    assert.matches("\r\n\r\n3\r\nHel\r\n$", bytes)
    assert.matches("abort 404: too late", log:of("error")[1].message)
  end)

  it("of another length than it announced is cut off", function()
    local log = captured_log.capture()
    local five = { ["Content-Length"] = 5 }
    assert.matches("\r\n\r\nHel$", (bytes_of(function(write) write "Hel" end, five)))
    assert.matches("the stream ended after 3 of 5 bytes", log:of("error")[1].message)
    assert.matches("\r\n\r\nHel$", (bytes_of(function(write)
      write "Hel"
      write "lo!"
    end, five)))
    assert.matches("serve_spec.lua:%d+: the stream is longer than its Content%-Length, 5 bytes",
      log:of("error")[2].message)
  end)

  it("writes strings and numbers", function()
    local log = captured_log.capture()
    local raw = serve_stream(function(write) write(42) end)()
    raw:send(GET:format "/")
    assert.equal("42", raw:receive_response().body)
    bytes_of(function(write) write {} end)
    assert.matches("serve_spec.lua:%d+: write takes a string, not table",
      log:of("error")[1].message)
  end)

  it("waits for a slow client: its producer is not ahead of it by much", function()
    local written, chunk = 0, ("x"):rep(16 * 1024)
    local raw = serve_stream(function(write)
      for _ = 1, 4096 do
        write(chunk)
        written = written + #chunk
      end
    end)()
    raw:send(GET:format "/")
    local seen
    helper.eventually(function()
      local still = written == seen and written > 0
      seen = written
      weft.sleep(0.02)
      return still
    end)
    assert.is_true(written < 32 * 1024 * 1024)
    assert.equal(64 * 1024 * 1024, #raw:receive_response().body)
  end)

  it("cannot be written to when it is over", function()
    local kept, err
    local raw = serve_stream(function(write)
      kept = write
      write "Hello"
    end)()
    raw:send(GET:format "/")
    assert.equal("Hello", raw:receive_response().body)
    local _
    _, err = pcall(kept, "more")
    assert.equal("closed", err.code)
    raw:send(GET:format "/")
    assert.equal("Hello", raw:receive_response().body)
  end)

  it("cannot be written to while request_finished runs", function()
    local app, kept, err = weft.app(), nil, nil
    app:on("request_finished", function()
      local _
      _, err = pcall(kept, "more")
    end)
    app:get("/", function()
      return weft.stream(function(write)
        kept = write
        write "Hello"
      end)
    end)
    local _, connect = serve(app)
    local raw = connect()
    raw:send(GET:format "/" .. GET:format "/")
    assert.equal("Hello", raw:receive_response().body)
    assert.equal("Hello", raw:receive_response().body)
    assert.equal("closed", err.code)
  end)
end)

describe("headers that are weft's own", function()
  it("are not what a script sets; in development the log says who did", function()
    local log = captured_log.capture()
    local app = weft.app()
    app.dev = true
    app:use(function(get_response)
      return function(request)
        local response = get_response(request)
        response.headers["Connection"] = "close"
        response.headers["Content-Length"] = 1
        return response
      end
    end)
    local listed = debug.getinfo(1, "l").currentline - 8
    app:get("/", function()
      return weft.text("Hello", 200, { ["Transfer-Encoding"] = "chunked", Date = "today" })
    end)
    local _, connect = serve(app)
    local raw = connect()
    raw:send(GET:format "/" .. GET:format "/")
    local response = raw:receive_response()
    assert.same({ "Hello", "5" }, { response.body, response.headers["content-length"] })
    assert.is_nil(response.headers["transfer-encoding"])
    assert.is_nil(response.headers.connection)
    assert.not_equal("today", response.headers.date)
    raw:receive_response()
    local lines = log:of "warn"
    assert.equal(8, #lines)
    assert.matches("^the view of GET / set the header Date; weft's own", lines[1].message)
    assert.matches("^the view of GET / set the header Transfer%-Encoding", lines[2].message)
    assert.matches(("^middleware at %%S*serve_spec.lua:%d set the header Connection"):format(
      listed), lines[3].message)
    assert.matches("set the header Content%-Length", lines[4].message)
  end)

  it("may say the truth", function()
    local log = captured_log.capture()
    local app = weft.app()
    app.dev = true
    app:get("/", function() return weft.text("Hello", 200, { ["Content-Length"] = 5 }) end)
    app:get("/stream", function()
      return weft.stream(function(write) write "Hello" end, { ["Content-Length"] = 5 })
    end)
    app:get("/nonsense", function()
      return weft.stream(function(write) write "Hello" end, { ["Content-Length"] = "five" })
    end)
    local client = serve(app)
    for _, path in ipairs { "/", "/stream", "/nonsense" } do
      assert.equal("Hello", client:get(path).body)
    end
    assert.equal(1, #log:of "warn")
    assert.matches("GET /nonsense set the header Content%-Length", log:of("warn")[1].message)
  end)
end)
