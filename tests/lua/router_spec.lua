local Router = require "weft.router"

--- A router whose targets are the patterns themselves: "GET /a" registers GET on "/a".
local function router_of(...)
  local router = Router.new()
  for i, line in ipairs { ... } do
    local method, pattern = line:match("^(%S+) (.*)$")
    router:add(method, pattern, line, "app.lua:" .. i)
  end
  return router
end

local function problem(...)
  local ok, message = pcall(router_of, ...)
  assert.is_false(ok)
  return message
end

describe("router", function()
  describe("finding", function()
    it("finds literal paths without making params", function()
      local router = router_of("GET /", "GET /about", "GET /about/us", "GET /about/")
      for _, path in ipairs { "/", "/about", "/about/us", "/about/" } do
        local target, params = router:find("GET", path)
        assert.equal("GET " .. path, target)
        assert.is_nil(params)
      end
    end)

    it("gives nil and nil for an unknown path", function()
      local router = router_of("GET /about", "GET /users/:id")
      for _, path in ipairs {
        "/", "/abou", "/about/", "/about/x", "/users", "/users/", "/users/1/", "/users/1/2", "//",
        "", "*", "about",
      } do
        local target, allow = router:find("GET", path)
        assert.is_nil(target, path)
        assert.is_nil(allow, path)
      end
    end)

    it("takes params from their segments", function()
      local router = router_of("GET /users/:id", "GET /users/:user/posts/:post")
      local target, params = router:find("GET", "/users/42")
      assert.equal("GET /users/:id", target)
      assert.same({ id = "42" }, params)
      target, params = router:find("GET", "/users/7/posts/9")
      assert.equal("GET /users/:user/posts/:post", target)
      assert.same({ user = "7", post = "9" }, params)
    end)

    it("takes a path that is spelled like a pattern for any other", function()
      local router = router_of("GET /users/:id", "GET /f/*path")
      assert.same({ id = ":id" }, select(2, router:find("GET", "/users/:id")))
      assert.same({ path = "*path" }, select(2, router:find("GET", "/f/*path")))
    end)

    it("finds nothing for what does not begin with a slash", function()
      local router = router_of("GET /", "GET /*all")
      assert.is_nil(router:find("GET", "*"))
      assert.is_nil(router:find("GET", ""))
    end)

    it("gives each request params of its own", function()
      local router = router_of("GET /users/:id")
      local _, first = router:find("GET", "/users/1")
      local _, second = router:find("GET", "/users/2")
      assert.same({ id = "1" }, first)
      assert.same({ id = "2" }, second)
    end)

    it("names params as the method's own pattern does", function()
      local router = router_of("GET /users/:id", "POST /users/:name")
      local _, params = router:find("POST", "/users/x")
      assert.same({ name = "x" }, params)
    end)

    it("finds no param in an empty segment", function()
      local router = router_of("GET /:a/:b")
      assert.is_nil(router:find("GET", "//b"))
      assert.is_nil(router:find("GET", "/a/"))
    end)

    it("gives the rest of a path, also an empty one, but needs its slash", function()
      local router = router_of("GET /api/*path")
      local function rest(path) return select(2, router:find("GET", path)) end
      assert.same({ path = "a/b/c.d" }, rest("/api/a/b/c.d"))
      assert.same({ path = "a/" }, rest("/api/a/"))
      assert.same({ path = "" }, rest("/api/"))
      assert.same({ path = "/" }, rest("/api//"))
      assert.is_nil(rest("/api"))
      assert.is_nil(rest("/apis/x"))
    end)

    it("gives everything to a rest at the root", function()
      local router = router_of("GET /*all")
      assert.same({ all = "" }, select(2, router:find("GET", "/")))
      assert.same({ all = "a/b" }, select(2, router:find("GET", "/a/b")))
    end)

    it("decodes in params what the path keeps escaped", function()
      local router = router_of("GET /:name", "GET /f/*path")
      local function name(path) return select(2, router:find("GET", path)).name end
      assert.equal("a/b", name("/a%2Fb"))
      assert.equal("/", name("/%2F"))
      assert.equal("a/b/", name("/a%2Fb%2f"))
      assert.equal("%2F", name("/%252F"))
      assert.equal("x%252Fy/z", name("/x%25252Fy%2Fz"))
      assert.equal("100%", name("/100%"))
      assert.equal("%", name("/%"))
      assert.equal("%25", name("/%25"))
      assert.equal("a\255\128", name("/a%FF%80"))
      assert.equal("%FF%ff", name("/%25FF%25ff"))
      assert.equal("%25FF", name("/%2525FF"))
      assert.equal("%41", name("/%41"))
      assert.equal("%2", name("/%2"))
      assert.same({ path = "a/b/c" }, select(2, router:find("GET", "/f/a%2Fb/c")))
    end)
  end)

  describe("precedence", function()
    it("prefers literal text to a param and a param to the rest", function()
      local router = router_of("GET /*rest", "GET /:id", "GET /me")
      assert.equal("GET /me", (router:find("GET", "/me")))
      assert.equal("GET /:id", (router:find("GET", "/you")))
      assert.equal("GET /*rest", (router:find("GET", "/me/too")))
      assert.equal("GET /*rest", (router:find("GET", "/")))
    end)

    it("turns back where the literal segment leads nowhere", function()
      local router = router_of("GET /a/:x/c", "GET /a/b/d", "GET /:y/b/:z/e", "GET /a/*rest")
      local target, params = router:find("GET", "/a/b/c")
      assert.equal("GET /a/:x/c", target)
      assert.same({ x = "b" }, params)
      assert.equal("GET /a/b/d", (router:find("GET", "/a/b/d")))
      target, params = router:find("GET", "/a/b/q")
      assert.equal("GET /a/*rest", target)
      assert.same({ rest = "b/q" }, params)
      target, params = router:find("GET", "/q/b/c/e")
      assert.equal("GET /:y/b/:z/e", target)
      assert.same({ y = "q", z = "c" }, params)
    end)

    it("forgets the params of a way it turned back from", function()
      local router = router_of("GET /:a/:b/:c/x", "GET /:d/*rest")
      local target, params = router:find("GET", "/1/2/3/y")
      assert.equal("GET /:d/*rest", target)
      assert.same({ d = "1", rest = "2/3/y" }, params)
    end)

    it("agrees with trying every pattern in order of precedence", function()
      -- every pattern of up to three segments over this alphabet, and every path over it
      local parts, patterns = { "a", "b", ":%d", "*%d" }, {}
      local function make(prefix, depth)
        for _, part in ipairs(parts) do
          local pattern = prefix .. "/" .. part:format(depth)
          pattern = pattern:gsub("([:*])(%d)", "%1p%2")
          patterns[#patterns + 1] = pattern
          if depth < 3 and part:sub(1, 1) ~= "*" then make(pattern, depth + 1) end
        end
      end
      make("", 1)

      local function rank(pattern) -- sorts as precedence does: literal, param, rest
        return (pattern:gsub("/:p%d", "/~1"):gsub("/%*p%d", "/~2"))
      end
      local function fits(pattern, path)
        local expression = pattern:gsub("%*p%d", ".*"):gsub(":p%d", "[^/]+")
        return path:find("^" .. expression .. "$") ~= nil
      end

      local seed = 1
      local function random(n)
        seed = seed * 16807 % 2147483647
        return seed % n + 1
      end
      for _ = 1, 300 do
        local router, chosen = Router.new(), {}
        for _ = 1, random(8) do
          local pattern = table.remove(patterns, random(#patterns))
          chosen[#chosen + 1] = pattern
          router:add("GET", pattern, pattern, "x:1")
        end
        table.sort(chosen, function(a, b) return rank(a) < rank(b) end)
        for _ = 1, 40 do
          local path = ""
          for _ = 1, random(4) do path = path .. "/" .. ({ "a", "b", "c", "" })[random(4)] end
          local expected
          for _, pattern in ipairs(chosen) do
            if not expected and fits(pattern, path) then expected = pattern end
          end
          local found = router:find("GET", path)
          assert.equal(expected, found, path .. " among " .. table.concat(chosen, " "))
        end
        for _, pattern in ipairs(chosen) do patterns[#patterns + 1] = pattern end
      end
    end)

    it("does not explode on a path that fits everywhere and ends nowhere", function()
      local router = Router.new()
      for bits = 0, 255 do -- all mixtures of literal and param, eight deep
        local pattern = ""
        for i = 0, 7 do
          local is_param = math.floor(bits / 2 ^ i) % 2 == 1
          pattern = pattern .. (is_param and "/:p" .. i or "/a")
        end
        router:add("GET", pattern .. "/end", bits, "x:1")
      end
      local started = os.clock()
      for _ = 1, 20 do assert.is_nil(router:find("GET", ("/a"):rep(4000))) end
      assert.is_true(os.clock() - started < 1)
    end)
  end)

  describe("methods", function()
    it("lists those of a known path, for a 405 (semantics 94)", function()
      local router = router_of("POST /a", "GET /a", "DELETE /users/:id", "PUT /f/*path")
      assert.same({ nil, "GET, HEAD, POST" }, { router:find("DELETE", "/a") })
      assert.same({ nil, "DELETE" }, { router:find("GET", "/users/1") })
      assert.same({ nil, "PUT" }, { router:find("GET", "/f/") })
    end)

    it("lists them over every pattern that fits the path", function()
      local router =
        router_of("GET /users/me", "POST /users/:id", "PUT /*all", "PATCH /users/:id/x")
      assert.same({ nil, "GET, HEAD, POST, PUT" }, { router:find("DELETE", "/users/me") })
      assert.same({ nil, "POST, PUT" }, { router:find("DELETE", "/users/you") })
    end)

    it("tries the next pattern where the best one knows the method not", function()
      local router = router_of("GET /users/me", "POST /users/:id", "* /*all")
      local target, params = router:find("POST", "/users/me")
      assert.equal("POST /users/:id", target)
      assert.same({ id = "me" }, params)
      assert.equal("* /*all", (router:find("PUT", "/users/me")))
    end)

    it("answers HEAD from GET unless HEAD has a route", function()
      local router = router_of("GET /a", "GET /b", "HEAD /b", "GET /u/:id", "* /u/:id")
      assert.equal("GET /a", (router:find("HEAD", "/a")))
      assert.equal("HEAD /b", (router:find("HEAD", "/b")))
      assert.equal("GET /u/:id", (router:find("HEAD", "/u/1")))
    end)

    it("gives any method to a star, but a method's own route wins", function()
      local router = router_of("* /a", "GET /a", "* /b")
      assert.equal("GET /a", (router:find("GET", "/a")))
      assert.equal("* /a", (router:find("DELETE", "/a")))
      assert.equal("* /b", (router:find("HEAD", "/b")))
      assert.equal("* /b", (router:find("OPTIONS", "/b")))
    end)
  end)

  describe("registering", function()
    it("names both places when a route is there twice", function()
      assert.equal("app.lua:2: GET /a is registered already, as /a at app.lua:1",
        problem("GET /a", "GET /a"))
      assert.equal("app.lua:3: GET /u/:name is registered already, as /u/:id at app.lua:1",
        problem("GET /u/:id", "POST /u/:id", "GET /u/:name"))
      assert.matches("registered already", problem("* /f/*a", "* /f/*b"))
    end)

    it("says what is wrong with a pattern", function()
      local function reason(pattern) return problem("GET " .. pattern) end
      assert.equal('app.lua:1: route "users": must start with "/"', reason("users"))
      assert.matches('must start with "/"', reason(""))
      assert.matches('"*path" must be last', reason("/*path/x"), 1, true)
      assert.matches('":" needs a name', reason("/a/:"), 1, true)
      assert.matches('"*" needs a name', reason("/*"), 1, true)
      assert.matches('":9a" needs a name', reason("/:9a"), 1, true)
      assert.matches('":id.json" needs a name', reason("/:id.json"), 1, true)
      assert.matches('two parameters called "id"', reason("/:id/x/:id"), 1, true)
      assert.matches("empty segment", reason("/a//b"))
      assert.matches("more than 64 segments", reason(("/a"):rep(65)))
    end)

    it("refuses patterns that are not strings, and what is no method", function()
      local router = Router.new()
      assert.same({ false, "app.lua:1: a route's pattern is a string, not a nil" },
        { pcall(router.add, router, "GET", nil, "x", "app.lua:1") })
      assert.same({ false, 'app.lua:1: "get" is not a method' },
        { pcall(router.add, router, "get", "/", "x", "app.lua:1") })
    end)

    it("takes 64 segments and finds them", function()
      local pattern = ""
      for i = 1, 64 do pattern = pattern .. "/:p" .. i end
      local router = router_of("GET " .. pattern, "GET /*all")
      local _, params = router:find("GET", ("/x"):rep(64))
      assert.equal("x", params.p64)
      assert.same({ all = ("x/"):rep(64) .. "x" }, select(2, router:find("GET", ("/x"):rep(65))))
    end)

    it("lists all routes in the order they came", function()
      local seen = {}
      for _, route in ipairs(router_of("GET /b", "POST /a/:id", "* /*x"):routes()) do
        seen[#seen + 1] = route.method .. " " .. route.pattern .. " " .. route.where
      end
      assert.same({ "GET /b app.lua:1", "POST /a/:id app.lua:2", "* /*x app.lua:3" }, seen)
    end)
  end)
end)
