local query = require "weft.query"

describe("query", function()
  describe("parse", function()
    it("gives the last value and the list of a name (semantics 79)", function()
      local values, lists = query.parse("a=1&b=2&a=3")
      assert.same({ a = "3", b = "2" }, values)
      assert.same({ a = { "1", "3" }, b = { "2" } }, lists)
    end)

    it("keeps blank values (semantics 79)", function()
      assert.same({ a = "", b = "", [""] = "x" }, (query.parse("a=&b&=x")))
      assert.same({ a = { "", "" } }, select(2, query.parse("a&a=")))
    end)

    it("passes over nothing between ampersands", function()
      assert.same({ a = "1", b = "2" }, (query.parse("&&a=1&&&b=2&")))
      assert.same({}, (query.parse("")))
      assert.same({}, (query.parse("&")))
    end)

    it("splits at the first equals sign of a field", function()
      assert.same({ a = "b=c==", d = "", e = "f" }, (query.parse("a=b=c==&d&e=f")))
      assert.same({ [""] = "=" }, (query.parse("==")))
    end)

    it("decodes names and values", function()
      assert.same({ ["a b"] = "c d&=", ["é"] = "+" }, (query.parse("a+b=c%20d%26%3D&%c3%A9=%2B")))
    end)

    it("joins what decodes to one name", function()
      assert.same({ a = { "1", "2" } }, select(2, query.parse("a=1&%61=2")))
    end)

    it("refuses more fields than the limit (semantics 80)", function()
      assert.same({ nil, "too many fields" }, { query.parse("a&b&c", 2) })
      assert.same({ a = "", b = "" }, (query.parse("&a&&b&", 2)))
      assert.same({ nil, "too many fields" }, { query.parse(("a&"):rep(1001)) })
      assert.equal(1000, #select(2, query.parse(("a&"):rep(1000))).a)
    end)

    it("gives plain tables: no name is hidden by another", function()
      local values = query.parse("__index=1&values=2&n=3")
      assert.is_nil(getmetatable(values))
      assert.same({ __index = "1", values = "2", n = "3" }, values)
    end)

    it("reads a megabyte without an equals sign in linear time", function()
      local started = os.clock()
      query.parse(("aaaaaaaaa&"):rep(100000), 200000)
      assert.is_true(os.clock() - started < 1)
    end)
  end)

  describe("decode", function()
    it("keeps broken escapes as they are", function()
      assert.equal("100%", query.decode("100%"))
      assert.equal("%4", query.decode("%4"))
      assert.equal("%zz %Az A", query.decode("%zz+%Az+%41"))
    end)

    it("decodes once, in either case, all bytes", function()
      assert.equal("%41", query.decode("%2541"))
      assert.equal("\171\171\171\171", query.decode("%ab%AB%aB%Ab"))
      assert.equal("a\0b", query.decode("a%00b"))
    end)
  end)

  describe("encode", function()
    it("escapes all but the unreserved bytes", function()
      assert.equal("azAZ09-._~", query.encode("azAZ09-._~"))
      assert.equal("a%20b%2Bc%26%3D%2F%25%00%C3%A9", query.encode("a b+c&=/%\0é"))
      assert.equal("42", query.encode(42))
    end)

    it("is undone by decode, for every byte", function()
      for code = 0, 255 do
        local text = "x" .. string.char(code) .. "y"
        assert.equal(text, query.decode(query.encode(text)))
      end
    end)

    it("refuses what is no text, at the caller's line", function()
      local _, message = pcall(function() return (query.encode({})) end)
      assert.matches("query_spec.lua:%d+: only strings and numbers can be encoded", message)
    end)
  end)

  describe("build", function()
    it("sorts names and repeats lists", function()
      assert.equal("a=1&b=2&b=3&c=true&d=",
        query.build { d = "", c = true, b = { 2, "3" }, a = "1", e = {} })
      assert.equal("", query.build {})
    end)

    it("escapes names and values", function()
      assert.equal("a%20b=c%26d", query.build { ["a b"] = "c&d" })
    end)

    it("refuses what has no place in a query, at the caller's line", function()
      for _, fields in ipairs { { "x" }, { a = print }, { a = { {} } } } do
        local _, message = pcall(function()
          local text = query.build(fields)
          return text
        end)
        assert.matches("query_spec.lua:%d+: ", message)
      end
    end)
  end)
end)
