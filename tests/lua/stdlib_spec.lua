-- Runs inside the runtime, where the replacements are installed already.
local weft = require "weft"

local function wait(...)
  weft.sleep(0)
  return ...
end

--- An object of whose metatable only this one event is known, and it awaits.
local function slow(event, result)
  return setmetatable({}, { [event] = function() return wait(result) end })
end

--- The message of the error that `fn` raises, which must blame a line of this file.
local function blamed(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  local text = message:match("stdlib_spec%.lua:%d+: (.*)")
  assert.is_truthy(text, "blames another file: " .. message)
  return text
end

local function counted(...) return { n = select("#", ...), ... } end

describe("metamethods and iterators", function()
  it("await in every event", function()
    local function is(event, fn, expected)
      assert.equal(expected, fn(slow(event, expected)), event)
    end
    is("__index", function(o) return o.name end, "value")
    is("__call", function(o) return o() end, "value")
    is("__add", function(o) return o + 1 end, "value")
    is("__concat", function(o) return o .. "b" end, "value")
    is("__unm", function(o) return -o end, "value")
    is("__lt", function(o) return o < setmetatable({}, getmetatable(o)) end, true)
    is("__eq", function(o) return o == setmetatable({}, getmetatable(o)) end, true)
    is("__tostring", function(o) return tostring(o) end, "value")
    local stored
    local store = setmetatable({}, {
      __newindex = function(_, _, value) stored = wait(value) end,
    })
    store.name = "value"
    assert.equal("value", stored)
  end)

  it("await in pcall, table.foreach and for loops", function()
    assert.same({ true, 1, 2 }, { pcall(function(...) return wait(...) end, 1, 2) })
    assert.equal(7, table.foreach({ 7 }, function(_, value) return wait(value) end))
    for value in function(_, last) return wait(not last and 1 or nil) end do
      assert.equal(1, value)
    end
  end)

  it("let pairs honour __pairs, which may await", function()
    local object = setmetatable({}, {
      __pairs = function(self)
        weft.sleep(0)
        return function(_, key)
          if not key then
            return wait("only"), self
          end
        end, self, nil, "dropped"
      end,
    })
    local seen = {}
    for key, value in pairs(object) do
      seen[key] = value
    end
    assert.same({ only = object }, seen)
    assert.equal(3, select("#", pairs(object)))
  end)

  it("let pairs honour a __pairs behind a hidden metatable", function()
    local object = setmetatable({}, {
      __metatable = false,
      __pairs = function() return next, { a = 1 }, nil end,
    })
    local seen = {}
    for key, value in pairs(object) do
      seen[key] = value
    end
    assert.same({ a = 1 }, seen)
  end)

  it("leave pairs of a plain table to next", function()
    local plain, object = { 1 }, setmetatable({ 1 }, {})
    assert.same({ n = 3, next, plain }, counted(pairs(plain)))
    assert.same({ n = 3, next, object }, counted(pairs(object)))
    assert.equal("bad argument #1 to 'pairs' (table expected, got nil)", blamed(function()
      return (pairs(nil))
    end))
  end)
end)

describe("xpcall", function()
  it("awaits in the function and passes arguments and results", function()
    assert.same({ n = 3, true, 1 }, counted(xpcall(wait, function() end, 1, nil)))
  end)

  it("lets a handler see the stack of the error, at the levels it knows", function()
    local function handler(err)
      return { err, debug.getinfo(1, "f").func, debug.getinfo(3, "f").func }
    end
    local function fails() error("here", 0) end
    local _, seen = xpcall(fails, handler)
    assert.same({ "here", handler, fails }, seen)
    local _, text = xpcall(fails, debug.traceback)
    assert.is_truthy(text:find("stdlib_spec", 1, true))
  end)

  it("tells a handler that it cannot wait, and lets others wait afterwards", function()
    local _, message = xpcall(error, function()
      local _, problem = pcall(weft.sleep, 0)
      local _, nested = pcall(coroutine.wrap(function() weft.sleep(0) end))
      return tostring(problem) .. "\n" .. tostring(nested)
    end)
    local text = "a message handler cannot wait: return from it first"
    local _, count = message:gsub(text, "")
    assert.equal(2, count)
    assert.equal("awaited", wait("awaited"))
  end)

  it("lets others wait after a handler that raised, also inside a handler", function()
    local ok = xpcall(error, function() weft.sleep(0) end)
    assert.is_false(ok)
    assert.equal("awaited", wait("awaited"))
    local _, inner = xpcall(error, function()
      xpcall(error, function() error("again") end)
      return select(2, pcall(weft.sleep, 0))
    end)
    assert.is_truthy(inner:find("a message handler cannot wait", 1, true))
    assert.equal("awaited", wait("awaited"))
  end)

  it("refuses a handler that is no function, as the original does", function()
    assert.equal("bad argument #2 to 'xpcall' (function expected, got table)", blamed(function()
      local ok = xpcall(wait, {})
      return ok
    end))
  end)
end)
