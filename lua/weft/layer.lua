--- Layers: the entries of a list of middleware, as they were registered.
-- Owns how an entry is written, how its module is found, what its factory may return, and what
-- middleware ask of the list they stand in. The chain itself is lua/weft/chain.lua's.

local log = require "weft.log"

local M = {}

-- ---- "not used" ----

local NotUsed = { __name = "weft.middleware_not_used" }

function NotUsed:__tostring()
  return self.reason and "middleware_not_used: " .. tostring(self.reason) or "middleware_not_used"
end

function NotUsed:__call(reason) return setmetatable({ reason = reason }, NotUsed) end

--- Raised by a factory whose middleware is not wanted here: it is left out of the chain. Called
-- with a reason, it gives the same with the reason for the log.
M.not_used = setmetatable({}, NotUsed)

-- ---- what can be called ----

---@param value any
---@return boolean
function M.is_callable(value)
  if type(value) == "function" then return true end
  local metatable = debug.getmetatable(value)
  return type(metatable) == "table" and metatable.__call ~= nil
end

--- "file:line" of a function, for messages; nil for other things.
---@param fn any
---@return string?
function M.place_of(fn)
  if type(fn) ~= "function" then
    local metatable = debug.getmetatable(fn)
    fn = type(metatable) == "table" and metatable.__call
    if type(fn) ~= "function" then return nil end
  end
  local info = debug.getinfo(fn, "S")
  return info.what ~= "C" and ("%s:%d"):format(info.short_src, info.linedefined) or nil
end

-- ---- building ----

local function fail(layer, what, ...) error(layer.where .. ": " .. what:format(...), 0) end

local function factory_of(layer)
  local module = layer.spec
  if type(module) == "string" then
    local ok, loaded = xpcall(require, debug.traceback, module)
    if not ok then fail(layer, "cannot load middleware %q:\n%s", module, tostring(loaded)) end
    module = loaded
  end
  if type(module) == "table" then
    layer.about = module
    if type(module.new) == "function" then return module.new end
  end
  if M.is_callable(module) then return module end
  fail(layer, "middleware %q is a %s; it must be a factory function, or a class with `new`%s",
    layer.name, type(module), module == true and " (is a `return` missing?)" or "")
end

-- What Django calls on its older middleware. Nothing calls them here, and a check that silently
-- never runs is worse than one that does not load.
local NOT_CALLED = { "process_request", "process_response", "process_template_response" }

local function check_instance(layer, instance)
  if instance == nil then
    fail(layer, "the factory of middleware %q returned nil; it must return the function that "
      .. "answers requests (is a `return` missing?)", layer.name)
  end
  if type(instance) == "table" then
    for _, hook in ipairs(NOT_CALLED) do
      if type(instance[hook]) == "function" then
        fail(layer, "middleware %q has %s, which nothing calls: write it in `__call`, around "
          .. "get_response", layer.name, hook)
      end
    end
  end
  if not M.is_callable(instance) then
    fail(layer, "the factory of middleware %q returned a %s; it must return a function, or an "
      .. "object with `__call`", layer.name, type(instance))
  end
end

local function build(layer, get_response)
  local factory = factory_of(layer)
  local ok, instance = xpcall(factory, function(raised)
    if getmetatable(raised) == NotUsed then return raised end
    return ("%s: middleware %q does not load: %s\n%s"):format(layer.where, layer.name,
      tostring(raised), debug.traceback("", 2))
  end, get_response, layer.options or {})
  layer.used = ok
  if ok then
    check_instance(layer, instance)
    return instance
  end
  if getmetatable(instance) ~= NotUsed then error(instance, 0) end
  log.debug(("middleware %q is not used%s"):format(layer.name,
    instance.reason and ": " .. tostring(instance.reason) or ""))
end

-- ---- registering ----

--- A layer of what `use` was given.
---@param spec string|function|table a module's name, a factory, or a class with `new`
---@param options table?
---@param where string "file:line" of the list
---@param level integer whom to blame for a mistake, as in `error`
---@return weft.Layer
function M.new(spec, options, where, level)
  if type(spec) ~= "string" and type(spec) ~= "table" and not M.is_callable(spec) then
    error(("a middleware is a module's name, a function or a class, not %s"):format(type(spec)),
      level + 1)
  end
  if options ~= nil and type(options) ~= "table" then
    error("the options of a middleware are a table", level + 1)
  end
  local layer = {
    spec = spec,
    options = options,
    where = where,
    name = type(spec) == "string" and spec or "middleware at " .. where,
  }
  function layer.build(get_response) return build(layer, get_response) end
  return layer
end

--- Layers of a route's list: `{ "middleware.auth", { "middleware.limit", per_minute = 5 }, fn }`.
---@param list table
---@param where string
---@param level integer
---@return weft.Layer[]
function M.list(list, where, level)
  if type(list) ~= "table" or M.is_callable(list) or list.new then
    error('the middleware of a route are a list: { "middleware.auth" }', level + 1)
  end
  local count = table.maxn(list)
  for key in pairs(list) do
    if type(key) ~= "number" or key % 1 ~= 0 or key < 1 then
      error(("the middleware of a route are a list; %q is no place in it"):format(tostring(key)),
        level + 1)
    end
  end
  local layers = {}
  for i = 1, count do
    local entry = list[i]
    if type(entry) == "table" and entry[1] ~= nil and not entry.new then
      local options = {}
      for key, value in pairs(entry) do
        if key ~= 1 then options[key] = value end
      end
      layers[i] = M.new(entry[1], options, where, level + 1)
    else
      layers[i] = M.new(entry, nil, where, level + 1)
    end
  end
  return layers
end

-- ---- what they ask of the list ----

local function names_in(layer, field)
  local names = layer.about and layer.about[field] or {}
  if type(names) ~= "table" then
    fail(layer, 'middleware %q: `%s` is a list of names: { "session" }', layer.name, field)
  end
  return names
end

--- A layer goes by its own name, or else the last part of its module's, and by the module's.
local function note_names(layer, position, i)
  local module = type(layer.spec) == "string" and layer.spec or nil
  local short = layer.about and layer.about.name or module and module:match "[^.]*$"
  for _, name in pairs { short, module } do
    local known = position[name]
    if not known or not known.layer.used then position[name] = { at = i, layer = layer } end
  end
end

--- Refuses a list that breaks what one of its middleware says it needs. They have been built.
---@param layers weft.Layer[] all on the way to a view, from the outside in
function M.check_order(layers)
  local position = {}
  for i, layer in ipairs(layers) do note_names(layer, position, i) end
  for i, layer in ipairs(layers) do
    for _, name in ipairs(layer.used and names_in(layer, "requires") or {}) do
      local other = position[name]
      if not other then
        fail(layer, "middleware %q requires %q, which is not in the list", layer.name, name)
      elseif not other.layer.used then
        fail(layer, "middleware %q requires %q, which is at %s and not used", layer.name,
          other.layer.name, other.layer.where)
      elseif other.at > i then
        fail(layer, "middleware %q requires %q before it, which is at %s", layer.name,
          other.layer.name, other.layer.where)
      end
    end
    for _, name in ipairs(layer.used and names_in(layer, "after") or {}) do
      local other = position[name]
      if other and other.layer.used and other.at > i then
        fail(layer, "middleware %q must come after %q, which is at %s", layer.name,
          other.layer.name, other.layer.where)
      end
    end
  end
end

return M
