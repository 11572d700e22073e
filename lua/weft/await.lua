--- From what C resumes a task with to what a script sees.
-- C gives a status and the results behind it; this makes of them the results, `nil, err`, or a
-- raised cancellation. Every wait of the library ends in one of these two functions.

local core = require "weft.core"
local errors = require "weft.errors"

local await = {}

local CANCELED = -125 -- libuv's UV_ECANCELED on Linux

local function failed(about, status, detail)
  if status == CANCELED then
    local _, overdue = core.cancelled()
    error(errors.cancelled(overdue), 0)
  end
  return nil, errors.from_status(status, about, detail)
end

--- Results, or `nil, err`: `return await.finish("reading from x", core.read(...))`.
---@param about string? what is being done, for the error's message
---@param status integer
---@return any ...
function await.finish(about, status, ...)
  if status == 0 then return ... end
  return failed(about, status, ...)
end

--- For waits that end by their time: the status, unless it is a cancellation.
---@param status integer
---@return integer status
function await.status(status)
  if status == CANCELED then failed(nil, status) end
  return status
end

return await
