local error_page = require "weft.error_page"
local errors = require "weft.errors"
local json = require "weft.json"

local function page(raised, accept, options)
  local about = {
    request = { method = "GET", target = "/", headers = { accept = accept } },
    raised = raised,
    status = errors.status_of(raised),
    layer = "view",
    layers = {},
  }
  for key, value in pairs(options or {}) do about[key] = value end
  return error_page.render(about)
end

local function fault(message)
  local _, raised = xpcall(error, errors.on_raise, message, 0)
  return raised
end

describe("the page of an error", function()
  it("is plain text, unless the client wants HTML or JSON more", function()
    assert.equal("500 Internal Server Error\n", page(fault "x").body)
    assert.equal("text/plain; charset=utf-8", page(fault "x", "*/*").headers["Content-Type"])
    assert.equal("text/html; charset=utf-8", page(fault "x", "text/html").headers["Content-Type"])
    assert.equal("application/json", page(fault "x", "application/json").headers["Content-Type"])
    assert.equal("text/plain; charset=utf-8", page(fault "x", "image/png").headers["Content-Type"])
  end)

  it("never says what went wrong, outside of development", function()
    for _, accept in ipairs { "text/plain", "text/html", "application/json" } do
      local response = page(fault "the password is 1234", accept)
      assert.equal(500, response.status)
      assert.is_nil(response.body:find "1234")
    end
  end)

  it("says what an abort says, in each form", function()
    local abort = errors.new_abort(404, "no <such> user")
    assert.equal("404 Not Found: no <such> user\n", page(abort, "text/plain").body)
    assert.truthy(page(abort, "text/html").body:find("<p>no &lt;such&gt; user</p>", 1, true))
    assert.same({ error = { status = 404, message = "no <such> user" } },
      json.decode(page(abort, "application/json").body))
    assert.same({ error = { status = 404, message = "Not Found" } },
      json.decode(page(errors.new_abort(404), "application/json").body))
  end)

  it("is JSON also for a message that is not UTF-8", function()
    local response = page(errors.new_abort(400, "bad \255 byte"), "application/json")
    assert.equal(400, response.status)
    assert.equal("bad \\xff byte", json.decode(response.body).error.message)
  end)

  it("is for the developer in development, for faults alone", function()
    assert.truthy(page(fault "app.lua:3: boom", nil, { dev = true }).body:find("boom", 1, true))
    assert.equal("404 Not Found\n", page(errors.new_abort(404), nil, { dev = true }).body)
  end)
end)
