-- Runs inside the runtime, where the replacements are installed already.
local stdlib = require "weft.stdlib"
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
  local text = message:match("stdlib_string_spec%.lua:%d+: (.*)")
  assert.is_truthy(text, "blames another file: " .. message)
  return text
end

describe("string.gsub", function()
  it("awaits in a replacement function", function()
    local result, count = ("a-b-c"):gsub("%w", function(letter) return wait(letter:upper()) end)
    assert.same({ "A-B-C", 3 }, { result, count })
  end)

  it("awaits in the __index of a table", function()
    assert.equal("<a>!", (("a!"):gsub("%w", setmetatable({}, {
      __index = function(_, key) return wait("<" .. key .. ">") end,
    }))))
  end)

  it("passes captures, positions, or the whole match", function()
    local seen = {}
    local function see(...) seen[#seen + 1] = table.concat({ wait(...) }, ",") end
    string.gsub("ab cd", "(%w)(%w)", see)
    string.gsub("ab", "()%w", see)
    string.gsub("ab", "%w", see)
    assert.same({ "a,b", "c,d", "1", "2", "a", "b" }, seen)
  end)

  it("gives what the original gives, for any pattern", function()
    local atoms = {
      "a", "b", ".", "%w", "%a*", "[ab]", "[^a]", "(a)", "()", "(.-)", "(%w+)", "a*", "b-", " ",
      "%f[%w]", "%s", "x?", "(b?)", "((a)b)", "%b()", "\0", "[%z]", ")", "%1", "$", "^", "%", "[",
      "%f",
    }
    local bytes = { "a", "b", " ", "\0", "x", "(", ")", "aa", "ab", "1" }
    local values = { "", "Z", "<%1>", 1, 2.5, false, {} }
    local limits = { 0, 1, 2, -1, 1.7, "2", 1e10, math.huge, 0.5, "many" }
    local function some(list, most)
      local parts = {}
      for i = 1, math.random(0, most) do
        parts[i] = list[math.random(#list)]
      end
      return table.concat(parts)
    end
    local function outcome(gsub, text, pattern, seed, use_table, ...)
      local log = {}
      local function replace(...)
        for i = 1, select("#", ...) do
          log[#log + 1] = tostring((select(i, ...)))
        end
        seed = (seed * 16807 + 7) % 2147483647
        return values[seed % 97 == 0 and 7 or seed % 7], "ignored"
      end
      local replacement = replace
      if use_table then
        replacement = setmetatable({}, { __index = function(_, key) return (replace(key)) end })
      end
      local ok, result, count = pcall(function(...)
        local result, count = gsub(text, pattern, replacement, ...)
        return result, count
      end, ...)
      return ("%s %s %s [%s]"):format(tostring(ok), tostring(result), tostring(count),
        table.concat(log, "|"))
    end
    for _ = 1, 3000 do
      local arguments = {
        some(bytes, 8),
        (math.random() < 0.15 and "^" or "") .. some(atoms, 3),
        math.random(1e6),
        math.random() < 0.4,
        math.random() < 0.3 and limits[math.random(#limits)] or nil,
      }
      local count = arguments[5] and 5 or 4
      assert.equal(outcome(stdlib.raw.gsub, unpack(arguments, 1, count)),
        outcome(string.gsub, unpack(arguments, 1, count)),
        ("%q %q %s"):format(arguments[1], arguments[2], tostring(arguments[5])))
    end
  end)

  it("blames the caller's line for a bad pattern or value", function()
    local function gsub(...)
      local result = string.gsub(...)
      return result
    end
    assert.equal("malformed pattern (ends with '%')", blamed(gsub, "a", "%", wait))
    assert.equal("invalid replacement value (a table)",
      blamed(gsub, "a", "a", function() return {} end))
    assert.equal("bad argument #3 to 'gsub' (string/function/table expected)",
      blamed(gsub, "a", "a", nil))
  end)
end)

describe("text from objects", function()
  it("awaits in string.format, as text and quoted", function()
    assert.equal('% [ yes] "yes" 3',
      ("%% [%4s] %q %d"):format(slow("__tostring", "yes"), slow("__tostring", "yes"), 3))
    assert.equal("1 2 3 4 yes", ("%d %d %d %d %s"):format(1, 2, 3, 4, slow("__tostring", "yes")))
  end)

  it("does not take an object for a number", function()
    assert.equal("bad argument #1 to 'format' (number expected, got table)", blamed(function()
      local text = ("%d"):format(slow("__tostring", "3"))
      return text
    end))
  end)

  it("awaits in print, and refuses what is not text", function()
    local written = {}
    local stdout = io.stdout
    rawset(io, "stdout", {
      write = function(_, ...) written[#written + 1] = table.concat { ... } end,
    })
    local ok, err = pcall(print, slow("__tostring", "yes"), nil, 1, nil)
    local refused, message = pcall(print, slow("__tostring", {}))
    rawset(io, "stdout", stdout)
    assert.is_true(ok, err)
    assert.same({ "yes\tnil\t1\tnil\n" }, written)
    assert.is_false(refused)
    assert.is_truthy(message:find("'tostring' must return a string to 'print'", 1, true))
  end)
end)
