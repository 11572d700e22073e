-- Runs inside the runtime, where the replacements are installed already.
local stdlib = require "weft.stdlib"
local weft = require "weft"

local function wait(...)
  weft.sleep(0)
  return ...
end

--- Waits until the condition holds, for a second at most.
local function eventually(condition)
  for _ = 1, 1000 do
    if condition() then
      return
    end
    weft.sleep(0.001)
  end
  error("never came true", 2)
end

--- The message of the error that `fn` raises, which must blame a line of this file.
local function blamed(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  local text = message:match("stdlib_coroutine_spec%.lua:%d+: (.*)")
  assert.is_truthy(text, "blames another file: " .. message)
  return text
end

local function counted(...) return { n = select("#", ...), ... } end

describe("coroutines", function()
  it("await inside generators, which see nothing of it", function()
    local generator = coroutine.wrap(function(first)
      local got = first
      for i = 1, 3 do
        weft.sleep(0)
        got = got .. coroutine.yield(i)
        weft.sleep(0)
      end
      return got
    end)
    assert.equal(1, generator("a"))
    assert.equal(2, generator("b"))
    assert.equal(3, generator("c"))
    assert.equal("abcd", generator("d"))
  end)

  it("await through coroutines in coroutines", function()
    local function nest(depth)
      if depth == 0 then
        return wait("bottom")
      end
      local ok, value = coroutine.resume(coroutine.create(nest), depth - 1)
      assert(ok, value)
      return wait(value)
    end
    assert.equal("bottom", nest(20))
  end)

  it("keep nils and their number in both directions", function()
    local co = coroutine.create(function(...)
      weft.sleep(0)
      local back = counted(coroutine.yield(select("#", ...), nil, nil))
      weft.sleep(0)
      return back.n, nil
    end)
    assert.same({ n = 4, true, 2 }, counted(coroutine.resume(co, nil, nil)))
    assert.same({ n = 3, true, 3 }, counted(coroutine.resume(co, nil, nil, nil)))
    local empty = coroutine.wrap(function() wait() end)
    assert.same({ n = 0 }, counted(empty()))
    assert.same({ n = 1, true }, counted(coroutine.resume(coroutine.create(wait))))
  end)

  it("iterate in a for loop, awaiting, in two tasks at once", function()
    local function sum()
      local total = 0
      for value in coroutine.wrap(function()
        for i = 1, 10 do
          coroutine.yield(wait(i))
        end
      end) do
        total = total + wait(value)
      end
      return total
    end
    local one, other = weft.spawn(sum), weft.spawn(sum)
    assert.equal(55, one:await())
    assert.equal(55, other:await())
  end)

  it("refuse to be resumed while they wait in another task", function()
    local released
    local co = coroutine.create(function()
      coroutine.yield(1)
      eventually(function() return released end)
      return "done"
    end)
    coroutine.resume(co)
    assert.equal("suspended", coroutine.status(co))
    local task = weft.spawn(function() return coroutine.resume(co) end)
    eventually(function() return coroutine.status(co) ~= "suspended" end)
    assert.equal("normal", coroutine.status(co))
    assert.same({ false, "cannot resume a coroutine that is waiting" }, { coroutine.resume(co) })
    released = true
    assert.same({ true, "done" }, { task:await() })
    assert.equal("dead", coroutine.status(co))
  end)

  it("made by wrap raise then, at the caller's line", function()
    local started, released
    local generator = coroutine.wrap(function()
      started = true
      eventually(function() return released end)
      return "done"
    end)
    local task = weft.spawn(generator)
    eventually(function() return started end)
    assert.equal("cannot resume a coroutine that is waiting", blamed(function()
      local value = generator()
      return value
    end))
    released = true
    assert.equal("done", task:await())
  end)

  it("refuse to resume a task", function()
    local co
    local task = weft.spawn(function()
      co = coroutine.running()
      return wait("mine")
    end)
    eventually(function() return co end)
    assert.same({ false, "cannot resume a task: use task:await()" }, { coroutine.resume(co) })
    assert.equal("mine", task:await())
  end)

  it("cannot be yielded from in a task itself, not even after a generator has awaited", function()
    local task = weft.spawn(function()
      coroutine.wrap(wait)()
      assert.is_false(coroutine.isyieldable())
      return blamed(function()
        local value = coroutine.yield("lost")
        return value
      end)
    end)
    assert.equal("attempt to yield from outside a coroutine", task:await())
    assert.is_true(coroutine.wrap(function() return coroutine.isyieldable() end)())
  end)

  it("yield to their own resumer while other tasks await and yield", function()
    local order = {}
    local function body(name)
      local generator = coroutine.wrap(function()
        for i = 1, 3 do
          wait()
          coroutine.yield(name .. i)
        end
      end)
      for _ = 1, 3 do
        local value = generator()
        order[#order + 1] = value
      end
      return pcall(coroutine.yield)
    end
    local a, b = weft.spawn(body, "a"), weft.spawn(body, "b")
    assert.is_false((a:await()))
    assert.is_false((b:await()))
    table.sort(order)
    assert.same({ "a1", "a2", "a3", "b1", "b2", "b3" }, order)
  end)

  it("rethrow errors as they were raised", function()
    local err = setmetatable({}, { __tostring = function() return "mine" end })
    local _, caught = pcall(coroutine.wrap(function() error(wait(err)) end))
    assert.is_true(rawequal(err, caught))
    local function dies()
      local value = coroutine.wrap(function() error("as it is", 0) end)()
      return value
    end
    assert.same({ false, "as it is" }, { pcall(dies) })
  end)

  it("say at the caller's line that they are dead", function()
    local generator = coroutine.wrap(function() end)
    generator()
    assert.equal("cannot resume dead coroutine", blamed(function()
      local value = generator()
      return value
    end))
    assert.equal("bad argument #1 to 'resume' (coroutine expected)", blamed(function()
      local value = coroutine.resume(nil)
      return value
    end))
    assert.equal("bad argument #1 to 'wrap' (function expected, got number)", blamed(function()
      local value = coroutine.wrap(12)
      return value
    end))
  end)
end)

describe("the tracebacks of an error", function()
  local function innermost() error({ code = "deep" }) end
  local function middle()
    wait()
    coroutine.wrap(innermost)()
  end

  it("show every coroutine it came through, once", function()
    local _, err = pcall(coroutine.wrap(middle))
    local text = stdlib.crossed(err)
    local first, second = text:match("^(.-)\nresumed by another coroutine, there\n(.*)$")
    assert.is_truthy(first:find("in function 'error'", 1, true))
    assert.is_truthy(second:find("stdlib_coroutine_spec", 1, true))
    assert.is_nil(stdlib.crossed(err))
  end)

  it("belong to that error alone", function()
    local _, err = pcall(coroutine.wrap(middle))
    assert.is_nil(stdlib.crossed({ code = "deep" }))
    pcall(coroutine.wrap(function() error("another") end))
    assert.is_nil(stdlib.crossed(err))
  end)

  it("do not pile up when the same string is raised again and again", function()
    local err
    for _ = 1, 50 do
      _, err = pcall(coroutine.wrap(function() error("again", 0) end))
    end
    local _, count = stdlib.crossed(err):gsub("stack traceback:", "")
    assert.equal(1, count)
  end)

  it("are bounded when coroutines nest deeply", function()
    local function nest(depth)
      if depth == 0 then
        error("deep", 0)
      end
      coroutine.wrap(nest)(depth - 1)
    end
    local _, err = pcall(nest, 50)
    local _, count = stdlib.crossed(err):gsub("stack traceback:", "")
    assert.is_true(count > 1 and count <= 16)
  end)

  it("are whole in a message handler further out", function()
    local _, text = xpcall(coroutine.wrap(middle), stdlib.traceback)
    local _, count = text:gsub("stack traceback:", "")
    assert.equal(3, count)
  end)
end)

describe("a C function that has called back into Lua", function()
  local function within(sort_callback)
    local problem
    stdlib.raw.sort({ 2, 1 }, function(a, b)
      local _, err = pcall(sort_callback)
      problem = err
      return a < b
    end)
    return problem
  end
  local function generate() coroutine.wrap(wait)() end
  local function generate_by_resume() assert(coroutine.resume(coroutine.create(wait))) end

  for name, callback in pairs {
    ["awaits itself"] = wait,
    ["awaits in a generator"] = generate,
    ["awaits in a coroutine"] = generate_by_resume,
  } do
    it("is told so when what it called " .. name, function()
      assert.is_truthy(tostring(within(callback)):find("cannot wait here", 1, true))
      assert.equal("awaited", wait("awaited"))
    end)

    it("is told so in a generator too when what it called " .. name, function()
      local function body()
        wait() -- it may, itself
        local problem = within(callback)
        return wait(problem)
      end
      local problem = coroutine.wrap(body)()
      assert.is_truthy(tostring(problem):find("cannot wait here", 1, true))
      local _, other = coroutine.resume(coroutine.create(body))
      assert.is_truthy(tostring(other):find("cannot wait here", 1, true))
      assert.equal("awaited", wait("awaited"))
    end)
  end

  it("may use generators that do not await", function()
    local got
    coroutine.wrap(function()
      within(function() got = coroutine.wrap(function() coroutine.yield(1) end)() end)
    end)()
    assert.equal(1, got)
    assert.equal("awaited", wait("awaited"))
  end)
end)
