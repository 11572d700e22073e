--- From a method and a path to what was registered for them.
-- Owns the patterns: their syntax, which one wins, and the parameters they cut out of a path.
-- It does not know what a target is (a view, a websocket, a group's chain), and answers nothing
-- itself: 404, 405 and OPTIONS are the app's.
--
-- A pattern is a list of segments behind slashes: literal text, `:name` for one segment that is
-- not empty, `*name` as the last one for all the rest, also an empty rest. Segments are compared
-- with `request.path`, which is decoded already; a slash at the end counts. Literal text wins
-- over `:name`, which wins over `*name`, decided from left to right; where the winner leads
-- nowhere or knows the method not, the next one is tried.

local new_table = require "table.new"

local byte, find, sub, upper = string.byte, string.find, string.sub, string.upper

local MAX_SEGMENTS = 64

---@class weft.Route
---@field method string "*" for any method
---@field pattern string
---@field target any what was registered
---@field where string the place it was registered at, "file:line"
---@field names string[] of its parameters, from left to right

--- A place in the tree of segments. Fields that are not used are false rather than missing, so
-- that compiled code finds them at the same place in every node.
local function new_node()
  return {
    children = {}, -- literal segment -> node
    param = false, -- the node behind `:name`
    rest = false, -- the node behind `*name`
    routes = false, -- method -> route, where a pattern ends here
  }
end

---@class weft.Router
local Router = { __name = "weft.Router" }
Router.__index = Router

---@return weft.Router
function Router.new()
  return setmetatable({
    _root = new_node(),
    _static = {}, -- whole path -> node, for patterns without parameters
    _routes = {}, -- in the order of registration
  }, Router)
end

function Router:__tostring() return ("weft.Router (%d routes)"):format(#self._routes) end

--- The segments behind the slashes of a path: "/a/b/" has "a", "b" and "".
local function split(path)
  local segments, position = {}, 2
  repeat
    local slash = find(path, "/", position, true)
    segments[#segments + 1] = sub(path, position, slash and slash - 1)
    position = slash and slash + 1
  until not slash
  return segments
end

--- The names in a pattern, or nil and what is wrong with it.
local function check_pattern(pattern, segments)
  if sub(pattern, 1, 1) ~= "/" then return nil, 'must start with "/"' end
  if #segments > MAX_SEGMENTS then
    return nil, ("has more than %d segments"):format(MAX_SEGMENTS)
  end
  local names, seen = {}, {}
  for i, segment in ipairs(segments) do
    local kind, name = segment:match("^([:*])(.*)$")
    if kind then
      if not name:find("^[%a_][%w_]*$") then
        return nil, ('"%s" needs a name made of letters, digits and _'):format(segment)
      end
      if seen[name] then return nil, ('has two parameters called "%s"'):format(name) end
      if kind == "*" and i < #segments then return nil, ('"%s" must be last'):format(segment) end
      seen[name] = true
      names[#names + 1] = name
    elseif segment == "" and i < #segments then
      return nil, "has an empty segment"
    end
  end
  return names
end

--- The node a pattern ends at, made where it is missing.
local function grow(node, segments)
  for _, segment in ipairs(segments) do
    local kind = sub(segment, 1, 1)
    if kind == ":" then
      node.param = node.param or new_node()
      node = node.param
    elseif kind == "*" then
      node.rest = node.rest or new_node()
      node = node.rest
    else
      node.children[segment] = node.children[segment] or new_node()
      node = node.children[segment]
    end
  end
  return node
end

--- Registers a target. A bad pattern, or one that has the same shape as another of its method
-- (the names of parameters do not make a difference), raises an error that begins with `where`.
---@param method string upper-case, or "*" for any
---@param pattern string
---@param target any neither nil nor false
---@param where string "file:line", for errors
function Router:add(method, pattern, target, where)
  if type(pattern) ~= "string" then
    error(("%s: a route's pattern is a string, not a %s"):format(where, type(pattern)), 0)
  end
  if not method:find("^%u[%u-]*$") and method ~= "*" then
    error(("%s: %q is not a method"):format(where, method), 0)
  end
  assert(target, "a route without a target")

  local segments = split(pattern)
  local names, reason = check_pattern(pattern, segments)
  if not names then error(("%s: route %q: %s"):format(where, pattern, reason), 0) end

  local node = grow(self._root, segments)
  node.routes = node.routes or {}
  local other = node.routes[method]
  if other then
    error(("%s: %s %s is registered already, as %s at %s"):format(
      where, method, pattern, other.pattern, other.where), 0)
  end
  local route =
    { method = method, pattern = pattern, target = target, where = where, names = names }
  node.routes[method] = route
  self._routes[#self._routes + 1] = route
  if #names == 0 then self._static[pattern] = node end
end

--- All routes in the order of registration. The list is the router's own: do not change it.
---@return weft.Route[]
function Router:routes() return self._routes end

--- The route of a node for a method: its own, for HEAD that of GET, or that of any method.
local function pick(routes, method)
  local route = routes[method]
  if route then return route end
  if method == "HEAD" then route = routes.GET end
  return route or routes["*"]
end

-- The walk's notes, made once: nothing awaits inside a walk, so no two of them overlap.
-- `captured` has the values of parameters so far; `choices` has, for each node that could go
-- another way, four slots: the node, the segment's place, the count of captured values, and
-- which way to try next.
local captured = new_table(MAX_SEGMENTS, 0)
local choices = new_table(4 * MAX_SEGMENTS, 0)

local LITERAL, PARAM, REST = 1, 2, 3

--- Finds a route in the tree. Returns it with the number of captured values, or nil and whether
-- some node with routes was there, of other methods.
--
-- The cost has a bound that no client can move. The tree is a tree: each node is reached over
-- one way only, at one depth, and each choice is taken once, so a walk enters each node at most
-- once, however often it turns back. That is at most as many steps as the app registered
-- segments, and a path deeper than the tree ends where the tree does.
local function walk(node, method, path)
  local position, count, top, way = 2, 0, 0, LITERAL
  local other_methods = false
  while true do
    local slash = find(path, "/", position, true)
    local segment = sub(path, position, slash and slash - 1 or -1)
    local child

    if way == LITERAL then
      child = node.children[segment]
      if child and (node.param or node.rest) then
        choices[top + 1], choices[top + 2], choices[top + 3], choices[top + 4] =
          node, position, count, PARAM
        top = top + 4
      end
    end
    if not child and way <= PARAM and segment ~= "" then
      child = node.param
      if child then
        if node.rest then
          choices[top + 1], choices[top + 2], choices[top + 3], choices[top + 4] =
            node, position, count, REST
          top = top + 4
        end
        count = count + 1
        captured[count] = segment
      end
    end
    if not child and node.rest then
      child = node.rest
      count = count + 1
      captured[count] = sub(path, position)
      slash = nil -- it took all that is left
    end

    if child and slash then
      node, position, way = child, slash + 1, LITERAL
    else
      if child and child.routes then
        local route = pick(child.routes, method)
        if route then return route, count end
        other_methods = true
      end
      if top == 0 then return nil, other_methods end
      top = top - 4
      node, position, count, way =
        choices[top + 1], choices[top + 2], choices[top + 3], choices[top + 4]
    end
  end
end

-- The escapes that `request.path` keeps, a slash and bytes that are not UTF-8: "2F" -> "/".
local KEPT = { ["2F"] = "/" }
for code = 128, 255 do KEPT[("%02X"):format(code)] = string.char(code) end

--- A parameter's value, wholly decoded. In `request.path` a percent sign that would read as one
-- of the escapes above is "%25" still (runtime/http/target.h says why): it loses one "25".
local function decode(value)
  local percent = find(value, "%", 1, true)
  if not percent then return value end
  local parts, from = {}, 1
  repeat
    local last = percent + 1
    while sub(value, last, last + 1) == "25" do last = last + 2 end
    local kept = KEPT[upper(sub(value, last, last + 1))]
    if kept then
      parts[#parts + 1] = sub(value, from, percent - 1)
      parts[#parts + 1] = last == percent + 1 and kept or "%"
      from = percent + 3 -- behind the escape, or behind the first "25"
    end
    percent = find(value, "%", last, true)
  until not percent
  parts[#parts + 1] = sub(value, from)
  return table.concat(parts)
end

local function note_methods(node, methods)
  if not node or not node.routes then return end
  for method in pairs(node.routes) do methods[method] = true end
end

--- Adds to `methods` those of every node the path leads to, by whichever way.
local function collect(node, path, position, methods)
  local slash = find(path, "/", position, true)
  local segment = sub(path, position, slash and slash - 1 or -1)
  local literal, param = node.children[segment], segment ~= "" and node.param
  if slash then
    if literal then collect(literal, path, slash + 1, methods) end
    if param then collect(param, path, slash + 1, methods) end
  else
    note_methods(literal, methods)
    note_methods(param, methods)
  end
  note_methods(node.rest, methods)
end

--- What `Allow` lists: each method the path has somewhere, and HEAD where it has GET.
local function allow_list(root, path)
  local methods, list = {}, {}
  collect(root, path, 2, methods)
  if methods.GET then methods.HEAD = true end
  for method in pairs(methods) do list[#list + 1] = method end
  table.sort(list)
  return table.concat(list, ", ")
end

--- Looks up a request.
-- Gives the target and its parameters (nil when the pattern has none); or nil and the value of
-- `Allow`, when the path is known under other methods; or nil and nil.
--
-- A parameter's value may have any bytes, also slashes and "..", which a client can send as
-- "..%2F", and also that of `*name`: whoever makes a file name of it must check.
---@param method string
---@param path string `request.path`
---@return any target
---@return table<string, string>|string|nil params_or_allow
function Router:find(method, path)
  local node = self._static[path]
  if node then
    local route = pick(node.routes, method)
    if route then return route.target end
  end
  if byte(path, 1) ~= 47 then return nil, nil end -- "*" of OPTIONS

  local route, count = walk(self._root, method, path)
  if not route then
    -- here `count` says whether other methods are there
    return nil, count and allow_list(self._root, path) or nil
  end
  if count == 0 then return route.target end
  local names, params = route.names, new_table(0, count)
  for i = 1, count do params[names[i]] = decode(captured[i]) end
  return route.target, params
end

return Router
