-- The entries of a list of middleware: how they are written, and what is refused at load.

local layer = require "weft.layer"
local task = require "weft.task"
local weft = require "weft"

local function module(name, value)
  package.preload[name] = function() return value end
  task.defer(function() package.preload[name], package.loaded[name] = nil, nil end)
end

local function raised_by(fn, ...)
  local ok, raised = pcall(fn, ...)
  assert.is_false(ok)
  return raised
end

--- What building an app with these middleware raises; `fill` registers them.
local function problem(fill)
  local app = weft.app()
  fill(app)
  return raised_by(app._build, app)
end

local function builds(fill)
  local app = weft.app()
  fill(app)
  app:_build()
  return app
end

local function pass(get_response) return get_response end

--- A module that says something about itself.
local function about(fields)
  local Module = { new = pass }
  for key, value in pairs(fields) do Module[key] = value end
  return Module
end

describe("an entry", function()
  it("that cannot be a middleware is refused at the line that registers it", function()
    local app = weft.app()
    for _, spec in ipairs { 42, true } do
      assert.matches("^%S*layer_spec.lua:%d+: a middleware is a module's name",
        raised_by(function() app:use(spec) end))
    end
    assert.matches("^%S*layer_spec.lua:%d+: .*not nil", raised_by(function() app:use(nil) end))
    assert.matches("^%S*layer_spec.lua:%d+: the options of a middleware are a table",
      raised_by(function() app:use(pass, "fast") end))
  end)

  it("of a module without a `return` says so", function()
    module("spec.empty", true)
    assert.matches("layer_spec.lua:%d+: middleware \"spec.empty\" is a boolean.*`return` missing",
      problem(function(app) app:use "spec.empty" end))
  end)

  it("of a table that is neither a class nor callable is refused at load", function()
    assert.matches("layer_spec.lua:%d+: middleware .* is a table; it must be a factory function",
      problem(function(app) app:use { nothing = true } end))
  end)

  it("whose factory gives something that cannot be called is refused at load", function()
    assert.matches("layer_spec.lua:%d+: the factory of middleware .* returned a table",
      problem(function(app) app:use(function() return {} end) end))
  end)

  it("with hooks that nothing calls is refused at load (semantics 42)", function()
    for _, hook in ipairs { "process_request", "process_response", "process_template_response" } do
      local Old = { [hook] = function() end }
      Old.__index = Old
      function Old.new() return setmetatable({}, Old) end
      assert.matches("layer_spec.lua:%d+: middleware .* has " .. hook,
        problem(function(app) app:use(Old) end))
    end
  end)

  it("whose factory raises shows what, with the way there", function()
    local function broken() error "no key is configured" end
    local message = problem(function(app) app:use(function() broken() end) end)
    assert.matches("layer_spec.lua:%d+: no key is configured", message)
    assert.matches("in function 'broken'", message)
  end)

  it("may wait while it is built", function()
    builds(function(app)
      app:use(function(get_response)
        weft.sleep(0.001)
        return get_response
      end)
    end)
  end)
end)

describe("a route's list", function()
  local function register(list)
    local app = weft.app()
    app:get("/", list, function() return "" end)
  end

  it("is refused when it is no list: nothing may look guarded and be open", function()
    local Class = { new = pass }
    for _, list in ipairs { Class, setmetatable({}, { __call = pass }), "middleware.auth", pass,
      { auth = pass }, { pass, [1.5] = pass }, { pass, [0] = pass } } do
      assert.matches("^%S*layer_spec.lua:%d+: the middleware of a route are a list",
        raised_by(register, list))
    end
  end)

  it("has no holes", function()
    assert.matches("^%S*layer_spec.lua:%d+: a middleware is .*, not nil",
      raised_by(register, { nil, pass }))
    assert.matches("^%S*layer_spec.lua:%d+: a middleware is .*, not nil",
      raised_by(register, { pass, nil, pass }))
  end)

  it("takes names, functions, classes, and these with options", function()
    local seen = {}
    local Class = { new = function(get_response, options)
      table.insert(seen, options.n or "none")
      return get_response
    end }
    module("spec.named", Class.new)
    local app = weft.app()
    app:get("/", { "spec.named", { "spec.named", n = 1 }, Class, { Class, n = 2 }, Class.new },
      function() return "" end)
    app:_build()
    assert.same({ "none", 2, "none", 1, "none" }, seen) -- innermost first
  end)
end)

describe("requires and after", function()
  it("hold when the list is in order, by any of its names", function()
    module("spec.session", pass)
    module("spec.auth", about { requires = { "session" }, after = { "spec.session", "not_there" } })
    module("spec.named", about { name = "identity", requires = { "session" } })
    module("spec.last", about { requires = { "identity", "spec.named" } })
    builds(function(app)
      app:use "spec.session"
      app:use "spec.auth"
      app:use "spec.named"
      app:use "spec.last"
    end)
  end)

  it("refuse a list without what is required", function()
    module("spec.auth", about { requires = { "session" } })
    assert.matches("^%S*layer_spec.lua:%d+: middleware \"spec.auth\" requires \"session\", "
      .. "which is not in the list$", problem(function(app) app:use "spec.auth" end))
  end)

  it("refuse a list in the wrong order, naming both entries and places", function()
    module("spec.session", pass)
    module("spec.auth", about { requires = { "session" } })
    module("spec.late", about { after = { "session" } })
    assert.matches("^%S*layer_spec.lua:%d+: middleware \"spec.auth\" requires \"spec.session\" "
      .. "before it, which is at %S*layer_spec.lua:%d+$", problem(function(app)
        app:use "spec.auth"
        app:use "spec.session"
      end))
    assert.matches("^%S*layer_spec.lua:%d+: middleware \"spec.late\" must come after "
      .. "\"spec.session\", which is at %S*layer_spec.lua:%d+$", problem(function(app)
        app:use "spec.late"
        app:use "spec.session"
      end))
  end)

  it("count what is further out: the app's list for a group's, both for a route's", function()
    module("spec.session", pass)
    module("spec.auth", about { requires = { "session" } })
    local function view() return "" end
    builds(function(app)
      app:use "spec.session"
      app:group("/in", function(group)
        group:use "spec.auth"
        group:get("/", view)
      end)
      app:get("/", { "spec.auth" }, view)
    end)
    assert.matches('requires "session", which is not in the list', problem(function(app)
      app:use "spec.auth"
      app:group("/in", function(group)
        group:use "spec.session"
        group:get("/", view)
      end)
    end))
    assert.matches('requires "session", which is not in the list', problem(function(app)
      app:get("/a", { "spec.session" }, view)
      app:get("/b", { "spec.auth" }, view)
    end))
  end)

  it("do not count what is not used", function()
    module("spec.session", function() error(weft.middleware_not_used) end)
    module("spec.auth", about { requires = { "session" } })
    assert.matches('requires "spec.session", which is at %S+ and not used',
      problem(function(app)
        app:use "spec.session"
        app:use "spec.auth"
      end))
    module("spec.other", about { name = "session" })
    builds(function(app)
      app:use "spec.session"
      app:use "spec.other" -- the same by its name, and it is used
      app:use "spec.auth"
      app:use "spec.other" -- once more: the first one counts
    end)
    local Unused = about { requires = { "session" } }
    Unused.new = function() error(weft.middleware_not_used) end
    builds(function(app) app:use(Unused) end)
  end)

  it("are lists", function()
    module("spec.auth", about { requires = "session" })
    assert.matches('middleware "spec.auth": `requires` is a list of names',
      problem(function(app) app:use "spec.auth" end))
  end)
end)

describe("weft.middleware_not_used", function()
  it("prints well, with its reason", function()
    assert.equal("middleware_not_used", tostring(weft.middleware_not_used))
    assert.equal("middleware_not_used: no key", tostring(weft.middleware_not_used "no key"))
    assert.equal(layer.not_used, weft.middleware_not_used)
  end)
end)
