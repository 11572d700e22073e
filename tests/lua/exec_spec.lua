local exec = require "weft.exec"
local helper = require "tests.support.helper"
local tcp = require "weft.tcp"
local weft = require "weft"

local function code_of(_, err) return err and err.code end

describe("running a program", function()
  it("gives what it wrote and how it ended", function()
    assert.same({ code = 3, stdout = "out\n", stderr = "err\n" },
      exec.run { "sh", "-c", "echo out; echo err >&2; exit 3" })
    assert.same({ code = 0, stdout = "", stderr = "" }, exec { "true" })
    assert.same({ code = 137, signal = "KILL", stdout = "", stderr = "" },
      exec.run { "sh", "-c", "kill -KILL $$" })
  end)

  it("gives it its standard input, larger than any pipe", function()
    local text = ("0123456789"):rep(300000)
    assert.equal(text, exec.run({ "cat", stdin = text }).stdout)
    assert.equal("", exec.run({ "cat" }).stdout)
    assert.equal(0, exec.run({ "true", stdin = text }).code) -- which reads none of it
  end)

  it("passes arguments, environment and directory as they are", function()
    local directory = helper.temp_dir()
    local result = exec.run {
      "sh", "-c", 'printf "%s|" "$@" "$WEFT_A" "${WEFT_B-none}" "$PATH"; pwd', "sh",
      "a b", "", '$HOME "', 7,
      env = { WEFT_A = "x y", WEFT_B = false },
      cwd = directory,
    }
    assert.equal(('a b||$HOME "|7|x y|none|%s|%s\n'):format(os.getenv "PATH", directory),
      result.stdout)
  end)

  it("says when there is no such program", function()
    local result, err = exec.run { "no-such-program-anywhere" }
    assert.is_nil(result)
    assert.equal("not_found", err.code)
    assert.matches("^starting no%-such%-program%-anywhere: ", tostring(err))
    assert.equal("not_found", code_of(exec.spawn { "true", cwd = "/no/such/directory" }))
  end)

  it("kills one that writes too much", function()
    local seconds, code = helper.timed(function()
      return code_of(exec.run { "sh", "-c", "echo $$ >&2; exec yes" })
    end)
    assert.equal("too_large", code)
    assert.is_true(seconds < 5)
  end)

  it("kills one that takes too long, also when it holds no pipe", function()
    assert.equal("timeout", code_of(exec.run { "sleep", "60", timeout = 0.02 }))
    assert.equal("timeout", code_of(exec.run {
      "sleep", "60", timeout = 0.02, stdout = "null", stderr = "null",
    }))
  end)

  it("raises at the caller's line what makes no sense", function()
    for _, options in ipairs { {}, { "true", stdout = "file" }, { "true", stdin = 5 } } do
      for _, call in ipairs { exec.run, exec.spawn } do
        local ok, message = pcall(function() call(options) end)
        assert.is_false(ok)
        assert.matches("exec_spec.lua:%d+: ", message)
      end
    end
    assert.is_false((pcall(exec.run, { "true", "a\0b" })))
    assert.is_false((pcall(exec.run)))
  end)
end)

describe("a program that runs", function()
  it("is talked to through its pipes", function()
    local cat = assert(exec.spawn { "cat", stdin = true, stderr = "pipe" })
    for _, line in ipairs { "one", "two" } do
      assert(cat.stdin:write(line, "\n"))
      assert.equal(line, cat:read_line())
    end
    assert.equal("timeout", code_of(cat:read_line(0.01)))
    cat.stdin:write "the rest"
    cat.stdin:close()
    assert.equal("the rest", cat:read_all())
    assert.equal("", cat.stderr:read "all")
    assert.equal(0, cat:wait())
    assert.equal(("weft.Process (cat, pid %d)"):format(cat.pid), tostring(cat))
  end)

  it("keeps what it wrote after its end", function()
    local process = assert(exec.spawn { "echo", "early" })
    assert.equal(0, process:wait())
    assert.equal("early", process:read_line())
    assert.equal("closed", code_of(process:read_line()))
    assert.equal(0, (process:wait()))
  end)

  it("ends by the signal that it is sent", function()
    local process = assert(exec.spawn { "sleep", "60" })
    assert.equal("timeout", code_of(process:wait(0.01)))
    assert.is_true(process:kill())
    assert.same({ 143, "TERM" }, { process:wait(5) })
    assert.is_false(process:kill())
    assert.is_false(helper.is_process(process.pid))
    assert.has_error(function() process:kill "NONSENSE" end)
  end)

  it("is waited for by one task at a time", function()
    local process = assert(exec.spawn { "sleep", "60" })
    local waiting = weft.spawn(function() return (select(2, process:wait())) end)
    weft.sleep(0.005)
    assert.equal("busy", code_of(process:wait()))
    process:kill "INT"
    assert.equal("INT", waiting:await())
  end)

  it("can be waited for again after the wait was cancelled", function()
    local process = assert(exec.spawn { "sleep", "60" })
    assert.equal("timeout", code_of(weft.timeout(0.01, function() process:wait() end)))
    process:kill()
    assert.equal(143, (process:wait(5)))
  end)

  it("ends with the task that started it", function()
    local pid
    local function start() pid = assert(exec.spawn { "sleep", "60" }).pid end
    weft.spawn(start):await()
    assert.is_false(helper.is_process(pid))
    weft.timeout(0.01, function()
      start()
      weft.sleep(60)
    end)
    assert.is_false(helper.is_process(pid))
  end)

  it("goes on in the background if that was asked for", function()
    local pid
    weft.spawn(function()
      pid = assert(exec.spawn { "sleep", "60", background = true }).pid
    end):await()
    collectgarbage()
    collectgarbage()
    weft.sleep(0.02)
    assert.is_true(helper.is_process(pid))
    exec.run { "kill", "-KILL", pid }
    helper.eventually(function() return not helper.is_process(pid) end)
  end)

  it("leaves no zombie when nobody waits for it", function()
    local process = assert(exec.spawn { "true" })
    helper.eventually(function() return not helper.is_process(process.pid) end)
  end)
end)

describe("the end of the runtime", function()
  local binary = require("tests.support.server").binary

  it("ends sockets, servers and programs that a script left behind", function()
    local path = helper.write_file(helper.temp_dir() .. "/left_spec.lua", [[
      local exec = require "weft.exec"
      local tcp = require "weft.tcp"
      it("leaves everything open", function()
        local server = assert(tcp.listen("127.0.0.1:0", function(socket) socket:read "all" end))
        kept = { server, assert(tcp.connect("127.0.0.1", server.port)) }
        kept[3] = assert(exec.spawn { "sleep", "60", background = true })
        kept[2]:write(("x"):rep(1000000))
        print("pid " .. kept[3].pid)
      end)
    ]])
    local result = exec.run { binary, "test", path, timeout = 20 }
    assert.equal(0, result.code, result.stdout .. result.stderr)
    assert.equal("", result.stderr)
    assert.is_false(helper.is_process(tonumber(result.stdout:match "pid (%d+)")))
  end)

  it("is not held up by a socket with bytes that nobody reads", function()
    local server = assert(tcp.listen("127.0.0.1:0", function() weft.sleep(60) end))
    local path = helper.write_file(helper.temp_dir() .. "/unsent_spec.lua", ([[
      local tcp = require "weft.tcp"
      it("closes with bytes unsent", function()
        local socket = assert(tcp.connect("127.0.0.1", %d))
        socket.timeout = 0.01
        socket:write(("x"):rep(16000000))
        socket.timeout = 30
        socket:close()
      end)
    ]]):format(server.port))
    local seconds, result = helper.timed(exec.run, { binary, "test", path, timeout = 20 })
    assert.equal(0, result.code, result.stdout .. result.stderr)
    assert.is_true(seconds < 10)
    server:close()
  end)
end)
