--- `weft check`: builds an app without serving it, and prints what it is made of.

local M = {}

--- Raises what a start would raise; prints the middleware in their order, then the routes.
---@param app weft.App
function M.print(app)
  app:_build()
  print "middleware, from the outside in:"
  for i, layer in ipairs(app._layers) do
    local used = false
    for _, built in ipairs(app._built) do used = used or built.name == layer.name end
    print(("  %2d  %-40s %s%s"):format(i, layer.name, layer.where, used and "" or "  (not used)"))
  end
  if #app._layers == 0 then print "  (none)" end
  print "routes:"
  for _, route in ipairs(app._routes) do
    local extra = {}
    local scope = route.scope
    while scope and scope ~= app do
      for i = #scope._layers, 1, -1 do table.insert(extra, 1, scope._layers[i].name) end
      scope = scope._parent
    end
    for _, name in ipairs(route.names) do extra[#extra + 1] = name end
    print(("  %-7s %-32s %s%s"):format(route.method == "*" and "any" or route.method,
      route.pattern, route.where, #extra > 0 and "  [" .. table.concat(extra, ", ") .. "]" or ""))
  end
  if #app._routes == 0 then print "  (none)" end
end

return M
