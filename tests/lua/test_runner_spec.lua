local program = require "tests.support.program"

local PASSES = 'describe("it", function() it("passes", function() end) end)\n'
local MIXED = [[
local weft = require "weft"
describe("it", function()
  it("passes", function() weft.sleep(0.001) end)
  it("fails", function()
    weft.sleep(0.001)
    assert.equal(1, 2)
  end)
  it("raises", function() error "boom" end)
  pending "is for later"
end)
]]

-- Runs `weft test` on these files: exit code, last line, all of standard output, standard error.
local function test(files, ...)
  local result = program.weft({ "test", ... }, { cwd = program.project(files) })
  return result.code, program.last_line(result.stdout), result.stdout, result.stderr
end

local function has(text, part) assert.truthy(text:find(part, 1, true), part .. " in\n" .. text) end

describe("weft test", function()
  it("ends with the count, and with exit code 0 when nothing failed", function()
    local code, last = test({ ["tests/a_spec.lua"] = PASSES })
    assert.same({ 0, "1 passed, 0 failed" }, { code, last })
  end)

  it("ends with exit code 1 after a failure, and keeps the places in the spec", function()
    local code, last, out = test({ ["tests/a_spec.lua"] = MIXED })
    assert.same({ 1, "1 passed, 2 failed, 1 skipped" }, { code, last })
    has(out, "tests/a_spec.lua:6: Expected objects to be equal.")
    has(out, "tests/a_spec.lua:8: boom")
  end)

  it("looks in tests/ and spec/ of a project without .busted", function()
    local code, last = test({ ["spec/deep/a_spec.lua"] = PASSES })
    assert.same({ 0, "1 passed, 0 failed" }, { code, last })
    code, last = test({
      ["spec/a_spec.lua"] = PASSES,
      ["tests/b_spec.lua"] = PASSES,
      ["tests/helper.lua"] = "error 'not a spec'",
    })
    assert.same({ 0, "2 passed, 0 failed" }, { code, last })
  end)

  it("does as .busted says", function()
    local code, last = test({
      [".busted"] = 'return { default = { ROOT = { "checks" }, pattern = "_check" } }',
      ["checks/a_check.lua"] = PASSES,
      ["tests/b_spec.lua"] = MIXED,
    })
    assert.same({ 0, "1 passed, 0 failed" }, { code, last })
  end)

  it("runs the files and directories that are named", function()
    local files = { ["tests/a_spec.lua"] = PASSES, ["tests/b_spec.lua"] = MIXED }
    assert.equal("1 passed, 0 failed", (select(2, test(files, "tests/a_spec.lua"))))
    assert.equal("2 passed, 2 failed, 1 skipped", (select(2, test(files, "tests"))))
  end)

  it("works from any directory", function()
    local directory = program.project { ["tests/a_spec.lua"] = PASSES }
    local result = program.weft({ "test", directory .. "/tests" }, { cwd = "/" })
    assert.same({ 0, "1 passed, 0 failed" }, { result.code, program.last_line(result.stdout) })
    result = program.weft({ "test", "-C", directory }, { cwd = "/" })
    assert.same({ 0, "1 passed, 0 failed" }, { result.code, program.last_line(result.stdout) })
  end)

  it("fails when there is no spec", function()
    local code, last, out, err = test({})
    assert.same({ 1, "" }, { code, out })
    assert.is_nil(last)
    assert.equal("weft: no spec found: there is no tests/ and no spec/ here; "
      .. "name a file or a directory\n", err)
    code, last, out, err = test({}, "gone_spec.lua")
    assert.same({ 1, nil, "" }, { code, last, out })
    assert.equal("weft: no spec found: there is no gone_spec.lua\n", err)
    code, last, out = test({ ["tests/a.lua"] = PASSES })
    assert.same({ 1, "0 passed, 1 failed" }, { code, last })
    has(out, "No test files found")
  end)

  it("fails when the options leave no test", function()
    local code, last, _, err = test({ ["tests/a_spec.lua"] = PASSES }, "--filter", "zzz")
    assert.same({ 1, "0 passed, 0 failed" }, { code, last })
    assert.equal("weft: no test ran: do the options leave none?\n", err)
  end)

  it("fails for a spec that does not load, and runs the others", function()
    local code, last, out = test({
      ["tests/a_spec.lua"] = "describe(\nit()))",
      ["tests/b_spec.lua"] = PASSES,
    })
    assert.same({ 1, "1 passed, 1 failed" }, { code, last })
    has(out, "tests/a_spec.lua:2: ")
  end)

  it("fails for an error outside of the tests", function()
    local code, last, out = test({
      ["tests/a_spec.lua"] = 'describe("it", function() setup(function() error "no" end) '
        .. 'it("is not run", function() end) end)',
      ["tests/b_spec.lua"] = 'error "at once"',
    })
    assert.same({ 1, "0 passed, 2 failed" }, { code, last })
    has(out, "tests/b_spec.lua:1: at once")
  end)

  it("passes busted's options on", function()
    local files = { ["tests/a_spec.lua"] = MIXED }
    local code, last, out = test(files, "-o", "TAP", "--filter", "passes")
    assert.same({ 0, "1 passed, 0 failed" }, { code, last })
    assert.equal("ok 1 - it passes\n1..1\n1 passed, 0 failed\n", out)
    code, last, out = test(files, "--list")
    assert.equal(0, code)
    assert.is_nil(last:find("passed,", 1, true))
    has(out, "tests/a_spec.lua:3: it passes\n")
  end)

  it("writes nothing behind a document", function()
    local _, _, out, err = test({ ["tests/a_spec.lua"] = PASSES }, "-o", "junit")
    assert.truthy(out:find "</testsuites>%s*$", out)
    assert.equal("1 passed, 0 failed\n", err)
  end)

  it("refuses an option that busted does not know", function()
    local code, _, out, err = test({ ["tests/a_spec.lua"] = PASSES }, "--frob")
    assert.same({ 2, "" }, { code, out })
    assert.equal("weft: unknown/bad flag: --frob; see `weft help test`\n", err)
  end)

  it("ends what a test has left running before the next one", function()
    local code, last, out = test({ ["tests/a_spec.lua"] = [[
local weft = require "weft"
local ended
describe("it", function()
  it("leaves a child", function()
    weft.spawn(function()
      weft.defer(function() ended = true end)
      weft.sleep(60)
    end)
    weft.sleep(0.001)
  end)
  it("is not disturbed", function() assert.is_true(ended) end)
end)
]] })
    assert.same({ 0, "2 passed, 0 failed" }, { code, last }, out)
  end)
end)
