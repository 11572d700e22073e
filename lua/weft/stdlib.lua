--- Lua's standard library, fit for awaiting.
--
-- An await is a yield into the loop, and a yield cannot cross a C function that has called back
-- into Lua. `install` puts Lua versions in place of those functions, so that scripts await
-- wherever they like. LuaJIT's own pcall, xpcall, metamethods, `for` iterators, tostring, ipairs,
-- table.foreach and FFI metatypes can be crossed and are left alone.
--
-- What still cannot be crossed, because LuaJIT itself calls in there and nothing could be resumed:
--   * `__gc`: it runs wherever memory happens to be collected;
--   * hooks (debug.sethook, jit.attach): the same, between two instructions;
--   * FFI callbacks: the C function in between keeps its place on the C stack;
--   * message handlers of xpcall: they run before the stack is unwound;
--   * a `__tostring` called by the methods of string.buffer (put tostring(value) instead), the
--     `__index` of a table given to os.time, the options of module(): too rare for a copy.
-- The rest of the library calls no Lua at all: table.concat, insert and remove, next, unpack,
-- select and string.rep see no metamethods, io.write and string.rep no `__tostring`.

local coroutines = require "weft.stdlib_coroutine"
local loading = require "weft.stdlib_load"
local sort = require "weft.stdlib_sort"
local strings = require "weft.stdlib_string"

local M = {
  crossed = coroutines.crossed,
  traceback = coroutines.traceback,
  sort = sort,
  gsub = strings.gsub,
  loading = loading, -- holds `read_file` and `wait`, which the runtime may replace
}

--- The originals, for the runtime itself.
M.raw = {
  create = coroutine.create,
  resume = coroutine.resume,
  running = coroutine.running,
  status = coroutine.status,
  wrap = coroutine.wrap,
  yield = coroutine.yield,
  dofile = dofile,
  format = string.format,
  gsub = string.gsub,
  load = load,
  loadfile = loadfile,
  loadstring = loadstring,
  pairs = pairs,
  pcall = pcall,
  print = print,
  require = require,
  sort = table.sort,
  tostring = tostring,
  xpcall = xpcall,
}

local raw_pairs, raw_xpcall = pairs, xpcall
local raw_lua_loader = package.loaders[#package.loaders - 2] -- then C modules, then all in one
local debug_traceback = debug.traceback

local HANDLER = "a message handler cannot wait: return from it first"

-- The guard is left by a tail call, so that the levels a handler counts are those it knows; what
-- it sets is put back by `handled`, which comes next in any case.
local function new_guard(handler)
  return function(...)
    coroutines.bar(HANDLER)
    return handler(...)
  end
end

-- Guards by their handler, while both are alive. Making one for each xpcall would keep the caller
-- from being compiled.
local guards = setmetatable({}, { __mode = "kv" })

local function guard(handler)
  local guarded = guards[handler]
  if not guarded then
    guarded = new_guard(handler)
    guards[handler] = guarded
  end
  return guarded
end

local function handled(barred_before, ...)
  if coroutines.barred() ~= barred_before then
    coroutines.bar(barred_before)
  end
  return ...
end

--- `xpcall`: the function may await; its message handler is told that it may not.
---@param fn function
---@param handler fun(err: any): any
---@return boolean ok
---@return any ... the function's results, or the handler's
function M.xpcall(fn, handler, ...)
  if handler == debug_traceback or type(handler) ~= "function" then
    return raw_xpcall(fn, handler, ...)
  end
  return handled(coroutines.barred(), raw_xpcall(fn, guard(handler), ...))
end

--- `pairs`, which honours `__pairs`. If the metatable is hidden by a `__metatable` that is a table
-- itself, that table is asked.
---@param t table
---@return function
---@return any
---@return any
function M.pairs(t)
  local metatable = getmetatable(t)
  if metatable == nil and type(t) == "table" then
    return next, t, nil
  end
  if type(t) == "cdata" then
    return raw_pairs(t)
  end
  if type(metatable) ~= "table" then
    metatable = debug.getmetatable(t)
  end
  local iterate = metatable and rawget(metatable, "__pairs")
  if iterate then
    local step, state, first = iterate(t)
    return step, state, first
  end
  return raw_pairs(t)
end

--- `print`, with a `__tostring` that may await.
function M.print(...)
  local parts = { ... }
  for i = 1, select("#", ...) do
    local text = tostring(parts[i])
    if type(text) ~= "string" and type(text) ~= "number" then
      error("'tostring' must return a string to 'print'", 2)
    end
    parts[i] = text
  end
  io.stdout:write(table.concat(parts, "\t"), "\n")
end

--- Puts the replacements in place. Before any script runs, once for each Lua state.
---@param env table? the globals, _G unless told otherwise
function M.install(env)
  env = env or _G
  local into = env.coroutine
  into.isyieldable = coroutines.isyieldable
  into.resume = coroutines.resume
  into.running = coroutines.running
  into.status = coroutines.status
  into.wrap = coroutines.wrap
  into.yield = coroutines.yield
  env.string.format = strings.format
  env.string.gsub = strings.gsub
  env.table.sort = sort
  env.dofile = loading.dofile
  env.load = loading.load
  env.loadfile = loading.loadfile
  env.loadstring = loading.load
  env.pairs = M.pairs
  env.print = M.print
  env.require = loading.require
  env.xpcall = M.xpcall
  for i, loader in ipairs(env.package.loaders) do
    if loader == raw_lua_loader then env.package.loaders[i] = loading.search end
  end
end

return M
