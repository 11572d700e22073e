local program = require "tests.support.program"

local function check(files)
  local result = program.weft({ "check" }, { cwd = program.project(files) })
  assert.equal("", result.stderr)
  assert.equal(0, result.code)
  return result.stdout
end

describe("weft check", function()
  it("prints the middleware with their options and the routes with their middleware", function()
    assert.equal([[
middleware, from the outside in:
   1  one                      app.lua:3  { secret_key = "...", slow = 0.5 }
   2  middleware at app.lua:4  app.lua:4
   3  unused                   app.lua:5  (not used)
routes:
  GET   /            app.lua:6
  any   /admin/*any  app.lua:9   inside of staff, one
  POST  /admin       app.lua:10  inside of staff
]], check {
      ["app.lua"] = [[
local weft = require "weft"
local app = weft.app()
app:use("one", { slow = 0.5, secret_key = "hush" })
app:use(function(get_response) return get_response end)
app:use "unused"
app:get("/", function() return "" end)
app:group("/admin", function(admin)
  admin:use "staff"
  admin:any("/*any", { "one" }, function() return "" end)
  admin:post("", function() return "" end)
end)
return app
]],
      ["one.lua"] = "return function(get_response) return get_response end",
      ["staff.lua"] = "return function(get_response) return get_response end",
      ["unused.lua"] = 'return function() error(require("weft").middleware_not_used) end',
    })
  end)

  it("prints what there is none of", function()
    assert.equal("middleware, from the outside in:\n  (none)\nroutes:\n  (none)\n", check {
      ["app.lua"] = 'return require("weft").app()',
    })
  end)

  it("names the globals that the app sets, as a `local` may be missing", function()
    local text = check {
      ["app.lua"] = 'require "one"\nname = "x"\nname = "y"\nreturn require("weft").app()',
      ["one.lua"] = "function helper() end",
    }
    assert.truthy(text:find("globals set while loading (is a `local` missing?):\n"
      .. "  helper  ./one.lua:1\n  name    app.lua:2\n", 1, true), text)
  end)

  it("takes a directory, and does not run the start hooks", function()
    local directory = program.project {
      ["app.lua"] = [[
local app = require("weft").app()
app:on("start", function() error "started" end)
return app
]],
    }
    assert.equal(0, program.weft({ "check", directory }).code)
    assert.equal(0, program.weft({ "check", directory .. "/" }).code)
    assert.equal(0, program.weft({ "check", directory .. "/app.lua" }).code)
  end)
end)
