--- `load`, `loadstring`, `loadfile`, `dofile` and `require`, which await and load text only.
--
-- Bytecode is refused on every path, since LuaJIT does not check it and a forged one owns the
-- process. A module's body may await; tasks that require the module meanwhile wait for it. The
-- loaders in `package.loaders` stay, except the one for Lua files.

local core = require "weft.core"

local raw_load, raw_require = load, require
local raw_running, raw_status = coroutine.running, coroutine.status
local loaded = package.loaded

local NO_BYTECODE = "bytecode is not loaded: only text"
local LOOP = "loop or previous error loading module '%s'"

local M = {}

--- Reads a whole file, or standard input if there is no path. The runtime may put a version here
-- that awaits.
---@param path string?
---@return string? text
---@return string? message
function M.read_file(path)
  local file = io.stdin
  if path then
    local opened, message = io.open(path, "rb")
    if not opened then
      return nil, "cannot open " .. message
    end
    file = opened
  end
  local text, message = file:read("*a")
  if path then
    file:close()
  end
  if not text then
    return nil, "cannot read " .. (path or "stdin") .. ": " .. message
  end
  return text
end

--- Awaits the next turn of the loop. The runtime may put another pause here.
function M.wait()
  local await = require "weft.await" -- late, as it needs this module
  await.status(core.yield_once())
end

-- What a reader function gives, in one piece.
local function read_all(reader)
  local parts = {}
  while true do
    local part = reader()
    if part == nil or part == "" then
      return table.concat(parts)
    end
    if type(part) ~= "string" and type(part) ~= "number" then
      error("reader function must return a string", 0)
    end
    parts[#parts + 1] = part
  end
end

local function load_text(text, name, mode, env)
  if text:byte(1) == 27 then
    return nil, NO_BYTECODE
  end
  -- Never with "b": bytecode may also stand behind a first line that is a comment.
  if mode == nil then
    mode = "t"
  elseif type(mode) == "string" then
    mode = mode:find("t", 1, true) and "t" or ""
  end
  return raw_load(text, name, mode, env)
end

--- `load`, from text only. A reader function may await.
---@param chunk string|function
---@param name string?
---@param mode string? "b" alone loads nothing
---@param env table?
---@return function?
---@return string? message
function M.load(chunk, name, mode, env)
  if type(chunk) == "function" then
    local ok, text = pcall(read_all, chunk)
    if not ok then
      return nil, text
    end
    return load_text(text, name or "=(load)", mode, env)
  end
  if type(chunk) ~= "string" then
    return raw_load(chunk, name, "t", env) -- a number is text too; the rest raises
  end
  return load_text(chunk, name, mode, env)
end

--- `loadfile`, from text only.
---@param path string? standard input if there is none
---@param mode string?
---@param env table?
---@return function?
---@return string? message
function M.loadfile(path, mode, env)
  local text, message = M.read_file(path)
  if not text then
    return nil, message
  end
  return load_text(text, path and "@" .. path or "=stdin", mode, env)
end

--- `dofile`, from text only; the file may await.
---@param path string?
---@return any ...
function M.dofile(path)
  local chunk, message = M.loadfile(path)
  if not chunk then
    error(message, 0)
  end
  return chunk()
end

--- The loader for Lua files: what stands in `package.loaders` for the one of stock LuaJIT.
---@param name string
---@return function|string loader, or the files that are not there
function M.search(name)
  local path = package.path
  if type(path) ~= "string" then
    error("'package.path' must be a string", 0)
  end
  local file, tried = package.searchpath(name, path)
  if not file then
    return tried
  end
  local chunk, message = M.loadfile(file)
  if not chunk then
    error(("error loading module '%s' from file '%s':\n\t%s"):format(name, file, message), 0)
  end
  return chunk
end

-- The modules whose loading has begun: name -> { name, task, co }. An entry is removed when the
-- module is there; if its body raised, the entry stays behind and under_way tells it apart. No
-- pcall removes it, as that would take the stack away from a message handler further out.
local loading = {}
local entry_metatable = { __mode = "v" } -- one that stayed behind keeps no coroutine alive

-- The entry that a task waits for.
local awaited = setmetatable({}, { __mode = "k" })

local function find_loader(name)
  local loaders = package.loaders
  if type(loaders) ~= "table" then
    error("'package.loaders' must be a table", 0)
  end
  local tried = {}
  local i = 1
  while loaders[i] ~= nil do
    local loader = loaders[i](name)
    if type(loader) == "function" then
      return loader
    elseif type(loader) == "string" then
      tried[#tried + 1] = loader
    end
    i = i + 1
  end
  return nil, ("module '%s' not found:%s"):format(name, table.concat(tried))
end

-- Its frame, with the entry as first local variable, is what under_way looks for.
local function run(entry)
  local name = entry.name
  local loader, message = find_loader(name)
  if loader then
    local value = loader(name)
    if value ~= nil then
      loaded[name] = value
    elseif loaded[name] == nil then
      loaded[name] = true
    end
  end
  loading[entry.name] = nil
  return message
end

-- Whether `run` is still at it, on the stack where it began. On the main stack, where no task
-- runs, an earlier error is not told from a loop.
local function under_way(entry)
  local co = entry.co
  if not co then
    return raw_running() == nil
  end
  if raw_status(co) == "dead" then
    return false -- its frames are still there
  end
  local level = 0
  local frame = debug.getinfo(co, level, "f")
  while frame do
    if frame.func == run then
      local _, candidate = debug.getlocal(co, level, 1)
      if candidate == entry then
        return true
      end
    end
    level = level + 1
    frame = debug.getinfo(co, level, "f")
  end
  return false
end

-- Whether the entry's task is this one, or waits for this one, through however many modules.
local function waits_for(entry, task)
  while entry do
    if entry.task == task then
      return true
    end
    entry = awaited[entry.task]
  end
  return false
end

local function pause(entry, task)
  awaited[task] = entry
  local ok, err = pcall(M.wait) -- a cancelled task no longer waits for the entry
  awaited[task] = nil
  if not ok then
    error(err, 0)
  end
end

--- `require`; the loaders and the module's body may await. After an error in the body the next
-- require tries again, where stock LuaJIT only repeats that there was an error.
---@param name string
---@return any module
function M.require(name)
  if type(name) ~= "string" then
    return raw_require(name) -- raises, and names the caller's line
  end
  while loading[name] and under_way(loading[name]) do
    local entry = loading[name]
    local task = core.task_thread()
    if entry.task == task and loaded[name] then
      return loaded[name] -- the body put it there early, for modules that require each other
    end
    if not task or waits_for(entry, task) then
      error(LOOP:format(name), 2)
    end
    pause(entry, task)
  end
  if loaded[name] then
    return loaded[name]
  end

  local entry = { name = name, task = core.task_thread(), co = raw_running() }
  loading[name] = setmetatable(entry, entry_metatable)
  local message = run(entry)
  if message then
    error(message, 2)
  end
  return loaded[name]
end

return M
