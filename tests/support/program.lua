--- Small projects on disk, and the real binary run on them to its end.

local exec = require "weft.exec"
local helper = require "tests.support.helper"
local server = require "tests.support.server"

local M = {}

local function absolute(path)
  if path:sub(1, 1) == "/" then return path end
  return assert(exec.run { "pwd" }).stdout:gsub("\n$", "") .. "/" .. path
end

M.binary = absolute(server.binary)

--- A directory with these files, which is removed when the running task ends.
---@param files table<string, string> relative path -> text
---@return string directory
function M.project(files)
  local directory = helper.temp_dir()
  for path, text in pairs(files) do
    local inside = path:match "^(.*)/"
    if inside then
      assert(assert(exec.run { "mkdir", "-p", directory .. "/" .. inside }).code == 0)
    end
    helper.write_file(directory .. "/" .. path, text)
  end
  return directory
end

--- Runs the binary to its end: `program.weft({ "check" }, { cwd = directory })`.
---@param arguments string[]
---@param options table? as for exec.run
---@return { code: integer, stdout: string, stderr: string }
function M.weft(arguments, options)
  local command = { M.binary, timeout = 30 }
  for _, argument in ipairs(arguments) do command[#command + 1] = argument end
  for name, value in pairs(options or {}) do command[name] = value end
  return assert(exec.run(command))
end

--- The first line of a text.
---@param text string
---@return string
function M.first_line(text) return (text:match "^[^\n]*") end

--- The last line of a text that ends with a newline.
---@param text string
---@return string?
function M.last_line(text) return (text:match "([^\n]*)\n$") end

return M
