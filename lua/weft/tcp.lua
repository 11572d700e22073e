--- Sockets: connect to a service, or be one. TCP, with TLS or without, and unix sockets, bytes
-- only; what the bytes mean is the script's business. Reading, writing and closing are in
-- weft.byte_stream, what `tls` may say in weft.tls.

local core = require "weft.core"
local await = require "weft.await"
local byte_stream = require "weft.byte_stream"
local errors = require "weft.errors"
local log = require "weft.log"
local tls = require "weft.tls"

local M = {}

local CONNECT_TIMEOUT = 10
local HANDSHAKE_TIMEOUT = 10 -- for clients of ours
local MAX_CONNECTIONS = 1000

---@class weft.Socket : weft.ByteStream
---@field peer { address: string, port: integer? } "unix" when it is a unix socket
---@field tls weft.tls.Facts? when it speaks TLS
local Socket = setmetatable({ __name = "weft.Socket" }, { __index = byte_stream.ByteStream })
Socket.__index = Socket
Socket.__tostring = byte_stream.ByteStream.__tostring

local function new_socket(box, name)
  local address, port = core.tcp_peer(box)
  local socket = setmetatable({
    peer = { address = address or "unix", port = port },
    tls = core.stream_tls(box),
  }, Socket)
  return byte_stream.init(socket, box,
    name or (port and ("%s:%d"):format(address, port) or "a unix socket"))
end

--- Closes it at once, so that the peer sees a reset and not an orderly end.
function Socket:reset() core.stream_close(self._box, true, 0) end

local function unbracketed(host) return host:match "^%[(.*)%]$" or host end

local function check_seconds(name, value, default)
  if value == nil then return default end
  if type(value) ~= "number" or value ~= value or value < 0 then
    error(("%s is a number of seconds"):format(name), 3)
  end
  return value
end

--- Connects: `connect("127.0.0.1", 80)`, `connect("db.internal", 5432, { timeout = 1 })`,
-- `connect("unix:/run/app.sock")`, `connect("db.internal", 5432, { tls = true })`.
---@param host string an address, a name, or "unix:PATH"
---@param port integer? not for a unix socket
---@param options { timeout: number?, tls: weft.tls.Options|true|nil }? seconds for looking up,
---connecting and the handshake (10); how to speak TLS
---@return weft.Socket?
---@return weft.Error?
function M.connect(host, port, options)
  if type(host) ~= "string" then error("connect takes a host and a port", 2) end
  local path = host:match "^unix:(.+)$"
  if path then port, options = nil, options or port end
  if not path and (type(port) ~= "number" or port % 1 ~= 0 or port < 1 or port > 65535) then
    error("connect takes a port from 1 to 65535", 2)
  end
  local timeout = check_seconds("timeout", options and options.timeout, CONNECT_TIMEOUT)
  local context, server_name
  if options and options.tls then
    if path then error("connect: no TLS over a unix socket", 2) end
    context, server_name = tls.client(options.tls, nil, 2)
    if not context then return nil, server_name end
  end
  local name = path and host or ("%s:%d"):format(host, port)
  local status, box = core.tcp_connect(path or unbracketed(host), port, timeout, context,
    server_name)
  if status ~= 0 then return await.finish("connecting to " .. name, status, box) end
  return new_socket(box, name)
end

---@class weft.SocketServer
---@field url string "tcp://127.0.0.1:1234", "tls://127.0.0.1:1234", "unix:/run/app.sock"
---@field port integer? the one that was picked, for port 0; nil for a unix socket
local Server = { __name = "weft.SocketServer" }
Server.__index = Server

function Server:__tostring() return ("weft.SocketServer (%s)"):format(self.url) end

--- Takes no more connections; those that are open go on. Fine twice.
function Server:close() core.tcp_unlisten(self._box) end

-- What the peer did to a handler that says assert(socket:read(n)) is no fault of the script.
local function log_failure(socket, raised)
  local value = errors.is_fault(raised) and raised.value or raised
  if errors.is_cancelled(value) then return end
  if errors.is(value) and value.code == "closed" then
    log.debug("a socket's handler ended: " .. tostring(value))
  else
    log.error(("a socket's handler failed: %s\n%s"):format(tostring(value),
      errors.is_fault(raised) and raised.traceback or ""), { peer = socket._name })
  end
end

--- Waits for the end of a client's handshake. One that fails is the client's affair.
local function shake_hands(box)
  local status = core.stream_secured(box, HANDSHAKE_TIMEOUT)
  if status == 0 then return true end
  local reason = core.stream_reason(box)
  local _, err = await.finish("the TLS handshake of a client", status, reason)
  log.debug(tostring(err))
  core.stream_close(box, false, 0)
  return false
end

local function serve_with(handler, secure)
  return function(box)
    if secure and not shake_hands(box) then return end
    local socket = new_socket(box)
    local ok, raised = xpcall(handler, errors.on_raise, socket)
    socket:close()
    if not ok then log_failure(socket, raised) end
  end
end

local function split(address)
  local path = address:match "^unix:(.+)$"
  if path then return path, nil end
  local host, port = address:match "^(.+):(%d+)$"
  if not host or tonumber(port) > 65535 then
    error('listen takes "host:port", "[v6]:port" or "unix:PATH"', 3)
  end
  return unbracketed(host), tonumber(port)
end

--- Listens. Each connection runs `handler(socket)` in a task of its own, which is nobody's child;
-- the socket is closed when the handler returns or raises.
---@param address string "host:port" with an IP address or localhost, "[v6]:port", "unix:PATH"
---@param handler fun(socket: weft.Socket)
---@param options { max_connections: integer?, tls: weft.tls.ServerOptions? }? at the same time
---(1000; more wait); to speak TLS
---@return weft.SocketServer?
---@return weft.Error?
function M.listen(address, handler, options)
  if type(address) ~= "string" or type(handler) ~= "function" then
    error("listen takes an address and a function", 2)
  end
  local host, port = split(address)
  local most = options and options.max_connections or MAX_CONNECTIONS
  local context, err
  if options and options.tls then
    context, err = tls.server(options.tls, 2)
    if not context then return nil, err end
  end
  local status, box, bound = core.tcp_listen(host, port, serve_with(handler, context ~= nil), most,
    context)
  if status ~= 0 then return await.finish("listening on " .. address, status) end
  local url = port and ("%s://%s:%d"):format(context and "tls" or "tcp",
    address:match "^(.+):%d+$", bound) or address
  return setmetatable({ _box = box, port = bound, url = url }, Server)
end

return M
