--- From what is registered in an app to the one function that answers its requests.
-- Owns the order of everything: the app's middleware, the route, the middleware of the groups and
-- mounted apps it stands in, its own middleware, hooks, view. Each layer is built once.

local chain = require "weft.chain"
local core = require "weft.core"
local error_response = require "weft.error_response"
local errors = require "weft.errors"
local framing = require "weft.framing"
local layer = require "weft.layer"
local responses = require "weft.response"
local Router = require "weft.router"
local stdlib = require "weft.stdlib"

local M = {}

---@class weft.Level one list of middleware on the way to a view: an app's or a group's
---@field outer weft.Level? what it stands in
---@field prefix string
---@field apps weft.App[] whose error handlers are asked, this one's first
---@field layers weft.Layer[] its own
---@field around weft.Layer[] all from the outside in, with its own
---@field built weft.BuiltLayer[] the same, those in use
---@field hooks weft.ChainHooks
---@field handler function

local function append(list, more)
  local all = {}
  for _, item in ipairs(list) do all[#all + 1] = item end
  for _, item in ipairs(more) do all[#all + 1] = item end
  return all
end

local function who(it, hook)
  local name = hook and it.name .. "." .. hook or it.name
  if name:find(it.where, 1, true) then return name end -- an inline one is called by its place
  return ("middleware %q (listed at %s)"):format(name, it.where)
end

local function at_place(place, message) return place and place .. ": " .. message or message end

local function bad_return(it, value, hook)
  local message = ("%s returned %s instead of a response%s"):format(
    who(it, hook),
    value == nil and "nil" or "a " .. type(value),
    value == nil and " (is a `return response` missing?)" or "")
  return error_response.fault(
    at_place(layer.place_of(hook and it[hook] or it.instance), message))
end

local function hooks_for(root, apps)
  local scope = { root = root, apps = apps }
  return {
    xpcall = stdlib.raw.xpcall,
    on_raise = errors.on_raise,
    is_response = responses.is,
    bare = error_response.bare,
    bad_return = bad_return,
    -- Whatever a cancelled request raises is its end: nobody reads a response any longer.
    passes = function() return (core.cancelled()) end,
    convert = function(request, raised, name)
      return error_response.of(scope, request, raised, name)
    end,
    watch = root.dev and function(it)
      return framing.watch(who(it), it.instance)
    end or nil,
  }
end

local function new_level(root, outer, layers, prefix, apps)
  return {
    root = root,
    outer = outer,
    prefix = prefix,
    apps = apps,
    layers = layers,
    around = outer and append(outer.around, layers) or layers,
    hooks = outer and outer.apps == apps and outer.hooks or hooks_for(root, apps),
  }
end

-- ---- groups and mounts become levels ----

local function mount(root, level, entry)
  for _, app in ipairs(level.apps) do
    if app == entry.mounted then
      error(entry.where .. ": an app cannot be mounted in itself", 0)
    end
  end
  return new_level(root, level, entry.mounted._layers, level.prefix .. entry.prefix,
    append({ entry.mounted }, level.apps))
end

--- Goes through what an app has registered; `found` gets its routes and the apps mounted in it.
local function walk(root, app, top, found)
  local levels = { [app] = top }
  local function level_of(scope)
    local level = levels[scope]
    if not level then
      local outer = level_of(scope._parent)
      level = new_level(root, outer, scope._layers, outer.prefix .. scope._prefix, outer.apps)
      levels[scope] = level
    end
    return level
  end
  for _, entry in ipairs(app._registered) do
    local level = level_of(entry.scope)
    if entry.mounted then
      table.insert(found.mounted, entry.mounted)
      walk(root, entry.mounted, mount(root, level, entry), found)
    else
      table.insert(found.routes, { entry = entry, level = level })
    end
  end
end

--- The hooks and jobs of mounted apps are run by the one that is served.
local function adopt(root, mounted)
  local seen, hooks, jobs = {}, {}, root._own_jobs
  for event, list in pairs(root._own_hooks) do hooks[event] = list end
  for _, app in ipairs(mounted) do
    if not seen[app] then
      seen[app] = true
      app._names = app._names or {} -- nothing can be registered any longer
      for event, list in pairs(app._own_hooks) do
        hooks[event] = append(hooks[event] or {}, list)
      end
      jobs = append(jobs, app._own_jobs)
    end
  end
  root._hooks, root._jobs = hooks, jobs
end

-- ---- routes ----

--- Builds what a route has inside its level: its own middleware, the hooks, the view.
local function build_route(entry, level)
  local view, of = entry.view, responses.of
  local name = ("the view of %s %s"):format(entry.method, level.prefix .. entry.pattern)
  local function run(request)
    local result = view(request)
    local response, reason = of(result)
    return response, reason
  end
  local function refuse(reason)
    return error_response.fault(at_place(layer.place_of(view) or entry.where,
      ("%s returned %s; it must return a response, a string or a table"):format(name, reason)))
  end
  if level.root.dev then run = framing.watch(name, run) end

  local inner -- the view with its hooks, which are those of the route's own middleware as well
  local handler, own = chain.build(entry.layers,
    chain.film({ name = "view" }, function(request) return inner(request) end, level.hooks),
    level.hooks)
  layer.check_order(append(level.around, entry.layers))
  local built = append(level.built, own)
  inner = chain.view(run, refuse, view, built, level.hooks)
  return handler, built
end

--- Builds a level's chain, once, around what the request's route has inside of it.
local function build_level(level)
  if level.built then return end
  build_level(level.outer)
  local inside = function(request) return request.route._inside[level](request) end
  local handler, built = chain.build(level.layers,
    chain.film({ name = "route" }, inside, level.hooks), level.hooks)
  level.handler = handler
  level.built = append(level.outer.built, built)
end

local function add_route(router, top, entry, level)
  build_level(level)
  local handler, built = build_route(entry, level)
  local names = {}
  for i = #top.built + 1, #built do names[#names + 1] = built[i].name end
  local target = {
    method = entry.method,
    pattern = level.prefix .. entry.pattern,
    where = entry.where,
    names = names, -- of the middleware inside the app's
    app = level.apps[1],
    _apps = level.apps,
    _inside = {}, -- level -> what is inside of it for this route
    _handler = handler,
  }
  while level ~= top do
    if #level.layers > 0 then
      target._inside[level] = target._handler
      target._handler = level.handler
    end
    level = level.outer
  end
  router:add(target.method, target.pattern, target, target.where)
  return target
end

-- ---- the whole ----

--- What the app's own middleware are around: finds the route and goes on inside of it.
local function new_dispatch(router, hooks)
  local find = router.find

  local function no_route(request, allow)
    if request.path == "*" then return responses.no_content() end
    if not allow then return hooks.convert(request, errors.new_abort(404), "router") end
    if not allow:find("OPTIONS", 1, true) then allow = allow .. ", OPTIONS" end
    if request.method == "OPTIONS" then
      local response = responses.no_content()
      response.headers["Allow"] = allow
      return response
    end
    return hooks.convert(request, errors.new_abort(405, nil, { headers = { Allow = allow } }),
      "router")
  end

  return function(request)
    local target, found = find(router, request.method, request.path)
    if not target then return no_route(request, found) end
    request.route = target
    request.app = target.app
    if found then
      request.params = found
    elseif rawget(request, "params") then
      request.params = nil -- of a route that was tried before
    end
    return target._handler(request)
  end
end

--- Builds everything; raises with the place of what is wrong.
---@param app weft.App
---@return fun(request: weft.Request): weft.Response
function M.build(app)
  local router = Router.new()
  local top = new_level(app, nil, app._layers, "", { app })
  local found = { routes = {}, mounted = {} }
  walk(app, app, top, found)
  adopt(app, found.mounted)

  local dispatch = new_dispatch(router, top.hooks)
  local handler, built = chain.build(top.layers,
    chain.film({ name = "router" }, dispatch, top.hooks), top.hooks)
  layer.check_order(top.layers)
  top.built = built
  app._built, app._names, app._routes = built, {}, {}
  for i, it in ipairs(built) do app._names[i] = it.name end
  for i, it in ipairs(found.routes) do
    app._routes[i] = add_route(router, top, it.entry, it.level)
  end

  if app._hooks.request_started then
    local inner = handler
    handler = chain.film({ name = "request_started" }, function(request)
      app:_run_hooks("request_started", request)
      return inner(request)
    end, top.hooks)
  end
  return handler
end

return M
