-- JSON as `weft.core` offers it: what decode takes and refuses, what encode
-- writes and refuses, and that values come back. How requests and responses
-- use it is not tested here.

local json = require("weft.core").json

local function refused(text, message, depth)
  local value, err = json.decode(text, depth)
  assert.is_nil(value)
  assert.equal(message, err)
end

local function raises(message, value, depth)
  local ok, err = pcall(json.encode, value, depth)
  assert.is_false(ok)
  assert.equal("cannot encode " .. message, (err:gsub("^[^ ]+:%d+: ", "")))
end

-- Seconds of CPU that `work` takes.
local function seconds(work)
  collectgarbage()
  local start = os.clock()
  work()
  return os.clock() - start
end

describe("json.decode", function()
  it("reads each kind of value", function()
    assert.equal(json.null, json.decode("null"))
    assert.is_true(json.decode("true"))
    assert.is_false(json.decode("false"))
    assert.equal(-12.5, json.decode("-12.5"))
    assert.equal("text", json.decode('"text"'))
    assert.same({ 1, { a = "b" }, {} }, json.decode('[1,{"a":"b"},[]]'))
    assert.same({ a = { b = { false } } }, json.decode('{"a":{"b":[false]}}'))
  end)

  it("takes space between tokens, and no other", function()
    assert.same({ a = { 1, 2 } }, json.decode(' \t\r\n{ "a" :\n[ 1 ,\t2 ] } \r\n'))
    refused("\f1", "unexpected byte 0x0C at byte 1")
    refused("1\v", "unexpected byte 0x0B at byte 2")
    refused("\194\1601", "unexpected byte 0xC2 at byte 1")
    refused("\239\187\1911", "unexpected byte 0xEF at byte 1")
  end)

  it("decodes null to one light userdata, in tables too", function()
    assert.equal("userdata", type(json.null))
    local value = json.decode('{"a":null,"b":[null]}')
    assert.equal(json.null, value.a)
    assert.equal(json.null, value.b[1])
    assert.equal("userdata: NULL", tostring(json.null))
  end)

  it("lets the last of equal keys win, in small objects and large ones", function()
    assert.same({ a = 3, b = 2 }, json.decode('{"a":1,"b":2,"a":3}'))
    local pairs_text = {}
    for i = 1, 100 do
      pairs_text[i] = ('"k%d":%d'):format(i % 50, i)
    end
    local value = json.decode("{" .. table.concat(pairs_text, ",") .. "}")
    for i = 51, 100 do
      assert.equal(i, value["k" .. i % 50])
    end
  end)

  it("reads containers of every size around that at which tables are built early", function()
    for count = 0, 80 do
      local items, members = {}, {}
      for i = 1, count do
        items[i] = tostring(i)
        members[i] = ('"k%d":[%d]'):format(i, i)
      end
      local array = json.decode("[" .. table.concat(items, ",") .. "]")
      local object = json.decode("{" .. table.concat(members, ",") .. "}")
      assert.equal(count, #array)
      local seen = 0
      for key, value in pairs(object) do
        assert.equal(key, "k" .. value[1])
        seen = seen + 1
      end
      assert.equal(count, seen)
      for i = 1, count do
        assert.equal(i, array[i])
      end
    end
  end)

  it("refuses what is not one whole value", function()
    refused("", "unexpected end at byte 1")
    refused("  ", "unexpected end at byte 3")
    refused("1 2", 'unexpected "2" at byte 3')
    refused("{}]", 'unexpected "]" at byte 3')
    refused("nul", 'unexpected "n" at byte 1')
    refused("truE", 'unexpected "t" at byte 1')
    refused("falsy", 'unexpected "f" at byte 1')
    refused("nullx", 'unexpected "x" at byte 5')
    refused("NaN", 'unexpected "N" at byte 1')
    refused("Infinity", 'unexpected "I" at byte 1')
    refused("'a'", 'unexpected "\'" at byte 1')
    refused("1\0", "unexpected byte 0x00 at byte 2")
    refused("\0", "unexpected byte 0x00 at byte 1")
    refused("// no\n1", 'unexpected "/" at byte 1')
    refused("[1,/* no */2]", 'unexpected "/" at byte 4')
  end)

  it("refuses broken arrays and objects", function()
    refused("[1,]", 'unexpected "]" at byte 4')
    refused("[,1]", 'unexpected "," at byte 2')
    refused("[1 2]", 'unexpected "2" at byte 4')
    refused("[1}", 'unexpected "}" at byte 3')
    refused("[1", "unexpected end at byte 3")
    refused("[", "unexpected end at byte 2")
    refused('{"a":1,}', 'unexpected "}" at byte 8')
    refused('{"a" 1}', 'unexpected "1" at byte 6')
    refused('{"a":}', 'unexpected "}" at byte 6')
    refused('{"a"}', 'unexpected "}" at byte 5')
    refused('{"a":1 "b":2}', "unexpected string at byte 8")
    refused("{1:2}", 'unexpected "1" at byte 2')
    refused("{a:2}", 'unexpected "a" at byte 2')
    refused("{null:2}", 'unexpected "n" at byte 2')
    refused('{"a":1]', 'unexpected "]" at byte 7')
    refused('{"a":1', "unexpected end at byte 7")
    refused("{", "unexpected end at byte 2")
    refused("}", 'unexpected "}" at byte 1')
  end)

  it("raises for an argument that is no string, and for a senseless depth", function()
    for _, value in ipairs({ 1, true, {}, print }) do
      assert.has_error(function() json.decode(value) end)
    end
    assert.has_error(function() json.decode() end)
    assert.has_error(function() json.decode("1", 0) end)
    assert.has_error(function() json.decode("1", 1001) end)
  end)

  describe("of a string", function()
    it("knows each escape", function()
      assert.equal('"\\/\b\f\n\r\t', json.decode([["\"\\\/\b\f\n\r\t"]]))
      assert.equal("aA\0z", json.decode([["\u0061\u0041\u0000z"]]))
      assert.equal("\195\169", json.decode([["\u00E9"]]))
      assert.equal("\226\130\172", json.decode([["\u20aC"]]))
      assert.equal("\240\159\152\128", json.decode([["\uD83D\uDE00"]]))
      assert.equal("\240\144\128\128", json.decode([["\ud800\udc00"]]))
      assert.equal("\244\143\191\191", json.decode([["\udbff\udfff"]]))
      assert.equal("\239\191\191", json.decode([["\uffff"]]))
      assert.same({ ["a\nb"] = 1 }, json.decode([[{"a\nb":1}]]))
    end)

    it("refuses other escapes", function()
      refused([["\x41"]], "invalid escape at byte 2")
      refused([["ab\'"]], "invalid escape at byte 4")
      refused([["\U0041"]], "invalid escape at byte 2")
      refused([["\u12"]], "invalid escape at byte 2")
      refused([["\u12g4"]], "invalid escape at byte 2")
      refused([["\u 123"]], "invalid escape at byte 2")
      refused('"\\\0"', "invalid escape at byte 2")
      refused([["\]], "invalid escape at byte 2")
      refused([["\u004]], "invalid escape at byte 2")
    end)

    it("refuses lone surrogates", function()
      for _, escape in ipairs({
        [[\ud800]], [[\udbff.]], [[\udc00]], [[\udfff]], [[\ud800\n]], [[\ud83d\u0041]],
        [[\ud83d\ud83d]], [[\ude00\ud83d]], [[\ude00\ude00]], [[\ud83d\ude0]], [[\ud83d\xde00]],
      }) do
        refused('"a' .. escape .. '"', "lone surrogate at byte 3")
      end
    end)

    it("refuses control bytes, and takes DEL", function()
      for byte = 0, 31 do
        refused('"ab' .. string.char(byte) .. '"', "control byte in a string at byte 4")
      end
      assert.equal("\127", json.decode('"\127"'))
    end)

    it("takes every UTF-8 sequence at the edges of its range", function()
      for _, text in ipairs({
        "\194\128", "\223\191", "\224\160\128", "\236\191\191", "\237\128\128", "\237\159\191",
        "\238\128\128", "\239\191\191", "\240\144\128\128", "\243\191\191\191",
        "\244\143\191\191", "\226\128\168\226\128\169",
      }) do
        assert.equal(text, json.decode('"' .. text .. '"'))
        assert.equal('"' .. text .. '"', json.encode(text))
      end
    end)

    it("refuses what is not UTF-8, wherever it stands among eight bytes", function()
      for _, bytes in ipairs({
        "\128", "\191", "\192\128", "\193\191", "\194", "\194a", "\194\194\128", "\224\159\191",
        "\224\160", "\224\160a", "\237\160\128", "\237\191\191", "\240\143\191\191",
        "\240\144\128", "\240\144\128a", "\240\144a\128", "\244\144\128\128",
        "\245\128\128\128", "\254", "\255",
      }) do
        for before = 0, 9 do
          local text = ("a"):rep(before) .. bytes
          refused('"' .. text .. '"', "invalid UTF-8 at byte " .. before + 2)
          refused('"' .. text .. ("b"):rep(9) .. '"', "invalid UTF-8 at byte " .. before + 2)
          raises("a string that is not UTF-8 at $", text)
        end
      end
      refused('"\208\159\208\191\208"', "invalid UTF-8 at byte 6")
    end)

    it("ends at the quote, wherever it stands among eight bytes", function()
      for len = 0, 40 do
        local text = ("x"):rep(len)
        assert.equal(text, json.decode('"' .. text .. '"'))
        assert.same({ text, text }, json.decode('["' .. text .. '","' .. text .. '"]'))
        assert.equal(text .. "\n" .. text, json.decode('"' .. text .. "\\n" .. text .. '"'))
        refused('"' .. text, ("unexpected end at byte %d"):format(len + 2))
      end
    end)

    it("unescapes strings of any length", function()
      for _, count in ipairs({ 1, 500, 1023, 1024, 1025, 2048, 5000, 100000 }) do
        assert.equal(("\nab"):rep(count), json.decode('"' .. ("\\nab"):rep(count) .. '"'))
      end
      local long, short = ("\\t"):rep(9000), "\\t."
      local value = json.decode(('["%s","%s","%s"]'):format(short, long, short))
      assert.same({ "\t.", ("\t"):rep(9000), "\t." }, value)
    end)
  end)

  describe("of a number", function()
    it("takes JSON's grammar alone", function()
      for text, value in pairs({
        ["0"] = 0, ["7"] = 7, ["10"] = 10, ["-3"] = -3, ["0.5"] = 0.5, ["1.50"] = 1.5,
        ["1e2"] = 100, ["1E+2"] = 100, ["1e-2"] = 0.01, ["-0.25e1"] = -2.5, ["0e5"] = 0,
        ["0e99999999999999999999"] = 0, ["1e0002"] = 100,
      }) do
        assert.equal(value, json.decode(text))
      end
      for text, message in pairs({
        ["01"] = 'unexpected "1" at byte 2',
        ["-01"] = 'unexpected "1" at byte 3',
        ["+1"] = 'unexpected "+" at byte 1',
        ["-"] = "unexpected end at byte 2",
        ["-a"] = 'unexpected "a" at byte 2',
        ["."] = 'unexpected "." at byte 1',
        [".5"] = 'unexpected "." at byte 1',
        ["1."] = "unexpected end at byte 3",
        ["1.e5"] = 'unexpected "e" at byte 3',
        ["1e"] = "unexpected end at byte 3",
        ["1e+"] = "unexpected end at byte 4",
        ["1e5.5"] = 'unexpected "." at byte 4',
        ["0x10"] = 'unexpected "x" at byte 2',
        ["1_000"] = 'unexpected "_" at byte 2',
        ["1f"] = 'unexpected "f" at byte 2',
        ["--1"] = 'unexpected "-" at byte 2',
        ["-Infinity"] = 'unexpected "I" at byte 2',
      }) do
        refused(text, message)
      end
    end)

    it("keeps the sign of zero", function()
      assert.equal(-math.huge, 1 / json.decode("-0"))
      assert.equal(-math.huge, 1 / json.decode("-0.0e1"))
      assert.equal(math.huge, 1 / json.decode("0"))
      assert.equal("-0", json.encode(json.decode("-0")))
    end)

    it("rounds to the nearest double", function()
      assert.equal(0.1, json.decode("0.1"))
      assert.equal(123456789012345, json.decode("123456789012345"))
      assert.equal(2 ^ 53, json.decode("9007199254740992"))
      assert.equal(2 ^ 53, json.decode("9007199254740993"))
      assert.equal(2 ^ 53 + 4, json.decode("9007199254740995"))
      assert.equal(2 ^ 64, json.decode("18446744073709551616"))
      assert.equal(1e23, json.decode("1e23"))
      assert.equal(1e22, json.decode("10000000000000000000000"))
      assert.equal(2 ^ -1074, json.decode("5e-324"))
      assert.equal(2.2250738585072014e-308, json.decode("2.2250738585072012e-308"))
      assert.equal(0, json.decode("1e-400"))
      assert.equal(1, json.decode("0." .. ("9"):rep(1000)))
      assert.equal(1.5, json.decode("1.5" .. ("0"):rep(1000)))
    end)

    it("weighs exponents against decimals, however many there are", function()
      for _, count in ipairs({ 10, 100, 1000, 10000, 100000, 1000000 }) do
        local zeros = ("0"):rep(count)
        assert.equal(1, json.decode("0." .. zeros .. "1e" .. ("%d"):format(count + 1)))
        assert.equal(1, json.decode("1" .. zeros .. "e-" .. ("%d"):format(count)))
        refused("0." .. zeros:sub(2) .. "1e100000000", "number too large at byte 1")
      end
    end)

    it("refuses what is too large for a double", function()
      assert.equal(1.7976931348623157e308, json.decode("1.7976931348623157e308"))
      refused("[1e309]", "number too large at byte 2")
      refused("[1,-1e309]", "number too large at byte 4")
      refused("1e99999999999999999999", "number too large at byte 1")
    end)
  end)

  describe("of nested containers", function()
    it("stops at 100, or at the depth that is asked for", function()
      assert.is_table(json.decode(("["):rep(100) .. ("]"):rep(100)))
      refused(("["):rep(101) .. ("]"):rep(101), "nested too deep at byte 101")
      refused(('{"a":'):rep(101) .. "1" .. ("}"):rep(101), "nested too deep at byte 501")
      assert.is_table(json.decode("[[1]]", 2))
      refused("[[1],[{}]]", "nested too deep at byte 7", 2)
      assert.equal(1, json.decode("1", 1))
    end)

    it("has room for 1000 of them that are wide as well", function()
      local items = ("1,"):rep(30)
      local text = ("[" .. items):rep(1000) .. "1" .. ("]"):rep(1000)
      local value = assert(json.decode(text, 1000))
      for _ = 1, 999 do
        value = value[31]
      end
      assert.equal(31, #value)
      local members = {}
      for i = 1, 15 do
        members[i] = ('"k%d":%d,'):format(i, i)
      end
      text = ("{" .. table.concat(members) .. '"z":'):rep(1000) .. "1" .. ("}"):rep(1000)
      value = assert(json.decode(text, 1000))
      for _ = 1, 999 do
        assert.equal(15, value.k15)
        value = value.z
      end
    end)

    it("answers a depth bomb at once", function()
      local bombs = { ("["):rep(5e6), ('{"a":'):rep(1e6), ('[{"a":'):rep(1e6) }
      assert.is_true(seconds(function()
        for _, bomb in ipairs(bombs) do
          assert.is_nil((json.decode(bomb)))
          assert.is_nil((json.decode(bomb, 1000)))
        end
      end) < 0.1)
    end)
  end)

  it("takes 32,000 different keys in a fraction of a second", function()
    local short, long = {}, {}
    for i = 1, 32000 do
      short[i] = ('"key%d":%d'):format(i, i)
      -- differ in the middle alone, where hashes that sample do not look
      long[i] = ('"%s%06d%s":%d'):format(("a"):rep(70), i, ("b"):rep(51), i)
    end
    for _, members in ipairs({ short, long }) do
      local text = "{" .. table.concat(members, ",") .. "}"
      local value
      assert.is_true(seconds(function() value = json.decode(text) end) < 0.3)
      local count = 0
      for _ in pairs(value) do
        count = count + 1
      end
      assert.equal(32000, count)
    end
  end)

  it("leaves nothing behind when the text is bad", function()
    local text = '["' .. ("\\n"):rep(10000) .. '",{"a":[1,2,'
    local function decode_many()
      for _ = 1, 200 do
        assert.is_nil((json.decode(text)))
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    local before = decode_many()
    assert.is_true(decode_many() < before + 64)
  end)
end)

describe("json.encode", function()
  it("writes each kind of value", function()
    assert.equal("null", json.encode(json.null))
    assert.equal("null", json.encode(nil))
    assert.equal("true", json.encode(true))
    assert.equal("false", json.encode(false))
    assert.equal("1.5", json.encode(1.5))
    assert.equal('"text"', json.encode("text"))
    assert.equal('[1,"a",[true],{"b":null}]', json.encode({ 1, "a", { true }, { b = json.null } }))
    assert.has_error(function() json.encode() end)
  end)

  it("escapes what must be, and nothing else", function()
    assert.equal([["\"\\\b\t\n\f\r"]], json.encode('"\\\b\t\n\f\r'))
    assert.equal([["\u0000\u0001\u001f"]], json.encode("\0\1\31"))
    assert.equal('"/</\127\'\226\128\168"', json.encode("/</\127'\226\128\168"))
    assert.equal([[{"a\"b":1}]], json.encode({ ['a"b'] = 1 }))
    assert.equal([["]] .. ([[\u0001]]):rep(5000) .. [["]], json.encode(("\1"):rep(5000)))
  end)

  it("writes objects in the order of next", function()
    local value = { b = 1, a = 2, [10] = 3, c = { 1 } }
    local members = {}
    for key, item in pairs(value) do
      members[#members + 1] = ('"%s":%s'):format(key, json.encode(item))
    end
    assert.equal("{" .. table.concat(members, ",") .. "}", json.encode(value))
  end)

  it("does not call metamethods", function()
    local value = setmetatable({ a = 1 }, {
      __index = function() error("called") end,
      __pairs = function() error("called") end,
      __len = function() error("called") end,
      __tostring = function() error("called") end,
    })
    assert.equal('{"a":1}', json.encode(value))
  end)

  describe("of a number", function()
    it("writes integers to 2^53 with digits alone", function()
      for text, value in pairs({
        ["0"] = 0, ["7"] = 7, ["-1"] = -1, ["100000000000000"] = 1e14,
        ["123456789012345"] = 123456789012345, ["9007199254740992"] = 2 ^ 53,
        ["-9007199254740992"] = -2 ^ 53, ["9007199254740991"] = 2 ^ 53 - 1,
      }) do
        assert.equal(text, json.encode(value))
      end
    end)

    it("writes others in the shortest form that reads back", function()
      for text, value in pairs({
        ["0.1"] = 0.1, ["-0.5"] = -0.5, ["3.14"] = 3.14, ["98.6"] = 98.6,
        ["0.3"] = 0.3, ["0.30000000000000004"] = 0.1 + 0.2, ["0.3333333333333333"] = 1 / 3,
        ["0.0001"] = 0.0001, ["1e-05"] = 0.00001, ["123456.789"] = 123456.789,
        ["999999.999999"] = 999999.999999, ["99999999.99"] = 99999999.99,
        ["1.0000000000000002"] = 1 + 2 ^ -52, ["0.9999999999999999"] = 1 - 2 ^ -53,
        ["9007199254740994"] = 2 ^ 53 + 2, ["1e+16"] = 1e16, ["1e+23"] = 1e23,
        ["1.7976931348623157e+308"] = 1.7976931348623157e308, ["1e-300"] = 1e-300,
        ["123456789012.34567"] = 123456789012.34567,
      }) do
        assert.equal(text, json.encode(value))
      end
    end)

    it("prints the double right that some versions of LuaJIT get wrong", function()
      local number = 0x1.144399609d407p+401
      assert.equal(number, json.decode(json.encode(number)))
    end)
  end)

  describe("of a table", function()
    it("takes [1] as the sign of an array", function()
      assert.equal("[1,2,3]", json.encode({ 1, 2, 3 }))
      assert.equal("{}", json.encode({}))
      assert.equal('{"2":"a"}', json.encode({ [2] = "a" }))
      assert.equal('{"0":"a"}', json.encode({ [0] = "a" }))
      assert.equal('{"1.5":"a"}', json.encode({ [1.5] = "a" }))
      assert.equal('{"-1":"a"}', json.encode({ [-1] = "a" }))
    end)

    it("finds the items of an array wherever the table keeps them", function()
      local backwards, one_by_one = {}, {}
      for i = 100, 1, -1 do
        backwards[i] = i
        one_by_one[101 - i] = 101 - i
      end
      local expected = "[" .. table.concat(one_by_one, ",") .. "]"
      assert.equal(expected, json.encode(backwards))
      assert.equal(expected, json.encode(one_by_one))
      for count = 1, 40 do
        local shrunk = { unpack(one_by_one) }
        for i = 100, count + 1, -1 do
          shrunk[i] = nil
        end
        shrunk.x = 1
        shrunk.x = nil
        expected = "[" .. table.concat(one_by_one, ",", 1, count) .. "]"
        assert.equal(expected, json.encode(shrunk))
      end
      for room = 1, 20 do
        for count = 1, 5 do
          local hashed = {}
          for i = 1, room do
            hashed["key" .. i] = i
          end
          for i = 1, room do
            hashed["key" .. i] = nil
          end
          for i = 1, count do
            hashed[i] = i
          end
          expected = "[" .. table.concat(one_by_one, ",", 1, count) .. "]"
          assert.equal(expected, json.encode(hashed))
        end
      end
    end)

    it("heeds the marks", function()
      assert.equal("[]", json.encode(json.array({})))
      assert.equal("{}", json.encode(json.object({})))
      assert.equal("[1]", json.encode(json.array({ 1 })))
      assert.equal('{"1":"a"}', json.encode(json.object({ "a" })))
      assert.equal('{"a":[]}', json.encode({ a = json.array({}) }))
      assert.equal("{}", json.encode(json.object(json.array({}))))
      assert.equal("[]", json.encode(json.array(json.object({}))))
    end)

    it("refuses an array with a hole, and says which", function()
      raises("a sparse array (its [2] is missing) at $", { 1, nil, 3 })
      raises("a sparse array (its [3] is missing) at $.list", { list = { 1, 2, [4] = 4 } })
      raises("a sparse array (its [1] is missing) at $", json.array({ [2] = 1 }))
      raises("a sparse array (its [2] is missing) at $", { 1, [2 ^ 40] = 1 })
    end)

    it("refuses an array with other keys", function()
      raises("a string as a key of an array at $.x", { 1, 2, x = 3 })
      raises('a string as a key of an array at $["1"]', { 1, ["1"] = 1 })
      raises("a string as a key of an array at $.a.x", { a = json.array({ x = 1 }) })
      raises("a boolean as a key of an array at $.a", { a = { 1, [true] = 1 } })
      raises("a number below 1 or a fraction as a key of an array at $[0]", { 1, [0] = 0 })
      raises("a number below 1 or a fraction as a key of an array at $[1.5]", { 1, [1.5] = 0 })
      raises("a number below 1 or a fraction as a key of an array at $[-1]", { 1, [-1] = 0 })
    end)

    it("refuses keys that JSON cannot say", function()
      raises("a boolean as a key at $", { [true] = 1 })
      raises("a table as a key at $.a", { a = { [{}] = 1 } })
      raises("a function as a key at $", { [print] = 1 })
      raises("a userdata as a key at $", { [json.null] = 1 })
      raises("a string that is not UTF-8 at $[\"a?\"]", { ["a\255"] = 1 })
      raises("an infinite number at $[inf]", { [math.huge] = 1 })
      raises("a key that is there as a number and as a string at $[2]",
        json.object({ [2] = 1, ["2"] = 1 }))
    end)
  end)

  it("refuses what JSON cannot say, and names the place", function()
    raises("a function at $", print)
    raises("a function at $.a.b[3]", { a = { b = { 1, 2, print } } })
    raises("a coroutine at $[1]", { coroutine.create(print) })
    raises("a userdata at $.file", { file = io.stdout })
    raises("a userdata at $", debug.upvalueid(function() return raises end, 1))
    raises("a cdata value at $[1]", { require("ffi").new("int64_t", 1) })
    raises("a number that is NaN at $.n", { n = 0 / 0 })
    raises("an infinite number at $", math.huge)
    raises("an infinite number at $[2]", { 1, -math.huge })
    raises("a string that is not UTF-8 at $.s", { s = "\255" })
    raises('a function at $["a b"]["?x"]._1["2"]',
      { ["a b"] = { ["\nx"] = { _1 = { ["2"] = print } } } })
    raises("a function at $[7]", json.object({ [7] = print }))
  end)

  it("cuts a place that is too long to read", function()
    local value = print
    for _ = 1, 90 do
      value = { longer = value }
    end
    raises("a function at $" .. (".longer"):rep(90):sub(1, 195) .. "...", value)
  end)

  it("says where in the script the mistake is", function()
    local _, err = pcall(function() json.encode(print) end)
    assert.matches("^tests/lua/json_spec.lua:%d+: cannot", (err:gsub("^.*/tests/", "tests/")))
  end)

  it("stops at 100 nested tables, or at the depth that is asked for", function()
    local function nest(depth)
      local value = {}
      for _ = 2, depth do
        value = { value }
      end
      return value
    end
    assert.equal(("["):rep(99) .. "{}" .. ("]"):rep(99), json.encode(nest(100)))
    raises("more than 100 nested tables at $" .. ("[1]"):rep(65) .. "...", nest(101))
    raises("more than 2 nested tables at $[1][1]", nest(3), 2)
    assert.equal(2 * 1000, #json.encode(nest(1000), 1000))
    assert.has_error(function() json.encode(1, 0) end)
    assert.has_error(function() json.encode(1, 1001) end)
  end)

  it("finds tables that are inside themselves", function()
    local value = {}
    value.self = value
    raises("a table that is inside itself at $.self", value)
    raises("a table that is inside itself at $.a.self", { a = value })
    local parent = {}
    parent.children = { { parent = parent } }
    raises("a table that is inside itself at $.children[1].parent", parent)
    raises("a table that is inside itself at $.children[1].parent", parent, 1000)
  end)

  it("writes one table twice where that is no circle", function()
    local shared = { 1 }
    assert.equal("[[1],[1]]", json.encode({ shared, shared }))
  end)
end)

describe("json.array and json.object", function()
  it("return the table they are given", function()
    local t = {}
    assert.equal(t, json.array(t))
    assert.equal(t, json.object(t))
  end)

  it("leave a table of a class alone", function()
    local class = {}
    for _, mark in ipairs({ json.array, json.object }) do
      local t = setmetatable({}, class)
      assert.has_error(function() mark(t) end)
      assert.equal(class, getmetatable(t))
      assert.has_error(function() mark("text") end)
      assert.has_error(function() mark() end)
    end
  end)
end)

describe("a value that goes both ways", function()
  it("keeps empty arrays and empty objects apart", function()
    assert.equal('[[],{},[[]]]', json.encode(json.decode("[[],{},[[]]]")))
    assert.equal('{"a":[]}', json.encode(json.decode('{"a":[]}')))
  end)

  it("stays an array when its items are removed", function()
    local value = json.decode("[1]")
    value[1] = nil
    assert.equal("[]", json.encode(value))
  end)

  it("stays null", function()
    assert.equal("[null,1]", json.encode(json.decode("[null,1]")))
  end)

  it("is the same, for any string", function()
    for byte = 0, 127 do
      for before = 0, 9 do
        local text = ("x"):rep(before) .. string.char(byte) .. "y"
        assert.equal(text, json.decode(json.encode(text)))
      end
    end
    local pieces = {
      "a", '"', "\\", "\n", "\0", "/", "\195\169", "\226\130\172", "\240\159\152\128",
    }
    for _ = 1, 2000 do
      local parts = {}
      for i = 1, math.random(0, 40) do
        parts[i] = pieces[math.random(#pieces)]
      end
      local text = table.concat(parts)
      assert.equal(text, json.decode(json.encode(text)))
      assert.equal(text, next(json.decode(json.encode({ [text] = 1 }))))
    end
  end)

  it("is the same, for any number", function()
    local ffi = require("ffi")
    local bits = ffi.new("union { uint32_t half[2]; double number; }")
    for i = 1, 20000 do
      -- below the exponent of infinity and NaN, which LuaJIT's values are made of
      bits.half[0], bits.half[1] = math.random(0, 2 ^ 32 - 1), math.random(0, 0x7fefffff)
      local any, price = bits.number, math.random(-1e9, 1e9) / 100
      local place, power = math.random() * 360 - 180, 2 ^ (i % 100 - 50)
      assert.equal(any, json.decode(json.encode(any)))
      assert.equal(-any, json.decode(json.encode(-any)))
      assert.equal(price, json.decode(json.encode(price)))
      assert.equal(place, json.decode(json.encode(place)))
      assert.equal(power, json.decode(json.encode(power)))
    end
  end)

  it("is the same, for trees of everything", function()
    local function grow(depth)
      local kind = math.random(depth > 0 and 7 or 5)
      if kind == 1 then
        return json.null
      elseif kind == 2 then
        return math.random() < 0.5
      elseif kind == 3 then
        return math.random(-1000, 1000) / 8
      elseif kind <= 5 then
        return ("s\n\195\169"):rep(math.random(0, 9))
      end
      local t = kind == 6 and json.array({}) or json.object({})
      for i = 1, math.random(0, 40) * math.random(0, 1) do
        t[kind == 6 and i or "key" .. i] = grow(depth - 1)
      end
      return t
    end
    for _ = 1, 300 do
      local value = grow(3)
      local text = json.encode(value)
      local copy = json.decode(text)
      assert.same(value, copy)
      assert.equal(#text, #json.encode(copy))
    end
  end)
end)

describe("the codec", function()
  it("can be used from a finalizer that runs in the middle of it", function()
    local calls = 0
    local function litter()
      local object = newproxy(true)
      getmetatable(object).__gc = function()
        assert(json.encode(json.decode('["\\n", {"a":[1,2]}]')))
        calls = calls + 1
      end
    end
    local value = {}
    for i = 1, 500 do
      value[i] = { name = "\n" .. i }
    end
    local text = json.encode(value)
    for _ = 1, 100 do
      litter()
      assert.same(value, json.decode(text))
      assert.equal(#text, #json.encode(value))
    end
    collectgarbage()
    assert.is_true(calls > 0)
  end)

  it("works in a coroutine", function()
    local resume = coroutine.wrap(function(text)
      while true do
        text = coroutine.yield(json.encode(json.decode(text)))
      end
    end)
    assert.equal("[1]", resume("[1]"))
    assert.equal('["a"]', resume('["a"]'))
  end)
end)
