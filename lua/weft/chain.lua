--- The chain: middleware around a core, each layer in a thin film that turns what is raised into
-- a response. Django's `convert_exception_to_response`, kept faithfully: code behind
-- `get_response` always runs, unless the request is cancelled.
--
-- It needs nothing from C, and decides nothing: what is a response, what an error becomes and
-- which errors pass is in the hooks it is given.

local chain = {}

---@class weft.ChainHooks
---@field xpcall function Lua's own: `on_raise` waits for nothing, so no guard is needed
---@field on_raise fun(err: any): any the message handler: keeps the traceback
---@field is_response fun(value: any): boolean
---@field passes fun(raised: any): boolean whether no film converts it: a cancelled request's end
---@field convert fun(request: table, raised: any, layer: string): any the response to an error
---@field bad_return fun(layer: weft.BuiltLayer, value: any, hook: string?): any what to raise then
---@field bare fun(raised: any): any what the script raised, without the traceback
---@field watch? fun(layer: weft.BuiltLayer): function what to call in place of its instance

---@class weft.Layer one entry of a list of middleware
---@field name string how the list called it
---@field where string "file:line" of the list
---@field build fun(get_response: function): any? the instance; nil when it is not used

---@class weft.BuiltLayer
---@field name string
---@field where string
---@field instance any
---@field process_view function? of the instance, as it was at load
---@field process_exception function?

-- A film is compiled afresh for each layer: to LuaJIT, films made of one prototype inside each
-- other would be a recursion, which it does not compile well.
local FILM = [[
local answer, on_raise, is_response, recover, xpcall = ...
return function(request)
  local ok, response = xpcall(answer, on_raise, request)
  if ok and is_response(response) then return response end
  return recover(ok, response, request)
end]]

local function new_film(...) return loadstring(FILM, "=weft.film")(...) end

--- Wraps what answers requests, so that calling it always gives a response.
---@param layer weft.BuiltLayer|{ name: string } for errors
---@param answer function|table
---@param hooks weft.ChainHooks
---@return fun(request: table): any
function chain.film(layer, answer, hooks)
  local function recover(ok, value, request)
    if ok then value = hooks.bad_return(layer, value) end
    if hooks.passes(value) then error(value, 0) end
    return hooks.convert(request, value, layer.name)
  end
  return new_film(answer, hooks.on_raise, hooks.is_response, recover, hooks.xpcall)
end

local function hook_of(instance, name)
  local hook = type(instance) == "table" and instance[name]
  return type(hook) == "function" and hook or nil
end

--- Builds a list of layers around a core, innermost first. The list is the order in.
---@param layers weft.Layer[]
---@param core fun(request: table): any must always give a response: a film
---@param hooks weft.ChainHooks
---@return fun(request: table): any handler
---@return weft.BuiltLayer[] built in the order of the list, unused ones left out
function chain.build(layers, core, hooks)
  local handler, built = core, {}
  for i = #layers, 1, -1 do
    local layer = layers[i]
    local instance = layer.build(handler)
    if instance ~= nil then
      local it = {
        name = layer.name,
        where = layer.where,
        instance = instance,
        process_view = hook_of(instance, "process_view"),
        process_exception = hook_of(instance, "process_exception"),
      }
      table.insert(built, 1, it)
      handler = chain.film(it, hooks.watch and hooks.watch(it) or instance, hooks)
    end
  end
  return handler, built
end

local function with_hook(layers, hook)
  local list = {}
  for _, layer in ipairs(layers) do
    if layer[hook] then list[#list + 1] = layer end
  end
  return list
end

--- What a hook answered: a response, or nil for "go on".
local function answer_of(layer, hook, answer, hooks)
  if answer == nil or hooks.is_response(answer) then return answer end
  error(hooks.bad_return(layer, answer, hook), 0)
end

--- The view with its hooks: `process_view` in the order of the list, the view, and for what the
-- view raises `process_exception` in the reverse order; the first response wins.
---@param view fun(request: table): any, any gives a response; or nil and what it was instead
---@param refuse fun(result: any): any what to raise for that; no hook sees it
---@param original any the view as it was registered, for `process_view`
---@param layers weft.BuiltLayer[] all around the view, from the outside in
---@param hooks weft.ChainHooks
---@return fun(request: table): any
function chain.view(view, refuse, original, layers, hooks)
  local before = with_hook(layers, "process_view")
  local failed = with_hook(layers, "process_exception")
  if #before == 0 and #failed == 0 then
    return function(request)
      local response, result = view(request)
      if response then return response end
      error(refuse(result), 0)
    end
  end

  local function recover(request, raised)
    if hooks.passes(raised) then error(raised, 0) end
    for i = #failed, 1, -1 do
      local layer = failed[i]
      local answer = layer.process_exception(layer.instance, request, hooks.bare(raised))
      local response = answer_of(layer, "process_exception", answer, hooks)
      if response then return response end
    end
    error(raised, 0)
  end

  return function(request)
    for i = 1, #before do
      local layer = before[i]
      local answer = layer.process_view(layer.instance, request, original, request.params)
      local response = answer_of(layer, "process_view", answer, hooks)
      if response then return response end
    end
    local ok, response, result = hooks.xpcall(view, hooks.on_raise, request)
    if not ok then return recover(request, response) end
    if response then return response end
    error(refuse(result), 0)
  end
end

return chain
