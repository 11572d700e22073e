-- The real binary: where it listens, and how it ends: what runs is answered, then exit code 0.

local exec = require "weft.exec"
local helper = require "tests.support.helper"
local server = require "tests.support.server"
local weft = require "weft"
local wire = require "tests.http.wire"

local APP = [[
local weft = require "weft"
local app = weft.app { request_timeout = 20 }
app:get("/ok", function() return "ok" end)
app:get("/slow", function(request)
  weft.sleep(tonumber(request.query.seconds))
  return "slow"
end)
app:get("/stream", function()
  return weft.stream(function(write)
    for i = 1, 10 do
      write(tostring(i))
      weft.sleep(0.05)
    end
  end, { ["Content-Type"] = "text/plain" })
end)
app:post("/read", function(request) return "read " .. request:body() end)
app:on("stop", function() weft.log.info "the stop hook ran" end)
return app
]]

local function start(args)
  args = args or {}
  table.insert(args, "--log-format")
  table.insert(args, "text")
  return server.start { source = APP, args = args }
end

local function get(port, path)
  local connection = wire.connect(port)
  connection:send("GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n")
  return connection
end

local function refuses(port)
  return helper.eventually(function()
    local socket, err = require("weft.tcp").connect("127.0.0.1", port)
    if socket then socket:close() end
    return err and err.code == "refused"
  end)
end

describe("TERM", function()
  it("stops a server that does nothing at once, with exit code 0", function()
    local up = start()
    local seconds = helper.timed(function() up:stop() end)
    assert.is_true(seconds < 2)
    assert.matches("the stop hook ran", up:log())
  end)

  it("lets running requests be answered, accepts none, and ends with exit code 0", function()
    local up = start()
    local running = {}
    for i = 1, 5 do running[i] = get(up.port, "/slow?seconds=0.5") end
    weft.sleep(0.1)
    up.process:kill "TERM"
    refuses(up.port)
    for i = 1, 5 do
      assert.equal(wire.ok("slow", "Connection: close\r\n"),
        wire.undated((running[i]:receive_all())))
    end
    up:stop()
  end)

  it("lets a stream come to its end", function()
    local up = start()
    local running = get(up.port, "/stream")
    running.socket:read_until "1\r\n1\r\n"
    up.process:kill "TERM"
    assert.matches("2\r\n10\r\n0\r\n\r\n$", (running:receive_all()))
    up:stop()
  end)

  it("lets the rest of a body and of a head arrive", function()
    local up = start()
    local body, head = wire.connect(up.port), wire.connect(up.port)
    body:send "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"
    head:send "GET /ok HTTP/1.1\r\n"
    weft.sleep(0.05)
    up.process:kill "TERM"
    refuses(up.port)
    weft.sleep(0.3)
    body:send "cd"
    head:send "Host: a\r\n\r\n"
    assert.equal(wire.ok("read abcd", "Connection: close\r\n"), wire.undated((body:receive_all())))
    assert.equal(wire.ok("ok", "Connection: close\r\n"), wire.undated((head:receive_all())))
    up:stop()
  end)

  it("closes idle connections soon, also of clients that do not", function()
    local up = start()
    local used, fresh = get(up.port, "/ok"), wire.connect(up.port)
    assert.is_nil(used:receive_response().headers.connection)
    local seconds = helper.timed(function()
      up.process:kill "TERM"
      assert.same({ "eof", "" }, { used:closed() })
      assert.same({ "eof", "" }, { fresh:closed() })
      up:stop()
    end)
    assert.is_true(seconds < 2)
  end)

  it("lets a request be answered that was on its way on an idle connection", function()
    local up = start()
    local used, fresh = get(up.port, "/ok"), wire.connect(up.port)
    used:receive_response()
    up.process:kill "TERM"
    refuses(up.port)
    for _, connection in ipairs { used, fresh } do
      connection:send "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"
      assert.equal(wire.ok("ok", "Connection: close\r\n"),
        wire.undated((connection:receive_all())))
    end
    up:stop()
  end)

  it("for the second time ends what still runs, with exit code 0", function()
    local up = start()
    local running = get(up.port, "/slow?seconds=10")
    weft.sleep(0.05)
    up.process:kill "TERM"
    refuses(up.port)
    local seconds = helper.timed(function()
      up:stop()
      assert.equal("", (running:receive_all()))
    end)
    assert.is_true(seconds < 2)
  end)

  it("ends what still runs after the drain time-out", function()
    local up = start { "--drain-timeout", "0.3" }
    local running = get(up.port, "/slow?seconds=10")
    weft.sleep(0.05)
    local seconds = helper.timed(function() up:stop() end)
    assert.is_true(seconds >= 0.3 and seconds < 2)
    assert.equal("", (running:receive_all()))
    assert.matches("drain time%-out", up:log())
  end)
end)

describe("INT", function()
  it("does the same", function()
    local up = start()
    local running = get(up.port, "/slow?seconds=0.3")
    weft.sleep(0.05)
    up.process:kill "INT"
    assert.matches("\r\n\r\nslow$", (running:receive_all()))
    assert.equal(0, (up.process:wait(5)))
  end)
end)

--- Runs a server that cannot start; its exit code and what it said.
local function run_in_vain(...)
  local app = helper.write_file(helper.temp_dir() .. "/app.lua", APP)
  local arguments = { server.binary, "run", app, timeout = 10 }
  for _, address in ipairs { ... } do
    table.insert(arguments, "--listen")
    table.insert(arguments, address)
  end
  local result = assert(exec.run(arguments))
  assert.equal("", result.stdout)
  return result.code, result.stderr
end

describe("a listener", function()
  it("is announced with its real port, one line for each, when it really serves", function()
    local path = helper.temp_dir() .. "/" .. ("s"):rep(60) .. ".sock"
    local up = start {
      "--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen", "unix:" .. path,
    }
    helper.eventually(function() return #up.urls == 3 end)
    assert.matches("^http://127%.0%.0%.1:%d+$", up.urls[1])
    assert.matches("^http://%[::1%]:%d+$", up.urls[2])
    assert.equal("unix:" .. path, up.urls[3])
    assert.not_equal(0, up.port)
    assert.equal("ok", get(up.port, "/ok"):receive_response().body)
    up:stop()
  end)

  it("whose port is taken ends the start with exit code 1 and one clear line", function()
    local up = start()
    local address = "127.0.0.1:" .. up.port
    local code, message = run_in_vain(address)
    assert.equal(1, code)
    assert.equal("weft: cannot listen on " .. address .. ": address already in use\n", message)
    code = run_in_vain("127.0.0.1:0", address)
    assert.equal(1, code)
    up:stop()
  end)

  it("whose address is none ends the start with exit code 1 and one clear line", function()
    for _, address in ipairs { "8080", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
      "127.0.0.1: 80", "127.0.0.1:-1", "nowhere.invalid:80", "[::1:80", "unix:",
      "unix:" .. ("s"):rep(108), "192.0.2.1:80" } do
      local code, message = run_in_vain(address)
      assert.equal(1, code)
      assert.matches("^weft: cannot listen on [^\n]+: [^\n]+\n$", message)
    end
  end)

  it("on a unix socket serves, and takes its file away at the end", function()
    local path = helper.temp_dir() .. "/weft.sock"
    local up = start { "--listen", "unix:" .. path }
    assert.equal("ok", get("unix:" .. path, "/ok"):receive_response().body)
    up:stop()
    assert.is_nil(io.open(path))
    assert.equal("", exec.run { "ls", helper.temp_dir() }.stdout)
  end)

  it("takes over the file of a server that died, but not of one that lives", function()
    local path = helper.temp_dir() .. "/weft.sock"
    local dead = start { "--listen", "unix:" .. path }
    dead.process:kill "KILL"
    dead.process:wait(5)
    assert.equal(0, exec.run({ "test", "-S", path }).code)
    local up = start { "--listen", "unix:" .. path }
    local code, message = run_in_vain("unix:" .. path)
    assert.equal(1, code)
    assert.equal("weft: cannot listen on unix:" .. path .. ": address already in use\n", message)
    assert.equal("ok", get("unix:" .. path, "/ok"):receive_response().body)
    up:stop()
  end)

  it("leaves alone a file that is no socket", function()
    local path = helper.write_file(helper.temp_dir() .. "/precious", "text")
    assert.equal(1, (run_in_vain("unix:" .. path)))
    assert.equal("text", helper.read_file(path))
  end)
end)
