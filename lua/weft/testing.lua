--- What specs of apps need: a client of an app, and fake services to call.
-- Both go over real sockets on loopback, through the code that serves the world. Everything that
-- was opened here ends with the process; `close` ends it earlier.

local await = require "weft.await"
local boot = require "weft.boot"
local core = require "weft.core"
local fetch = require "weft.fetch"
local serve = require "weft.serve"
local task = require "weft.task"
local weft_app = require "weft.app"

local M = {}

local function listen(app)
  local handle, url = core.listen("127.0.0.1:0", serve.new(app), app.limits)
  if not handle then error(url, 3) end
  return handle, url
end

-- ---- virtual time ----

---@class weft.testing.Clock
local Clock = { __name = "weft.testing.Clock" }
Clock.__index = Clock

--- Time stands still for every timer, deadline and time-out of the runtime, until `advance` moves
-- it or `resume` lets it run on. At the end of each `it`, `weft test` resumes it.
function Clock:freeze() core.clock_freeze(true) end

--- Moves the frozen clock. Each timer on the way runs at its moment, and what it starts comes to
-- rest before the next one; no real time passes.
---@param seconds number
function Clock:advance(seconds)
  if type(seconds) ~= "number" or not (seconds >= 0) then
    error("advance takes seconds, not negative", 2)
  end
  await.status(core.clock_advance(seconds))
end

--- Lets time run on, from what the clock shows.
function Clock:resume() core.clock_freeze(false) end

--- Seconds that the clock shows; only differences mean something.
---@return number
function Clock:now() return core.now() end

---@type weft.testing.Clock
M.clock = setmetatable({}, Clock)

-- ---- clients and services ----

---@class weft.testing.Client
---@field url string where the app is served
---@field app weft.App
local Client = { __name = "weft.testing.Client" }
Client.__index = Client

--- A client of an app, which is served for it on loopback. Its start hooks have run.
---@param app string|weft.App a path, as for `weft run`, or an app built in the spec
---@return weft.testing.Client
function M.client(app)
  if type(app) == "string" then app = boot.load_app(app) end
  if getmetatable(app) ~= weft_app.App then error("testing.client takes an app or its path", 2) end
  local handle, url = listen(app)
  app:_run_hooks "start"
  return setmetatable({ app = app, url = url, _server = handle }, Client)
end

--- Sends a request and waits for the response; fails the spec when there is none.
---@param method string
---@param path string
---@param options table? as for weft.fetch: headers, body, json, form, timeout
---@return table response
function Client:request(method, path, options)
  local all = { redirects = 0 }
  for key, value in pairs(options or {}) do all[key] = value end
  all.method = method
  local response, err = fetch.fetch(self.url .. path, all)
  if not response then error(("%s %s: %s"):format(method, path, tostring(err)), 3) end
  return response
end

for _, method in ipairs { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" } do
  Client[method:lower()] = function(self, path, options)
    return self:request(method, path, options)
  end
end

--- Sends a request and goes on: `client:start("GET", "/slow"):await()` gives the response.
---@param method string
---@param path string
---@param options table?
---@return weft.Task
function Client:start(method, path, options)
  return task.spawn(function() return self:request(method, path, options) end)
end

--- Stops serving the app, after its running requests and its stop hooks.
function Client:close()
  core.unlisten(self._server)
  self.app._stopping = true
  self.app:_run_hooks "stop"
end

---@class weft.testing.Upstream
---@field url string
---@field requests integer how many requests it got
local Upstream = { __name = "weft.testing.Upstream" }
Upstream.__index = Upstream

--- A service on loopback that answers every request with `view(request)`.
---@param view fun(request: weft.Request): any
---@return weft.testing.Upstream
function M.upstream(view)
  local app = weft_app.new()
  local upstream = setmetatable({ requests = 0 }, Upstream)
  app:any("/*path", function(request)
    upstream.requests = upstream.requests + 1
    return view(request)
  end)
  upstream._server, upstream.url = listen(app)
  return upstream
end

--- How many connections to it are open.
---@return integer
function Upstream:connections() return core.connection_count(self._server) end

--- Stops serving.
function Upstream:close() core.unlisten(self._server) end

return M
