local boot = require "weft.boot"
local errors = require "weft.errors"
local load_error = require "weft.load_error"
local program = require "tests.support.program"
local weft = require "weft"

local function raised_by(fn, ...)
  local ok, raised = xpcall(fn, errors.on_raise, ...)
  assert.is_false(ok)
  return raised
end

describe("load_app", function()
  it("loads a file, or the app.lua of a directory", function()
    local directory = program.project { ["app.lua"] = 'return require("weft").app()' }
    assert.equal("weft.App (0 routes)", tostring(boot.load_app(directory .. "/app.lua")))
    assert.equal("weft.App (0 routes)", tostring(boot.load_app(directory)))
  end)

  it("lets the app require what lies beside it", function()
    local directory = program.project {
      ["app.lua"] = 'return require "beside_the_app"',
      ["beside_the_app.lua"] = 'return require("weft").app()',
    }
    assert.equal("weft.App (0 routes)", tostring(boot.load_app(directory)))
  end)
end)

describe("start hooks", function()
  it("run in their order and may wait", function()
    local app, order = weft.app(), {}
    app:on("start", function()
      weft.sleep(0.005)
      order[#order + 1] = 1
    end)
    app:on("start", function() order[#order + 1] = 2 end)
    boot.run_start_hooks(app)
    assert.same({ 1, 2 }, order)
  end)

  it("are given up when they do not end, with the place of the hook", function()
    local app = weft.app()
    app:on("start", function() weft.sleep(60) end)
    local line = debug.getinfo(1, "l").currentline - 1
    local raised = raised_by(boot.run_start_hooks, app, 0.01)
    assert.equal(("tests/lua/load_spec.lua:%d: the start hook has not ended after 0.01 s: "
      .. "what does it wait for?"):format(line), load_error.explain(raised):match "[^\n]*")
  end)

  it("may return nothing, false or nil and an error", function()
    local app = weft.app()
    app:on("start", function() end)
    app:on("start", function() return false end)
    app:on("start", function() return nil, "no" end)
    boot.run_start_hooks(app)
  end)

  it("may raise, and the later ones do not run", function()
    local app, ran = weft.app(), false
    app:on("start", function() error "no database" end)
    app:on("start", function() ran = true end)
    local raised = raised_by(boot.run_start_hooks, app)
    assert.truthy(load_error.explain(raised):find "^tests/lua/load_spec.lua:%d+: no database\n")
    assert.is_false(ran)
  end)
end)

describe("explain", function()
  local function explain(message, traceback)
    local fault = raised_by(error, message, 0)
    fault.traceback = traceback or ""
    return load_error.explain(fault)
  end

  it("keeps a message with a script's place, and drops the library's frames", function()
    assert.equal("app.lua:3: no\n\tapp.lua:3: in main chunk",
      explain("app.lua:3: no", "\t[C]: in function 'error'\n\tapp.lua:3: in main chunk\n"
        .. "\tlua/weft/boot.lua:70: in function 'load_app'\n\t[C]: in function 'xpcall'"))
  end)

  it("shows the library's frames when it is the library that failed and nothing else", function()
    assert.equal("lua/weft/boot.lua:70: no\n\tlua/weft/boot.lua:70: in function 'load_app'",
      explain("lua/weft/boot.lua:70: no", "\tlua/weft/boot.lua:70: in function 'load_app'"))
  end)

  it("puts the script's place before a message that has none", function()
    assert.equal("app.lua:3: no\n\tapp.lua:3: in main chunk",
      explain("no", "\tapp.lua:3: in main chunk"))
    assert.equal("app.lua:3: cannot connect\n\tapp.lua:3: in main chunk",
      explain(errors.new("refused", "cannot connect"), "\tapp.lua:3: in main chunk"))
  end)

  it("tells of any value", function()
    assert.equal("nil", explain(nil))
    assert.equal("false", load_error.explain(false))
    assert.equal("an error without a text: { a = 1, b = x }", explain({ b = "x", a = 1 }))
    assert.equal("an error that cannot be shown",
      explain(setmetatable({}, { __tostring = function() error "no" end })))
    assert.equal("abort 404: gone", load_error.explain(errors.new_abort(404, "gone")))
  end)

  it("offers the middleware of weft whose name was given alone", function()
    local modules = require("weft.core").modules()
    local shipped
    for _, module in ipairs(modules) do
      shipped = shipped or module:match "^weft%.middleware%.(.*)$"
    end
    if not shipped then pending "no middleware ships with weft" end
    assert.truthy(explain(("module '%s' not found:\n\tno file './x.lua'"):format(shipped)):find(
      ('did you mean "weft.middleware.%s"?'):format(shipped), 1, true))
  end)
end)
