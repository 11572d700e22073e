--- A line of tasks that wait for the same thing; who came first is woken first.
-- Owns the line and nothing else: what is waited for, and who gets it, is its user's. A task that
-- is cancelled or whose time is over leaves the line at once, so the line is as long as the tasks
-- that really wait.

local core = require "weft.core"

---@class weft.Waiter
---@field value any what the waiter brought along, or what its waker left for it

---@class weft.Waiters
---@field count integer how many are in the line
local Waiters = { __name = "weft.Waiters" }
Waiters.__index = Waiters

local M = {}

---@return weft.Waiters
function M.new()
  local line = setmetatable({ count = 0 }, Waiters)
  line.next, line.previous = line, line -- a ring, with the line itself between last and first
  return line
end

local function leave(line, waiter)
  if not waiter.next then return end
  waiter.previous.next, waiter.next.previous = waiter.next, waiter.previous
  waiter.next, waiter.previous = nil, nil
  line.count = line.count - 1
end

--- Waits in the line. Raises where no wait is possible; a cancellation is for the caller to raise,
-- by `await.status`, when it has put its own things in order.
---@param value any? for the waker to see
---@param seconds number?
---@return integer status 0 if it was woken; ETIMEDOUT or ECANCELED otherwise
---@return any value what the waker left
function Waiters:wait(value, seconds)
  local handle, stamp = core.ticket()
  local last = self.previous
  local waiter = { handle = handle, stamp = stamp, value = value, next = self, previous = last }
  last.next, self.previous = waiter, waiter
  self.count = self.count + 1
  local status = core.park(seconds)
  leave(self, waiter)
  return status, waiter.value
end

--- Takes the first of the line out of it and wakes it. It will see that, whatever happens to it in
-- between: what is handed to it is not lost.
---@return weft.Waiter? waiter nil if nobody waits
function Waiters:wake()
  while true do
    local waiter = self.next
    if waiter == self then return nil end
    leave(self, waiter)
    if core.wake(waiter.handle, waiter.stamp) then return waiter end
    -- else its task was ended in the middle of the wait: it ignored its cancellation
  end
end

--- Wakes all that wait now.
---@return integer count
function Waiters:wake_all()
  local count = 0
  while self:wake() do count = count + 1 end
  return count
end

return M
