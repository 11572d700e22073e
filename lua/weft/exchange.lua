--- The door to C for one request and its response; the hot path goes through the FFI.
-- The declarations say the same as runtime/vm/lua_exchange.h. Everything takes the handle of an
-- exchange; once the exchange has ended, its handle finds nothing.

local core = require "weft.core"
local await = require "weft.await"
local ffi = require "ffi"

ffi.cdef [[
typedef struct { const char *bytes; size_t len; } weft_slice_t;
bool weft_lua_part(void *generation, double handle, int part, weft_slice_t *out);
int weft_lua_header(void *generation, double handle, const char *name, size_t len,
                    weft_slice_t *out);
bool weft_lua_begin(void *generation, double handle, int status);
void weft_lua_add(void *generation, double handle, const char *name, size_t name_len,
                  const char *value, size_t value_len);
bool weft_lua_body(void *generation, double handle, const char *body, size_t len);
]]

local C = ffi.C
local generation = ffi.cast("void *", core.generation)
local slice = ffi.new "weft_slice_t" -- used and read before anything else can run

local exchange = {}

-- The parts of a target, as in lua_exchange.h.
exchange.TARGET, exchange.RAW_PATH, exchange.QUERY, exchange.AUTHORITY = 0, 1, 2, 3

--- A part of the request's target: its text; nil when there is none; false when it is too late.
---@param handle number
---@param part integer
---@return string|false|nil
function exchange.part(handle, part)
  if not C.weft_lua_part(generation, handle, part, slice) then return false end
  if slice.bytes == nil then return nil end
  return ffi.string(slice.bytes, slice.len)
end

--- The first value of a request's header, and how many headers have that name (-1: too late).
---@param handle number
---@param name string in lower case
---@return string? value
---@return integer count
function exchange.header(handle, name)
  local count = C.weft_lua_header(generation, handle, name, #name, slice)
  if count <= 0 then return nil, count end
  return ffi.string(slice.bytes, slice.len), count
end

-- What the framing is for weft alone to say.
local FRAMING = {
  ["content-length"] = true,
  ["transfer-encoding"] = true,
  ["connection"] = true,
  ["date"] = true,
  ["keep-alive"] = true,
}

local function begin(handle, status, fields, foreign)
  if not C.weft_lua_begin(generation, handle, status) then return false end
  for at = 2, 3 * fields[1] - 1, 3 do
    local name, value = fields[at], fields[at + 2]
    if FRAMING[fields[at + 1]] then
      foreign(fields[at + 1], value)
    else
      C.weft_lua_add(generation, handle, name, #name, value, #value)
    end
  end
  return true
end

--- Writes a whole response. False when the exchange has ended, or was answered before.
---@param handle number
---@param status integer
---@param fields weft.Headers
---@param body string
---@param foreign fun(name: string, value: string) called for each framing header, which is left out
---@return boolean
function exchange.respond(handle, status, fields, body, foreign)
  if not begin(handle, status, fields, foreign) then return false end
  return C.weft_lua_body(generation, handle, body, #body)
end

--- Writes the head of a response whose body follows.
---@param handle number
---@param status integer
---@param fields weft.Headers
---@param length integer? of the body, if it is known
---@param foreign fun(name: string, value: string)
---@return boolean
function exchange.stream(handle, status, fields, length, foreign)
  if not begin(handle, status, fields, foreign) then return false end
  return core.exchange_stream(handle, length)
end

--- A piece of the body; waits while the client is slow.
---@return boolean? true
---@return weft.Error? err code "closed": the client is gone
function exchange.write(handle, chunk)
  local _, err = await.finish("writing to the client", core.exchange_write(handle, chunk))
  if err then return nil, err end
  return true
end

--- Waits until all that was written is with the kernel.
function exchange.sent(handle)
  local _, err = await.finish("writing to the client", core.exchange_sent(handle))
  if err then return nil, err end
  return true
end

--- The next bytes of the request's body; nil at its end.
---@return string? bytes
---@return weft.Error? err
---@return integer? status that refuses the body: 400, 408
function exchange.read(handle)
  local _, err = await.finish("reading the body", core.exchange_read(handle))
  if err then return nil, err end
  local bytes, status = core.exchange_take(handle)
  return bytes, nil, status
end

--- Whether a status can be sent by a script.
function exchange.valid_status(status)
  return type(status) == "number" and status >= 200 and status <= 599 and status % 1 == 0
end

exchange.headers = core.exchange_headers
exchange.info = core.exchange_info
exchange.alive = core.exchange_alive
exchange.complete = core.exchange_complete
exchange.written = core.exchange_written
exchange.answered = core.exchange_answered
exchange.close = core.exchange_close
exchange.METHODS = core.methods

return exchange
