--- From an exchange of C to the app's chain and back: makes the request, runs the chain, writes
-- the response, then what comes after it. One call of the serve function is one request, in a
-- task of its own.

local core = require "weft.core"
local errors = require "weft.errors"
local exchange = require "weft.exchange"
local headers = require "weft.headers"
local log = require "weft.log"
local requests = require "weft.request"
local stdlib = require "weft.stdlib"
local task = require "weft.task"

local xpcall = stdlib.raw.xpcall -- errors.on_raise waits for nothing

local M = {}

local METHODS = exchange.METHODS
local new_request = requests.new
local is_headers, valid_status = headers.is, exchange.valid_status

--- Checks what a script may have put into a response's fields.
local function checked(response)
  if not exchange.valid_status(response.status) then
    error(("a response's status is %s, not an integer from 200 to 599"):format(
      tostring(response.status)), 0)
  end
  if not headers.is(response.headers) then response.headers = headers.from(response.headers) end
  if not response.streaming and type(response.body) ~= "string" then
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

--- Writes a streaming response: the head, then what its producer writes. Raises what it raises.
local function write_stream(handle, request, response)
  local announced = tonumber(response.headers["Content-Length"])
  if not exchange.stream(handle, response.status, response.headers, announced) then return end
  local written = 0
  local write = function(chunk)
    if type(chunk) ~= "string" then
      if type(chunk) ~= "number" then
        error(("write takes a string, not %s"):format(type(chunk)), 2)
      end
      chunk = tostring(chunk)
    end
    written = written + #chunk
    if announced and written > announced then
      error(("the stream is longer than its Content-Length, %d bytes"):format(announced), 2)
    end
    local _, err = exchange.write(handle, chunk)
    if err then error(err, 0) end
  end
  if request.method ~= "HEAD" then
    response._producer(write)
    if announced and written < announced then
      error(("the stream ended after %d of %d bytes"):format(written, announced), 0)
    end
  end
  exchange.complete(handle)
end

local function write(handle, request, response)
  if not exchange.valid_status(response.status) or type(response.body) ~= "string"
    or not headers.is(response.headers) then
    checked(response)
  end
  if response._cookies then add_cookies(response) end
  if rawget(request, "_close") then exchange.close(handle) end
  if response.streaming then return write_stream(handle, request, response) end
  exchange.respond(handle, response.status, response.headers, response.body)
end

--- Runs after the response: hooks of the app, and `response:after`.
local function finish(app, handle, request, response, started, aborted)
  core.mask(true) -- also when the client is gone: this is told once for each request
  if not aborted then
    core.mask(false)
    aborted = not pcall(exchange.sent, handle) or not exchange.alive(handle)
    core.mask(true)
  end
  for _, fn in ipairs(response and response._after or {}) do task.background(fn) end
  local ok, raised = xpcall(app._run_hooks, errors.on_raise, app, "request_finished", request, {
    status = response and response.status,
    bytes = exchange.written(handle) or 0,
    aborted = aborted,
    duration = core.clock() - started,
  })
  if not ok then
    log.error("a request_finished hook failed: " .. tostring(raised) .. "\n"
      .. (errors.is_fault(raised) and raised.traceback or ""))
  end
  core.mask(false)
end

--- The response to a request whose chain was cancelled: none, unless its time is over.
local function answer_cancelled(app, request)
  local _, overdue = core.cancelled()
  if not overdue then return nil end
  core.mask(true)
  log.warn("the request's time is over", {
    request_id = request.id,
    method = request.method,
    path = request.path,
    route = request.route and request.route.pattern or nil,
  })
  local ok, response = xpcall(app._convert, errors.on_raise, app, request,
    errors.new_abort(504, "The request took too long."), "deadline")
  core.mask(false)
  return ok and response or nil
end

local function log_torn(request, raised)
  if not errors.is_fault(raised) then return end
  log.error(("a response was cut off: %s\n%s"):format(tostring(raised.value), raised.traceback), {
    request_id = request.id,
    method = request.method,
    path = request.path,
  })
end

--- The function that answers the requests of an app, as C calls it. In the common case it returns
-- the response (status, headers, body), which C writes; otherwise it has written it itself.
---@param app weft.App
---@return fun(handle: number, method: integer, path: string): integer?, weft.Headers?, string?
function M.new(app)
  local chain = app:_build()
  local started_hooks, finished_hooks = app._hooks.request_started, app._hooks.request_finished

  local function serve_rest(handle, request, ok, response, started)
    local aborted = false
    if not ok then -- only a cancellation passes every film
      response = answer_cancelled(app, request)
      aborted = response == nil
    end
    if response then
      local written, raised = xpcall(write, errors.on_raise, handle, request, response)
      if not written and not exchange.answered(handle) and not errors.is_cancelled(raised) then
        response = app:_convert(request, raised, "response")
        written, raised = xpcall(write, errors.on_raise, handle, request, response)
      end
      if not written then
        aborted = true
        log_torn(request, raised)
      end
    end
    if finished_hooks or response and response._after then
      finish(app, handle, request, response, started, aborted)
    end
  end

  return function(handle, method, path)
    local request = new_request(handle, METHODS[method], path, app)
    local started = 0
    if finished_hooks then started = core.clock() end
    if started_hooks then app:_run_hooks("request_started", request) end
    local ok, response = pcall(chain, request)
    if ok and not finished_hooks then
      local status, fields, body = response.status, response.headers, response.body
      if type(body) == "string" and is_headers(fields) and valid_status(status)
        and not response._after and not response._cookies and not request._close then
        return status, fields, body
      end
    end
    return serve_rest(handle, request, ok, response, started)
  end
end

return M
