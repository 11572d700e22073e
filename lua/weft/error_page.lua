--- What a client sees of an error: a plain page, or JSON, by what it accepts. In development the
-- page of lua/weft/dev_page.lua instead. It never shows a client what a script did not say:
-- the message of an abort is shown, that of a fault is not.

local core = require "weft.core"
local errors = require "weft.errors"
local json = require "weft.json"
local negotiate = require "weft.negotiate"
local responses = require "weft.response"

local M = {}

local OFFERS = { "text/plain", "text/html", "application/json" }

local function escape(text)
  return (text:gsub("[&<>\"']", {
    ["&"] = "&amp;",
    ["<"] = "&lt;",
    [">"] = "&gt;",
    ['"'] = "&quot;",
    ["'"] = "&#39;",
  }))
end

local function accepted(request)
  local ok, accept = pcall(function() return request.headers["accept"] end)
  return negotiate.accepts(ok and accept or nil, OFFERS) or "text/plain"
end

--- The response to an error.
---@param about { request: weft.Request, raised: any, status: integer, layer: string,
---layers: string[], dev: boolean }
---@return weft.Response
function M.render(about)
  local status, raised = about.status, about.raised
  local reason = core.status_reason(status)
  local message = errors.is_abort(raised) and raised.message or reason
  local kind = accepted(about.request)
  if about.dev and errors.is_fault(raised) then
    local dev_page = require "weft.dev_page"
    if kind == "text/html" then
      return responses.html(dev_page.html(about), status)
    elseif kind == "text/plain" then
      return responses.text(dev_page.text(about), status)
    end
  end
  if kind == "application/json" then
    return responses.json({ error = { status = status, message = message } }, status)
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

M.escape = escape

return M
