-- What people get to read when an app does not load: each mistake on a project of its own, with
-- the commands that load one.
local exec = require "weft.exec"
local program = require "tests.support.program"

local HEAD = 'local weft = require "weft"\nlocal app = weft.app()\n' -- the mistake is on line 3

local function app(mistake) return HEAD .. mistake .. "\nreturn app\n" end

local GOOD = "return function(get_response) return function(r) return get_response(r) end end\n"

-- name -> { files, the first line, a pattern for the rest or nil if there must be none }
local mistakes = {
  ["a syntax error"] = {
    { ["app.lua"] = app "app:get('/', function( return 1 end)" },
    "app.lua:3: <name> or '...' expected near 'return'",
  },
  ["an app that returns nothing"] = {
    { ["app.lua"] = HEAD },
    "app.lua returned nothing; it must return the app (is `return app` missing?)",
  },
  ["an app that returns something else"] = {
    { ["app.lua"] = "return {}" },
    "app.lua returned a table; it must return the app (is `return app` missing?)",
  },
  ["an empty file"] = {
    { ["app.lua"] = "" },
    "app.lua returned nothing; it must return the app (is `return app` missing?)",
  },
  ["no file"] = {
    {},
    "there is no app at app.lua: name a Lua file, or a directory with an app.lua",
  },
  ["a directory without an app"] = {
    { ["app.lua/other.lua"] = "" },
    "there is no app in this directory: app.lua/app.lua: No such file or directory",
  },
  ["a module that is not there"] = {
    { ["app.lua"] = app 'require "greeting"' },
    'app.lua:3: there is no module "greeting": no file ./greeting.lua, nor ./greeting/init.lua',
    "^\tapp.lua:3: in main chunk$",
  },
  ["a middleware module that is not there"] = {
    { ["app.lua"] = app 'app:use "middleware.greeting"' },
    'app.lua:3: there is no module "middleware.greeting": no file ./middleware/greeting.lua, '
      .. "nor ./middleware/greeting/init.lua",
  },
  ["a mistyped module of the library"] = {
    { ["app.lua"] = app 'require "weft.jsn"' },
    'app.lua:3: weft has no module "weft.jsn"; did you mean "weft.json"?',
    "^\tapp.lua:3: in main chunk$",
  },
  ["a middleware that requires a module that is not there"] = {
    { ["app.lua"] = app 'app:use "one"', ["one.lua"] = 'local t = require "two"\n' .. GOOD },
    './one.lua:1: there is no module "two": no file ./two.lua, nor ./two/init.lua',
    '^\tneeded as middleware "one" at app.lua:3\n\t./one.lua:1: in function \'loader\'$',
  },
  ["a syntax error in a module"] = {
    { ["app.lua"] = app 'require "one"', ["one.lua"] = "return function( x y" },
    "./one.lua:1: ')' expected near 'y'",
    "^\tapp.lua:3: in main chunk$",
  },
  ["a syntax error in a middleware"] = {
    { ["app.lua"] = app 'app:use "one"', ["one.lua"] = "return function( x y" },
    "./one.lua:1: ')' expected near 'y'",
    '^\tneeded as middleware "one" at app.lua:3$',
  },
  ["an error in a module's body"] = {
    { ["app.lua"] = app 'require "one"', ["one.lua"] = "local t\nreturn t.x\n" },
    "./one.lua:2: attempt to index local 't' (a nil value)",
    "^\t./one.lua:2: in function 'loader'\n\tapp.lua:3: in main chunk$",
  },
  ["an error in a middleware's body"] = {
    { ["app.lua"] = app 'app:use "one"', ["one.lua"] = "local t\nreturn t.x\n" },
    "./one.lua:2: attempt to index local 't' (a nil value)",
    '^\tneeded as middleware "one" at app.lua:3\n\t./one.lua:2: in function \'loader\'$',
  },
  ["an error in a factory"] = {
    {
      ["app.lua"] = app 'app:use("one", { size = "big" })',
      ["one.lua"] = 'return function()\n  error("size must be a number", 0)\nend\n',
    },
    'app.lua:3: middleware "one" does not load: size must be a number',
    "^\t./one.lua:2: in function <./one.lua:1>$",
  },
  ["a factory that returns nothing"] = {
    { ["app.lua"] = app 'app:use "one"', ["one.lua"] = "return function() end\n" },
    'app.lua:3: the factory of middleware "one" returned nil; it must return the function that '
      .. "answers requests (is a `return` missing?)",
  },
  ["a middleware that needs another"] = {
    {
      ["app.lua"] = app 'app:use "one"',
      ["one.lua"] = 'return { requires = { "session" }, new = function(next) return next end }\n',
    },
    'app.lua:3: middleware "one" requires "session", which is not in the list',
  },
  ["middleware in the wrong order"] = {
    {
      ["app.lua"] = app 'app:use "one" app:use "two"',
      ["one.lua"] = 'return { after = { "two" }, new = function(next) return next end }\n',
      ["two.lua"] = GOOD,
    },
    'app.lua:3: middleware "one" must come after "two", which is at app.lua:3',
  },
  ["a route that is there twice"] = {
    {
      ["app.lua"] = app(('app:get("/a/:x", print)\n'):rep(2)),
    },
    "app.lua:4: GET /a/:x is registered already, as /a/:x at app.lua:3",
  },
  ["an option that is mistyped"] = {
    { ["app.lua"] = app "weft.app { request_tiemout = 3 }" },
    'app.lua:3: weft.app has no option "request_tiemout" (did you mean "request_timeout"?)',
    "^\tapp.lua:3: in main chunk$",
  },
  ["an error that is a table"] = {
    { ["app.lua"] = app 'error({ code = "E1" })' },
    "app.lua:3: an error without a text: { code = E1 }",
    "^\tapp.lua:3: in main chunk$",
  },
  ["an error without a place"] = {
    { ["app.lua"] = app 'error("no luck", 0)' },
    "app.lua:3: no luck",
    "^\tapp.lua:3: in main chunk$",
  },
  ["an error in the library, caused by the script"] = {
    { ["app.lua"] = app 'app.use(nil, "x")' },
    "app.lua:3: lua/weft/app.lua:%d+: attempt to index ",
    "^\tapp.lua:3: in main chunk$",
    is_pattern = true,
  },
}

local function is_refused(command, directory, mistake)
  local result = program.weft(command, { cwd = directory })
  assert.equal(1, result.code)
  assert.equal("", result.stdout)
  local first, rest = result.stderr:match "^weft: ([^\n]*)\n(.-)\n?$"
  if mistake.is_pattern then
    assert.truthy(first:find("^" .. mistake[2]), first)
  else
    assert.equal(mistake[2], first)
  end
  if mistake[3] then
    assert.truthy(rest:find(mistake[3]), rest)
  else
    assert.equal("", rest)
  end
end

describe("an app that does not load", function()
  for name, mistake in pairs(mistakes) do
    it("is refused with one clear line: " .. name, function()
      local directory = program.project(mistake[1])
      is_refused({ "check" }, directory, mistake)
      is_refused({ "run", "--listen", "127.0.0.1:0" }, directory, mistake)
    end)
  end

  it("is refused when it is bytecode", function()
    local directory = program.project { ["app.lua"] = "\27LJ\2\n" }
    is_refused({ "check" }, directory, {
      nil,
      "app.lua: this is bytecode; weft loads source only",
    })
  end)

  it("is called as the user called it, however long its path is", function()
    local long = ("a-directory-with-a-long-name/"):rep(4) .. "app.lua"
    local directory = program.project { [long] = app 'require "one"' }
    local path = directory .. "/" .. long
    local result = program.weft { "check", path }
    assert.equal(1, result.code)
    assert.equal(("weft: %s:3: there is no module \"one\": no file %s, nor %s"):format(path,
      path:gsub("app.lua$", "one.lua"), (path:gsub("app.lua$", "one/init.lua"))),
      program.first_line(result.stderr))
    assert.equal(("\t%s:3: in main chunk"):format(path), program.last_line(result.stderr))
  end)

  it("may not come from a file that cannot be read", function()
    local directory = program.project {}
    exec.run { "ln", "-s", "app.lua", directory .. "/app.lua" }
    is_refused({ "check" }, directory, {
      nil,
      "cannot read the app: app.lua: Too many levels of symbolic links",
    })
  end)
end)

describe("a start hook", function()
  it("that raises keeps the app from being served", function()
    local directory = program.project {
      ["app.lua"] = app 'app:on("start", function() error("no database") end)',
    }
    local result = program.weft({ "run", "--listen", "127.0.0.1:0" }, { cwd = directory })
    assert.equal(1, result.code)
    assert.equal("weft: app.lua:3: no database\n\tapp.lua:3: in function 'fn'\n", result.stderr)
    assert.equal("", result.stdout)
    assert.equal(0, program.weft({ "check" }, { cwd = directory }).code)
  end)

  it("that waits is ended by a signal", function()
    local directory = program.project {
      ["app.lua"] = app [[
app:on("start", function() io.stdout:write("here\n") weft.sleep(60) end)]],
    }
    local process = assert(exec.spawn { program.binary, "run", directory, stderr = "pipe" })
    assert.equal("here", process:read_line(10))
    process:kill "INT"
    assert.equal("weft: stopped before it was ready\n", process.stderr:read("all", 10))
    assert.equal(1, (process:wait(10)))
  end)
end)
