-- Runs inside the runtime, where the replacements are installed already.
local weft = require "weft"

local function wait(...)
  weft.sleep(0)
  return ...
end

--- The message of the error that `fn` raises, which must blame a line of this file.
local function blamed(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  local text = message:match("stdlib_load_spec%.lua:%d+: (.*)")
  assert.is_truthy(text, "blames another file: " .. message)
  return text
end

local function counted(...) return { n = select("#", ...), ... } end

--- Makes a file with this text and passes its path to `fn`.
local function with_file(text, fn)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  local ok, err = pcall(fn, path)
  os.remove(path)
  if not ok then
    error(err, 0)
  end
end

describe("load", function()
  local bytecode = string.dump(function() return 1 end)
  local refusal = "bytecode is not loaded: only text"

  it("refuses bytecode on every path", function()
    assert.same({ n = 2, nil, refusal }, counted(load(bytecode)))
    assert.same({ n = 2, nil, refusal }, counted(load(bytecode, "name", "b")))
    assert.same({ n = 2, nil, refusal }, counted(loadstring(bytecode)))
    local pieces = { bytecode:sub(1, 1), bytecode:sub(2) }
    assert.same({ n = 2, nil, refusal },
      counted(load(function() return table.remove(pieces, 1) end)))
    assert.is_nil((load("# a comment\n" .. bytecode, "name", "b")))
    with_file(bytecode, function(path)
      assert.same({ n = 2, nil, refusal }, counted(loadfile(path)))
      assert.has_error(function() dofile(path) end, refusal)
      local directory, name = path:match("^(.*)/(.-)$")
      local before = package.path
      package.path = directory .. "/?"
      local ok, message = pcall(require, name)
      package.path = before
      assert.is_false(ok)
      assert.is_truthy(message:find(refusal, 1, true))
    end)
  end)

  it("awaits in a reader function", function()
    local pieces = { "return ", "1 + ", "2" }
    assert.equal(3, load(function() return wait(table.remove(pieces, 1)) end)())
    assert.same({ n = 2, nil, "reader function must return a string" },
      counted(load(function() return {} end)))
    assert.same({ n = 2, nil, "no more" }, counted(load(function() error("no more", 0) end)))
    pieces = { "x =" }
    assert.same({ n = 2, nil, "(load):1: unexpected symbol near '<eof>'" },
      counted(load(function() return table.remove(pieces, 1) end)))
  end)

  it("takes a name, a mode and an environment", function()
    assert.same({ n = 2, nil, "name:1: unexpected symbol near '<eof>'" },
      counted(load("x =", "=name")))
    assert.same({ n = 2, nil, '[string "x ="]:1: unexpected symbol near \'<eof>\'' },
      counted(load("x =")))
    assert.equal(5, load("return x", "name", "t", { x = 5 })())
    assert.equal(_G, load("return _G", "name", "t", nil)())
    assert.same({ n = 2, nil, "attempt to load chunk with wrong mode" },
      counted(load("return 1", "name", "b")))
  end)

  it("reads files, which may await, and names those it cannot read", function()
    local text = "#!/usr/bin/weft\nrequire 'weft'.sleep(0) return 'ran', ..."
    with_file(text, function(path)
      assert.equal("ran", (dofile(path)))
      assert.same({ "ran", 7 }, { loadfile(path)(7) })
    end)
    with_file("\nerror 'here'", function(path)
      local _, message = pcall(dofile, path)
      assert.equal(path .. ":2: here", message)
    end)
    assert.same({ nil, "cannot open /no/such.lua: No such file or directory" },
      { loadfile "/no/such.lua" })
    assert.same({ nil, "cannot read /: Is a directory" }, { loadfile "/" })
  end)
end)

describe("require", function()
  local prefix = "stdlib_spec_module_"
  local names = {}

  --- A module with this body, forgotten after the test.
  local function module(name, body)
    name = prefix .. name
    names[#names + 1] = name
    package.preload[name] = body
    return name
  end

  after_each(function()
    for _, name in ipairs(names) do
      package.preload[name], package.loaded[name] = nil, nil
    end
    names = {}
  end)

  it("awaits in a module's body, and runs it once", function()
    local runs = 0
    local name = module("awaits", function(...)
      runs = runs + 1
      return wait { name = ... }
    end)
    assert.same({ name = name }, require(name))
    assert.equal(require(name), package.loaded[name])
    assert.equal(1, runs)
  end)

  it("gives true for a module that returns nothing, and false for false", function()
    assert.is_true(require(module("nothing", function() end)))
    assert.is_false(require(module("false", function() return false end)))
  end)

  it("lets other tasks wait for a module that is being loaded", function()
    local runs = 0
    local name
    name = module("shared", function()
      runs = runs + 1
      package.loaded[name] = "half"
      wait()
      wait()
      return "whole"
    end)
    local tasks = {}
    for i = 1, 5 do
      tasks[i] = weft.spawn(function() return require(name) end)
    end
    for i = 1, 5 do
      assert.equal("whole", tasks[i]:await())
    end
    assert.equal(1, runs)
  end)

  it("lets the next task try when the body raises", function()
    local runs = 0
    local name = module("raises", function()
      runs = runs + 1
      local run = runs
      wait()
      if run == 1 then
        error("not yet", 0)
      end
      return "there"
    end)
    local first = weft.spawn(function() return pcall(require, name) end)
    local second = weft.spawn(function() return require(name) end)
    assert.same({ false, "not yet" }, { first:await() })
    assert.equal("there", second:await())
    assert.equal(2, runs)
  end)

  it("tries again after an error that ended a coroutine", function()
    local failing = true
    local name = module("dies", function() return failing and error("not yet", 0) or "there" end)
    local co = coroutine.create(require)
    assert.same({ false, "not yet" }, { coroutine.resume(co, name) })
    failing = false
    assert.equal("there", require(name))
    assert.equal("dead", coroutine.status(co))
  end)

  it("keeps the stack of an error in the body for a message handler", function()
    local name = module("stack", function()
      local function named_in_the_traceback() error("here") end
      wait()
      named_in_the_traceback()
    end)
    local _, text = xpcall(require, debug.traceback, name)
    assert.is_truthy(text:find("named_in_the_traceback", 1, true))
  end)

  it("tells a loop, in one task and between two", function()
    local name = module("loop", function(name)
      local value = require(name)
      return value
    end)
    assert.equal("loop or previous error loading module '" .. name .. "'", blamed(require, name))

    local left, right = prefix .. "left", prefix .. "right"
    module("left", function() return wait() or require(right) end)
    module("right", function() return wait() or require(left) end)
    local one = weft.spawn(function() return pcall(require, left) end)
    local other = weft.spawn(function() return pcall(require, right) end)
    local _, first = one:await()
    local _, second = other:await()
    local both = tostring(first) .. tostring(second)
    assert.is_truthy(both:find("loop or previous error", 1, true))
  end)

  it("gives a module to one that it requires, if it is registered early", function()
    local parent, child = prefix .. "parent", prefix .. "child"
    module("parent", function()
      local this = { name = "parent" }
      package.loaded[parent] = this
      wait()
      this.child = require(child)
    end)
    module("child", function() return { parent = require(parent) } end)
    local loaded = require(parent)
    assert.equal(loaded, loaded.child.parent)
  end)

  it("lists what it tried, at the caller's line", function()
    local message = blamed(function()
      local value = require "no.such.module"
      return value
    end)
    assert.is_truthy(message:find("^module 'no%.such%.module' not found:\n\tno "))
    assert.is_truthy(message:find("\n\tno field package.preload['no.such.module']", 1, true))
    assert.is_truthy(message:find("no/such/module.lua'", 1, true))
    assert.is_truthy(message:find("no/such/module.so'", 1, true))
  end)

  it("names the file with a syntax error", function()
    with_file("x =", function(path)
      local directory, name = path:match("^(.*)/(.-)$")
      local before = package.path
      package.path = directory .. "/?"
      local _, message = pcall(require, name)
      package.path = before
      assert.equal(("error loading module '%s' from file '%s':\n\t%s:1: %s")
        :format(name, path, path, "unexpected symbol near '<eof>'"), message)
    end)
  end)
end)
