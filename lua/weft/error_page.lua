--- What a client sees of an error: a plain page, or JSON, by what it accepts. In development the
-- page of lua/weft/dev_page.lua instead. It never shows a client what a script did not say:
-- the message of an abort is shown, that of a fault is not.

local core = require "weft.core"
local errors = require "weft.errors"
local negotiate = require "weft.negotiate"
local responses = require "weft.response"

local M = {}

local OFFERS = { "text/plain", "text/html", "application/json" }

local ENTITIES = {
  ["&"] = "&amp;",
  ["<"] = "&lt;",
  [">"] = "&gt;",
  ['"'] = "&quot;",
  ["'"] = "&#39;",
}

--- Makes any text harmless inside of HTML text and quoted attributes.
---@param text string
---@return string
function M.escape(text) return (text:gsub("[&<>\"']", ENTITIES)) end

local escape = M.escape

local function accepted(request)
  local ok, accept = pcall(function() return request.headers["accept"] end)
  return negotiate.accepts(ok and accept or nil, OFFERS) or "text/plain"
end

-- Strings that JSON cannot hold, as whoever asked may have put bytes of any kind into a message.
local function escape_bytes(value)
  if type(value) == "string" then
    return (value:gsub("[\128-\255]", function(c) return ("\\x%02x"):format(c:byte()) end))
  elseif type(value) ~= "table" then
    return value
  end
  local escaped = {}
  for key, inner in pairs(value) do escaped[key] = escape_bytes(inner) end
  return escaped
end

local function json_page(fields, status)
  fields.status = status
  local ok, response = pcall(responses.json, { error = fields }, status)
  return ok and response or responses.json({ error = escape_bytes(fields) }, status)
end

-- In development a fault is shown to whoever asked.
local function render_for_developer(about, kind)
  local dev_page = require "weft.dev_page" -- late: nobody else needs it
  if kind == "text/html" then
    local body, fields = dev_page.html(about)
    return responses.html(body, about.status, fields)
  elseif kind == "application/json" then
    return json_page(dev_page.fields(about), about.status)
  end
  return responses.text(dev_page.text(about), about.status)
end

--- The response to an error.
---@param about { request: weft.Request, raised: any, status: integer, layer: string,
---layers: string[], dev: boolean }
---@return weft.Response
function M.render(about)
  local status, raised = about.status, about.raised
  local kind = accepted(about.request)
  if about.dev and errors.is_fault(raised) then return render_for_developer(about, kind) end
  local reason = core.status_reason(status)
  local message = errors.is_abort(raised) and raised.message or reason
  if kind == "application/json" then
    return json_page({ message = message }, status)
  elseif kind == "text/html" then
    local title = ("%d %s"):format(status, reason)
    return responses.html(
      ("<!doctype html>\n<title>%s</title>\n<h1>%s</h1>\n%s"):format(escape(title), escape(title),
        message ~= reason and ("<p>%s</p>\n"):format(escape(message)) or ""), status)
  end
  return responses.text(
    message ~= reason and ("%d %s: %s\n"):format(status, reason, message)
      or ("%d %s\n"):format(status, reason), status)
end

return M
