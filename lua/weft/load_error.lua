--- Errors of loading, for the person who started it: one line with the script's own place and what
-- to do, then the way there. Works on what was raised, whoever raised it; the one place that
-- knows how LuaJIT's `require` words things.

local core = require "weft.core"
local errors = require "weft.errors"
local traceback = require "weft.traceback"

local M = {}

-- How many single letters are different, at most `limit`.
local function distance(a, b, limit)
  if math.abs(#a - #b) >= limit then return limit end
  local before = {}
  for j = 0, #b do before[j] = j end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(before[j] + 1, row[j - 1] + 1, before[j - 1] + same)
    end
    before = row
  end
  return math.min(before[#b], limit)
end

--- A module of the library that somebody may have meant.
local function nearest_module(name)
  local best, best_distance = nil, 4
  for _, module in ipairs(core.modules()) do
    if module == "weft.middleware." .. (name:match "[^.]*$") then return module end
    local d = distance(name, module, best_distance)
    if d < best_distance then best, best_distance = module, d end
  end
  return best
end

local function missing_module(name, searched)
  local near = nearest_module(name)
  local hint = near and ("; did you mean %q?"):format(near) or ""
  if name:match "^weft%." then return ("weft has no module %q%s"):format(name, hint) end
  local files = {}
  for file in searched:gmatch "no file '(.-)'" do
    if #files < 2 then files[#files + 1] = file end
  end
  return ("there is no module %q: no file %s%s"):format(name, table.concat(files, ", nor "), hint)
end

-- Takes apart what `require` says: the message with its place, if it has one.
local function of_require(text)
  local place, name, searched = text:match "^(.-)module '([^'\n]+)' not found:(.*)$"
  if name and not place:find("\n", 1, true) then return place .. missing_module(name, searched) end
  local file, inner = text:match "^error loading module '[^'\n]+' from file '([^\n]-)':\n%s*(.*)$"
  if not file then return text end
  return traceback.split_place(inner) and inner or ("%s: %s"):format(file, inner)
end

-- Puts the script's place in front, if the message has none or one of the library's.
local function with_place(text, frames, where)
  local file = traceback.split_place(text)
  if file and not traceback.is_library(file) then
    return text
  end
  local frame = traceback.script_frame(frames)
  where = where or frame and ("%s:%d"):format(frame.file, frame.line)
  return where and ("%s: %s"):format(where, text) or text
end

--- What to print of it.
---@param raised any
---@return string text without a newline at the end; its first line says it all
function M.explain(raised)
  local text = traceback.message_of(errors.is_fault(raised) and raised.value or raised)
  text = text:gsub("bytecode is not loaded: only text$", "this is bytecode; weft loads source only")
  local trace = errors.is_fault(raised) and raised.traceback or ""
  local head, inner = text:match "^(.-)%s*\nstack traceback:\n(.*)$" -- where it began is in there
  if head then text, trace = head, inner end

  local where, middleware, cause = text:match '^([^\n]-:%d+): cannot load middleware (%b""):\n(.*)$'
  local lines, frames = {}, traceback.parse(trace)
  local blames_library = traceback.is_library((traceback.split_place(text)) or "")
  text = with_place(of_require(cause or text), cause and {} or frames, where)
  lines[1] = text
  if cause and text:sub(1, #where + 1) ~= where .. ":" then
    lines[2] = ("\tneeded as middleware %s at %s"):format(middleware, where)
  end
  if traceback.script_frame(frames) or blames_library then
    lines[#lines + 1] = traceback.readable(frames)
  end
  return table.concat(lines, "\n")
end

return M
