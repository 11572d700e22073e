--- What a developer sees of a fault, with `weft run --dev`: a page for the browser, text for curl.
-- Shows what no client may see otherwise, so only error_page.lua, and only in development, asks for
-- it. The page loads nothing and runs no script; all that is put in is escaped.

local core = require "weft.core"
local html = require "weft.dev_html"
local traceback = require "weft.traceback"

local M = {}

--- The version of the binary, once boot.lua was told it.
---@type string?
M.version = nil

local AROUND = 4 -- lines before and after the one that raised

-- Headers by whose value one could pass for somebody else.
local SECRET = { "auth", "cookie", "token", "secret", "password", "api-key", "apikey", "signature" }

local function is_secret(name)
  name = name:lower()
  for _, word in ipairs(SECRET) do
    if name:find(word, 1, true) then return true end
  end
  return false
end

-- A request whose client is gone may refuse to tell more about itself.
local function request_of(request)
  local function get(field)
    local ok, value = pcall(function() return request[field] end)
    return ok and value or nil
  end
  local headers = {}
  pcall(function()
    for name, value in pairs(request.headers) do
      headers[#headers + 1] = { name = name, value = is_secret(name) and "(hidden)" or value }
    end
  end)
  return {
    line = ("%s %s HTTP/%s"):format(get "method" or "?", get "target" or "?",
      get "http_version" or "?"),
    id = get "id",
    headers = headers,
  }
end

-- The layers from the outside in, and the view; a layer of a route or a group is not in the list,
-- as it differs from route to route, and stands before the view when it is what raised.
local function chain_of(layers, raised)
  local chain, found = {}, raised == "view"
  for i, name in ipairs(layers or {}) do
    local hook = raised and raised:sub(1, #name + 1) == name .. "." -- "name.process_view"
    local this = not found and (name == raised or hook) or false
    found = found or this
    chain[i] = { name = name, raised = this }
  end
  if raised and not found then chain[#chain + 1] = { name = raised, raised = true } end
  chain[#chain + 1] = { name = "view", raised = raised == "view" }
  return chain
end

-- Where it is: what the message names, else the innermost frame of a script; the source there.
local function place_of(message, frames)
  for file, line in message:gmatch "([^%s():\"']+):(%d+)" do
    local source = traceback.excerpt(file, tonumber(line), AROUND)
    if source then return ("%s:%d"):format(file, line), source end
  end
  local frame = traceback.script_frame(frames)
  if not frame then return nil end
  return ("%s:%d"):format(frame.file, frame.line),
    traceback.excerpt(frame.file, frame.line, AROUND)
end

--- All that either page shows.
---@param about { request: weft.Request, raised: weft.Fault, status: integer, layer: string?,
---layers: string[]? }
---@return table
local function gather(about)
  local message = traceback.message_of(about.raised.value)
  local frames = traceback.parse(about.raised.traceback or "")
  local where, source = place_of(message, frames)
  return {
    title = ("%d %s"):format(about.status, core.status_reason(about.status)),
    message = message,
    where = where,
    source = source,
    frames = frames,
    layer = about.layer,
    chain = chain_of(about.layers, about.layer),
    request = request_of(about.request),
    version = "weft" .. (M.version and " " .. M.version or ""),
  }
end

--- The page, for a browser.
---@param about table
---@return string body
---@return table<string, string> headers
function M.html(about) return html.render(gather(about)), html.HEADERS end

local function add_source(lines, page)
  lines[#lines + 1] = "\n" .. page.where
  for _, line in ipairs(page.source) do
    local text = ("%s %4d | %s"):format(line.marked and ">" or " ", line.number, line.text)
    lines[#lines + 1] = (text:gsub("%s+$", ""))
  end
end

-- Text goes to a terminal, which obeys control characters: whoever sent the request chose them.
local function printable(text)
  return (text:gsub("[%c\127]", function(c)
    if c == "\n" or c == "\t" then return c end
    return ("\\x%02x"):format(c:byte())
  end))
end

--- The same for curl: plain text.
---@param about table
---@return string
function M.text(about)
  local page = gather(about)
  local lines = { page.title, "", page.message }
  if page.source then add_source(lines, page) end
  if #page.frames > 0 then
    lines[#lines + 1] = "\ntraceback:\n" .. traceback.readable(page.frames)
  end
  lines[#lines + 1] = "\nthe chain, from the outside in:"
  for _, layer in ipairs(page.chain) do
    lines[#lines + 1] = layer.raised and ("> %s   <- raised here"):format(layer.name)
      or "  " .. layer.name
  end
  lines[#lines + 1] = "\nthe request:\n  " .. page.request.line
  for _, header in ipairs(page.request.headers) do
    lines[#lines + 1] = ("  %s: %s"):format(header.name, header.value)
  end
  if page.request.id then lines[#lines + 1] = "  (id " .. page.request.id .. ")" end
  lines[#lines + 1] = "\n" .. page.version .. "\n"
  return printable(table.concat(lines, "\n"))
end

--- The fields that a JSON error has in development.
---@param about table
---@return table
function M.fields(about)
  local page = gather(about)
  local lines = {}
  for line in traceback.readable(page.frames):gmatch "[^\n]+" do
    lines[#lines + 1] = (line:gsub("^\t", ""))
  end
  return { message = page.message, where = page.where, layer = page.layer, traceback = lines }
end

return M
