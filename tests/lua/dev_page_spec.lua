local core = require "weft.core"
local json = require "weft.json"
local program = require "tests.support.program"
local testing = require "weft.testing"

local APP = [[
local weft = require "weft"
local app = weft.app()
app:use "dev_page_outer"
app:use "dev_page_inner"

app:get("/view", function()
  local order = nil
  return order.price
end)
app:get("/tasks", function()
  local each = coroutine.wrap(function()
    weft.sleep(0.001)
    error "in a generator"
  end)
  weft.spawn(function() each() end):await()
end)
app:get("/inner", function() return "inner raises" end)
app:get("/nothing", function() end)
app:get("/own", { function() return function() error "in my own" end end }, function() end)
app:get("/echo", function(request) error(request.query.text, 0) end)
app:get("/table", function() error { code = "E7" } end)
return app
]]

-- No tail calls: each of them shows in the traceback.
local OUTER = [[
return function(get_response)
  return function(request)
    local response = get_response(request)
    return response
  end
end
]]
local INNER = [[
return function(get_response)
  return function(request)
    if request.path == "/inner" then error "in the inner one" end
    local response = get_response(request)
    return response
  end
end
]]

describe("the developer's error page", function()
  local client

  setup(function() core.log_setup("off", false) end) -- each error here would be logged
  teardown(function() core.log_setup("error", false) end)

  local function get(path, accept, headers)
    if not client then
      client = testing.client(program.project {
        ["app.lua"] = APP,
        ["dev_page_outer.lua"] = OUTER,
        ["dev_page_inner.lua"] = INNER,
      })
      client.app.dev = true
    end
    headers = headers or {}
    headers.Accept = accept
    local response = client:get(path, { headers = headers })
    return response:text(), response
  end

  after_each(function()
    if client then client:close() end
    client = nil
  end)

  local function has(text, part)
    assert.truthy(text:find(part, 1, true), part .. " in\n" .. text)
  end
  local function lacks(text, part) assert.is_nil(text:find(part, 1, true), text) end

  it("shows the message, its place and the source there, the line marked", function()
    local text, response = get "/view"
    assert.equal(500, response.status)
    has(text, "500 Internal Server Error\n\n")
    has(text, "/app.lua:8: attempt to index local 'order' (a nil value)\n\n")
    has(text, "/app.lua:8\n     4 | app:use \"dev_page_inner\"\n")
    has(text, "     7 |   local order = nil\n>    8 |   return order.price\n     9 | end)\n")
    lacks(text, "\n     3 |")

    local html
    html, response = get("/view", "text/html")
    assert.equal(500, response.status)
    has(html, "/app.lua:8: attempt to index local &#39;order&#39; (a nil value)</h1>")
    has(html, '<tr class="marked"><td>8</td><td>  return order.price</td></tr>')
    has(html, "<tr><td>7</td><td>  local order = nil</td></tr>")
  end)

  it("shows the way there through every coroutine, the frames of weft folded", function()
    local text = get "/tasks"
    local trace = text:match "traceback:\n(.-)\n\n"
    local lines = {}
    for line in trace:gmatch "[^\n]+" do
      lines[#lines + 1] = line:match "([%w_]+%.lua:%d+):" or line:match "^\t(.*)$"
    end
    assert.same({ "app.lua:13", "app.lua:15", "-- awaited by --", "app.lua:15",
      "dev_page_inner.lua:4", "dev_page_outer.lua:3" }, lines)
    local html = get("/tasks", "text/html")
    has(html, "frames of weft's own</summary>")
    for folded in html:gmatch "<details>(.-)</details>" do
      lacks(folded, "app.lua:13")
    end
    lacks(html:gsub("<details>.-</details>", ""), "lua/weft/")
  end)

  it("marks the layer that raised in the chain", function()
    local chain = "the chain, from the outside in:\n"
    has(get "/view", chain .. "  dev_page_outer\n  dev_page_inner\n> view   <- raised here\n")
    has(get "/inner", chain .. "  dev_page_outer\n> dev_page_inner   <- raised here\n  view\n")
    assert.truthy((get "/own"):find(chain .. "  dev_page_outer\n  dev_page_inner\n"
      .. "> middleware at [^\n]*app.lua:19   <%- raised here\n  view\n"))
    has(get("/inner", "text/html"),
      '<li class="raised">dev_page_inner <span>raised here</span></li>')
  end)

  it("shows the source that a message names when there is no better place", function()
    local text = get "/nothing"
    has(text, "it must return a response, a string or a table\n\n")
    has(text, ">   18 | app:get(\"/nothing\", function() end)\n")
  end)

  it("shows the request, and hides what one could pass for somebody else with", function()
    local secrets = {
      Authorization = "Bearer hush",
      Cookie = "session=hush",
      ["X-Api-Key"] = "hush",
      ["X-CSRF-Token"] = "hush",
      ["X-Other"] = "seen",
    }
    for _, accept in ipairs { "text/plain", "text/html" } do
      local text = get("/view?a=1", accept, secrets)
      has(text, "GET /view?a=1 HTTP/1.1")
      has(text, "seen")
      has(text, "Cookie")
      lacks(text, "hush")
    end
    has(get("/view", nil, secrets), "\n  Authorization: (hidden)\n")
  end)

  it("escapes everything that anybody can put in", function()
    local attack = "<script>alert('1')</script>\"&"
    local query = attack:gsub("[^%w]", function(c) return ("%%%02x"):format(c:byte()) end)
    local html = get("/echo?text=" .. query, "text/html", { ["X-Attack"] = attack })
    lacks(html, "<script")
    has(html, "<h1>&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;</h1>")
    has(html, "<dd>&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;</dd>")
  end)

  it("loads nothing from anywhere, and forbids it to the browser", function()
    local html, response = get("/view", "text/html")
    for _, word in ipairs { "src=", "href=", "url(", "@import", "<script", "<link" } do
      lacks(html, word)
    end
    local policy = response.headers["content-security-policy"]
    has(policy, "default-src 'none'")
    has(policy, "frame-ancestors 'none'")
    assert.equal("no-store", response.headers["cache-control"])
    assert.equal("text/html; charset=utf-8", response.headers["content-type"])
  end)

  it("shows no file that is not a script, whatever a message says", function()
    local text = get "/echo?text=/etc/passwd:1:%20x"
    has(text, "/etc/passwd:1: x\n")
    lacks(text, "root:")
    has(text, ">   20 | app:get(\"/echo\"")
  end)

  it("sends no control characters to a terminal", function()
    has(get "/echo?text=a%1b%5b31mb%00", "\n\na\\x1b[31mb\\x00\n")
  end)

  it("is JSON for who wants that", function()
    local body = json.decode((get("/view", "application/json")))
    assert.equal(500, body.error.status)
    assert.equal("view", body.error.layer)
    has(body.error.where, "/app.lua:8")
    has(body.error.traceback[1], "/app.lua:8: in function 'view'")
    body = json.decode((get("/echo?text=a%ffb", "application/json")))
    assert.equal("a\\xffb", body.error.message)
  end)

  it("tells of an error that is a table", function()
    has(get "/table", "\n\nan error without a text: { code = E7 }\n")
  end)
end)
