--- The errors of weft, and what an error means for a client.
-- Three kinds: an *error of the world* (`nil, err`: a table with `code` and `message`), an *abort*
-- (a response that a script asks for by raising), and a *fault* (anything else that was raised,
-- with the traceback of where). It decides no page: error_page does.

local core = require "weft.core"
local headers = require "weft.headers"
local stdlib = require "weft.stdlib"

local pcall, tostring, type = pcall, tostring, type

local errors = {}

---@class weft.Error
---@field code string cancelled timeout closed refused unreachable dns tls protocol too_large busy
---limit not_found io
---@field message string
local Error = { __name = "weft.Error" }
Error.__index = Error

function Error:__tostring() return self.message end

---@class weft.Abort
---@field status integer
---@field message string? what the client may read
---@field headers table?
---@field close boolean? the connection cannot be used further
local Abort = { __name = "weft.Abort" }
Abort.__index = Abort

function Abort:__tostring()
  return ("abort %d%s"):format(self.status, self.message and ": " .. tostring(self.message) or "")
end

---@class weft.Fault
---@field value any what was raised
---@field traceback string
local Fault = { __name = "weft.Fault" }
Fault.__index = Fault

--- What a value prints as, for logs and pages: never raises, though its `__tostring` may.
---@param value any
---@return string
function errors.text(value)
  if type(value) == "string" then return value end
  local ok, text = pcall(tostring, value)
  if ok and type(text) == "string" then return text end
  return ("a %s that cannot be printed"):format(type(value))
end

function Fault:__tostring() return errors.text(self.value) end

local CODES = {
  ECANCELED = "cancelled",
  ETIMEDOUT = "timeout",
  EOF = "closed",
  ETLS = "tls", -- our own, beside libuv's: runtime/net/tls.h
  ETRUNCATED = "closed",
  ECONNRESET = "closed",
  ECONNABORTED = "closed",
  EPIPE = "closed",
  ENOTCONN = "closed",
  ECONNREFUSED = "refused",
  EHOSTUNREACH = "unreachable",
  ENETUNREACH = "unreachable",
  ENETDOWN = "unreachable",
  EPROTO = "protocol",
  EMSGSIZE = "too_large",
  E2BIG = "too_large",
  EFBIG = "too_large",
  EBUSY = "busy",
  ENOBUFS = "limit",
  EMFILE = "limit",
  ENFILE = "limit",
  ENOENT = "not_found",
}

---@param code string
---@param message string
---@return weft.Error
function errors.new(code, message)
  return setmetatable({ code = code, message = message }, Error)
end

---@param value any
---@return boolean
function errors.is(value) return getmetatable(value) == Error end

--- The one place that makes an error of a libuv status.
---@param status integer negative
---@param about string? what was being done, and with whom: "connecting to 127.0.0.1:80"
---@param detail string? more than the status can say
---@return weft.Error
function errors.from_status(status, about, detail)
  local name, text = core.error_name(status)
  local code = CODES[name] or (name:sub(1, 4) == "EAI_" and "dns") or "io"
  detail = detail or text
  return errors.new(code, about and ("%s: %s"):format(about, detail) or detail)
end

--- What every wait of a cancelled task raises.
---@param overdue boolean? because the request's time is over
---@return weft.Error
function errors.cancelled(overdue)
  local err = errors.new("cancelled", overdue and "cancelled: the request's time is over"
    or "cancelled: nobody waits for this any longer")
  err.overdue = overdue or nil
  return err
end

---@param value any
---@return boolean
function errors.is_cancelled(value)
  return getmetatable(value) == Error and value.code == "cancelled"
end

--- Raises what becomes the response: `weft.abort(404, "no such user")`.
---@param status integer 400 to 599, or a redirect with its headers
---@param message string? for the client to read
---@param fields table? headers
function errors.abort(status, message, fields)
  if type(status) ~= "number" or not (status >= 300 and status <= 599) or status % 1 ~= 0 then
    error("abort: the status is an integer from 300 to 599", 2)
  end
  if message ~= nil and type(message) ~= "string" then
    error(("abort: the message is a string, not a %s"):format(type(message)), 2)
  end
  local own = fields and headers.from(fields, 3) -- checked here, where the line can be blamed
  error(setmetatable({ status = status, message = message, headers = own }, Abort), 0)
end

---@param value any
---@return boolean
function errors.is_abort(value) return getmetatable(value) == Abort end

---@param status integer
---@param message string?
---@param fields table? more fields of the abort
---@return weft.Abort
function errors.new_abort(status, message, fields)
  local abort = setmetatable(fields or {}, Abort)
  abort.status, abort.message = status, message
  return abort
end

-- The fault whose value was raised again further out, so that its traceback is not lost where
-- only the bare value can travel; and the task that this happened in.
local raised_again, raised_in

-- Whether a value passes through a task without becoming a fault. A cancellation does if it is the
-- task's own; that of another task, which was awaited, is an error like any other.
local function passes(value)
  local metatable = getmetatable(value)
  return metatable == Abort or metatable == Fault
    or metatable == Error and value.code == "cancelled" and (core.cancelled())
end

--- The message handler for everything that calls a script: keeps where it was raised.
-- What is no fault passes as it is: an abort, a cancellation, a fault caught before.
---@param value any
---@return any
function errors.on_raise(value)
  if passes(value) then return value end
  local traceback = debug.traceback("", 2):gsub("^\nstack traceback:\n", "")
  local crossed = stdlib.crossed(value)
  if crossed and crossed ~= "" then traceback = crossed .. "\n" .. traceback end
  if raised_again and rawequal(raised_again.value, value) and raised_in == core.task_thread() then
    local by = debug.getinfo(3, "f") -- 1 is this function, 2 is `error`
    if crossed or by and by.func == errors.raise then -- else somebody has caught that one
      traceback = raised_again.traceback .. "\n\t-- awaited by --\n" .. traceback
    end
  end
  raised_again, raised_in = nil, nil
  return setmetatable({ value = value, traceback = traceback }, Fault)
end

--- Raises what `on_raise` made of a value again, as that value.
---@param raised any
function errors.raise(raised)
  if getmetatable(raised) == Fault then
    raised_again, raised_in = raised, core.task_thread()
    error(raised.value, 0)
  end
  error(raised, 0)
end

--- What a log says of something raised: its message, and where it was raised if that is known.
---@param raised any a fault, an abort, or a bare value
---@return string
function errors.report(raised)
  local text = errors.text(raised)
  if getmetatable(raised) == Fault then
    local traceback = require "weft.traceback" -- it needs C, which the rest of this does not
    return traceback.expand(text) .. "\n" .. traceback.readable(traceback.parse(raised.traceback))
  end
  return text
end

---@param value any
---@return boolean
function errors.is_fault(value) return getmetatable(value) == Fault end

-- What an error of the world means to our own client when a script raises it (`assert`).
local GATEWAY = {
  timeout = 504,
  closed = 502,
  refused = 502,
  unreachable = 502,
  dns = 502,
  tls = 502,
  protocol = 502,
}

--- The status that something raised stands for.
---@param raised any an abort, a fault, or a bare value
---@return integer
function errors.status_of(raised)
  local metatable = getmetatable(raised)
  if metatable == Abort then return raised.status end
  local value = metatable == Fault and raised.value or raised
  if getmetatable(value) == Error then return GATEWAY[value.code] or 500 end
  return 500
end

return errors
