--- A client that sends and reads literal bytes, so that specs show the protocol. It is strict: a
-- response that is not well formed fails the spec with the bytes that came. Its socket is closed
-- when the running task (an `it`, say) ends.

local task = require "weft.task"
local tcp = require "weft.tcp"
local weft = require "weft"

local M = {}

local SECONDS = 5 -- that each step may take

---@class weft.TestClient
---@field socket weft.Socket
local Client = { __name = "weft.TestClient" }
Client.__index = Client

---@param port integer|string a port of 127.0.0.1, or "unix:PATH"
---@return weft.TestClient
function M.connect(port)
  local socket
  if type(port) == "string" then
    socket = assert(tcp.connect(port))
  else
    socket = assert(tcp.connect("127.0.0.1", port))
  end
  socket.timeout = SECONDS
  task.defer(function() socket:close() end)
  return setmetatable({ socket = socket }, Client)
end

--- Sends bytes. What fails is returned and not raised: a server may answer and close first.
---@param bytes string
---@return true?
---@return weft.Error?
function Client:send(bytes)
  local ok, err = self.socket:write(bytes)
  if not ok then return nil, err end
  return self.socket:flush()
end

--- Sends bytes so that they arrive in several reads.
---@param bytes string
---@param pieces integer? of about the same size; one for each byte unless told otherwise
---@return true?
---@return weft.Error?
function Client:send_slowly(bytes, pieces)
  local size = math.max(1, math.ceil(#bytes / (pieces or #bytes)))
  for first = 1, #bytes, size do
    local ok, err = self:send(bytes:sub(first, first + size - 1))
    if not ok then return nil, err end
    weft.sleep(0.001)
  end
  return true
end

local function shown(bytes)
  return (("%q"):format(bytes):gsub("\\13", "\\r"):gsub("\\\n", "\\n"))
end

-- Reads by `method` and notes what was read in `raw`; `ending` is what the method strips.
local function take(client, raw, ending, method, ...)
  local text, err = client.socket[method](client.socket, ...)
  if not text then
    table.insert(raw, err.partial or "")
    error(("expected a response, but: %s; what came: %s"):format(tostring(err),
      shown(table.concat(raw))), 0)
  end
  table.insert(raw, text .. ending)
  return text
end

local function malformed(raw, what)
  error(("%s; what came: %s"):format(what, shown(table.concat(raw))), 0)
end

local function add_header(raw, response, line)
  local name, value = line:match "^([^%s:]+):[ \t]*(.-)[ \t]*$"
  if not name then malformed(raw, ("%q is not a header"):format(line)) end
  table.insert(response.headers_list, { name = name, value = value })
  name = name:lower()
  local before = response.headers[name]
  response.headers[name] = before and before .. ", " .. value or value
end

local function parse_head(raw, text)
  local first, rest = text:match "^(.-)\r\n(.*)$"
  first = first or text
  local version, status, reason = first:match "^HTTP/(%d%.%d) (%d%d%d) ?(.*)$"
  if not version then malformed(raw, ("%q is not a status line"):format(first)) end
  local response = {
    version = version,
    status = tonumber(status),
    reason = reason,
    headers = {},
    headers_list = {},
  }
  for line in ((rest or "") .. "\r\n"):gmatch "(.-)\r\n" do
    if rest then add_header(raw, response, line) end
  end
  return response
end

local function read_chunked(client, raw, response)
  local body = {}
  response.trailers = {}
  response.chunks = body
  while true do
    local line = take(client, raw, "\r\n", "read_until", "\r\n")
    local size = line:match "^(%x+)$"
    if not size then malformed(raw, ("%q is not the size of a chunk"):format(line)) end
    if tonumber(size, 16) == 0 then break end
    table.insert(body, take(client, raw, "", "read", tonumber(size, 16)))
    if take(client, raw, "", "read", 2) ~= "\r\n" then malformed(raw, "a chunk has no end") end
  end
  while true do
    local line = take(client, raw, "\r\n", "read_until", "\r\n")
    if line == "" then return table.concat(body) end
    table.insert(response.trailers, line)
  end
end

local function read_body(client, raw, response)
  local length = response.headers["content-length"]
  if response.headers["transfer-encoding"] == "chunked" then
    if length then malformed(raw, "a response has a length and is chunked") end
    return read_chunked(client, raw, response)
  end
  if length then
    if not length:match "^%d+$" then malformed(raw, "Content-Length is no number") end
    return take(client, raw, "", "read", tonumber(length))
  end
  response.until_close = true
  return take(client, raw, "", "read", "all")
end

--- Reads exactly one response, an interim one (1xx) too.
---@param options { head: boolean }? `head`: it answers HEAD, so no body follows
---@return { version: string, status: integer, reason: string, headers: table<string, string>,
-- headers_list: { name: string, value: string }[], body: string, raw: string, chunks: string[]?,
-- trailers: string[]?, until_close: boolean? }
function Client:receive_response(options)
  local raw = {}
  local response = parse_head(raw, take(self, raw, "\r\n\r\n", "read_until", "\r\n\r\n"))
  local status = response.status
  if options and options.head or status < 200 or status == 204 or status == 304 then
    response.body = ""
  else
    response.body = read_body(self, raw, response)
  end
  response.raw = table.concat(raw)
  return response
end

--- Reads everything until the server closes.
---@return string bytes
---@return "eof"|"reset" how
function Client:receive_all()
  local text, err = self.socket:read "all"
  if text then return text, "eof" end
  if err.code ~= "closed" then
    error(("the server does not close: %s; what came: %s"):format(tostring(err),
      shown(self.socket:read("*", 0) or "")), 2)
  end
  return err.partial, err.reset and "reset" or "eof"
end

--- Waits until the server has closed the connection.
---@return "eof"|"reset" how
---@return string bytes what it sent before
function Client:closed()
  local bytes, how = self:receive_all()
  return how, bytes
end

--- Sends no more; reading goes on.
function Client:shutdown() assert(self.socket:shutdown()) end

--- Closes so that the server sees a reset.
function Client:reset() self.socket:reset() end

function Client:close() self.socket:close() end

--- Sends bytes on a connection of their own and gives all that comes until the server closes.
---@param port integer|string
---@param bytes string
---@return string bytes
---@return "eof"|"reset" how
function M.exchange(port, bytes)
  local client = M.connect(port)
  client:send(bytes)
  local all, how = client:receive_all()
  client:close()
  return all, how
end

return M
