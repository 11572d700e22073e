local program = require "tests.support.program"

local function refuses(arguments, message, env)
  local result = program.weft(arguments, { env = env })
  assert.same({ 2, "", "weft: " .. message .. "\n" }, { result.code, result.stdout, result.stderr })
end

describe("the options of weft run", function()
  it("names the nearest one for one that is mistyped", function()
    refuses({ "run", "--lisen", "x" }, 'there is no option "--lisen"; did you mean --listen?')
    refuses({ "run", "--drian-timeout=5" },
      'there is no option "--drian-timeout=5"; did you mean --drain-timeout?')
    refuses({ "run", "--frobnicate" }, 'there is no option "--frobnicate"; see `weft help run`')
    refuses({ "run", "-x" }, 'there is no option "-x"; see `weft help run`')
  end)

  it("wants a value where one belongs, and none elsewhere", function()
    refuses({ "run", "--listen" }, "--listen needs a value; see `weft help run`")
    refuses({ "run", "--dev=1" }, "--dev=1 takes no value")
  end)

  it("checks the values", function()
    refuses({ "run", "--log-level", "loud" },
      '--log-level must be debug, info, warn, error or off, not "loud"')
    refuses({ "run", "--log-format", "xml" }, '--log-format must be text or json, not "xml"')
    refuses({ "run", "--drain-timeout", "soon" },
      '--drain-timeout must be seconds from 0 to 86400, not "soon"')
    refuses({ "run", "a", "b" }, 'run takes one APP, not "b"')
  end)

  it("refuses what this version does not have instead of going on without it", function()
    for _, option in ipairs { "tls-cert", "tls-key", "pid-file", "admin" } do
      local variable = "WEFT_" .. option:upper():gsub("-", "_")
      local message = ("--%s (or %s) is not in this version"):format(option, variable)
      refuses({ "run", "--" .. option, "x" }, message)
      refuses({ "run" }, message, { [variable] = "x" })
    end
    refuses({ "run", "--watch" }, "--watch (or WEFT_WATCH) is not in this version")
    local message = '--workers must be 1 or auto in this version, not "4"'
    refuses({ "run", "--workers", "4" }, message)
    refuses({ "run" }, message, { WEFT_WORKERS = "4" })
  end)

  it("takes what says that something is off", function()
    local result = program.weft({ "run", "--no-watch", "--workers", "auto", "gone.lua" },
      { env = { WEFT_WATCH = "0" } })
    assert.equal(1, result.code)
    assert.truthy(result.stderr:find("there is no app at gone.lua", 1, true))
  end)
end)

describe("the options of weft check", function()
  it("refuses what it does not know", function()
    refuses({ "check", "--dev" }, 'there is no option "--dev"; see `weft help check`')
    refuses({ "check", "a", "b" }, 'check takes one APP, not "b" too')
  end)
end)
