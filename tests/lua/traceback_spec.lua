local helper = require "tests.support.helper"
local traceback = require "weft.traceback"

describe("traceback", function()
  it("folds the library, and functions of C that no script called", function()
    local frames = traceback.parse [[
stack traceback:
	[C]: in function 'error'
	app.lua:3: in function 'inner'
	[C]: in function 'pcall'
	app.lua:4: in function 'view'
	weft.film:3: in function <weft.film:2>
	[C]: in function 'xpcall'
	lua/weft/chain.lua:20: in function 'film']]
    local kept = {}
    for _, frame in ipairs(frames) do
      if not frame.folded then kept[#kept + 1] = frame.text end
    end
    assert.same({
      "app.lua:3: in function 'inner'",
      "[C]: in function 'pcall'",
      "app.lua:4: in function 'view'",
    }, kept)
    assert.equal("app.lua:3: in function 'inner'", traceback.script_frame(frames).text)
  end)

  it("tells a script from a module of weft that is called the same", function()
    assert.is_true(traceback.is_library "lua/weft/app.lua")
    assert.is_true(traceback.is_library "lua/weft/init.lua")
    assert.is_false(traceback.is_library "./lua/weft/app.lua")
    traceback.add_script "lua/weft/json.lua"
    assert.is_false(traceback.is_library "lua/weft/json.lua")
  end)

  it("shows all frames when there are only the library's", function()
    local text = "\tlua/weft/app.lua:3: in function 'x'\n\t[C]: in function 'pcall'"
    assert.equal(text, traceback.readable(traceback.parse(text)))
  end)

  it("keeps what stands between two coroutines only where both are shown", function()
    local between = "-- awaited by --"
    assert.equal("\ta.lua:1: in x\n\t" .. between .. "\n\tb.lua:1: in y",
      traceback.readable(traceback.parse("a.lua:1: in x\n" .. between .. "\nb.lua:1: in y")))
    assert.equal("\ta.lua:1: in x", traceback.readable(traceback.parse(
      between .. "\na.lua:1: in x\n" .. between .. "\nlua/weft/app.lua:1: in y")))
  end)

  it("puts back the paths that Lua shortens", function()
    local path = ("/very-long"):rep(12) .. "/app.lua"
    traceback.add_script(path)
    local shown = "..." .. path:sub(-30)
    assert.equal(shown .. ":1: x", traceback.expand(shown .. ":1: x")) -- not how Lua shortens it
    local _, message = pcall(loadstring('error "x"', "@" .. path))
    assert.truthy(message:find("^%.%.%."))
    assert.equal(path .. ":1: x, " .. path .. ":1: x",
      traceback.expand(message .. ", " .. message))
  end)

  it("shows the source of scripts that were loaded, and of no other file", function()
    local path = helper.write_file(helper.temp_dir() .. "/x.lua", "one\ntwo\nthree\r\nfour")
    assert.is_nil(traceback.excerpt(path, 2, 1))
    traceback.add_script(path)
    assert.same({
      { number = 1, text = "one", marked = false },
      { number = 2, text = "two", marked = true },
      { number = 3, text = "three", marked = false },
    }, traceback.excerpt(path, 2, 1))
    assert.equal("four", traceback.excerpt(path, 4, 1)[2].text)
    assert.is_nil(traceback.excerpt(path, 40, 1))
    os.remove(path)
    assert.is_nil(traceback.excerpt(path, 2, 1))
  end)
end)
