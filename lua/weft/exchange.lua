--- The door to C for one request and its response.
-- What is read for many requests goes through the FFI, whose declarations say the
-- same as runtime/vm/lua_exchange.h. Everything takes the handle of an
-- exchange; once the exchange has ended, its handle finds nothing.

local core = require "weft.core"
local await = require "weft.await"
local ffi = require "ffi"

ffi.cdef [[
typedef struct { const char *bytes; size_t len; } weft_slice_t;
bool weft_lua_part(void *generation, double handle, int part, weft_slice_t *out);
int weft_lua_header(void *generation, double handle, const char *name, size_t len,
                    weft_slice_t *out);
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

--- Writes a whole response. False when the exchange has ended, or was answered before.
-- What a serve function returns is written in the same way, without this call.
---@type fun(handle: number, status: integer, fields: weft.Headers, body: string): boolean
exchange.respond = core.exchange_respond

--- Writes the head of a response whose body follows; `length` is that of the body if it is known.
---@type fun(handle: number, status: integer, fields: weft.Headers, length: integer?): boolean
exchange.stream = core.exchange_stream

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
