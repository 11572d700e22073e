--- What `tls = { ... }` means, for weft.fetch and weft.tcp: from options to a context, which C
-- keeps and shares between all connections with the same options (runtime/net/tls_context.h).
-- Opens no connection, and reads no file: paths are C's to read.

local core = require "weft.core"
local errors = require "weft.errors"

local M = {}

local NAME_MAX = 253 -- bytes of a host's name
local PROTOCOL_MAX = 255 -- bytes of an ALPN protocol, as its length has one byte

---@class weft.tls.Options
---@field verify boolean? false trusts anybody: whoever is in between may read and change it all
---@field ca string? whose certificates are trusted, instead of the system's: PEM text, or the path
---of a file or directory
---@field cert string? the certificate to show, with those that lead to its CA: PEM text or a path
---@field key string? its private key: PEM text or a path; not needed when it stands in `cert`
---@field server_name string? who is to answer, when that is not the host that is connected to
---@field alpn string|string[]? protocols to agree on, the best first

---@class weft.tls.ServerOptions
---@field cert string as above
---@field key string? as above
---@field ca string? demands certificates of clients that these have signed
---@field alpn string|string[]? as above

---@class weft.tls.Facts
---@field version string "TLSv1.3"
---@field cipher string
---@field server_name string? what the client asked for
---@field alpn string? the protocol that was agreed on
---@field subject string? of the peer's certificate
---@field resumed boolean whether the handshake went on with an earlier session

local CLIENT = {
  verify = "boolean",
  ca = "string",
  cert = "string",
  key = "string",
  server_name = "string",
  alpn = "string or a list of strings",
}

local SERVER = { ca = "string", cert = "string", key = "string", alpn = CLIENT.alpn }

local function check(options, fields, level)
  if type(options) ~= "table" then
    error(("tls is a table of options, not %s"):format(tostring(options)), level + 1)
  end
  for name, value in pairs(options) do
    local kind = fields[name]
    if not kind then error(("tls has no option %q"):format(tostring(name)), level + 1) end
    if name ~= "alpn" and type(value) ~= kind then
      error(("tls.%s is a %s, not %s"):format(name, kind, type(value)), level + 1)
    end
  end
  if options.key and not options.cert then
    error("tls.key is of no use without tls.cert", level + 1)
  end
end

--- Protocols as TLS has them: each behind its length.
local function pack_alpn(alpn, level)
  if alpn == nil then return nil end
  if type(alpn) == "string" then alpn = { alpn } end
  if type(alpn) ~= "table" then error("tls.alpn is a " .. CLIENT.alpn, level + 1) end
  local packed = {}
  for i, protocol in ipairs(alpn) do
    if type(protocol) ~= "string" or #protocol < 1 or #protocol > PROTOCOL_MAX then
      error("tls.alpn: a protocol is a string of 1 to 255 bytes", level + 1)
    end
    packed[i] = string.char(#protocol) .. protocol
  end
  return table.concat(packed)
end

local function new_context(server, verify, options, alpn, level)
  local context, message = core.tls_context(server, verify, options.ca, options.cert, options.key,
    pack_alpn(options.alpn or alpn, level + 1))
  if not context then return nil, errors.new("tls", message) end
  return context
end

--- The context of a client.
---@param options weft.tls.Options|true
---@param alpn string? unless the options say otherwise
---@param level integer whom to blame for mistakes
---@return userdata? context
---@return string|weft.Error|nil server_name in lower case, if the options say one; or the error
function M.client(options, alpn, level)
  if options == true then options = {} end
  check(options, CLIENT, level + 1)
  local name = options.server_name
  if name and (#name > NAME_MAX or not name:find "^[%w._:-]+$") then
    error(("tls.server_name: %q is no host's name"):format(name), level + 1)
  end
  local context, err = new_context(false, options.verify ~= false, options, alpn, level + 1)
  if not context then return nil, err end
  return context, name and name:lower()
end

--- The context of a server.
---@param options weft.tls.ServerOptions
---@param level integer
---@return userdata? context
---@return weft.Error?
function M.server(options, level)
  check(options, SERVER, level + 1)
  if not options.cert then error("tls: a server needs a certificate: tls.cert", level + 1) end
  return new_context(true, options.ca ~= nil, options, nil, level + 1)
end

return M
