--- The app: what is registered, and how it becomes one function that answers requests.
-- Owns registration (middleware, routes, groups, hooks, error handlers), the checks at load, and
-- the order in which it all runs. It serves nothing itself: lua/weft/serve.lua does.

local chain = require "weft.chain"
local core = require "weft.core"
local error_page = require "weft.error_page"
local errors = require "weft.errors"
local log = require "weft.log"
local responses = require "weft.response"
local Router = require "weft.router"
local stdlib = require "weft.stdlib"
local task = require "weft.task"

local M = {}

--- Raised by a factory whose middleware is not wanted here: it is left out of the chain.
M.middleware_not_used = setmetatable({}, {
  __name = "weft.middleware_not_used",
  __tostring = function() return "middleware_not_used" end,
})

local function place(level)
  local caller = debug.getinfo(level + 1, "Sl")
  return caller and ("%s:%d"):format(caller.short_src, caller.currentline) or "?"
end

local function is_callable(value)
  if type(value) == "function" then return true end
  local metatable = debug.getmetatable(value)
  return type(metatable) == "table" and metatable.__call ~= nil
end

-- ---- layers: one entry of a middleware list ----

local function layer_name(spec, where)
  return type(spec) == "string" and spec or "middleware at " .. where
end

local function factory_of(layer)
  local module = layer.spec
  if type(module) == "string" then
    local ok, loaded = xpcall(require, debug.traceback, module)
    if not ok then
      error(("%s: cannot load middleware %q:\n%s"):format(layer.where, module, loaded), 0)
    end
    module = loaded
  end
  if type(module) == "table" then
    layer.about = module
    if type(module.new) == "function" then return module.new end
  end
  if is_callable(module) then return module end
  error(("%s: middleware %q is a %s; it must be a factory function, or a class with `new`"):format(
    layer.where, layer.name, type(module)), 0)
end

local function build_layer(layer, get_response)
  local factory = factory_of(layer)
  local ok, instance = xpcall(factory, function(raised)
    if raised == M.middleware_not_used then return raised end
    return ("%s: middleware %q does not load: %s\n%s"):format(layer.where, layer.name,
      tostring(raised), debug.traceback("", 2))
  end, get_response, layer.options or {})
  if not ok then
    if instance ~= M.middleware_not_used then error(instance, 0) end
    log.debug(("middleware %q is not used"):format(layer.name))
    return nil
  end
  if instance == nil then
    error(("%s: the factory of middleware %q returned nil; it must return the function that "
      .. "answers requests (is a `return` missing?)"):format(layer.where, layer.name), 0)
  end
  if not is_callable(instance) then
    error(("%s: the factory of middleware %q returned a %s; it must return a function, or an "
      .. "object with `__call`"):format(layer.where, layer.name, type(instance)), 0)
  end
  return instance
end

local function new_layer(spec, options, where)
  if type(spec) ~= "string" and not is_callable(spec) and type(spec) ~= "table" then
    error(("use takes a module's name, a function or a class, not %s"):format(type(spec)), 3)
  end
  if options ~= nil and type(options) ~= "table" then
    error("the options of a middleware are a table", 3)
  end
  local layer = { spec = spec, options = options, where = where, name = layer_name(spec, where) }
  function layer.build(get_response) return build_layer(layer, get_response) end
  return layer
end

local function short_name(layer)
  local about = layer.about
  if about and about.name then return about.name end
  return type(layer.spec) == "string" and layer.spec:match "[^.]*$" or layer.name
end

--- Refuses a list that breaks what one of its middleware says it needs.
local function check_order(layers)
  local position = {}
  for i, layer in ipairs(layers) do
    local name = short_name(layer)
    position[name] = position[name] or i
  end
  for i, layer in ipairs(layers) do
    local about = layer.about or {}
    for _, name in ipairs(about.requires or {}) do
      if not position[name] then
        error(("%s: middleware %q requires %q, which is not in the list"):format(
          layer.where, layer.name, name), 0)
      end
    end
    for _, list in ipairs { about.requires or {}, about.after or {} } do
      for _, name in ipairs(list) do
        local other = position[name]
        if other and other > i then
          error(("%s: middleware %q must come after %q, which is at %s"):format(
            layer.where, layer.name, layers[other].name, layers[other].where), 0)
        end
      end
    end
  end
end

-- ---- scopes: an app or a group; what can be registered in both ----

---@class weft.Scope
local Scope = {}
Scope.__index = Scope

--- Adds a middleware behind those that are there: a module's name, a function, or a class.
---@param spec string|function|table
---@param options table?
function Scope:use(spec, options)
  self._layers[#self._layers + 1] = new_layer(spec, options, place(2))
end

local function add_route(scope, method, pattern, middleware, view, where)
  if view == nil then
    middleware, view = nil, middleware
  end
  if type(pattern) ~= "string" then error("a route's pattern is a string", 3) end
  if not is_callable(view) then
    error(("the view of %s %s is a %s, not a function"):format(method, pattern, type(view)), 3)
  end
  if middleware ~= nil and type(middleware) ~= "table" then
    error("the middleware of a route are a list", 3)
  end
  local layers = {}
  for i, entry in ipairs(middleware or {}) do
    if type(entry) == "table" and entry[1] ~= nil and not entry.new then
      local options = {}
      for key, value in pairs(entry) do
        if key ~= 1 then options[key] = value end
      end
      layers[i] = new_layer(entry[1], options, where)
    else
      layers[i] = new_layer(entry, nil, where)
    end
  end
  local routes = scope._app._routes
  routes[#routes + 1] = {
    method = method,
    pattern = scope._prefix .. pattern,
    scope = scope,
    layers = layers,
    view = view,
    where = where,
  }
end

for name, method in pairs {
  get = "GET",
  head = "HEAD",
  post = "POST",
  put = "PUT",
  patch = "PATCH",
  delete = "DELETE",
  options = "OPTIONS",
  any = "*",
} do
  Scope[name] = function(self, pattern, middleware, view)
    add_route(self, method, pattern, middleware, view, place(2))
  end
end

--- A route for any method by its name: `app:route("PROPFIND", "/x", view)`.
---@param method string
---@param pattern string
---@param middleware table|function
---@param view function?
function Scope:route(method, pattern, middleware, view)
  add_route(self, method:upper(), pattern, middleware, view, place(2))
end

local function new_scope(parent, prefix, where)
  if type(prefix) ~= "string" or prefix:sub(1, 1) ~= "/" or prefix:sub(-1) == "/" then
    error('a prefix begins with "/" and does not end with it', 3)
  end
  return setmetatable({
    _app = parent._app,
    _parent = parent,
    _prefix = parent._prefix .. prefix,
    _layers = {},
    _where = where,
  }, Scope)
end

--- Routes under a prefix, with middleware of their own inside the app's.
---@param prefix string
---@param fill fun(group: weft.Scope)
function Scope:group(prefix, fill)
  if type(fill) ~= "function" then error("group takes a function that fills it", 2) end
  fill(new_scope(self, prefix, place(2)))
end

--- The routes, middleware, hooks and error handlers of another app, under a prefix.
---@param prefix string
---@param other weft.App
function Scope:mount(prefix, other)
  if getmetatable(other) ~= M.App then error("mount takes an app", 2) end
  if other == self._app then error("an app cannot be mounted in itself", 2) end
  local scope = new_scope(self, prefix, place(2))
  scope._layers, scope._mounted = other._layers, other
  local scopes = { [other] = scope }
  local function scope_here(its)
    if not scopes[its] then
      local parent = scope_here(its._parent)
      local copy = new_scope(parent, its._prefix:sub(#its._parent._prefix + 1), its._where)
      copy._layers, copy._mounted = its._layers, its._mounted
      scopes[its] = copy
    end
    return scopes[its]
  end
  other._parent_app = self._mounted or self._app
  local routes = self._app._routes
  for _, route in ipairs(other._routes) do
    local its = scope_here(route.scope)
    routes[#routes + 1] = {
      method = route.method,
      pattern = scope._prefix .. route.pattern,
      scope = its,
      layers = route.layers,
      view = route.view,
      where = route.where,
    }
  end
  for event, list in pairs(other._hooks) do
    for _, fn in ipairs(list) do self._app:_add_hook(event, fn) end
  end
  for _, job in ipairs(other._every) do
    self._app._every[#self._app._every + 1] = job
  end
end

-- ---- the app ----

---@class weft.App: weft.Scope
---@field max_body_size integer
local App = setmetatable({ __name = "weft.App" }, Scope)
App.__index = App
M.App = App

function App:__tostring() return ("weft.App (%d routes)"):format(#self._routes) end

local SECONDS = {
  request_timeout = true,
  header_timeout = true,
  body_timeout = true,
  write_timeout = true,
  idle_timeout = true,
}
local COUNTS = {
  max_header_size = true,
  max_target_size = true,
  max_header_count = true,
  max_connections = true,
}
local OTHERS = { max_body_size = true, disconnect = true }

local function bytes_of(value)
  if type(value) == "number" and value >= 0 and value % 1 == 0 then return value end
  local number, unit = tostring(value):match "^(%d+)([KMG]?)$"
  if not number then return nil end
  return tonumber(number) * ({ [""] = 1, K = 1024, M = 1024 ^ 2, G = 1024 ^ 3 })[unit]
end

local function nearest(name)
  local best, best_score = nil, 0
  for _, set in ipairs { SECONDS, COUNTS, OTHERS } do
    for known in pairs(set) do
      local score = 0
      for word in name:gmatch "[^_]+" do
        if known:find(word, 1, true) then score = score + #word end
      end
      if score > best_score then best, best_score = known, score end
    end
  end
  return best and (' (did you mean "%s"?)'):format(best) or ""
end

--- A new app. Options are limits: `request_timeout`, `max_body_size` and others, see the reference.
---@param options table?
---@return weft.App
function M.new(options)
  options = options or {}
  if type(options) ~= "table" then error("weft.app takes a table of options", 2) end
  local limits = {}
  for name, value in pairs(options) do
    if SECONDS[name] then
      if type(value) ~= "number" or not (value >= 0) then
        error(("app option %s: seconds, not %s"):format(name, tostring(value)), 2)
      end
      limits[name] = value
    elseif COUNTS[name] then
      limits[name] = bytes_of(value)
      if not limits[name] then
        error(("app option %s: a number, not %s"):format(name, tostring(value)), 2)
      end
    elseif name == "disconnect" then
      if value ~= "reset" and value ~= "eof" then
        error('app option disconnect: "reset" or "eof"', 2)
      end
      limits.disconnect = value
    elseif not OTHERS[name] then
      error(("weft.app has no option %q%s"):format(tostring(name), nearest(tostring(name))), 2)
    end
  end
  local max_body_size = bytes_of(options.max_body_size or "1M")
  if not max_body_size then
    error('app option max_body_size: bytes, or text like "1M"', 2)
  end
  local app = setmetatable({
    max_body_size = max_body_size,
    limits = limits,
    dev = false,
    _prefix = "",
    _layers = {},
    _routes = {},
    _hooks = {},
    _errors = {},
    _every = {},
    _where = place(2),
  }, App)
  app._app = app
  return app
end

local EVENTS = { start = true, stop = true, request_started = true, request_finished = true }

function App:_add_hook(event, fn)
  self._hooks[event] = self._hooks[event] or {}
  table.insert(self._hooks[event], fn)
end

--- Hooks: "start" (once, before it serves; may wait), "stop" (while draining; may wait),
-- "request_started" (request), "request_finished" (request, { status, bytes, aborted, duration }).
---@param event string
---@param fn function
function App:on(event, fn)
  if not EVENTS[event] then
    error(('app:on has no event %q; there are "start", "stop", "request_started" and '
      .. '"request_finished"'):format(tostring(event)), 2)
  end
  if not is_callable(fn) then error("app:on takes a function", 2) end
  self:_add_hook(event, fn)
end

--- What answers an error instead of the plain page: `fn(request, err)` returns as a view does.
---@param status integer
---@param fn fun(request: weft.Request, err: any): any
function App:on_error(status, fn)
  if type(status) ~= "number" or status < 400 or status > 599 then
    error("on_error takes a status from 400 to 599", 2)
  end
  if not is_callable(fn) then error("on_error takes a function", 2) end
  self._errors[status] = fn
end

--- Runs `fn` again and again while the app is served, the first time after `seconds`.
-- A run that takes longer than the period delays the next one.
---@param seconds number
---@param fn function
function App:every(seconds, fn)
  if type(seconds) ~= "number" or not (seconds > 0) then error("every takes seconds", 2) end
  if not is_callable(fn) then error("every takes a function", 2) end
  table.insert(self._every, { seconds = seconds, fn = fn, where = place(2) })
end

-- ---- errors become responses ----

local function log_fault(request, fault, layer)
  log.error(("%s\n%s"):format(tostring(fault.value), fault.traceback), {
    request_id = request.id,
    method = request.method,
    path = request.path,
    layer = layer,
  })
end

local function handler_for(app, status)
  while app do
    if app._errors[status] then return app._errors[status] end
    app = app._parent_app
  end
end

local function bare(raised)
  return errors.is_fault(raised) and raised.value or raised
end

--- The page of an error; a handler of the app that fails gets one more chance with the 500.
local function page(self, request, raised, layer, status)
  local handler = handler_for(request.app, status)
  if handler then
    local ok, answer = xpcall(function()
      return responses.of(handler(request, bare(raised)))
        or error(("the handler of error %d returned no response"):format(status), 0)
    end, errors.on_raise)
    if ok then return answer end
    if errors.is_cancelled(answer) and core.cancelled() then error(answer, 0) end
    if errors.is_fault(answer) then
      log_fault(request, answer, ("on_error(%d)"):format(status))
    end
    if status ~= 500 then return page(self, request, answer, "on_error", 500) end
  end
  return error_page.render {
    request = request,
    raised = raised,
    status = status,
    layer = layer,
    layers = self._names,
    dev = self.dev,
  }
end

function App:_convert(request, raised, layer)
  local status = errors.status_of(raised)
  if errors.is_fault(raised) then log_fault(request, raised, layer) end
  local response = page(self, request, raised, layer, status)
  if errors.is_abort(raised) then
    for name, value in pairs(raised.headers or {}) do response.headers[name] = value end
    if raised.close then request._close = true end
  end
  return response
end

local function bad_return(layer, value)
  return setmetatable({
    value = ("middleware %q returned %s instead of a response%s"):format(layer,
      value == nil and "nil" or "a " .. type(value),
      value == nil and " (is a `return response` missing?)" or ""),
    traceback = "",
  }, getmetatable(errors.on_raise "")) -- a fault without a place: nothing was raised
end

-- ---- from what is registered to one function ----

local function hooks_of(built, hook)
  local list = {}
  for _, layer in ipairs(built) do
    local instance = layer.instance
    if type(instance) == "table" and type(instance[hook]) == "function" then
      list[#list + 1] = layer
    end
  end
  return list
end

local function concat(...)
  local all = {}
  for i = 1, select("#", ...) do
    for _, item in ipairs((select(i, ...))) do all[#all + 1] = item end
  end
  return all
end

local function view_function(route)
  local view, of = route.view, responses.of
  return function(request)
    local result = view(request)
    local response = of(result)
    if response then return response end
    local info = type(view) == "function" and debug.getinfo(view, "S")
    error(("the view of %s %s (%s) returned %s; it must return a response, a string or a table"):
      format(route.method, route.pattern,
        info and ("%s:%d"):format(info.short_src, info.linedefined) or route.where,
        result == nil and "nil" or "a " .. type(result)), 0)
  end
end

--- Builds everything; raises with the place of what is wrong.
---@return fun(request: weft.Request): weft.Response
function App:_build()
  local hooks = {
    xpcall = stdlib.raw.xpcall,
    on_raise = errors.on_raise,
    is_response = responses.is,
    passes = function(raised) return errors.is_cancelled(raised) and (core.cancelled()) end,
    convert = function(request, raised, layer) return self:_convert(request, raised, layer) end,
    bad_return = bad_return,
    bare = bare,
  }
  local router = Router.new()
  local find = router.find

  local function dispatch(request)
    local target, found = find(router, request.method, request.path)
    if target then
      request.route = target
      if found then request.params = found end
      if target._app then request.app = target._app end
      return target._handler(request)
    end
    if request.path == "*" then return responses.no_content() end
    if not found then return self:_convert(request, errors.new_abort(404), "router") end
    if request.method == "OPTIONS" then
      local response = responses.no_content()
      response.headers["Allow"] = found .. ", OPTIONS"
      return response
    end
    return self:_convert(request, errors.new_abort(405, nil, { headers = { Allow = found } }),
      "router")
  end

  local handler, built = chain.build(self._layers, chain.film("view", dispatch, hooks), hooks)
  check_order(self._layers)
  self._built, self._names = built, {}
  for i, layer in ipairs(built) do self._names[i] = layer.name end

  -- Each group's chain is built once; its core goes on to what the request's route has inside.
  local scopes = {}
  local function scope_of(scope)
    if scope == self then return nil end
    if not scopes[scope] then
      local outer = scope_of(scope._parent)
      local this = { outer = outer, built = outer and outer.built or built }
      local inside = function(request) return request.route._inside[this](request) end
      local group_built
      this.handler, group_built =
        chain.build(scope._layers, chain.film("group", inside, hooks), hooks)
      check_order(scope._layers)
      this.built = concat(this.built, group_built)
      this.app = scope._mounted or outer and outer.app
      scopes[scope] = this
    end
    return scopes[scope]
  end

  for _, route in ipairs(self._routes) do
    local scope = scope_of(route.scope)
    local before = scope and scope.built or built
    local inner -- the view's chain, which the route's own middleware wrap
    local around = chain.film("view", function(request) return inner(request) end, hooks)
    local own, own_built = chain.build(route.layers, around, hooks)
    check_order(route.layers)
    local all = concat(before, own_built)
    inner = chain.view(view_function(route), route.view, hooks_of(all, "process_view"),
      hooks_of(all, "process_exception"), hooks)
    if #route.layers == 0 then own = chain.film("view", inner, hooks) end
    local target = {
      method = route.method,
      pattern = route.pattern,
      where = route.where,
      _inside = {}, -- group -> what is inside of it for this route
      _app = scope and scope.app,
    }
    route.names = {}
    for i, layer in ipairs(own_built) do route.names[i] = layer.name end
    target._handler = own
    while scope do
      target._inside[scope] = target._handler
      target._handler = scope.handler
      scope = scope.outer
    end
    router:add(route.method, route.pattern, target, route.where)
  end
  return handler
end

--- Runs the hooks of an event, in the order they were registered.
---@param event string
function App:_run_hooks(event, ...)
  for _, fn in ipairs(self._hooks[event] or {}) do fn(...) end
end

--- Starts the periodic jobs.
function App:_start_every()
  for _, job in ipairs(self._every) do
    task.background(function()
      while not self._stopping do
        task.sleep(job.seconds)
        if self._stopping then break end
        local ok, raised = xpcall(job.fn, errors.on_raise)
        if not ok and not core.cancelled() then
          log.error(("every(%g) at %s failed: %s\n%s"):format(job.seconds, job.where,
            tostring(raised), errors.is_fault(raised) and raised.traceback or ""))
        end
      end
    end)
  end
end

return M
