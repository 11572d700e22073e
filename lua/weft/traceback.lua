--- Tracebacks for people: which frames are a script's and which the library's, and the source
-- around a line. Works on the text that `debug.traceback` gave, as that is what survives an error.
-- It catches nothing and prints nothing: errors.lua and those who show an error do.

local core = require "weft.core"
local stdlib = require "weft.stdlib"

local M = {}

-- ---- files ----

-- What the library's chunks are called (runtime/vm/embed), and the films of lua/weft/chain.lua.
local library = { ["weft.film"] = true }
for _, module in ipairs(core.modules()) do
  local path = module:gsub("%.", "/")
  local shipped = path:match "^weft/(middleware/.*)$"
  library[shipped and shipped .. ".lua" or "lua/" .. path .. ".lua"] = true
  library["lua/" .. path .. "/init.lua"] = true
end

-- The files that were loaded: the name that Lua shows, which is cut when it is long -> the path.
local scripts = {}

--- Remembers a file that is loaded. Only such files are ever shown to anybody.
---@param path string
function M.add_script(path)
  local chunk = stdlib.raw.loadstring("", "@" .. path)
  scripts[debug.getinfo(chunk, "S").short_src] = path
end

--- Puts the paths of scripts in place of the shortened ones that Lua shows.
---@param text string
---@return string
function M.expand(text)
  for shown, path in pairs(scripts) do
    if shown ~= path then
      local from, to = text:find(shown .. ":", 1, true)
      while from do
        text = text:sub(1, from - 1) .. path .. text:sub(to)
        from, to = text:find(shown .. ":", from + #path, true)
      end
    end
  end
  return text
end

--- Whether it is a file of weft's own.
---@param path string
---@return boolean
function M.is_library(path) return library[path] == true and not scripts[path] end

-- A table that says nothing about itself: its plain fields, in their order by name.
local function fields_text(value)
  local parts = {}
  for name, field in next, value do
    if type(field) ~= "table" then
      parts[#parts + 1] = ("%s = %s"):format(tostring(name), tostring(field))
    end
  end
  table.sort(parts)
  return "an error without a text: { " .. table.concat(parts, ", ", 1, math.min(#parts, 8)) .. " }"
end

--- What an error says, whatever it is.
---@param value any
---@return string
function M.message_of(value)
  local ok, text = pcall(tostring, value)
  if not ok or type(text) ~= "string" then return "an error that cannot be shown" end
  if type(value) == "table" and text:match "^table: 0x" then text = fields_text(value) end
  return M.expand(text)
end

--- What a message begins with: "app.lua:3: text".
---@param message string
---@return string? file
---@return integer? line
---@return string? text
function M.split_place(message)
  local file, line, text = message:match "^([^\n]-):(%d+): (.*)$"
  return file, tonumber(line), text
end

-- ---- frames ----

---@class weft.Frame
---@field text string the whole line
---@field file string? nil for a line that is no frame
---@field line integer? nil for a function of C
---@field folded boolean? of no interest to who wrote the script

local function parse_line(text)
  local file, line = text:match "^(.-):(%d+): "
  if file then
    return { text = text, file = file, line = tonumber(line), folded = M.is_library(file) }
  end
  if text:match "^%[" then return { text = text, file = text:match "^%[.-%]" } end
  return { text = text }
end

-- A function of C is of interest when a script called it; the two that raise never are.
local function fold_c(frames)
  for i = #frames, 1, -1 do
    local frame, caller = frames[i], frames[i + 1]
    if frame.file and not frame.line then
      frame.folded = not caller or not caller.file or caller.folded
        or frame.text:match "'error'$" ~= nil or frame.text:match "'assert'$" ~= nil
    end
  end
end

--- The lines of a traceback, innermost first.
---@param traceback string
---@return weft.Frame[]
function M.parse(traceback)
  local frames = {}
  for line in M.expand(traceback):gmatch "[^\n]+" do
    local text = line:match "^%s*(.-)%s*$"
    if text ~= "" and text ~= "stack traceback:" then frames[#frames + 1] = parse_line(text) end
  end
  fold_c(frames)
  return frames
end

--- The innermost frame of a script.
---@param frames weft.Frame[]
---@return weft.Frame?
function M.script_frame(frames)
  for _, frame in ipairs(frames) do
    if frame.line and not frame.folded then return frame end
  end
end

--- A traceback without the frames of the library, unless they are all there is.
---@param frames weft.Frame[]
---@return string text indented lines, without a newline at the end
function M.readable(frames)
  local all = M.script_frame(frames) == nil
  local lines, note = {}, nil
  for _, frame in ipairs(frames) do
    if not frame.file then
      note = #lines > 0 and frame.text or nil -- "resumed by": only between two that are shown
    elseif all or not frame.folded then
      if note then lines[#lines + 1] = "\t" .. note end
      note = nil
      lines[#lines + 1] = "\t" .. frame.text
    end
  end
  return table.concat(lines, "\n")
end

-- ---- source ----

--- The lines around one of a loaded script; nil for every other file, whatever a message says.
---@param path string
---@param line integer
---@param around integer how many before and after it
---@return { number: integer, text: string, marked: boolean }[]?
function M.excerpt(path, line, around)
  local known = false
  for _, script in pairs(scripts) do known = known or script == path end
  local text = known and stdlib.loading.read_file(path)
  if not text then return nil end
  local lines, number = {}, 0
  for content in (text .. "\n"):gmatch "(.-)\r?\n" do
    number = number + 1
    if number > line + around then break end
    if number >= line - around then
      lines[#lines + 1] = { number = number, text = content, marked = number == line }
    end
  end
  return #lines > 0 and number >= line and lines or nil
end

return M
