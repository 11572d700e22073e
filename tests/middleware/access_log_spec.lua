local client = require "tests.support.client"
local helper = require "tests.support.helper"
local testing = require "weft.testing"
local weft = require "weft"

describe("weft.middleware.access_log", function()
  local lines, originals

  before_each(function()
    lines, originals = {}, {}
    for _, level in ipairs { "debug", "info", "warn", "error" } do
      originals[level] = weft.log[level]
      weft.log[level] = function(message, fields)
        lines[#lines + 1] = { level = level, message = message, fields = fields or {} }
      end
    end
  end)

  after_each(function()
    for level, fn in pairs(originals) do weft.log[level] = fn end
  end)

  local function logged(message)
    for _, line in ipairs(lines) do
      if line.message == message then return line end
    end
  end

  local function client_of(options)
    local app = weft.app()
    app:use "weft.middleware.request_id"
    app:use("weft.middleware.access_log", options)
    app:get("/users/:id", function() return "hello" end)
    app:get("/slow", function()
      weft.sleep(0.02)
      return "slow"
    end)
    app:get("/fault", function() error "broken" end)
    app:get("/forever", function() weft.sleep(1000) end)
    return testing.client(app)
  end

  local function wait_for(message)
    helper.eventually(function() return logged(message) ~= nil end, 2)
    return logged(message)
  end

  it("logs one line for a request, without its query", function()
    client_of():get "/users/7?token=secret"
    local line = wait_for "request"
    assert.equal("info", line.level)
    assert.equal("GET", line.fields.method)
    assert.equal("/users/7", line.fields.path)
    assert.equal("/users/:id", line.fields.route)
    assert.equal(200, line.fields.status)
    assert.equal("127.0.0.1", line.fields.peer)
    assert.is_string(line.fields.request_id)
    assert.is_nil(line.fields.aborted)
    assert.equal(1, #lines)
  end)

  it("logs the status of a fault", function()
    client_of():get "/fault"
    assert.equal(500, wait_for("request").fields.status)
  end)

  it("logs a slow request as a warning, with its seconds", function()
    client_of({ slow = 0.01 }):get "/slow"
    local line = wait_for "slow request"
    assert.equal("warn", line.level)
    assert.is_true(line.fields.seconds >= 0.015)
  end)

  it("logs a request whose client went away", function()
    local app = client_of()
    local raw = client.connect(tonumber(app.url:match "%d+$"))
    raw:send "GET /forever HTTP/1.1\r\nHost: a\r\n\r\n"
    weft.sleep(0.05)
    raw:reset()
    local line = wait_for "request"
    assert.is_true(line.fields.aborted)
    assert.is_nil(line.fields.status)
  end)

  it("leaves out what `skip` says", function()
    local app = client_of { skip = function(request) return request.path == "/users/1" end }
    app:get "/users/1"
    app:get "/users/2"
    assert.equal("/users/2", wait_for("request").fields.path)
    assert.equal(1, #lines)
  end)

  it("refuses bad options at load", function()
    assert.error_matches(function() client_of { slo = 1 } end, "no option \"slo\"")
    assert.error_matches(function() client_of { slow = "1" } end, "`slow` is a number")
    assert.error_matches(function() client_of { level = "loud" } end, "`level` is debug")
  end)

  it("must come after request_id", function()
    local app = weft.app()
    app:use "weft.middleware.access_log"
    app:use "weft.middleware.request_id"
    assert.error_matches(function() testing.client(app) end, "must come after")
  end)
end)
