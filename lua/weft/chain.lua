--- The chain: middleware around a core, each layer in a thin film that turns what is raised into
-- a response. Django's `convert_exception_to_response`, kept faithfully: code behind
-- `get_response` always runs, unless the request is cancelled.
--
-- It needs nothing from C. What an error becomes is decided by the `convert` it is given.

local chain = {}

-- A film is compiled afresh for each layer: to LuaJIT, films made of one prototype inside each
-- other would be a recursion, which it does not compile well.
local FILM = [[
local layer, on_raise, is_response, recover, xpcall = ...
return function(request)
  local ok, response = xpcall(layer, on_raise, request)
  if ok and is_response(response) then return response end
  return recover(ok, response, request)
end]]

local function new_film(...) return loadstring(FILM, "=weft.film")(...) end

---@class weft.ChainHooks
---@field xpcall function Lua's own: `on_raise` waits for nothing, so no guard is needed
---@field on_raise fun(err: any): any the message handler: keeps the traceback
---@field is_response fun(value: any): boolean
---@field passes fun(raised: any): boolean whether it is a cancellation, which no film converts
---@field convert fun(request: table, raised: any, layer: string): any the response to an error
---@field bad_return fun(layer: string, value: any): any the error of a layer without a response

--- Wraps one layer, so that calling it always gives a response.
---@param name string of the layer, for errors
---@param layer function|table what answers requests
---@param hooks weft.ChainHooks
---@return fun(request: table): any
function chain.film(name, layer, hooks)
  local function recover(ok, answer, request)
    if ok then return hooks.convert(request, hooks.bad_return(name, answer), name) end
    if hooks.passes(answer) then error(answer, 0) end
    return hooks.convert(request, answer, name)
  end
  return new_film(layer, hooks.on_raise, hooks.is_response, recover, hooks.xpcall)
end

---@class weft.Layer
---@field name string how the list called it
---@field build fun(get_response: function): any? the instance; nil when it is not used

--- Builds a list of layers around a core, innermost first. The list is the order in.
---@param layers weft.Layer[]
---@param core fun(request: table): any must always give a response: a film
---@param hooks weft.ChainHooks
---@return fun(request: table): any handler
---@return { name: string, instance: any }[] built in the order of the list, unused ones left out
function chain.build(layers, core, hooks)
  local handler, built = core, {}
  for i = #layers, 1, -1 do
    local layer = layers[i]
    local instance = layer.build(handler)
    if instance ~= nil then
      handler = chain.film(layer.name, instance, hooks)
      table.insert(built, 1, { name = layer.name, instance = instance })
    end
  end
  return handler, built
end

--- The view with its hooks: `process_view` in the order of the list, the view, and for what the
-- view raises `process_exception` in the reverse order; the first response wins.
---@param view fun(request: table): any must give a response or raise
---@param original any the view as it was registered, for `process_view`
---@param process_view table[] { name, instance }
---@param process_exception table[] { name, instance }
---@param hooks weft.ChainHooks
---@return fun(request: table): any
function chain.view(view, original, process_view, process_exception, hooks)
  if #process_view == 0 and #process_exception == 0 then return view end
  local function answer_of(layer, hook, response)
    if response == nil or hooks.is_response(response) then return response end
    error(hooks.bad_return(layer.name .. "." .. hook, response), 0)
  end
  local xpcall = hooks.xpcall
  return function(request)
    for _, layer in ipairs(process_view) do
      local response = layer.instance:process_view(request, original, request.params)
      if answer_of(layer, "process_view", response) then return response end
    end
    local ok, result = xpcall(view, hooks.on_raise, request)
    if ok then return result end
    if not hooks.passes(result) then
      for i = #process_exception, 1, -1 do
        local layer = process_exception[i]
        local response = layer.instance:process_exception(request, hooks.bare(result))
        if answer_of(layer, "process_exception", response) then return response end
      end
    end
    error(result, 0)
  end
end

return chain
