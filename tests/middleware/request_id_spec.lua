local testing = require "weft.testing"
local weft = require "weft"

local function client_of(options)
  local app = weft.app()
  app:use("weft.middleware.request_id", options)
  app:get("/", function(request) return request.id end)
  app:get("/fault", function() error "broken" end)
  app:get("/child", function()
    return weft.spawn(function() return weft.context.request_id end):await()
  end)
  return testing.client(app)
end

describe("weft.middleware.request_id", function()
  it("gives every request an id of its own, and the response the same", function()
    local client = client_of()
    local first, second = client:get "/", client:get "/"
    assert.equal(first.body, first.headers["X-Request-Id"])
    assert.is_true(#first.body >= 16)
    assert.not_equal(first.body, second.body)
  end)

  it("is on the response to a fault too", function()
    local response = client_of():get "/fault"
    assert.equal(500, response.status)
    assert.is_string(response.headers["X-Request-Id"])
  end)

  it("follows the request into its tasks", function()
    local response = client_of():get "/child"
    assert.equal(response.headers["X-Request-Id"], response.body)
  end)

  it("does not believe clients", function()
    local response = client_of():get("/", { headers = { ["X-Request-Id"] = "mine" } })
    assert.not_equal("mine", response.body)
  end)

  it("believes them if it is told to, and the id is sane", function()
    local client = client_of { trust = true, header = "X-Trace" }
    assert.equal("abc-1", client:get("/", { headers = { ["X-Trace"] = "abc-1" } }).body)
    assert.not_equal("a b", client:get("/", { headers = { ["X-Trace"] = "a b" } }).body)
    local long = ("a"):rep(129)
    assert.not_equal(long, client:get("/", { headers = { ["X-Trace"] = long } }).body)
  end)

  it("refuses bad options at load", function()
    assert.error_matches(function() client_of { heder = "x" } end, "no option \"heder\"")
    assert.error_matches(function() client_of { header = "a b" } end, "name of a header")
    assert.error_matches(function() client_of { trust = 1 } end, "true or false")
  end)
end)
