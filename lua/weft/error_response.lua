--- What was raised becomes a response, and a line in the log. In this order: the app's own handler
-- of the status (`app:on_error`), that of 500 when this one fails, weft's page, one line of text.
-- Nothing is tried twice. Which error means which status is in lua/weft/errors.lua, what a page
-- looks like in lua/weft/error_page.lua.

local core = require "weft.core"
local error_page = require "weft.error_page"
local errors = require "weft.errors"
local headers = require "weft.headers"
local log = require "weft.log"
local responses = require "weft.response"

local M = {}

---@class weft.ErrorScope where something was raised
---@field root weft.App whose page is shown
---@field apps weft.App[] whose handlers are asked: a mounted app, then what it is mounted in

--- What a script raised, without the traceback that was kept with it.
---@param raised any
---@return any
function M.bare(raised)
  if errors.is_fault(raised) then return raised.value end
  return raised
end

local function fields_of(request, status, layer)
  return {
    request_id = request.id,
    method = request.method,
    path = request.path,
    route = request.route and request.route.pattern or nil,
    status = status,
    layer = layer,
  }
end

--- Logs a response that is an error, unless what it is made of was logged when it was raised.
---@param request weft.Request
---@param response weft.Response
function M.log_response(request, response)
  if response._logged then return end
  response._logged = true
  local status = response.status
  local write = status >= 500 and log.error or log.warn
  write(("%d %s"):format(status, core.status_reason(status)), fields_of(request, status))
end

--- Logs what a script raised, with its traceback.
---@param request weft.Request
---@param raised any
---@param layer string?
---@param status integer?
---@param level "error"|"warn"|nil
function M.log_raised(request, raised, layer, status, level)
  local message = errors.report(raised)
  if raised == "error in error handling" then -- LuaJIT: the stack was too full for a traceback
    message = "stack overflow: does a function call itself without end?"
  end
  log[level or "error"](message, fields_of(request, status, layer))
end

local function log_abort(request, abort, layer)
  local status = abort.status
  if status < 400 then return end
  local message = ("%d %s"):format(status, core.status_reason(status))
  if abort.message then message = message .. ": " .. errors.text(abort.message) end
  log[status >= 500 and "error" or "warn"](message, fields_of(request, status, layer))
end

local function log_any(request, raised, layer, status)
  if errors.is_abort(raised) then
    log_abort(request, raised, layer)
  else
    M.log_raised(request, raised, layer, status)
  end
end

local function handler_for(scope, status)
  for _, app in ipairs(scope.apps) do
    if app._errors[status] then return app._errors[status] end
  end
end

local function put_headers(response, raised)
  if not errors.is_abort(raised) or not raised.headers then return end
  local own = headers.from(raised.headers)
  for _, name in headers.each(own) do headers.remove(response.headers, name) end
  for _, name, value in headers.each(own) do headers.add(response.headers, name, value) end
end

local function run_handler(handler, request, raised, status)
  local result = handler(request, M.bare(raised))
  local response, reason = responses.of(result)
  if not response then
    error(("the handler of error %d returned %s; it must return a response, a string or a table")
      :format(status, reason), 0)
  end
  if response ~= result then response.status = status end -- it gave only the body
  put_headers(response, raised)
  return response
end

--- weft's own page, with the headers of an abort.
local function page(scope, request, raised, layer, status)
  local response
  if status == 304 then
    response = responses.response { status = status }
  else
    response = error_page.render {
      request = request,
      raised = raised,
      status = status,
      layer = layer,
      layers = scope.root._names,
      dev = scope.root.dev,
    }
  end
  put_headers(response, raised)
  return response
end

local function last_resort(request, raised, layer)
  M.log_raised(request, raised, layer, 500)
  return responses.text("500 Internal Server Error\n", 500)
end

local function pass_cancellation(raised)
  if core.cancelled() then error(raised, 0) end
end

--- The page, whatever happens.
local function safe_page(scope, request, raised, layer, status)
  local ok, response = xpcall(page, errors.on_raise, scope, request, raised, layer, status)
  if ok then return response end
  pass_cancellation(response)
  return last_resort(request, response, "error page")
end

local function answer(scope, request, raised, layer, status)
  local handler = handler_for(scope, status)
  if not handler then return safe_page(scope, request, raised, layer, status) end
  local ok, response = xpcall(run_handler, errors.on_raise, handler, request, raised, status)
  if ok then return response end
  pass_cancellation(response)
  layer = ("on_error(%d)"):format(status)
  log_any(request, response, layer, 500)
  if status == 500 or errors.is_abort(response) then
    return safe_page(scope, request, response, layer, errors.status_of(response))
  end
  return answer(scope, request, response, layer, 500)
end

--- The response to what was raised. It raises nothing but the end of a cancelled request.
---@param scope weft.ErrorScope
---@param request weft.Request
---@param raised any
---@param layer string which one raised
---@return weft.Response
function M.of(scope, request, raised, layer)
  local status = errors.status_of(raised)
  log_any(request, raised, layer, status)
  local response = answer(scope, request, raised, layer, status)
  response._logged = true
  return response
end

--- A fault that nobody raised, and whose place is in its message.
---@param message string
---@return weft.Fault
function M.fault(message)
  local fault = errors.on_raise(message)
  fault.traceback = ""
  return fault
end

return M
