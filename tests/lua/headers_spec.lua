local headers = require "weft.headers"

--- What `pairs` gives inside the runtime; plain LuaJIT's does not ask the metatable.
local function fields_of(h)
  local fields = {}
  local step, state, name = getmetatable(h).__pairs(h)
  local value
  while true do
    name, value = step(state, name)
    if name == nil then return fields end
    fields[#fields + 1] = name .. "=" .. value
  end
end

--- The message of the error that `fn` raises, which must blame a line of this file.
local function blamed(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  local text = message:match("headers_spec%.lua:%d+: (.*)")
  assert.is_truthy(text, "blames another file: " .. message)
  return text
end

describe("headers", function()
  local h
  before_each(function() h = headers.new() end)

  describe("as a table", function()
    it("reads without regard to case", function()
      h["X-Custom-Header"] = "Hello"
      assert.equal("Hello", h["x-custom-header"])
      assert.equal("Hello", h["X-CUSTOM-HEADER"])
      assert.is_nil(h["x-other"])
    end)

    it("replaces all values of a name (semantics 89)", function()
      headers.add(h, "Link", "<a>")
      headers.add(h, "X-Between", "1")
      headers.add(h, "link", "<b>")
      headers.add(h, "X-Behind", "2")
      h["LINK"] = "<c>"
      assert.same({ "LINK=<c>", "X-Between=1", "X-Behind=2" }, fields_of(h))
    end)

    it("takes several values as a list", function()
      h["Set-Cookie"] = { "a=1", "b=2" }
      h["X-After"] = "x"
      h["set-cookie"] = { "c=3", "d=4", 5 }
      assert.same(
        { "set-cookie=c=3", "X-After=x", "set-cookie=d=4", "set-cookie=5" }, fields_of(h))
    end)

    it("removes a name with nil or an empty list", function()
      h["A"] = "1"
      h["B"] = { "2", "3" }
      h["C"] = "4"
      h["b"] = nil
      assert.same({ "A=1", "C=4" }, fields_of(h))
      h["a"] = {}
      h["missing"] = nil
      assert.same({ "C=4" }, fields_of(h))
      assert.equal(1, headers.count(h))
    end)

    it("joins repeats when read", function()
      headers.add(h, "Vary", "Accept")
      headers.add(h, "vary", "Cookie")
      headers.add(h, "vary", "Origin")
      assert.equal("Accept, Cookie, Origin", h["vary"])
    end)

    it("never joins cookies: reading gives the last", function()
      h["Set-Cookie"] = { "a=1", "b=2" }
      assert.equal("b=2", h["set-cookie"])
    end)

    it("has no methods that could hide a header", function()
      for _, name in ipairs { "add", "get", "set", "values", "at", "__index" } do
        assert.is_nil(h[name])
        h[name] = "mine"
        assert.equal("mine", h[name])
      end
    end)

    it("goes through the fields in order, names as given, repeats one by one", function()
      h["X-One"] = "1"
      h["Set-Cookie"] = { "a", "b" }
      h["x-two"] = 2
      assert.same({ "X-One=1", "Set-Cookie=a", "Set-Cookie=b", "x-two=2" }, fields_of(h))
    end)

    it("may be changed while pairs walks it", function()
      h["A"] = "1"
      h["B"] = "2"
      h["C"] = "3"
      local seen = {}
      local step, state = getmetatable(h).__pairs(h)
      for name in step, state do
        seen[#seen + 1] = name
        h[name] = nil
        h["New-" .. name] = "x"
      end
      assert.same({ "A", "B", "C" }, seen)
      assert.same({ "New-A=x", "New-B=x", "New-C=x" }, fields_of(h))
    end)

    it("prints its fields", function()
      h["A"] = "1"
      h["B"] = "2"
      assert.equal("A: 1\nB: 2", tostring(h))
    end)
  end)

  describe("checks", function()
    it("refuses names that are not strings", function()
      assert.equal("header names are strings", blamed(function() h[{}] = "x" end))
      assert.equal("header names are strings", blamed(function() return h[true] end))
      assert.equal("header names are strings", blamed(function() return h[7] end))
      assert.equal("header names are strings", blamed(function() headers.add(h, nil, "x") end))
      assert.equal("header names are strings", blamed(function() headers.remove(h, 1) end))
      assert.equal("header names are strings", blamed(function() headers.values(h, 1) end))
    end)

    it("refuses names that are no tokens", function()
      for _, name in ipairs { "", "a b", "a:", "a\r\nb", "a\0", "é", "(a)" } do
        assert.matches("is not a header name", blamed(function() h[name] = "x" end))
        assert.matches("is not a header name", blamed(function() h[name] = nil end))
      end
      h["!#$%&'*+-.^_`|~09azAZ"] = "fine"
      assert.equal(1, headers.count(h))
    end)

    it("refuses a line break in a value, at the script's line (semantics 89)", function()
      local message = 'header "X-A": the value contains a line break'
      assert.equal(message, blamed(function() h["X-A"] = "a\r\nSet-Cookie: b" end))
      assert.equal(message, blamed(function() h["X-A"] = "a\n" end))
      assert.equal(message, blamed(function() h["X-A"] = "a\r" end))
      assert.equal(message, blamed(function() h["X-A"] = { "fine", "a\nb" } end))
      assert.equal(message, blamed(function() headers.add(h, "X-A", "a\nb") end))
      assert.equal(message, blamed(function() headers.add(h, "X-A", { "fine", "a\nb" }) end))
      assert.equal(message, blamed(function() headers.set(h, "X-A", "a\nb") end))
      assert.equal(message, blamed(function() headers.from { ["X-A"] = "a\nb" } end))
      assert.equal(message, blamed(function() headers.from { ["X-A"] = { "a\nb" } } end))
      assert.equal(0, headers.count(h))
    end)

    it("blames whom the level of from names", function()
      local function response(fields) -- as a constructor would, two levels in
        local made = headers.from(fields, 3)
        return made
      end
      local _, message = pcall(function()
        local line = debug.getinfo(1, "l").currentline + 1
        local made = response { ["X-A"] = "a\nb" }
        return made, line
      end)
      local line = debug.getinfo(1, "l").currentline - 3
      assert.matches("headers_spec.lua:" .. line .. ": header", message, 1, true)
    end)

    it("refuses every control byte but the tab", function()
      for code = 0, 127 do
        local value = "a" .. string.char(code) .. "b"
        if code == 9 or (code >= 32 and code < 127) then
          h["X"] = value
          assert.equal(value, h["x"])
        else
          blamed(function() h["X"] = value end)
          blamed(function() h["X"] = value .. ("long"):rep(100) end)
        end
      end
    end)

    it("refuses values that are neither strings nor numbers", function()
      assert.equal('header "X": a value is a string or a number, not a boolean',
        blamed(function() h["X"] = true end))
      assert.equal('header "X": a value is a string or a number, not a function',
        blamed(function() h["X"] = print end))
      assert.equal('header "X": a value is a string or a number, not a nil',
        blamed(function() headers.add(h, "X", nil) end))
    end)

    it("changes nothing when one value of a list is bad", function()
      h["X"] = "before"
      blamed(function() h["X"] = { "after", false } end)
      assert.same({ "X=before" }, fields_of(h))
    end)

    it("trims spaces and tabs, the second time as well", function()
      for _ = 1, 2 do
        h["X"] = " \ta b\t "
        assert.equal("a b", h["x"])
        h["X"] = "  "
        assert.equal("", h["x"])
        h["X"] = ""
        assert.equal("", h["x"])
        h["X"] = " " .. ("y"):rep(500) .. " "
        assert.equal(("y"):rep(500), h["x"])
      end
    end)

    it("writes numbers as text", function()
      h["Content-Length"] = 1234567890
      h["X"] = 0.5
      assert.equal("1234567890", h["content-length"])
      assert.equal("0.5", h["x"])
    end)

    it("goes on checking after thousands of names and values", function()
      for i = 1, 5000 do
        h["X-" .. i] = "value " .. i
        assert.equal("value " .. i, h["x-" .. i])
        h["X-" .. i] = nil
      end
      blamed(function() h["X"] = "a\nb" end)
      blamed(function() h["a b"] = "x" end)
      assert.equal(0, headers.count(h))
    end)
  end)

  it("do not fill memory with names and values that never repeat", function()
    collectgarbage()
    local before = collectgarbage("count")
    for i = 1, 50000 do
      h["X-" .. i] = "a value that comes only once " .. i
      h["X-" .. i] = nil
    end
    collectgarbage()
    assert.is_true(collectgarbage("count") - before < 1024)
  end)

  describe("functions", function()
    it("lists the values of a name", function()
      headers.add(h, "Link", "<a>")
      headers.add(h, "X", "x")
      headers.add(h, "LINK", { "<b>", "<c>" })
      assert.same({ "<a>", "<b>", "<c>" }, headers.values(h, "link"))
      assert.same({}, headers.values(h, "none"))
      assert.equal(4, headers.count(h))
      headers.remove(h, "lINK")
      assert.same({ "X=x" }, fields_of(h))
    end)

    it("walks the fields without a copy", function()
      h["A"] = "1"
      h["B"] = "2"
      local seen = {}
      for _, name, value in headers.each(h) do seen[#seen + 1] = name .. value end
      assert.same({ "A1", "B2" }, seen)
    end)

    it("makes headers of a table", function()
      local made = headers.from { ["X-A"] = "1", ["Set-Cookie"] = { "a", "b" }, ["X-N"] = 3 }
      assert.equal("1", made["x-a"])
      assert.equal("3", made["x-n"])
      assert.same({ "a", "b" }, headers.values(made, "set-cookie"))
    end)

    it("copies headers, and the copy is another (semantics 96)", function()
      h["A"] = "1"
      h["Set-Cookie"] = { "a", "b" }
      local copy = headers.from(h)
      copy["A"] = "2"
      copy["Set-Cookie"] = nil
      assert.same({ "A=1", "Set-Cookie=a", "Set-Cookie=b" }, fields_of(h))
      assert.same({ "A=2" }, fields_of(copy))
    end)

    it("refuses to make headers of anything else", function()
      assert.equal("headers are a table, not a string", blamed(function()
        local made = headers.from("x")
        return made
      end))
    end)

    it("knows its own", function()
      assert.is_true(headers.is(h))
      assert.is_false(headers.is({}))
      assert.is_false(headers.is("x"))
      assert.is_false(headers.is(nil))
    end)

    it("keeps the layout that its file promises", function()
      h["X-A"] = " 1 "
      h["X-B"] = "2"
      h["X-C"] = "3"
      h["x-a"] = nil
      local slots = {}
      for key, value in next, h do
        assert.equal("number", type(key))
        slots[key] = value
      end
      assert.same({ 2, "X-B", "x-b", "2", "X-C", "x-c", "3" }, slots)
      assert.equal(2, slots[headers.COUNT])
      assert.equal("X-C", slots[headers.FIRST + headers.STRIDE])
    end)

    it("holds many fields", function()
      for i = 1, 100 do headers.add(h, "X-" .. i % 10, i) end
      assert.equal(100, headers.count(h))
      h["x-3"] = nil
      assert.equal(90, headers.count(h))
      assert.equal("4, 14, 24, 34, 44, 54, 64, 74, 84, 94", h["X-4"])
    end)
  end)

  describe("vary", function()
    it("adds a name once, whatever its case", function()
      headers.vary(h, "Accept-Encoding")
      headers.vary(h, "Cookie")
      headers.vary(h, "cookie")
      headers.vary(h, "ACCEPT-ENCODING")
      assert.same({ "Vary=Accept-Encoding, Cookie" }, fields_of(h))
    end)

    it("is not misled by a longer name", function()
      h["Vary"] = "Accept-Encoding,X-Accept"
      headers.vary(h, "Accept")
      assert.equal("Accept-Encoding,X-Accept, Accept", h["vary"])
      headers.vary(h, "accept")
      assert.equal("Accept-Encoding,X-Accept, Accept", h["vary"])
    end)

    it("looks at all fields and adds to the last", function()
      headers.add(h, "Vary", "Origin")
      headers.add(h, "vary", "Cookie")
      headers.vary(h, "origin")
      headers.vary(h, "Accept")
      assert.same({ "Vary=Origin", "vary=Cookie, Accept" }, fields_of(h))
    end)

    it("fills an empty one", function()
      h["Vary"] = ""
      headers.vary(h, "Cookie")
      assert.equal("Cookie", h["vary"])
    end)

    it("leaves a star, and becomes one", function()
      h["Vary"] = "*"
      headers.vary(h, "Cookie")
      assert.equal("*", h["vary"])
      h["Vary"] = { "Origin", "Cookie" }
      headers.vary(h, "*")
      assert.same({ "Vary=*" }, fields_of(h))
    end)

    it("refuses what is no name", function()
      assert.matches("is not a header name", blamed(function() headers.vary(h, "A, B") end))
    end)
  end)
end)
