local cookies = require "weft.cookies"

--- The message of the error that `serialize` raises, which must blame a line of this file.
local function problem(...)
  local _, message = pcall(function(...)
    local line = cookies.serialize(...)
    return line
  end, ...)
  return (message:match('cookies_spec%.lua:%d+: (.*)') or error("blames no one: " .. message))
end

describe("cookies", function()
  describe("parse", function()
    it("splits at semicolons and trims (semantics 82)", function()
      assert.same({ a = "1", b = "2", c = "3" }, cookies.parse("a=1; b=2;\t c = 3 ;"))
      assert.same({}, cookies.parse(""))
      assert.same({}, cookies.parse(nil))
      assert.same({}, cookies.parse(" ; ;; "))
    end)

    it("separates at the first equals sign (semantics 82)", function()
      assert.same({ a = "b=c", d = "=" }, cookies.parse("a=b=c; d=="))
    end)

    it("keeps the last of duplicate cookies (semantics 82)", function()
      assert.same({ a = "3", b = "2" }, cookies.parse("a=1; b=2; a=3"))
    end)

    it("gives a chunk without a name the empty name (semantics 82)", function()
      assert.same({ [""] = "alone", a = "1" }, cookies.parse("alone; a=1"))
      assert.same({ [""] = "x" }, cookies.parse("=x"))
      assert.same({ a = "" }, cookies.parse("a="))
    end)

    it("unquotes quoted values (semantics 82)", function()
      assert.same({ a = "x y", b = "", c = '"', d = '"x' },
        cookies.parse([[a="x y"; b=""; c="; d="x]]))
      assert.same({ a = [[say "hi"\]], b = "a;b", c = "éA8" },
        cookies.parse([[a="say \"hi\"\\"; b="a\073b"; c="\303\251\1018"]]))
      assert.same({ a = "n9", b = "400" }, cookies.parse([[a="\n9"; b="\400"]]))
    end)

    it("does not decode percent signs or plus", function()
      assert.same({ a = "%41+b" }, cookies.parse("a=%41+b"))
    end)

    it("never raises, whatever the bytes (semantics 82)", function()
      local seed = 7
      local alphabet = { "a", "=", ";", '"', "\\", " ", "\0", "\255", "1", "\t" }
      for _ = 1, 2000 do
        local bytes = {}
        for i = 1, 20 do
          seed = seed * 16807 % 2147483647
          bytes[i] = alphabet[seed % #alphabet + 1]
        end
        for name, value in pairs(cookies.parse(table.concat(bytes))) do
          assert.equal("string", type(name))
          assert.equal("string", type(value))
        end
      end
    end)

    it("reads no more than 200", function()
      local chunks = {}
      for i = 1, 300 do chunks[i] = "c" .. i .. "=x" end
      local values = cookies.parse(table.concat(chunks, "; "))
      assert.equal("x", values.c200)
      assert.is_nil(values.c201)
    end)
  end)

  describe("serialize", function()
    it("has the path / unless told otherwise", function()
      assert.equal("a=1; Path=/", cookies.serialize("a", "1"))
      assert.equal("a=1; Path=/x", cookies.serialize("a", 1, { path = "/x" }))
      assert.equal("a=; Path=/", cookies.serialize("a", ""))
    end)

    it("writes every attribute", function()
      assert.equal("a=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Path=/p; Domain=example.org; "
        .. "Secure; HttpOnly; SameSite=Strict", cookies.serialize("a", "1", {
        expires = 784111777, path = "/p", domain = "example.org", secure = true,
        http_only = true, same_site = "strict",
      }))
      assert.equal("a=1; Path=/; SameSite=Lax", cookies.serialize("a", "1", { same_site = "lax" }))
      assert.equal("a=1; Path=/", cookies.serialize("a", "1", { secure = false }))
    end)

    it("writes Expires beside Max-Age (semantics 91)", function()
      local time = os.time
      os.time = function() return 784111777 - 60 end -- luacheck: ignore
      local ok, line = pcall(cookies.serialize, "a", "1", { max_age = 60 })
      os.time = time -- luacheck: ignore
      assert.is_true(ok)
      assert.equal("a=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Max-Age=60; Path=/", line)
    end)

    it("makes an age of 0 or less a time long past", function()
      local gone = "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/"
      assert.equal(gone, cookies.serialize("a", "1", { max_age = 0 }))
      assert.equal(gone, cookies.serialize("a", "1", { max_age = -5 }))
    end)

    it("writes an endless age with four digits for the year", function()
      assert.matches("Expires=Fri, 31 Dec 9999 23:59:59 GMT; Max%-Age=%d+;",
        cookies.serialize("a", "1", { max_age = math.huge }))
    end)

    it("refuses max_age and expires together (semantics 91)", function()
      assert.equal('cookie "a": give max_age or expires, not both',
        problem("a", "1", { max_age = 1, expires = 1 }))
    end)

    it("refuses names that are no tokens", function()
      for _, name in ipairs { "", "a b", "a=", "a;", "é", "a\n" } do
        assert.matches("is not a cookie's name", problem(name, "1"))
      end
      assert.matches("is not a cookie's name", problem(nil, "1"))
    end)

    it("refuses bytes that a value cannot carry (RFC 6265)", function()
      local carried = 0
      for code = 0, 255 do
        local char = string.char(code)
        if code <= 32 or code >= 127 or ('",;\\'):find(char, 1, true) then
          assert.matches("a byte that cookies cannot carry", problem("a", "x" .. char))
        else
          assert.equal("a=x" .. char .. "; Path=/", cookies.serialize("a", "x" .. char))
          assert.same({ a = "x" .. char }, cookies.parse("a=x" .. char))
          carried = carried + 1
        end
      end
      assert.equal(90, carried)
      assert.equal('cookie "a": the value is a string, not a table', problem("a", {}))
    end)

    it("refuses attributes that would end early or lie", function()
      assert.matches("path must begin", problem("a", "1", { path = "x" }))
      assert.matches("path must begin", problem("a", "1", { path = "" }))
      assert.matches("path must begin", problem("a", "1", { path = "/; Secure" }))
      assert.matches("path must begin", problem("a", "1", { path = "/\n" }))
      assert.matches("domain is not", problem("a", "1", { domain = "a; Secure" }))
      assert.matches("domain is not", problem("a", "1", { domain = "" }))
      assert.matches('same_site is "lax"', problem("a", "1", { same_site = "Lax" }))
      assert.matches("must be numbers", problem("a", "1", { max_age = 0 / 0 }))
    end)

    it("refuses options that it does not know, and of the wrong type", function()
      assert.equal('cookie "a": there is no option "httponly"',
        problem("a", "1", { httponly = true }))
      assert.equal('cookie "a": secure is a boolean, not a number',
        problem("a", "1", { secure = 1 }))
    end)

    it("refuses same_site none without secure", function()
      assert.matches("requires secure", problem("a", "1", { same_site = "none" }))
      assert.equal("a=1; Path=/; Secure; SameSite=None",
        cookies.serialize("a", "1", { same_site = "none", secure = true }))
    end)

    it("enforces the rules of the prefixes", function()
      assert.matches("prefix requires secure", problem("__Secure-a", "1"))
      assert.matches("prefix requires secure", problem("__secure-a", "1"))
      assert.matches("prefix requires secure", problem("__Host-a", "1"))
      assert.matches("no domain",
        problem("__Host-a", "1", { secure = true, domain = "example.org" }))
      assert.matches('the path "/"', problem("__HOST-a", "1", { secure = true, path = "/x" }))
      assert.equal("__Host-a=1; Path=/; Secure",
        cookies.serialize("__Host-a", "1", { secure = true }))
      assert.equal("__Secure-a=1; Path=/x; Secure",
        cookies.serialize("__Secure-a", "1", { secure = true, path = "/x" }))
    end)

    it("blames whom the level names", function()
      local function set_cookie()
        local line = cookies.serialize("a b", "1", nil, 3)
        return line
      end
      local expected
      local _, message = pcall(function()
        expected = debug.getinfo(1, "l").currentline + 1
        local line = set_cookie()
        return line
      end)
      assert.matches("cookies_spec.lua:" .. expected .. ": ", message, 1, true)
    end)
  end)

  describe("delete", function()
    local GONE = "=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path="

    it("expires the cookie in 1970 (semantics 91)", function()
      assert.equal("a" .. GONE .. "/", cookies.delete("a"))
      assert.equal("a" .. GONE .. "/x; Domain=example.org; HttpOnly; SameSite=Lax",
        cookies.delete("a", {
          path = "/x", domain = "example.org", http_only = true, same_site = "lax",
        }))
    end)

    it("adds Secure where the browser requires it (semantics 91)", function()
      assert.equal("__Secure-a" .. GONE .. "/; Secure", cookies.delete("__Secure-a"))
      assert.equal("__Host-a" .. GONE .. "/; Secure", cookies.delete("__Host-a"))
      assert.equal("a" .. GONE .. "/; Secure; SameSite=None",
        cookies.delete("a", { same_site = "none" }))
    end)

    it("may be given the options of the setting, and leaves them alone", function()
      local options = { max_age = 60, path = "/x", same_site = "none", secure = true }
      assert.equal("a" .. GONE .. "/x; Secure; SameSite=None", cookies.delete("a", options))
      assert.same({ max_age = 60, path = "/x", same_site = "none", secure = true }, options)
    end)

    it("refuses what serialize refuses", function()
      for _, options in ipairs { { path = "x" }, { nonsense = true } } do
        local ok, message = pcall(function()
          local line = cookies.delete("a", options)
          return line
        end)
        assert.is_false(ok)
        assert.matches('cookies_spec.lua:%d+: cookie "a": ', message)
      end
    end)
  end)

  describe("http_date", function()
    it("writes dates as HTTP does", function()
      assert.equal("Sun, 06 Nov 1994 08:49:37 GMT", cookies.http_date(784111777))
      assert.equal("Thu, 01 Jan 1970 00:00:00 GMT", cookies.http_date(0))
      assert.equal("Thu, 01 Jan 1970 00:00:00 GMT", cookies.http_date(-1))
      assert.equal("Fri, 31 Dec 9999 23:59:59 GMT", cookies.http_date(1e300))
    end)

    it("agrees with the C library at every month's end until 2400", function()
      for year = 1971, 2400 do
        for month = 1, 12 do
          for day = 0, 1 do
            local epoch = os.time { year = year, month = month, day = day, hour = 12 }
            assert.equal(os.date("!%a, %d %b %Y %H:%M:%S GMT", epoch), cookies.http_date(epoch))
          end
        end
      end
    end)
  end)
end)
