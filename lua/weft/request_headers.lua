--- The headers of a request: the same table to a script as those of a response, but each field is
-- read from C when it is asked for. They are copied only when somebody writes or iterates.

local core = require "weft.core"
local errors = require "weft.errors"
local exchange = require "weft.exchange"
local headers = require "weft.headers"

local M = {}

local HANDLE, COPY = 1, 2 -- slots: numbers, so that a header's name never finds them

local Lazy = { __name = "weft.Headers" }

local function copy(lazy, level)
  local all = rawget(lazy, COPY)
  if all then return all end
  local list = exchange.headers(rawget(lazy, HANDLE))
  if not list then
    if core.cancelled() then error(errors.cancelled(), 0) end -- the client is gone: no fault
    error("request.headers was first read after the response was complete: read it before",
      level + 1)
  end
  all = headers.new()
  for i = 1, #list, 2 do headers.add(all, list[i], list[i + 1]) end
  rawset(lazy, COPY, all)
  return all
end

function Lazy.__index(lazy, name)
  local all = rawget(lazy, COPY)
  if all then return all[name] end
  if type(name) ~= "string" then
    if type(name) == "number" then return nil end
    error("header names are strings", 2)
  end
  local value, count = exchange.header(rawget(lazy, HANDLE), name:lower())
  if count == 1 then return value end
  if count == 0 then return nil end
  return copy(lazy, 2)[name] -- repeats are joined there; or it is too late
end

function Lazy.__newindex(lazy, name, value) return headers.set(copy(lazy, 2), name, value) end

function Lazy.__pairs(lazy) return pairs(copy(lazy, 2)) end

function Lazy.__tostring(lazy) return tostring(copy(lazy, 2)) end

---@param handle number of an exchange
---@return weft.Headers
function M.new(handle)
  local lazy = setmetatable({ handle }, Lazy)
  return lazy
end

--- All values of a header, in their order.
---@param fields weft.Headers a request's, or what a middleware put in their place
---@param name string
---@return string[]
function M.values(fields, name)
  if getmetatable(fields) == Lazy then fields = copy(fields, 3) end
  return headers.values(fields, name)
end

--- Reads them now, so that they can be read later.
---@param fields weft.Headers
function M.keep(fields)
  if getmetatable(fields) == Lazy then copy(fields, 3) end
end

return M
