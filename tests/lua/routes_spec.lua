-- Routes, groups and mounted apps, as a client sees them.

local captured_log = require "tests.support.captured_log"
local task = require "weft.task"
local testing = require "weft.testing"
local weft = require "weft"

local function serve(app)
  local client = testing.client(app)
  task.defer(function() client:close() end)
  return client
end

local function saying(text) return function() return text end end

--- A middleware that adds its name to a header, on the way out.
local function marking(name)
  return function(get_response)
    return function(request)
      local response = get_response(request)
      response:add_header("X-Through", name)
      return response
    end
  end
end

describe("views", function()
  it("return responses, strings or tables", function()
    local app = weft.app()
    app:get("/response", function() return weft.html("<p>", 201) end)
    app:get("/string", saying "text")
    app:get("/table", function() return { id = 7 } end)
    local client = serve(app)
    local response = client:get "/response"
    assert.same({ 201, "<p>", "text/html; charset=utf-8" },
      { response.status, response.body, response.headers["content-type"] })
    response = client:get "/string"
    assert.same({ 200, "text", "text/plain; charset=utf-8" },
      { response.status, response.body, response.headers["content-type"] })
    response = client:get "/table"
    assert.same({ 200, '{"id":7}', "application/json" },
      { response.status, response.body, response.headers["content-type"] })
  end)

  it("that return nonsense are named with their file and line", function()
    local log = captured_log.capture()
    local app = weft.app()
    local upstream = testing.upstream(saying "up")
    app:get("/nil", function() end)
    app:get("/number", function() return 42 end)
    app:get("/cycle", function()
      local t = {}
      t.t = t
      return t
    end)
    app:get("/fetched", function() return (weft.fetch(upstream.url)) end)
    app:get("/task", function() return weft.spawn(function() end) end)
    app:get("/object", setmetatable({}, { __call = function() end }))
    local client = serve(app)
    for path, what in pairs {
      ["/nil"] = "returned nil",
      ["/number"] = "returned a number",
      ["/cycle"] = "returned a table that cannot be JSON: ",
      ["/fetched"] = "returned weft.FetchResponse",
      ["/task"] = "returned weft.Task",
      ["/object"] = "returned nil",
    } do
      assert.equal(500, client:get(path).status, path)
      assert.matches("^%S*routes_spec.lua:%d+: the view of GET " .. path .. " " .. what,
        log[#log].message)
    end
    upstream:close()
  end)

  it("cannot be made a response of by what a client sends", function()
    local app = weft.app()
    app:post("/", function(request) return request:json() end)
    local sent = '{"status":204,"headers":{"x":"y"},"body":"b","streaming":true,"_producer":1,'
      .. '"__name":"weft.Response"}'
    local response = serve(app):post("/", { body = sent })
    assert.equal(200, response.status)
    assert.is_nil(response.headers.x)
    assert.same(weft.json.decode(sent), response:json())
  end)
end)

describe("routes", function()
  it("prefer literal text to params, and params to the rest", function()
    local app = weft.app()
    app:get("/users/me", saying "me")
    app:get("/users/:id", function(request) return "id " .. request.params.id end)
    app:get("/users/*rest", function(request) return "rest " .. request.params.rest end)
    local client = serve(app)
    assert.equal("me", client:get("/users/me").body)
    assert.equal("id 7", client:get("/users/7").body)
    assert.equal("rest 7/posts", client:get("/users/7/posts").body)
  end)

  it("have decoded params", function()
    local app = weft.app()
    app:get("/files/:name", function(request) return request.params.name end)
    local client = serve(app)
    assert.equal("a b", client:get("/files/a%20b").body)
    assert.equal("a/b", client:get("/files/a%2Fb").body)
    assert.equal("é", client:get("/files/%C3%A9").body)
    assert.equal("100%", client:get("/files/100%25").body)
  end)

  it("know every method by name", function()
    local app = weft.app()
    for _, method in ipairs { "get", "post", "put", "patch", "delete", "options" } do
      app[method](app, "/", function(request) return method .. " " .. request.method end)
    end
    app:route("propfind", "/", saying "propfind")
    app:any("/any", function(request) return request.method end)
    local client = serve(app)
    for _, method in ipairs { "get", "post", "put", "patch", "delete", "options" } do
      assert.equal(method .. " " .. method:upper(), client[method](client, "/").body)
      assert.equal(method:upper(), client[method](client, "/any").body)
    end
    assert.equal("propfind", client:request("PROPFIND", "/").body)
  end)

  it("answer HEAD with the head of GET", function()
    local app, seen = weft.app(), nil
    app:get("/", function(request)
      seen = request.method
      return "Hello"
    end)
    app:head("/own", function() return weft.text("", 200, { ["X-Own"] = "yes" }) end)
    local client = serve(app)
    local response = client:head "/"
    assert.same({ 200, "", "5", "HEAD" }, { response.status, response.body,
      response.headers["content-length"], seen })
    assert.equal("yes", client:head("/own").headers["x-own"])
  end)

  it("answer an unknown path with 404, a known one of another method with 405 and Allow",
    function()
      captured_log.capture()
      local app = weft.app()
      app:get("/users/:id", saying "")
      app:delete("/users/:id", saying "")
      local client = serve(app)
      assert.equal(404, client:get("/nowhere").status)
      local response = client:post "/users/7"
      assert.equal(405, response.status)
      assert.equal("DELETE, GET, HEAD, OPTIONS", response.headers.allow)
    end)

  it("answer OPTIONS with Allow, unless the app does", function()
    captured_log.capture()
    local app = weft.app()
    app:get("/users", saying "")
    app:options("/own", function() return weft.text("own", 200, { Allow = "X" }) end)
    app:post("/own", saying "")
    local client = serve(app)
    local response = client:options "/users"
    assert.same({ 204, "GET, HEAD, OPTIONS", "" },
      { response.status, response.headers.allow, response.body })
    response = client:options "/own"
    assert.same({ "own", "X" }, { response.body, response.headers.allow })
    response = client:get "/own"
    assert.same({ 405, "OPTIONS, POST" }, { response.status, response.headers.allow })
    assert.equal(404, client:options("/nowhere").status)
  end)

  it("pass the app's middleware also for 404, 405 and OPTIONS", function()
    captured_log.capture()
    local app = weft.app()
    app:use(marking "app")
    app:get("/", saying "")
    local client = serve(app)
    for _, request in ipairs { { "GET", "/x", 404 }, { "POST", "/", 405 }, { "OPTIONS", "/", 204 } }
    do
      local response = client:request(request[1], request[2])
      assert.same({ request[3], "app" }, { response.status, response.headers["x-through"] })
    end
  end)

  it("may be there once, and both places are named", function()
    local app = weft.app()
    app:get("/users/:id", saying "")
    app:get("/users/:name", saying "")
    local line = debug.getinfo(1, "l").currentline
    local ok, message = pcall(testing.client, app)
    assert.is_false(ok)
    assert.matches(("routes_spec.lua:%d: GET /users/:name is registered already, as /users/:id at "
      .. "%%S*routes_spec.lua:%d"):format(line - 1, line - 2), message)
  end)

  it("whose pattern is wrong are refused with their place", function()
    local app = weft.app()
    app:get("users", saying "")
    local ok, message = pcall(testing.client, app)
    assert.is_false(ok)
    assert.matches('^%S*routes_spec.lua:%d+: route "users": must start with "/"', message)
  end)

  it("see a path that is no UTF-8 as it is escaped, and do not crash (semantics 87)", function()
    captured_log.capture()
    local app = weft.app()
    app:get("/name/:name", function(request) return request.path .. " " .. #request.params.name end)
    local client = serve(app)
    assert.equal(404, client:get("/%ff%fe").status)
    assert.equal("/name/%FF 1", client:get("/name/%ff").body)
  end)
end)

describe("a route's own middleware", function()
  it("are inside of the app's, around this route alone", function()
    local app = weft.app()
    app:use(marking "app")
    app:get("/guarded", { marking "outer", marking "inner" }, saying "ok")
    app:get("/open", saying "ok")
    local client = serve(app)
    assert.equal("inner, outer, app", client:get("/guarded").headers["x-through"])
    assert.equal("app", client:get("/open").headers["x-through"])
  end)

  it("may short-circuit, and have films of their own", function()
    captured_log.capture()
    local app = weft.app()
    app:get("/closed", { marking "outer", function() return function() weft.abort(401) end end },
      saying "never")
    app:get("/broken", { marking "outer" }, function() error "boom" end)
    local client = serve(app)
    local response = client:get "/closed"
    assert.same({ 401, "outer" }, { response.status, response.headers["x-through"] })
    response = client:get "/broken"
    assert.same({ 500, "outer" }, { response.status, response.headers["x-through"] })
  end)
end)

describe("groups", function()
  it("have a prefix, and middleware around their routes alone", function()
    captured_log.capture()
    local app = weft.app()
    app:use(marking "app")
    app:group("/admin", function(admin)
      admin:get("/before", saying "b") -- the list counts for all routes of the group
      admin:use(marking "admin")
      admin:get("/users/:id", { marking "route" }, function(request) return request.params.id end)
      admin:group("/deep", function(deep)
        deep:group("/empty", function(empty) empty:get("/er", saying "er") end)
        deep:use(marking "deep")
        deep:any("/any", saying "any")
      end)
    end)
    app:get("/open", saying "open")
    local client = serve(app)
    local function through(path) return client:get(path).headers["x-through"] end
    assert.equal("7", client:get("/admin/users/7").body)
    assert.equal("route, admin, app", through "/admin/users/7")
    assert.equal("admin, app", through "/admin/before")
    assert.equal("deep, admin, app", through "/admin/deep/any")
    assert.equal("deep, admin, app", through "/admin/deep/empty/er")
    assert.equal("app", through "/open")
    assert.equal("app", through "/admin/nowhere")
  end)
end)

describe("mounted apps", function()
  it("bring their routes, middleware and limits", function()
    captured_log.capture()
    local blog, app = weft.app { max_body_size = 10 }, weft.app()
    blog:use(marking "blog")
    blog:post("/posts", function(request) return request:body() end)
    blog:group("/drafts", function(drafts)
      drafts:use(marking "drafts")
      drafts:get("/:id", function(request) return request.route.pattern end)
    end)
    app:use(marking "app")
    app:group("/site", function(site)
      site:use(marking "site")
      site:mount("/blog", blog)
    end)
    app:post("/posts", function(request) return request:body() end)
    local client = serve(app)
    local response = client:get "/site/blog/drafts/7"
    assert.equal("/site/blog/drafts/:id", response.body)
    assert.equal("drafts, blog, site, app", response.headers["x-through"])
    assert.equal("short", client:post("/site/blog/posts", { body = "short" }).body)
    assert.equal(413, client:post("/site/blog/posts", { body = ("x"):rep(11) }).status)
    assert.equal(200, client:post("/posts", { body = ("x"):rep(11) }).status)
  end)

  it("are the request's app, and know what is registered after the mount", function()
    local blog, app = weft.app(), weft.app()
    app:mount("/blog", blog)
    blog:get("/late", function(request) return tostring(request.app == blog) end)
    app:get("/", function(request) return tostring(request.app == app) end)
    local client = serve(app)
    assert.equal("true", client:get("/blog/late").body)
    assert.equal("true", client:get("/").body)
  end)

  it("may be mounted twice", function()
    local blog, app = weft.app(), weft.app()
    blog:get("/", function(request) return request.route.pattern end)
    app:mount("/a", blog)
    app:mount("/b", blog)
    local client = serve(app)
    assert.equal("/a/", client:get("/a/").body)
    assert.equal("/b/", client:get("/b/").body)
  end)

  it("in a circle are refused", function()
    local a, b = weft.app(), weft.app()
    a:mount("/b", b)
    b:mount("/a", a)
    local ok, message = pcall(testing.client, a)
    assert.is_false(ok)
    assert.matches("^%S*routes_spec.lua:%d+: an app cannot be mounted in itself", message)
  end)

  it("clash with a route of the same path", function()
    local blog, app = weft.app(), weft.app()
    blog:get("/x", saying "")
    app:mount("/blog", blog)
    app:get("/blog/x", saying "")
    local ok, message = pcall(testing.client, app)
    assert.is_false(ok)
    assert.matches("GET /blog/x is registered already", message)
  end)
end)
