--- The app: what can be registered, and by whom.
-- Owns the lists (middleware, routes, groups, mounts, hooks, error handlers, jobs) and refuses at
-- once what cannot be right. What becomes of them is lua/weft/assemble.lua's; it serves nothing.

local app_options = require "weft.app_options"
local assemble = require "weft.assemble"
local core = require "weft.core"
local errors = require "weft.errors"
local layer = require "weft.layer"
local log = require "weft.log"
local task = require "weft.task"

local is_callable = layer.is_callable

local M = { middleware_not_used = layer.not_used }

local function place(level)
  local caller = debug.getinfo(level + 1, "Sl")
  return caller and ("%s:%d"):format(caller.short_src, caller.currentline) or "?"
end

--- What comes after the chain was built would never be heard of.
local function check_open(scope, what, level)
  if scope._app._names then
    error(what .. ": the app is built already; it must be there when the app is loaded", level + 1)
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
  check_open(self, "use", 2)
  self._layers[#self._layers + 1] = layer.new(spec, options, place(2), 2)
end

local function register(scope, entry)
  entry.scope = scope
  table.insert(scope._app._registered, entry)
end

local function add_route(scope, method, pattern, middleware, view, where)
  check_open(scope, "a route", 3)
  if view == nil then
    middleware, view = nil, middleware
  end
  if type(pattern) ~= "string" then error("a route's pattern is a string", 3) end
  if not is_callable(view) then
    error(("the view of %s %s is %s, not a function"):format(method, pattern,
      view == nil and "nil" or "a " .. type(view)), 3)
  end
  register(scope, {
    method = method,
    pattern = pattern,
    layers = middleware == nil and {} or layer.list(middleware, where, 3),
    view = view,
    where = where,
  })
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
  if type(method) ~= "string" then error("a route's method is a string", 2) end
  add_route(self, method:upper(), pattern, middleware, view, place(2))
end

local function check_prefix(prefix)
  if type(prefix) ~= "string" or prefix:sub(1, 1) ~= "/" or prefix:sub(-1) == "/" then
    error('a prefix begins with "/" and does not end with it', 3)
  end
end

--- Routes under a prefix, with middleware of their own inside the app's.
---@param prefix string
---@param fill fun(group: weft.Scope)
function Scope:group(prefix, fill)
  check_open(self, "group", 2)
  check_prefix(prefix)
  if not is_callable(fill) then error("group takes a function that fills it", 2) end
  fill(setmetatable({ _app = self._app, _parent = self, _prefix = prefix, _layers = {} }, Scope))
end

--- The routes, middleware, hooks, jobs and error handlers of another app, under a prefix.
---@param prefix string
---@param other weft.App
function Scope:mount(prefix, other)
  check_open(self, "mount", 2)
  check_prefix(prefix)
  if getmetatable(other) ~= M.App then error("mount takes an app", 2) end
  if other == self._app then error("an app cannot be mounted in itself", 2) end
  register(self, { mounted = other, prefix = prefix, where = place(2) })
end

-- ---- the app ----

---@class weft.App: weft.Scope
---@field max_body_size integer
local App = setmetatable({ __name = "weft.App" }, Scope)
App.__index = App
M.App = App

function App:__tostring()
  return ("weft.App (%d routes)"):format(#(self._routes or self._registered))
end

--- A new app. Options are limits: `request_timeout`, `max_body_size` and others, see the reference.
---@param options table?
---@return weft.App
function M.new(options)
  local limits, max_body_size = app_options.read(options, 2)
  local hooks = {} -- event -> functions
  local app = setmetatable({
    max_body_size = max_body_size,
    limits = limits,
    dev = false,
    _where = place(2),
    -- as registered
    _layers = {},
    _registered = {}, -- routes and mounts, in their order
    _own_hooks = hooks,
    _own_jobs = {},
    _errors = {}, -- status -> function
    -- as built
    _names = false, -- of the middleware in use; false before
    _built = false,
    _routes = false, -- from here on with those of mounted apps
    _hooks = hooks,
    _jobs = false,
  }, App)
  app._app = app
  return app
end

local EVENTS = { start = true, stop = true, request_started = true, request_finished = true }

--- Hooks: "start" (once, before it serves; may wait), "stop" (while draining; may wait),
-- "request_started" (request), "request_finished" (request, { status, bytes, aborted, duration }).
-- Those of requests hear of every request, also when their app is mounted in another.
---@param event string
---@param fn function
function App:on(event, fn)
  if not EVENTS[event] then
    error(('app:on has no event %q; there are "start", "stop", "request_started" and '
      .. '"request_finished"'):format(tostring(event)), 2)
  end
  check_open(self, "on", 2)
  if not is_callable(fn) then error("app:on takes a function", 2) end
  self._own_hooks[event] = self._own_hooks[event] or {}
  table.insert(self._own_hooks[event], fn)
end

--- What answers an error instead of the plain page: `fn(request, err)` returns as a view does; a
-- string or a table gets the error's status.
---@param status integer
---@param fn fun(request: weft.Request, err: any): any
function App:on_error(status, fn)
  check_open(self, "on_error", 2)
  if type(status) ~= "number" or status < 400 or status > 599 or status % 1 ~= 0 then
    error("on_error takes a status from 400 to 599", 2)
  end
  if not is_callable(fn) then error("on_error takes a function", 2) end
  if self._errors[status] then
    error(("error %d has a handler already"):format(status), 2)
  end
  self._errors[status] = fn
end

--- Runs `fn` again and again while the app is served, the first time after `seconds`.
-- A run that takes longer than the period delays the next one.
---@param seconds number
---@param fn function
---@param options { one_worker: boolean? }? in just one worker; there is only one so far
function App:every(seconds, fn, options)
  check_open(self, "every", 2)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds <= 0 then
    error("every takes seconds", 2)
  end
  if not is_callable(fn) then error("every takes a function", 2) end
  for name in pairs(options or {}) do
    if name ~= "one_worker" then error(("every has no option %q"):format(tostring(name)), 2) end
  end
  table.insert(self._own_jobs, { seconds = seconds, fn = fn, where = place(2) })
end

-- ---- what runs it ----

--- Builds everything; raises with the place of what is wrong.
---@return fun(request: weft.Request): weft.Response
function App:_build() return assemble.build(self) end

local function log_failure(what, raised) log.error(what .. " failed: " .. errors.report(raised)) end

local function stop_jobs(app)
  app._stopping = true
  for _, job in ipairs(app._jobs) do
    if job.sleeping then job.task:cancel() end -- one that runs ends by itself
  end
end

--- Runs the hooks of an event, in the order they were registered. One that fails keeps the app
-- from starting, and fails the request that starts; at an end, the others still run.
---@param event string
function App:_run_hooks(event, ...)
  local ends = event == "stop" or event == "request_finished"
  if event == "stop" then stop_jobs(self) end
  for _, fn in ipairs(self._hooks[event] or {}) do
    if ends then
      local ok, raised = xpcall(fn, errors.on_raise, ...)
      if not ok then log_failure("a " .. event .. " hook", raised) end
    else
      fn(...)
    end
  end
end

local function run_job(app, job)
  while not app._stopping do
    job.sleeping = true
    task.sleep(job.seconds)
    job.sleeping = false
    local ok, raised = xpcall(job.fn, errors.on_raise)
    if not ok and not core.cancelled() then
      log_failure(("every(%g) at %s"):format(job.seconds, job.where), raised)
    end
  end
end

--- Starts the periodic jobs.
function App:_start_every()
  for _, job in ipairs(self._jobs) do job.task = task.background(run_job, self, job) end
end

return M
