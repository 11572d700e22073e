-- The limits that an app sets itself, and how many connections there may be. The default sizes are
-- in refusals_spec.lua, bodies in body_spec.lua, times in timeouts_spec.lua.

local exec = require "weft.exec"
local helper = require "tests.support.helper"
local server = require "tests.support.server"
local task = require "weft.task"
local weft = require "weft"
local wire = require "tests.http.wire"

local CLOSE = "Connection: close\r\n"

local function status_of(port, bytes)
  return tonumber(wire.each_way(port, bytes, 7):match "^HTTP/1%.1 (%d%d%d) ")
end

describe("an app may set", function()
  it("max_target_size", function()
    local port = wire.serve_echo { max_target_size = 10 }
    assert.equal(200, status_of(port, "GET /123456789 HTTP/1.1\r\nHost: a\r\n" .. CLOSE .. "\r\n"))
    assert.equal(414, status_of(port, "GET /1234567890 HTTP/1.1\r\nHost: a\r\n" .. CLOSE .. "\r\n"))
  end)

  it("max_header_size", function()
    local port = wire.serve_echo { max_header_size = 256 }
    local head = "GET / HTTP/1.1\r\nHost: a\r\n" .. CLOSE .. "X: "
    local fits = head .. ("x"):rep(256 - #head - 2)
    assert.equal(200, status_of(port, fits .. "\r\n\r\n"))
    assert.equal(431, status_of(port, fits .. "x\r\n\r\n"))
  end)

  it("max_header_count", function()
    local port = wire.serve_echo { max_header_count = 3 }
    assert.equal(200, status_of(port, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n" .. CLOSE .. "\r\n"))
    assert.equal(431, status_of(port, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\nX: c\r\n" .. CLOSE
      .. "\r\n"))
  end)

  it("no limit of a wrong kind", function()
    for name, values in pairs {
      header_timeout = { -1, "1", 0 / 0 },
      idle_timeout = { -1, true },
      max_header_count = { -1, "many", 1.5 },
      max_body_size = { -1, "1X" },
      disconnect = { "later" },
    } do
      for _, value in ipairs(values) do
        assert.has_error(function() weft.app { [name] = value } end)
      end
    end
    assert.has_error(function() weft.app { max_headers_count = 1 } end,
      [[weft.app has no option "max_headers_count" (did you mean "max_header_count"?)]])
  end)
end)

describe("more connections than max_connections", function()
  it("wait until others have ended, and are answered then", function()
    local port = wire.serve_echo { max_connections = 2 }
    local open, answered = {}, {}
    for i = 1, 5 do
      open[i] = wire.connect(port)
      open[i]:send(("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(i))
      task.spawn(function()
        open[i]:receive_response()
        answered[#answered + 1] = i
      end)
      if i <= 2 then helper.eventually(function() return #answered == i end) end
    end
    weft.sleep(0.05)
    assert.same({ 1, 2 }, answered)
    for i = 1, 3 do
      open[i]:close()
      helper.eventually(function() return #answered == 2 + i end)
      weft.sleep(0.02)
      assert.equal(2 + i, #answered)
    end
    assert.same({ 1, 2, 3, 4, 5 }, answered)
  end)

  it("wait at each of several listeners, and all have their turn", function()
    local path = helper.temp_dir() .. "/weft.sock"
    local up = server.start {
      source = [[
        local weft = require "weft"
        local app = weft.app { max_connections = 1 }
        app:get("/", function() return "ok" end)
        return app
      ]],
      args = { "--listen", "127.0.0.1:0", "--listen", "unix:" .. path },
    }
    local answered, open = {}, {}
    for i, address in ipairs { up.port, "unix:" .. path, up.port, "unix:" .. path } do
      open[i] = wire.connect(address)
      open[i]:send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
      task.spawn(function()
        open[i]:receive_response()
        answered[#answered + 1] = i
        open[i]:close()
      end)
    end
    helper.eventually(function() return #answered == 4 end)
    up:stop()
  end)

  it("that leave while they wait are no trouble", function()
    local port = wire.serve_echo { max_connections = 1 }
    local first = wire.connect(port)
    first:send "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
    first:receive_response()
    for i = 1, 5 do
      local waiting = wire.connect(port)
      waiting:send "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
      waiting[i % 2 == 0 and "close" or "reset"](waiting)
    end
    first:close()
    local last = wire.connect(port)
    last:send "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.equal("GET /3 ", last:receive_response().body)
  end)
end)

--- Starts a server that may open only so many files.
local function start_with_files(count)
  local wrapper = helper.write_file(helper.temp_dir() .. "/weft",
    ("#!/bin/sh\nulimit -n %d && exec %s \"$@\"\n"):format(count, server.binary))
  exec.run { "chmod", "+x", wrapper }
  local binary = server.binary
  server.binary = wrapper
  task.defer(function() server.binary = binary end)
  return server.start {
    source = [[
      local weft = require "weft"
      local app = weft.app()
      app:get("/", function() return "ok" end)
      return app
    ]],
    args = { "--log-format", "text" },
  }
end

local function ask(connection) return connection:send "GET / HTTP/1.1\r\nHost: a\r\n\r\n" end

describe("a server that may open few files", function()
  it("says how many connections it can have, and lets the others wait", function()
    local up = start_with_files(64)
    assert.matches("at most 48 connections at once: the process may open only 64 files", up:log())
    local open = {}
    for i = 1, 60 do
      open[i] = wire.connect(up.port)
      ask(open[i])
    end
    for i = 1, 60 do
      assert.equal("ok", open[i]:receive_response().body)
      open[i]:close()
    end
    up:stop()
  end)

  it("goes on when there are none left at all", function()
    local up = start_with_files(20)
    local open, closed = {}, 0
    for i = 1, 40 do
      open[i] = wire.connect(up.port)
      ask(open[i])
    end
    assert.equal("ok", open[1]:receive_response().body)
    for i = 2, 40 do
      if not pcall(open[i].receive_response, open[i]) then closed = closed + 1 end
    end
    assert.is_true(closed > 0)
    ask(open[1])
    assert.equal("ok", open[1]:receive_response().body)
    for i = 1, 40 do open[i]:close() end
    helper.eventually(function()
      local again = wire.connect(up.port)
      ask(again)
      local ok, answer = pcall(again.receive_response, again)
      again:close()
      return ok and answer.body == "ok"
    end)
    up:stop()
  end)
end)
