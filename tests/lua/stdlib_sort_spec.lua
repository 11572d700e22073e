-- Runs inside the runtime, where the replacements are installed already.
local weft = require "weft"

local function wait(...)
  weft.sleep(0)
  return ...
end

--- The message of the error that `fn` raises, which must blame a line of this file.
local function blamed(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  local text = message:match("stdlib_sort_spec%.lua:%d+: (.*)")
  assert.is_truthy(text, "blames another file: " .. message)
  return text
end

describe("table.sort", function()
  it("awaits in the order function", function()
    local list = { 5, 3, 9, 1 }
    table.sort(list, function(a, b) return wait(a > b) end)
    assert.same({ 9, 5, 3, 1 }, list)
  end)

  it("awaits in __lt", function()
    local metatable = { __lt = function(a, b) return wait(a.key < b.key) end }
    local list = {}
    for i = 1, 20 do
      list[i] = setmetatable({ key = i * 7 % 20 }, metatable)
    end
    table.sort(list)
    for i = 1, 20 do
      assert.equal(i - 1, list[i].key)
    end
  end)

  it("is stable, for every size around its runs", function()
    for count = 0, 70 do
      local list = {}
      for i = 1, count do
        list[i] = { key = math.random(5), place = i }
      end
      table.sort(list, function(a, b) return a.key < b.key end)
      for i = 2, count do
        local a, b = list[i - 1], list[i]
        assert.is_true(a.key < b.key or a.key == b.key and a.place < b.place)
      end
    end
  end)

  it("ends, and loses nothing, when the order contradicts itself", function()
    for _, less in ipairs {
      function() return true end,
      function() return math.random() < 0.5 end,
    } do
      local list, seen = {}, {}
      for i = 1, 100 do
        list[i] = i
      end
      table.sort(list, less)
      for i = 1, 100 do
        seen[list[i]] = true
      end
      assert.equal(100, #list)
      assert.equal(100, #seen)
    end
  end)

  it("needs no more comparisons than n log n, also for what is sorted already", function()
    for _, step in ipairs { 1, -1 } do
      local list, count = {}, 0
      for i = 1, 4096 do
        list[i] = i * step
      end
      table.sort(list, function(a, b)
        count = count + 1
        return a < b
      end)
      assert.is_true(count < 4096 * 13, count)
    end
  end)

  it("leaves the table alone when the order function raises", function()
    local list, count = { 3, 2, 1 }, 0
    assert.is_false(pcall(table.sort, list, function(a, b)
      count = count + 1
      return count < 3 and a < b or error("no")
    end))
    assert.same({ 3, 2, 1 }, list)
  end)

  it("sorts numbers and strings, and says what it cannot compare", function()
    local numbers, words = { 3, 1, 2 }, { "b", "c", "a" }
    table.sort(numbers)
    table.sort(words)
    assert.same({ 1, 2, 3 }, numbers)
    assert.same({ "a", "b", "c" }, words)
    assert.has_error(function() table.sort { 1, "x" } end,
      "attempt to compare string with number")
    assert.equal("bad argument #2 to 'sort' (function expected, got table)", blamed(function()
      table.sort({}, {})
      return 1
    end))
  end)
end)
