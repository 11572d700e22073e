local exec = require "weft.exec"
local helper = require "tests.support.helper"
local json = require "weft.json"
local logged = require "tests.support.logged"
local server = require "tests.support.server"
local weft = require "weft"

local log = weft.log

describe("logging", function()
  it("has a level, a message and fields", function()
    local lines = logged(function()
      log.debug "one"
      log.info("two", {})
      log.warn("three", { count = 3, name = "x", on = false })
      log.error "four"
    end)
    assert.same({
      { level = "debug", message = "one" },
      { level = "info", message = "two", fields = {} },
      { level = "warn", message = "three", fields = { count = 3, name = "x", on = false } },
      { level = "error", message = "four" },
    }, lines)
  end)

  it("makes text of everything else, whatever its __tostring does", function()
    local printable = setmetatable({}, { __tostring = function() return "text" end })
    local raising = setmetatable({}, { __tostring = function() error "no" end })
    local mute = setmetatable({}, { __tostring = function() return {} end })
    local line = logged(log.info, printable, { a = printable, b = raising, c = mute,
      [printable] = 1, [2] = "two" })[1]
    assert.equal("text", line.message)
    assert.same({
      a = "text",
      b = "a table that cannot be printed",
      c = "a table that cannot be printed",
      text = 1,
      ["2"] = "two",
    }, line.fields)
    assert.equal("nil", logged(log.info)[1].message)
  end)

  it("refuses fields that are no table, and blames the caller", function()
    local ok, message = pcall(function() log.info("message", "field") end)
    assert.is_false(ok)
    assert.matches("log_spec.lua:%d+: log.info takes a message and a table of fields, not a string",
      message)
  end)

  it("leaves the caller's fields as they are", function()
    local fields = { [1] = true }
    weft.context.request_id = "r-1"
    local line = logged(log.info, "x", fields)[1]
    assert.same({ [1] = true }, fields)
    assert.same({ ["1"] = true, request_id = "r-1" }, line.fields)
  end)

  local function run(level, as_json, body)
    local path = helper.write_file(helper.temp_dir() .. "/run_spec.lua", ([[
      local weft = require "weft"
      it("logs", function()
        require("weft.core").log_setup(%q, %s)
        %s
      end)
    ]]):format(level, tostring(as_json), body))
    local result = assert(exec.run { server.binary, "test", path, timeout = 20 })
    assert.equal(0, result.code, result.stdout .. result.stderr)
    return result.stderr
  end

  it("writes lines for people", function()
    local text = run("info", false, [[
      weft.log.debug "below the level"
      weft.log.info("two\nlines \1", { path = "/a b", n = 1.5, ok = true, inf = 1 / 0 })
    ]])
    local first, rest = text:match "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ info  (.-)\n(.*)$"
    assert.matches("^two", first)
    assert.matches('path="/a b"', first)
    assert.matches("n=1.5", first)
    assert.matches("ok=true", first)
    assert.equal("    lines \\x01\n", (rest:gsub("\\u0001", "\\x01")))
  end)

  it("writes JSON for machines", function()
    local text = run("info", true, [[
      weft.log.info('a "message"\n\200', { path = "/", n = 1.5, ok = true, inf = 1 / 0 })
    ]])
    assert.equal(1, select(2, text:gsub("\n", "")))
    local line = assert(json.decode((text:gsub("\200", "?"))))
    assert.equal("info", line.level)
    assert.matches('^a "message"\n', line.msg)
    assert.same({ "/", 1.5, true, "inf" }, { line.path, line.n, line.ok, line.inf })
  end)
end)
