local fetch = require("weft.fetch").fetch
local program = require "tests.support.program"
local server = require "tests.support.server"

describe("weft run", function()
  it("refuses a write to an undeclared global once the app is loaded", function()
    local running = server.start {
      source = [[
local weft = require "weft"
local app = weft.app()
declared = 1
app:get("/new", function() counter = 1 return "written" end)
app:get("/old", function() declared = declared + 1 return "written" end)
return app
]],
    }
    assert.equal(500, assert(fetch(running.url .. "/new")).status)
    assert.equal("written", assert(fetch(running.url .. "/old")):text())
    running:stop()
    assert.truthy(running:log():find(
      'app.lua:4: assignment to the undeclared global \\"counter\\": make it local', 1, true),
      running:log())
  end)

  it("shows the developer's page with --dev only, with the version of weft", function()
    local source = [[
local weft = require "weft"
local app = weft.app()
app:get("/", function() error "boom" end)
return app
]]
    local running = server.start { source = source, args = { "--dev" } }
    local text = assert(fetch(running.url .. "/")):text()
    running:stop()
    assert.truthy(text:find("app.lua:3: boom", 1, true), text)
    local version = program.first_line(program.weft({ "version" }).stdout)
    assert.equal(version, program.last_line(text))

    running = server.start { source = source }
    text = assert(fetch(running.url .. "/")):text()
    running:stop()
    assert.equal("500 Internal Server Error\n", text)
  end)

  it("names an address that it cannot listen on", function()
    local directory = program.project { ["app.lua"] = 'return require("weft").app()' }
    local result = program.weft { "run", directory, "--listen", "nonsense" }
    assert.equal(1, result.code)
    assert.equal(
      "weft: cannot listen on nonsense: expected host:port, [v6]:port or unix:PATH\n",
      result.stderr)
  end)
end)
