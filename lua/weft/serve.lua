--- From an exchange of C to the app's chain and back: makes the request, runs the chain, writes
-- the response, then what comes after it. One call of the serve function is one request, in a
-- task of its own.

local core = require "weft.core"
local error_response = require "weft.error_response"
local errors = require "weft.errors"
local exchange = require "weft.exchange"
local headers = require "weft.headers"
local requests = require "weft.request"
local stdlib = require "weft.stdlib"
local task = require "weft.task"

local xpcall = stdlib.raw.xpcall -- errors.on_raise waits for nothing

local M = {}

local METHODS = exchange.METHODS
local new_request = requests.new
local is_headers, valid_status = headers.is, exchange.valid_status

-- ---- writing ----

--- Checks what a script may have put into a response's fields.
local function check(response)
  if not valid_status(response.status) then
    error(("a response's status is %s, not an integer from 200 to 599"):format(
      tostring(response.status)), 0)
  end
  if not is_headers(response.headers) then response.headers = headers.from(response.headers) end
  if response.streaming then
    if not response._producer then error("a response is streaming, but made by no stream", 0) end
  elseif type(response.body) ~= "string" then
    if response.body ~= nil and type(response.body) ~= "number" then
      error(("a response's body is a %s, not a string"):format(type(response.body)), 0)
    end
    response.body = tostring(response.body or "")
  end
end

local function add_cookies(response)
  for _, cookie in ipairs(response._cookies) do
    headers.add(response.headers, "Set-Cookie", cookie.line)
  end
end

--- The length of a stream's body, if the script says it.
local function announced_length(fields)
  local length = fields["Content-Length"]
  return length and length:find "^%d+$" and tonumber(length) or nil
end

--- Runs a stream's producer, and holds it to the length that was announced.
local function produce(handle, producer, length)
  local written = 0
  producer(function(chunk)
    if type(chunk) ~= "string" then
      if type(chunk) ~= "number" then
        error(("write takes a string, not %s"):format(type(chunk)), 2)
      end
      chunk = tostring(chunk)
    end
    written = written + #chunk
    if length and written > length then
      error(("the stream is longer than its Content-Length, %d bytes"):format(length), 2)
    end
    local _, err = exchange.write(handle, chunk)
    if err then error(err, 0) end
  end)
  if length and written < length then
    error(("the stream ended after %d of %d bytes"):format(written, length), 0)
  end
end

local function write(handle, request, response)
  check(response)
  if response._cookies then add_cookies(response) end
  local status, fields = response.status, response.headers
  local length = response.streaming and announced_length(fields)
  local begun
  if response.streaming then
    begun = exchange.stream(handle, status, fields, length)
  else
    begun = exchange.respond(handle, status, fields, response.body)
  end
  if not begun then return end -- the client is gone
  if status >= 400 then error_response.log_response(request, response) end
  if response.streaming then
    if request.method ~= "HEAD" and status ~= 204 and status ~= 304 then
      produce(handle, response._producer, length)
    end
    exchange.complete(handle)
  end
end

--- Whether it only says that the client is gone.
local function is_gone(handle, raised)
  local value = error_response.bare(raised)
  return errors.is(value) and (value.code == "cancelled" or value.code == "closed")
    and (core.cancelled() or not exchange.alive(handle))
end

--- Writes a response; in place of one that cannot be written the response to that error.
---@return weft.Response response
---@return boolean aborted the client did not get all of it
local function deliver(scope, handle, request, response)
  local ok, raised = xpcall(write, errors.on_raise, handle, request, response)
  if not ok and not exchange.answered(handle) and not core.cancelled() then
    response = error_response.of(scope, request, raised, "response")
    ok, raised = xpcall(write, errors.on_raise, handle, request, response)
  end
  if not ok and not is_gone(handle, raised) then
    error_response.log_raised(request, raised, "response cut off")
  end
  return response, not ok
end

-- ---- the end ----

--- The response to a request whose chain was cancelled: none, unless its time is over.
local function answer_cancelled(scope, request, raised)
  local _, overdue = core.cancelled()
  if overdue then
    if not errors.is_abort(raised) then
      raised = errors.new_abort(504, "The request took too long.")
    end
    return error_response.of(scope, request, raised, "deadline")
  end
  if errors.is_fault(raised) then
    error_response.log_raised(request, raised, "cancelled", nil, "warn")
  end
end

local function run_after(request, fn)
  local ok, raised = xpcall(fn, errors.on_raise)
  if not ok and not core.cancelled() then
    error_response.log_raised(request, raised, "response:after")
  end
end

--- Tells that a request has ended: once, whatever became of it.
local function tell_finished(app, handle, request, response, started, aborted)
  request._finished = true
  app:_run_hooks("request_finished", request, {
    status = response and response.status,
    bytes = exchange.written(handle) or 0,
    aborted = aborted,
    duration = core.clock() - started,
  })
end

--- Runs after the response: hooks of the app, and `response:after`.
local function finish(app, handle, request, response, started, aborted)
  if not aborted then
    local ok, sent = pcall(exchange.sent, handle)
    aborted = not (ok and sent)
  end
  for _, fn in ipairs(response and response._after or {}) do
    task.background(run_after, request, fn)
  end
  tell_finished(app, handle, request, response, started, aborted)
end

--- What hooks of the end need: the time, the request's fields, and to be called also when the task
-- is ended from outside because it would not hear of its cancellation.
local function prepare_end(app, handle, request)
  local started = core.clock()
  requests.keep(request)
  task.defer(function()
    if not request._finished then tell_finished(app, handle, request, nil, started, true) end
  end)
  return started
end

--- The function that answers the requests of an app, as C calls it. In the common case it returns
-- the response (status, headers, body), which C writes; otherwise it has written it itself.
---@param app weft.App
---@return fun(handle: number, method: integer, path: string): integer?, weft.Headers?, string?
function M.new(app)
  local chain = app:_build()
  local heard = app._hooks.request_finished ~= nil
  local apps = { app }

  local function scope_of(request)
    return { root = app, apps = request.route and request.route._apps or apps }
  end

  local function serve_rest(handle, request, ok, answer, started)
    local response, aborted = answer, true
    if not ok then -- only what a cancelled request raises passes every film
      core.mask(true) -- its own end is not interrupted
      response = answer_cancelled(scope_of(request), request, answer)
    end
    if response then
      response, aborted = deliver(scope_of(request), handle, request, response)
    end
    if ok then core.mask(true) end
    if heard or response and response._after then
      finish(app, handle, request, response, started, aborted)
    end
    core.mask(false)
  end

  return function(handle, method, path)
    local request = new_request(handle, METHODS[method], path, app)
    local started = 0
    if heard then started = prepare_end(app, handle, request) end
    local ok, response = pcall(chain, request)
    if ok and not heard and not response.streaming then
      local status, fields, body = response.status, response.headers, response.body
      if type(body) == "string" and is_headers(fields) and valid_status(status) and status < 400
        and not response._after and not response._cookies then
        return status, fields, body
      end
    end
    return serve_rest(handle, request, ok, response, started)
  end
end

return M
