--- `weft check`: builds an app without serving it, and prints what it is made of.

local traceback = require "weft.traceback"

local M = {}

local function shown(value)
  local kind = type(value)
  if kind == "number" or kind == "boolean" then return tostring(value) end
  if kind == "string" and #value <= 40 then return ("%q"):format(value):gsub("\\\n", "\\n") end
  return kind == "string" and '"..."' or kind
end

local SECRET = { "secret", "password", "token", "key" }

-- { header = "x-id", slow = 0.5 }: on one line, with no secret in it.
local function options_text(options)
  local parts = {}
  for name, value in pairs(options or {}) do
    local text = shown(value)
    for _, word in ipairs(SECRET) do
      if type(value) == "string" and tostring(name):lower():find(word, 1, true) then
        text = '"..."'
      end
    end
    parts[#parts + 1] = ("%s = %s"):format(tostring(name), text)
  end
  table.sort(parts)
  return #parts > 0 and "{ " .. table.concat(parts, ", ") .. " }" or ""
end

-- Lines whose columns stand below each other; the last column may be empty.
local function print_columns(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, #cell) end
  end
  for _, row in ipairs(rows) do
    local line = ""
    for i, cell in ipairs(row) do line = line .. "  " .. cell .. (" "):rep(widths[i] - #cell) end
    print((line:gsub("%s+$", "")))
  end
  if #rows == 0 then print "  (none)" end
end

local function middleware_rows(app)
  local rows, built = {}, {} -- without those whose factory said that they are not used
  for _, layer in ipairs(app._built) do built[layer.name] = true end
  for i, layer in ipairs(app._layers) do
    local options = options_text(layer.options)
    rows[i] = {
      ("%2d"):format(i),
      traceback.expand(layer.name),
      traceback.expand(layer.where),
      options .. (built[layer.name] and "" or (options ~= "" and "  " or "") .. "(not used)"),
    }
  end
  return rows
end

-- What a route has inside of the app's own middleware: that of its groups, then its own.
local function names_inside(app, route)
  local names = {}
  local scope = route.scope
  while scope and scope ~= app do
    for i = #scope._layers, 1, -1 do table.insert(names, 1, scope._layers[i].name) end
    scope = scope._parent
  end
  for _, name in ipairs(route.names) do names[#names + 1] = name end
  return names
end

local function route_rows(app)
  local rows = {}
  for i, route in ipairs(app._routes) do
    local names = names_inside(app, route)
    rows[i] = {
      route.method == "*" and "any" or route.method,
      route.pattern,
      traceback.expand(route.where),
      #names > 0 and "inside of " .. table.concat(names, ", ") or "",
    }
  end
  return rows
end

--- Raises what a start would raise; prints the middleware in their order, then the routes, then
-- the globals that were set on the way, which are rarely meant.
---@param app weft.App
---@param globals { name: string, where: string }[]?
function M.print(app, globals)
  app:_build()
  print "middleware, from the outside in:"
  print_columns(middleware_rows(app))
  print "routes:"
  print_columns(route_rows(app))
  if globals and #globals > 0 then
    print "globals set while loading (is a `local` missing?):"
    local rows = {}
    for i, global in ipairs(globals) do rows[i] = { global.name, global.where } end
    print_columns(rows)
  end
end

return M
