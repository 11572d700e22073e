--- Byte streams: what the sockets of weft.tcp and the pipes of weft.exec have in common.
-- Reading in pieces, writing with back-pressure, closing. Every wait has an end: `stream.timeout`
-- seconds (30), unless the call says otherwise; math.huge for none. One task may read while
-- another writes; two that do the same at once do not, the second gets the code "busy".

local core = require "weft.core"
local await = require "weft.await"

local byte, sub = string.byte, string.sub

local M = {}

local TIMEOUT = 30
local READ_MAX = 64 * 1024 * 1024
local LINE_MAX = 1024 * 1024 -- a peer that sends no delimiter costs no more than this
-- What a reset looks like to who reads, and to who wrote first: libuv's codes on Linux.
local RESET = { [-104] = true, [-32] = true } -- ECONNRESET, EPIPE

-- What says nothing about the end of the stream: what arrived can still be read.
local PASSING = { timeout = true, too_large = true, busy = true }

---@class weft.ByteStream
---@field timeout number seconds that a read or a write may take unless it says otherwise
local ByteStream = { __name = "weft.ByteStream" }
ByteStream.__index = ByteStream
M.ByteStream = ByteStream

function ByteStream:__tostring()
  return ("%s (%s)"):format(getmetatable(self).__name, self._name)
end

--- Fills in a stream.
---@param stream table with the class as its metatable
---@param box userdata of C
---@param name string what is at the other end, for messages
function M.init(stream, box, name)
  stream._box = box
  stream._name = name
  stream._reading = "reading from " .. name
  stream._writing = "writing to " .. name
  stream.timeout = TIMEOUT
  return stream
end

-- Our own code beside libuv's, runtime/net/tls.h: what is wrong is known to the stream.
local ETLS = -5000

local function reason(stream, status)
  return status == ETLS and core.stream_reason(stream._box) or nil
end

local function failed(stream, status, len)
  local _, err = await.finish(stream._reading, status, reason(stream, status))
  if not PASSING[err.code] then
    err.partial = len and core.stream_take(stream._box, len) or ""
    err.reset = RESET[status]
  end
  return nil, err
end

--- Waits for `want`, as C takes it; gives the bytes without the last `strip`.
local function read(stream, want, limit, seconds, strip)
  local status, len = core.stream_await(stream._box, want, limit, seconds or stream.timeout)
  if status ~= 0 then return failed(stream, status, len) end
  return core.stream_take(stream._box, len, strip)
end

local function read_line(stream, seconds)
  local line, err = read(stream, "\n", LINE_MAX, seconds, 1)
  if line and byte(line, -1) == 13 then return sub(line, 1, -2) end
  return line, err
end

--- Reads. When the stream ends first the error has the code "closed", and `partial` is what
-- arrived before; `reset` says that the peer reset the connection. After a time-out what arrived
-- is there for the next read.
---@param what integer|"line"|"all"|"*" so many bytes; a line, without its end (at most 1 MiB); all
-- until the end (at most 64 MiB); whatever is there, at least one byte
---@param seconds number? instead of `timeout`
---@return string?
---@return weft.Error?
function ByteStream:read(what, seconds)
  if what == "line" then return read_line(self, seconds) end
  if what == "*" then return read(self, nil, READ_MAX, seconds) end
  if what == "all" then return read(self, true, READ_MAX, seconds) end
  if what == 0 then return "" end
  if type(what) ~= "number" or not (what >= 1 and what <= READ_MAX) or what % 1 ~= 0 then
    error('read takes "line", "all", "*" or a number of bytes up to 64 MiB', 2)
  end
  return read(self, what, what, seconds)
end

--- Reads all until the end, if it is not more than `max` bytes.
function ByteStream:_read_all(max, seconds) return read(self, true, max, seconds) end

--- Reads up to a delimiter, which is consumed and not returned.
---@param delimiter string 1 to 128 bytes
---@param max integer? bytes, the delimiter included, before the error "too_large" (1 MiB)
---@param seconds number? instead of `timeout`
---@return string?
---@return weft.Error?
function ByteStream:read_until(delimiter, max, seconds)
  if type(delimiter) ~= "string" or #delimiter < 1 or #delimiter > 128 then
    error("read_until takes a delimiter of 1 to 128 bytes", 2)
  end
  return read(self, delimiter, max or LINE_MAX, seconds, #delimiter)
end

local function join(...)
  local parts = { ... }
  for i = 1, select("#", ...) do
    local kind = type(parts[i])
    if kind ~= "string" and kind ~= "number" then
      error(("write takes strings, not %s"):format(kind), 3)
    end
  end
  return table.concat(parts)
end

local function write(stream, bytes)
  local status = core.stream_write(stream._box, bytes, stream.timeout)
  if status == 0 then return true end
  return await.finish(stream._writing, status, reason(stream, status))
end

--- Writes all of it. Waits only while more than 64 KiB are not yet on their way. After a time-out
-- it is not known how much was sent.
---@param ... string|number
---@return true?
---@return weft.Error?
function ByteStream:write(first, ...)
  local bytes = first
  if type(first) ~= "string" or select("#", ...) > 0 then bytes = join(first, ...) end
  return write(self, bytes)
end

--- Waits until all that was written is on its way.
---@return true?
---@return weft.Error?
function ByteStream:flush() return write(self, nil) end

--- Says that nothing more will be written, once all is sent. Reading goes on.
---@return true?
---@return weft.Error?
function ByteStream:shutdown()
  local status = core.stream_shutdown(self._box)
  if status == 0 then return true end
  return await.finish(self._writing, status)
end

--- Closes it. What was written is still sent, for `timeout` seconds; a task that waits here gets
-- the code "closed". Fine twice.
function ByteStream:close() core.stream_close(self._box, false, self.timeout) end

--- False once it was closed here, ended by the peer, or broken, as far as is known.
---@return boolean
function ByteStream:is_open() return core.stream_status(self._box) == 0 end

return M
