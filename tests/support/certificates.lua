--- Certificates for specs, made when they are needed: an authority, and what it signs, all as PEM
-- text. They are of elliptic curves, so one takes some milliseconds.

local exec = require "weft.exec"
local helper = require "tests.support.helper"

local M = {}

local CONFIG = [[
[ca]
default_ca = own
[own]
database = %s/index
new_certs_dir = %s
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
]]

local function openssl(...)
  local done = assert(exec.run { "openssl", ... })
  if done.code ~= 0 then error("openssl: " .. done.stderr, 3) end
end

local NEW_KEY = { "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes" }

--- `openssl req` with a new key; its answer goes to `out`, the key to `key`.
local function request(out, key, name, ...)
  local arguments = { "req", "-batch", "-keyout", key, "-out", out, "-subj", "/CN=" .. name, ... }
  for _, argument in ipairs(NEW_KEY) do arguments[#arguments + 1] = argument end
  openssl(unpack(arguments))
end

local Authority = {}
Authority.__index = Authority

--- A certificate that nobody but itself has signed.
---@param names string "DNS:localhost,IP:127.0.0.1"
---@return { cert: string, key: string }
function M.self_signed(names)
  local dir = helper.temp_dir()
  request(dir .. "/cert", dir .. "/key", "self", "-x509", "-days", "2", "-addext",
    "subjectAltName=" .. names, "-addext", "basicConstraints=critical,CA:FALSE")
  return { cert = helper.read_file(dir .. "/cert"), key = helper.read_file(dir .. "/key") }
end

--- An authority of its own.
---@param name string
function M.authority(name)
  local dir = helper.temp_dir()
  request(dir .. "/cert", dir .. "/key", name, "-x509", "-days", "2")
  return setmetatable({
    cert = helper.read_file(dir .. "/cert"),
    key = helper.read_file(dir .. "/key"),
  }, Authority)
end

--- A certificate that it has signed.
---@param names string "DNS:localhost,IP:127.0.0.1"
---@param options { name: string?, from: string?, to: string? }? subject; times as YYYYMMDDHHMMSSZ
---@return { cert: string, key: string }
function Authority:issue(names, options)
  options = options or {}
  local dir = helper.temp_dir()
  local function path(file) return dir .. "/" .. file end
  helper.write_file(path "config", CONFIG:format(dir, dir))
  helper.write_file(path "index", "")
  helper.write_file(path "ca", self.cert)
  helper.write_file(path "ca_key", self.key)
  request(path "request", path "key", options.name or "leaf", "-addext", "subjectAltName=" .. names)
  openssl("ca", "-batch", "-notext", "-config", path "config", "-cert", path "ca", "-keyfile",
    path "ca_key", "-startdate", options.from or "20200101000000Z", "-enddate",
    options.to or "20991231000000Z", "-in", path "request", "-out", path "cert")
  return { cert = helper.read_file(path "cert"), key = helper.read_file(path "key") }
end

return M
