-- The examples of middleware/examples do what they say, each middleware in both shapes.

local testing = require "weft.testing"
local weft = require "weft"

local HELLO = "middleware/examples/hello/"

--- Runs `fn` with what it prints collected.
local function printed(fn)
  local lines, original = {}, print
  _G.print = function(...) lines[#lines + 1] = table.concat({ ... }, "\t") end
  local ok, raised = pcall(fn)
  _G.print = original
  if not ok then error(raised, 0) end
  return lines
end

local function hello_with(name, options)
  local app = weft.app()
  app:use(assert(loadfile(HELLO .. "middleware/" .. name .. ".lua"))(), options)
  app:get("/", function()
    print "the view"
    return "Hello, World!"
  end)
  app:get("/fault", function() weft.abort(418) end)
  return testing.client(app)
end

describe("the hello example", function()
  it("is served as it is", function()
    local response
    local lines = printed(function()
      response = testing.client(HELLO .. "app.lua"):get "/"
    end)
    assert.equal("Hello, World!", response.body)
    assert.equal("Hello", response.headers["x-custom-header"])
    assert.same({
      "Before the view", "Handling request path: /", "Response status: 200", "After the view",
    }, lines)
  end)

  for _, shape in ipairs { "", "_class" } do
    it("prints before and after the view" .. shape, function()
      local client = hello_with("before_after" .. shape)
      local lines = printed(function() client:get "/" end)
      assert.same({ "Before the view", "the view", "After the view" }, lines)
    end)

    it("adds its header to every response" .. shape, function()
      local client = hello_with("custom_header" .. shape)
      printed(function()
        assert.equal("Hello", client:get("/").headers["X-Custom-Header"])
        assert.equal("Hello", client:get("/fault").headers["X-Custom-Header"])
        assert.equal("Hello", client:get("/nowhere").headers["X-Custom-Header"])
      end)
      local other = hello_with("custom_header" .. shape, { name = "X-Other", value = "1" })
      printed(function() assert.equal("1", other:get("/").headers["X-Other"]) end)
    end)

    it("logs the path before the view and the status after it" .. shape, function()
      local client = hello_with("logging" .. shape)
      local lines = printed(function()
        client:get "/"
        client:get "/fault"
      end)
      assert.same({
        "Handling request path: /", "the view", "Response status: 200",
        "Handling request path: /fault", "Response status: 418",
      }, lines)
    end)
  end
end)

describe("the gather example", function()
  local clock = testing.clock

  it("joins the answers of two slow services, asked at the same time", function()
    local client = testing.client "middleware/examples/gather"
    clock:freeze()
    local from = clock:now()
    local pending = client:start("GET", "/dashboard/7", { timeout = 60 })
    clock:advance(0.31)
    local response = pending:await()
    assert.equal(200, response.status)
    assert.is_true(clock:now() - from < 0.4)
    local answer = response:json()
    assert.equal("Ada", answer.user.name)
    assert.equal(12.5, answer.orders[1].total)
  end)

  it("answers 404 for somebody nobody knows", function()
    local client = testing.client "middleware/examples/gather"
    assert.equal(404, client:get("/dashboard/99").status)
  end)
end)
