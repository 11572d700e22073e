--- From what C resumes a task with to what a script sees.
-- C gives a status and the results behind it; this makes of them the results, `nil, err`, or a
-- raised cancellation. Every wait of the library ends in one of these functions.

local core = require "weft.core"
local errors = require "weft.errors"

local await = {}

--- The status of a wait that was cancelled: libuv's UV_ECANCELED on Linux.
await.CANCELED = -125

local CANCELED = await.CANCELED

local function failed(about, status, detail)
  if status ~= CANCELED then return nil, errors.from_status(status, about, detail) end
  local cancelled, overdue = core.cancelled()
  if cancelled then error(errors.cancelled(overdue), 0) end
  -- It was not our task that was cancelled, or it is shielded: what it waited for was closed.
  return nil, errors.new("closed", (about and about .. ": " or "") .. "closed meanwhile")
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
