local program = require "tests.support.program"

local function says(arguments, code, stdout, stderr)
  local result = program.weft(arguments)
  assert.equal(code, result.code)
  if stdout then assert.truthy(result.stdout:find(stdout, 1, true), result.stdout) end
  if stderr then assert.equal(stderr .. "\n", result.stderr) end
  return result
end

describe("weft help", function()
  it("lists the commands", function()
    local result = says({ "help" }, 0, "usage: weft COMMAND", nil)
    for _, command in ipairs { "run", "check", "test", "version", "help" } do
      assert.truthy(result.stdout:find("\n  weft " .. command, 1, true), command)
    end
    assert.equal("", result.stderr)
    assert.equal(result.stdout, says({ "--help" }, 0).stdout)
    assert.equal(result.stdout, says({ "-h" }, 0).stdout)
  end)

  it("is what a call without arguments gets, on standard error and with exit code 2", function()
    local result = says({}, 2)
    assert.equal("", result.stdout)
    assert.truthy(result.stderr:find("usage: weft COMMAND", 1, true))
  end)

  it("explains each command, like its --help", function()
    for _, command in ipairs { "run", "check", "test", "version" } do
      local usage = "usage: weft " .. command
      local result = says({ "help", command }, 0, usage)
      assert.equal(result.stdout, says({ command, "--help" }, 0, usage).stdout)
    end
    assert.truthy(says({ "help", "run" }, 0).stdout:find("\n  --drain-timeout S ", 1, true))
  end)

  it("shows no option that is not there", function()
    assert.is_nil(says({ "help", "run" }, 0).stdout:find("--tls-cert", 1, true))
  end)

  it("names the nearest command for one that is mistyped", function()
    local text = 'weft: there is no command "chekc"; did you mean `weft check`?'
    says({ "chekc" }, 2, nil, text)
    says({ "help", "chekc" }, 2, nil, text)
    says({ "rnu" }, 2, nil, 'weft: there is no command "rnu"; did you mean `weft run`?')
    says({ "xyzzy" }, 2, nil, 'weft: there is no command "xyzzy"; `weft help` lists them')
  end)

  it("says so of the commands that this version does not have", function()
    for _, command in ipairs { "reload", "status", "new" } do
      says({ command }, 2, nil, ("weft: `weft %s` is not in this version"):format(command))
    end
  end)
end)

describe("weft version", function()
  it("names the versions of what is linked", function()
    local result = says({ "version" }, 0)
    for _, name in ipairs { "weft", "LuaJIT", "libuv", "llhttp", "OpenSSL" } do
      assert.truthy(result.stdout:find(name .. " %d+%.%d"), name)
    end
    assert.equal(result.stdout, says({ "--version" }, 0).stdout)
  end)

  it("takes nothing", function()
    says({ "version", "x" }, 2, nil, 'weft: version takes nothing, not "x"')
  end)
end)
