-- The chain alone, with hooks made of plain Lua: runs in weft and in plain LuaJIT.

local chain = require "weft.chain"

-- A response is a table with `status`; what was raised is kept with a mark of the handler.
local function new_hooks(cancelled)
  return {
    xpcall = xpcall,
    on_raise = function(raised) return { raised = raised } end,
    bare = function(raised) return raised.raised end,
    is_response = function(value) return type(value) == "table" and value.status ~= nil end,
    passes = function() return cancelled and cancelled.now or false end,
    convert = function(_, raised, name)
      return { status = 500, converted = raised.raised, layer = name }
    end,
    bad_return = function(layer, value, hook)
      local what = hook and layer.name .. "." .. hook or layer.name
      return { raised = ("%s gave %s"):format(what, type(value)) }
    end,
  }
end

local function layer(name, factory)
  return { name = name, where = name .. ".lua:1", build = factory }
end

local function passing(notes, name)
  return layer(name, function(get_response)
    table.insert(notes, "build " .. name)
    return function(request)
      table.insert(notes, "into " .. name)
      local response = get_response(request)
      table.insert(notes, ("out of %s with %d"):format(name, response.status))
      return response
    end
  end)
end

describe("chain.build", function()
  it("builds from the last to the first, and runs from the first to the last and back", function()
    local notes = {}
    local function core()
      table.insert(notes, "core")
      return { status = 200 }
    end
    local handler = chain.build({ passing(notes, "a"), passing(notes, "b") }, core, new_hooks())
    assert.equal(200, handler({}).status)
    assert.same({
      "build b", "build a", "into a", "into b", "core", "out of b with 200", "out of a with 200",
    }, notes)
  end)

  it("is the core alone when there are no layers", function()
    local core = function() return { status = 204 } end
    local handler, built = chain.build({}, core, new_hooks())
    assert.equal(core, handler)
    assert.same({}, built)
  end)

  it("leaves a layer out that is not used, with its hooks", function()
    local notes = {}
    local unused = layer("unused", function() return nil end)
    local core = function() return { status = 200 } end
    local handler, built = chain.build({ passing(notes, "a"), unused }, core, new_hooks())
    assert.equal(200, handler({}).status)
    assert.equal(1, #built)
    assert.equal("a", built[1].name)
  end)

  it("gives the layer inside of an unused one what is inside of that", function()
    local given
    local core = function() return { status = 200 } end
    chain.build({
      layer("outer", function(get_response)
        given = get_response
        return get_response
      end),
      layer("unused", function() return nil end),
    }, core, new_hooks())
    assert.equal(core, given)
  end)

  it("has what a hook watches with called in place of the layer", function()
    local hooks = new_hooks()
    function hooks.watch(it)
      return function(request)
        local response = it.instance(request)
        response.watched = it.name
        return response
      end
    end
    local handler = chain.build({ passing({}, "a") }, function() return { status = 200 } end, hooks)
    assert.equal("a", handler({}).watched)
  end)

  it("calls an object with __call as it does a function", function()
    local object = setmetatable({}, { __call = function(_, request) return request end })
    local handler = chain.build({ layer("object", function() return object end) },
      function() error "never" end, new_hooks())
    assert.equal(207, handler({ status = 207 }).status)
  end)

  it("raises what a factory raises, and returns nothing half built", function()
    local broken = layer("broken", function() error("no such key", 0) end)
    local ok, raised = pcall(chain.build, { passing({}, "a"), broken }, print, new_hooks())
    assert.is_false(ok)
    assert.equal("no such key", raised)
  end)
end)

describe("chain.film", function()
  local function film(answer, hooks) return chain.film({ name = "it" }, answer, hooks) end

  it("passes a response through as it is", function()
    local response = { status = 200 }
    assert.equal(response, film(function() return response end, new_hooks())({}))
  end)

  it("converts what is raised, whatever it is", function()
    for _, raised in ipairs { "text", 42, { code = "x" }, false } do
      local response = film(function() error(raised, 0) end, new_hooks())({})
      assert.equal(500, response.status)
      assert.equal(raised, response.converted)
      assert.equal("it", response.layer)
    end
    assert.equal(500, film(function() error() end, new_hooks())({}).status)
  end)

  it("converts the lack of a response", function()
    for _, value in ipairs { "text", 42, {}, true } do
      local response = film(function() return value end, new_hooks())({})
      assert.equal("it gave " .. type(value), response.converted)
    end
    assert.equal("it gave nil", film(function() end, new_hooks())({}).converted)
  end)

  it("lets pass what the hooks let pass, unconverted", function()
    local hooks = new_hooks({ now = true })
    local ok, raised = pcall(film(function() error("stop", 0) end, hooks), {})
    assert.is_false(ok)
    assert.equal("stop", raised.raised)
    ok, raised = pcall(film(function() return nil end, hooks), {})
    assert.is_false(ok)
    assert.equal("it gave nil", raised.raised)
  end)

  it("may be called again for the same request", function()
    local count = 0
    local counted = film(function()
      count = count + 1
      return { status = 200 + count }
    end, new_hooks())
    assert.equal(201, counted({}).status)
    assert.equal(202, counted({}).status)
  end)
end)

describe("chain.view", function()
  local RESPONSE = { status = 200 }

  local function answers(response, result)
    return function() return response, result end
  end

  local function refuse(result) return { raised = "the view gave " .. tostring(result) } end

  local function with(hook, fn)
    return { name = "layer", where = "app.lua:1", instance = {}, [hook] = fn }
  end

  it("is the view alone without hooks", function()
    assert.equal(RESPONSE, chain.view(answers(RESPONSE), refuse, nil, {}, new_hooks())({}))
  end)

  it("raises for a view without a response, with and without hooks", function()
    local nothing = with("process_exception", function() error "not for this" end)
    for _, layers in ipairs { {}, { nothing } } do
      local view = chain.view(answers(nil, "a number"), refuse, nil, layers, new_hooks())
      local ok, raised = pcall(view, {})
      assert.is_false(ok)
      assert.equal("the view gave a number", raised.raised)
    end
  end)

  it("gives process_view its object, the request, the view and the params", function()
    local seen
    local layer_with = with("process_view", function(...) seen = { ... } end)
    local request, original = { params = { id = "7" } }, function() end
    chain.view(answers(RESPONSE), refuse, original, { layer_with }, new_hooks())(request)
    assert.equal(layer_with.instance, seen[1])
    assert.equal(request, seen[2])
    assert.equal(original, seen[3])
    assert.equal(request.params, seen[4])
  end)

  it("asks process_view in order until one answers, and then not the view", function()
    local notes = {}
    local function hook(name, answer)
      return with("process_view", function()
        table.insert(notes, name)
        return answer
      end)
    end
    local answer = { status = 201 }
    local view = chain.view(function() error "not reached" end, refuse, nil,
      { hook("a"), hook("b", answer), hook "c" }, new_hooks())
    assert.equal(answer, view({}))
    assert.same({ "a", "b" }, notes)
  end)

  it("asks process_exception in the reverse order until one answers", function()
    local notes = {}
    local function hook(name, answer)
      return with("process_exception", function(_, _, err)
        table.insert(notes, name .. " " .. err)
        return answer
      end)
    end
    local answer = { status = 201 }
    local view = chain.view(function() error("boom", 0) end, refuse, nil,
      { hook "a", hook("b", answer), hook "c" }, new_hooks())
    assert.equal(answer, view({}))
    assert.same({ "c boom", "b boom" }, notes)
  end)

  it("raises the view's error again when no hook answers it", function()
    local view = chain.view(function() error("boom", 0) end, refuse, nil,
      { with("process_exception", function() end) }, new_hooks())
    local ok, raised = pcall(view, {})
    assert.is_false(ok)
    assert.equal("boom", raised.raised)
  end)

  it("names the hook that answers with no response", function()
    for _, hook in ipairs { "process_view", "process_exception" } do
      local view = chain.view(function() error("boom", 0) end, refuse, nil,
        { with(hook, function() return "text" end) }, new_hooks())
      local ok, raised = pcall(view, {})
      assert.is_false(ok)
      assert.equal(("layer.%s gave string"):format(hook), raised.raised)
    end
  end)

  it("does not show a cancellation to process_exception", function()
    local view = chain.view(function() error("stop", 0) end, refuse, nil,
      { with("process_exception", function() return RESPONSE end) }, new_hooks({ now = true }))
    assert.is_false(pcall(view, {}))
  end)

  it("takes the hooks of an instance as they were when it was built", function()
    local instance = setmetatable({ process_view = function() return { status = 201 } end },
      { __call = function() end })
    local _, built = chain.build({ layer("it", function() return instance end) },
      function() return RESPONSE end, new_hooks())
    instance.process_view = nil
    assert.equal(201, chain.view(answers(RESPONSE), refuse, nil, built, new_hooks())({}).status)
  end)
end)
