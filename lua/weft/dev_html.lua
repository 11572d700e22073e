--- The look of the developer's error page: what dev_page.lua gathered, as one HTML document. It
-- decides nothing about what is shown. Everything is escaped here, where it is put in.

local escape = require("weft.error_page").escape
local traceback = require "weft.traceback"

local M = {}

-- Nothing is loaded, run, framed or sent, even if something slipped through the escaping.
M.HEADERS = {
  ["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; "
    .. "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  ["X-Content-Type-Options"] = "nosniff",
  ["Cache-Control"] = "no-store",
}

local STYLE = [[
:root { color-scheme: light dark; --back: #fbfaf8; --card: #fff; --text: #1f2328; --dim: #6a727b;
  --line: #e3e1dc; --red: #b42318; --mark: #fde8e4; --code: ui-monospace, SFMono-Regular, Menlo,
  Consolas, "Liberation Mono", monospace }
@media (prefers-color-scheme: dark) { :root { --back: #15171a; --card: #1d2024; --text: #e4e6e8;
  --dim: #949ca5; --line: #32363c; --red: #ff8a7a; --mark: #4a2320 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 3rem; background: var(--back);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif }
header p { margin: 0; color: var(--dim) }
h1 { margin: .25rem 0 1rem; color: var(--red); font-size: 1.35rem; line-height: 1.35;
  white-space: pre-wrap; overflow-wrap: anywhere }
h2 { margin: 2rem 0 .5rem; font-size: 1rem }
code, pre, .code { font-family: var(--code); font-size: .85rem }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  overflow: hidden }
.card > h3 { margin: 0; padding: .5rem .75rem; border-bottom: 1px solid var(--line);
  font: .85rem var(--code); overflow-wrap: anywhere }
.source { overflow-x: auto; padding: .5rem 0 }
.source table { border-collapse: collapse; min-width: 100% }
.source td { padding: 0 .75rem; font: .85rem/1.6 var(--code); white-space: pre }
.source td:first-child { width: 1%; color: var(--dim); text-align: right; user-select: none }
.source .marked td { background: var(--mark) }
.source .marked td:first-child { color: var(--red); font-weight: bold }
ol, ul { margin: 0; padding: 0; list-style: none }
.card li { padding: .4rem .75rem; overflow-wrap: anywhere }
.card li + li { border-top: 1px solid var(--line) }
.card li.raised { background: var(--mark); font-weight: bold }
.card li.raised span { float: right; color: var(--red); font-weight: normal }
.card li.note, summary { color: var(--dim) }
summary { cursor: pointer }
details li { padding-left: 1.25rem; border: 0 !important }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; margin: 0;
  padding: .5rem .75rem; gap: .15rem 1rem }
dt { color: var(--dim) }
dd { margin: 0; overflow-wrap: anywhere }
footer { margin-top: 2rem; color: var(--dim); font-size: .85rem }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr } dd { margin: 0 0 .4rem 1rem } }
]]

local function source_part(page)
  local rows = {}
  for i, line in ipairs(page.source) do
    rows[i] = ("<tr%s><td>%d</td><td>%s</td></tr>"):format(line.marked and ' class="marked"' or "",
      line.number, escape(line.text))
  end
  return ('<section class="card"><h3>%s</h3><div class="source"><table>%s</table></div></section>')
    :format(escape(page.where), table.concat(rows, "\n"))
end

local function frame_item(frame)
  return ('<li class="%s">%s</li>'):format(frame.file and "frame" or "note", escape(frame.text))
end

-- The frames of the library between those of scripts, behind one line that opens.
local function folded_item(items)
  return ("<li><details><summary>%d %s of weft's own</summary><ul>%s</ul></details></li>"):format(
    #items, #items == 1 and "frame" or "frames", table.concat(items))
end

local function traceback_part(frames)
  local fold = traceback.script_frame(frames) ~= nil
  local items, folded = {}, {}
  for _, frame in ipairs(frames) do
    if fold and frame.folded then
      folded[#folded + 1] = frame_item(frame)
    else
      if #folded > 0 then items[#items + 1] = folded_item(folded) end
      folded = {}
      items[#items + 1] = frame_item(frame)
    end
  end
  if #folded > 0 then items[#items + 1] = folded_item(folded) end
  return '<h2>Traceback</h2>\n<ol class="card code">' .. table.concat(items, "\n") .. "</ol>"
end

local function chain_part(chain)
  local items = {}
  for i, layer in ipairs(chain) do
    items[i] = layer.raised
      and ('<li class="raised">%s <span>raised here</span></li>'):format(escape(layer.name))
      or ("<li>%s</li>"):format(escape(layer.name))
  end
  return '<h2>The chain, from the outside in</h2>\n<ol class="card code">'
    .. table.concat(items, "\n") .. "</ol>"
end

local function request_part(request)
  local items = {}
  for i, header in ipairs(request.headers) do
    items[i] = ("<dt>%s</dt><dd>%s</dd>"):format(escape(header.name), escape(header.value))
  end
  return ('<h2>The request</h2>\n<section class="card code"><h3>%s</h3><dl>%s</dl></section>')
    :format(escape(request.line), table.concat(items, "\n"))
end

--- The document.
---@param page table what dev_page.lua gathered
---@return string
function M.render(page)
  local parts = {
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    ("<title>%s: %s</title>"):format(escape(page.title), escape(page.message:match "[^\n]*")),
    "<style>\n" .. STYLE .. "</style>\n</head>\n<body>",
    ("<header><p>%s%s</p><h1>%s</h1></header>"):format(escape(page.title),
      page.layer and " in " .. escape(page.layer) or "", escape(page.message)),
  }
  if page.source then
    parts[#parts + 1] = source_part(page)
  elseif page.where then
    parts[#parts + 1] = ('<p class="code">%s</p>'):format(escape(page.where))
  end
  if #page.frames > 0 then parts[#parts + 1] = traceback_part(page.frames) end
  parts[#parts + 1] = chain_part(page.chain)
  parts[#parts + 1] = request_part(page.request)
  parts[#parts + 1] = ("<footer>%s%s. Only <code>--dev</code> shows this page.</footer>"):format(
    escape(page.version), page.request.id and ", request " .. escape(page.request.id) or "")
  parts[#parts + 1] = "</body>\n</html>\n"
  return table.concat(parts, "\n")
end

return M
