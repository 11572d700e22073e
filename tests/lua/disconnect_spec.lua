-- Clients that leave, and requests whose time is over: what runs, what is told, what is logged.

local captured_log = require "tests.support.captured_log"
local helper = require "tests.support.helper"
local raw_client = require "tests.support.client"
local task = require "weft.task"
local testing = require "weft.testing"
local weft = require "weft"

local eventually = helper.eventually

local GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
local POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"

--- An app with one view, whose layer and hooks note what happens: `notes`, `finished`.
local function noting_app(view, options)
  local app, notes, finished = weft.app(options), {}, {}
  app:on("request_finished", function(_, result) table.insert(finished, result) end)
  app:use(function(get_response)
    return function(request)
      table.insert(notes, "in")
      local response = get_response(request)
      table.insert(notes, "out " .. response.status)
      return response
    end
  end)
  app:any("/", function(request) return view(request, notes) end)
  return app, notes, finished
end

--- Serves it; gives a raw connection.
local function connect(app)
  local client = testing.client(app)
  task.defer(function() client:close() end)
  return raw_client.connect(tonumber(client.url:match ":(%d+)$"))
end

--- Waits, and notes the code of the error that ends it.
local function wait_and_note(notes)
  local ok, err = pcall(weft.sleep, 60)
  table.insert(notes, ok and "slept" or err.code)
  error(err, 0)
end

describe("a client that leaves before the response", function()
  it("cancels the wait, passes every film, and is told once (semantics 19, 53, 55, 57, 58, 60)",
    function()
      local log = captured_log.capture()
      local app, notes, finished = noting_app(function(_, n)
        table.insert(n, "view")
        wait_and_note(n)
      end)
      app:on_error(500, function() table.insert(notes, "on_error") end)
      local raw = connect(app)
      raw:send(GET)
      eventually(function() return notes[2] end)
      raw:reset()
      eventually(function() return #finished > 0 end)
      weft.sleep(0.01)
      assert.same({ "in", "view", "cancelled" }, notes)
      assert.equal(1, #finished)
      assert.same({ true, 0 }, { finished[1].aborted, finished[1].bytes })
      assert.is_nil(finished[1].status)
      assert.same({}, log:of("error", "warn"))
    end)

  it("asks no process_exception, and runs what was deferred (semantics 19, 57)", function()
    captured_log.capture()
    local app, notes, finished = noting_app(function(_, n)
      weft.defer(function()
        weft.sleep(0.001) -- what is deferred may wait
        table.insert(n, "deferred")
      end)
      wait_and_note(n)
    end)
    local Hooked = { process_exception = function() table.insert(notes, "hook") end }
    Hooked.__index = Hooked
    Hooked.__call = function(self, request) return self.get_response(request) end
    function Hooked.new(get_response)
      return setmetatable({ get_response = get_response }, Hooked)
    end
    app:use(Hooked)
    local raw = connect(app)
    raw:send(GET)
    eventually(function() return notes[1] end)
    raw:reset()
    eventually(function() return #notes == 3 end)
    assert.same({ "in", "cancelled", "deferred" }, notes)
    assert.equal(1, #finished)
  end)

  it("ends the read of a body that will not come (semantics 54)", function()
    local log = captured_log.capture()
    local app, notes, finished = noting_app(function(request) return request:body() end)
    local raw = connect(app)
    raw:send(POST .. "half")
    eventually(function() return notes[1] end)
    weft.sleep(0.01)
    raw:reset()
    eventually(function() return #finished > 0 end)
    assert.same({ "in" }, notes)
    assert.same({}, log:of("error", "warn"))
  end)

  it("ends it also by closing in order, in the middle of a body (semantics 54)", function()
    local log = captured_log.capture()
    local app, _, finished = noting_app(function(request) return request:body() end)
    local raw = connect(app)
    raw:send(POST .. "half")
    weft.sleep(0.01)
    raw:shutdown()
    assert.equal("eof", (raw:closed()))
    eventually(function() return #finished > 0 end)
    assert.is_true(finished[1].aborted)
    assert.same({}, log:of("error", "warn"))
  end)

  it("is told again at every wait to code that swallows it (semantics 61)", function()
    captured_log.capture()
    local app, notes, finished = noting_app(function(_, n)
      for _ = 1, 3 do
        local ok, err = pcall(weft.sleep, 60)
        table.insert(n, ok and "slept" or err.code)
      end
      return "a response that nobody gets"
    end)
    local raw = connect(app)
    raw:send(GET)
    eventually(function() return notes[1] end)
    raw:reset()
    eventually(function() return #finished > 0 end)
    assert.same({ "in", "cancelled", "cancelled", "cancelled", "out 200" }, notes)
    assert.equal(1, #finished)
    assert.same({ 200, true }, { finished[1].status, finished[1].aborted })
  end)

  it("ends code that will not hear of it, and that is told as well (semantics 58)", function()
    captured_log.capture()
    local app, notes, finished = noting_app(function()
      while true do pcall(weft.sleep, 60) end
    end)
    local raw = connect(app)
    raw:send(GET)
    eventually(function() return notes[1] end)
    raw:reset()
    eventually(function() return #finished > 0 end)
    assert.same({ "in" }, notes)
    assert.is_true(finished[1].aborted)
  end)

  it("does not interrupt a shield; what follows it is cancelled (semantics 61)", function()
    captured_log.capture()
    local go = false
    local app, notes, finished = noting_app(function(_, n)
      table.insert(n, weft.shield(function()
        eventually(function() return go end)
        return "shielded"
      end))
      wait_and_note(n)
    end)
    local raw = connect(app)
    raw:send(GET)
    eventually(function() return notes[1] end)
    raw:reset()
    weft.sleep(0.02)
    go = true
    eventually(function() return #finished > 0 end)
    assert.same({ "in", "shielded", "cancelled" }, notes)
  end)

  it("has an error of the cleanup logged once, as a warning (semantics 60)",
    function()
      local log = captured_log.capture()
      local app, notes, finished = noting_app(function()
        if not pcall(weft.sleep, 60) then error("the cleanup is broken", 0) end
      end)
      local raw = connect(app)
      raw:send(GET)
      eventually(function() return notes[1] end)
      raw:reset()
      eventually(function() return #finished > 0 end)
      assert.same({ "in" }, notes)
      assert.same({}, log:of "error")
      assert.equal(1, #log:of "warn")
      assert.matches("^the cleanup is broken\n", log:of("warn")[1].message)
    end)

  it("ends tasks of the request, and gives back what they hold", function()
    captured_log.capture()
    local ended = {}
    local app, notes, finished = noting_app(function()
      weft.gather(function() wait_and_note(ended) end, function() wait_and_note(ended) end)
    end)
    local raw = connect(app)
    raw:send(GET)
    eventually(function() return notes[1] end)
    weft.sleep(0.005)
    raw:reset()
    eventually(function() return #finished > 0 end)
    assert.same({ "cancelled", "cancelled" }, ended)
  end)

  it("is seen by is_disconnected", function()
    local seen
    local app = weft.app()
    app:get("/", function(request)
      assert(not request:is_disconnected())
      weft.shield(function()
        eventually(function() return request:is_disconnected() end)
        seen = true
      end)
    end)
    local raw = connect(app)
    raw:send(GET)
    weft.sleep(0.005)
    raw:reset()
    eventually(function() return seen end)
  end)

  it("makes what was not read of the request a cancellation, not a mistake", function()
    local codes = {}
    local app = weft.app() -- without request_finished, which would have it read before
    app:get("/", function(request)
      pcall(weft.sleep, 60)
      for _, read in ipairs {
        function() return request.target end,
        function() return request.headers["x-a"] .. "" end,
        function() return request:body() end,
      } do
        local _, err = pcall(read)
        table.insert(codes, type(err) == "table" and err.code or err)
      end
    end)
    local raw = connect(app)
    raw:send(GET)
    weft.sleep(0.005)
    raw:reset()
    eventually(function() return #codes == 3 end)
    assert.same({ "cancelled", "cancelled", "cancelled" }, codes)
  end)

  it("leaves to request_finished all of the request that C had", function()
    captured_log.capture()
    local app, told = weft.app(), nil
    app:on("request_finished", function(request)
      told = { request.ip, request.headers["x-a"], request.query.q, request.http_version,
        request.target, request.host }
    end)
    app:get("/", function() weft.sleep(60) end)
    local raw = connect(app)
    raw:send "GET /?q=1 HTTP/1.1\r\nHost: h\r\nX-A: b\r\n\r\n"
    weft.sleep(0.005)
    raw:reset()
    eventually(function() return told end)
    assert.same({ "127.0.0.1", "b", "1", "1.1", "/?q=1", "h" }, told)
  end)
end)

describe("a client that leaves during the response", function()
  it("cancels the producer of a stream, which cleans up (semantics 56, 58)", function()
    local log = captured_log.capture()
    local app, notes, finished = noting_app(function(_, n)
      return weft.stream(function(write)
        write "first"
        table.insert(n, "written")
        wait_and_note(n)
      end)
    end)
    local raw = connect(app)
    raw:send(GET)
    eventually(function() return notes[3] end)
    raw:reset()
    eventually(function() return #finished > 0 end)
    weft.sleep(0.01)
    assert.same({ "in", "out 200", "written", "cancelled" }, notes)
    assert.equal(1, #finished)
    assert.same({ 200, true }, { finished[1].status, finished[1].aborted })
    assert.same({}, log:of("error", "warn"))
  end)

  it("ends a write that waits for it (semantics 56)", function()
    local log = captured_log.capture()
    local ended
    local app, notes, finished = noting_app(function()
      return weft.stream(function(write)
        local ok, err
        repeat ok, err = pcall(write, ("x"):rep(100000)) until not ok
        ended = err.code
        error(err, 0)
      end)
    end)
    local raw = connect(app)
    raw:send(GET)
    eventually(function() return notes[2] end)
    weft.sleep(0.02)
    raw:reset()
    eventually(function() return #finished > 0 end)
    assert.equal("cancelled", ended)
    assert.same({}, log:of("error", "warn"))
  end)

  it("is no error either of a stream under a shield", function()
    local log = captured_log.capture()
    local app, notes, finished = noting_app(function()
      return weft.stream(function(write)
        weft.shield(function()
          for _ = 1, 1000 do
            write(("x"):rep(100000))
            weft.sleep(0.001)
          end
        end)
      end)
    end)
    local raw = connect(app)
    raw:send(GET)
    eventually(function() return notes[2] end)
    weft.sleep(0.005)
    raw:reset()
    eventually(function() return #finished > 0 end)
    assert.is_true(finished[1].aborted)
    assert.same({}, log:of("error", "warn"))
  end)

  it("does not interrupt request_finished, which may wait (semantics 58)", function()
    captured_log.capture()
    local waited = 0
    local app, notes = noting_app(function(_, n)
      return weft.stream(function(write)
        write "first"
        wait_and_note(n)
      end)
    end)
    app:on("request_finished", function()
      weft.sleep(0.005)
      waited = waited + 1
    end)
    local raw = connect(app)
    raw:send(GET)
    eventually(function() return notes[2] end)
    weft.sleep(0.005)
    raw:reset()
    eventually(function() return waited == 1 end)
  end)

  it("does not keep response:after from running", function()
    captured_log.capture()
    local ran = 0
    local app, notes = noting_app(function(_, n)
      return weft.stream(function(write)
        write "first"
        wait_and_note(n)
      end):after(function()
        weft.sleep(0.001)
        ran = ran + 1
      end)
    end)
    local raw = connect(app)
    raw:send(GET)
    eventually(function() return notes[2] end)
    weft.sleep(0.005)
    raw:reset()
    eventually(function() return ran == 1 end)
    weft.sleep(0.01)
    assert.equal(1, ran)
  end)

  it("at the instant it is complete is no error (semantics 59)", function()
    local log = captured_log.capture()
    local app, _, finished = noting_app(function() return "ok" end)
    local client = testing.client(app)
    task.defer(function() client:close() end)
    local port = tonumber(client.url:match ":(%d+)$")
    for _ = 1, 50 do
      local raw = raw_client.connect(port)
      raw:send(GET)
      raw:reset()
    end
    weft.sleep(0.02)
    eventually(function() return client:get("/").status == 200 end)
    assert.is_true(#finished >= 1)
    assert.same({}, log:of("error", "warn"))
  end)
end)

describe("a client that closes its writing side", function()
  it("still gets its answer (semantics 62)", function()
    local app = noting_app(function()
      weft.sleep(0.02)
      return "answered"
    end)
    local raw = connect(app)
    raw:send(GET)
    raw:shutdown()
    assert.equal("answered", raw:receive_response().body)
  end)

  it('is gone to an app that says disconnect = "eof" (semantics 62)', function()
    captured_log.capture()
    local app, notes, finished = noting_app(function(_, n) wait_and_note(n) end,
      { disconnect = "eof" })
    local raw = connect(app)
    raw:send(GET)
    eventually(function() return notes[1] end)
    raw:shutdown()
    eventually(function() return #finished > 0 end)
    assert.same({ "in", "cancelled" }, notes)
    local how, bytes = raw:closed()
    assert.is_string(how)
    assert.equal("", bytes)
  end)
end)

describe("a request whose time is over", function()
  it("is cancelled and answered with 504, and logged once as an error", function()
    local log = captured_log.capture()
    local app, notes, finished = noting_app(function(_, n) wait_and_note(n) end,
      { request_timeout = 0.02 })
    local raw = connect(app)
    raw:send(GET)
    local response = raw:receive_response()
    assert.same({ 504, "504 Gateway Timeout: The request took too long.\n" },
      { response.status, response.body })
    eventually(function() return #finished > 0 end)
    assert.same({ "in", "cancelled" }, notes)
    assert.same({ 504, false }, { finished[1].status, finished[1].aborted })
    assert.equal(1, #log:of("error", "warn"))
    assert.equal("504 Gateway Timeout: The request took too long.", log:of("error")[1].message)
    raw:send(GET) -- and the connection is usable
    assert.equal(504, raw:receive_response().status)
  end)

  it("asks the handler of 504, which may wait and may stream", function()
    captured_log.capture()
    local app = weft.app { request_timeout = 0.02 }
    app:on_error(504, function()
      weft.sleep(0.001)
      local response = weft.stream(function(write)
        write "so"
        weft.sleep(0.001)
        write "rry"
      end)
      response.status = 504
      return response
    end)
    app:get("/", function() weft.sleep(60) end)
    local raw = connect(app)
    raw:send(GET)
    local response = raw:receive_response()
    assert.same({ 504, "sorry" }, { response.status, response.body })
  end)

  it("may be left by its client in the middle of that answer", function()
    local log = captured_log.capture()
    local app, _, finished = noting_app(function() weft.sleep(60) end, { request_timeout = 0.02 })
    app:on_error(504, function()
      return weft.stream(function(write)
        for _ = 1, 1000 do
          write(("x"):rep(100000))
          weft.sleep(0.001)
        end
      end)
    end)
    local raw = connect(app)
    raw:send(GET)
    raw.socket:read(1)
    raw:reset()
    eventually(function() return #finished > 0 end)
    assert.is_true(finished[1].aborted)
    local lines = log:of("error", "warn")
    assert.equal(1, #lines)
    assert.equal("504 Gateway Timeout: The request took too long.", lines[1].message)
  end)

  it("may still answer itself, by a response or an abort", function()
    captured_log.capture()
    local app = noting_app(function(request)
      local ok = pcall(weft.sleep, 60)
      assert(not ok)
      if request.query.abort then weft.abort(503, "too slow", { ["Retry-After"] = 1 }) end
      return "as far as I came"
    end, { request_timeout = 0.02 })
    local raw = connect(app)
    raw:send(GET)
    assert.equal("as far as I came", raw:receive_response().body)
    raw:send "GET /?abort=1 HTTP/1.1\r\nHost: a\r\n\r\n"
    local response = raw:receive_response()
    assert.same({ 503, "1" }, { response.status, response.headers["retry-after"] })
  end)

  it("that streams is over no more: the client's pace counts", function()
    captured_log.capture()
    local app = noting_app(function()
      return weft.stream(function(write)
        for i = 1, 4 do
          write(i)
          weft.sleep(0.015)
        end
      end)
    end, { request_timeout = 0.02 })
    local raw = connect(app)
    raw:send(GET)
    assert.equal("1234", raw:receive_response().body)
  end)
end)
