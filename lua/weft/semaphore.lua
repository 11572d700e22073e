--- A semaphore: so many permits, which tasks take and give back; who came first gets one first.
-- A permit belongs to the task that took it, and goes back when that task ends at the latest,
-- however it ends. A semaphore counts in one worker; it knows nothing of the others.

local await = require "weft.await"
local errors = require "weft.errors"
local core = require "weft.core"
local stdlib = require "weft.stdlib"
local task = require "weft.task"
local waiters = require "weft.waiters"

local xpcall = stdlib.raw.xpcall -- errors.on_raise waits for nothing

local M = {}

---@class weft.Semaphore
---@field permits integer how many there are
---@field available integer how many can be taken now
---@field waiting integer how many tasks wait for one
local Semaphore = { __name = "weft.Semaphore" }

function Semaphore:__index(key)
  if key == "waiting" then return self._line.count end
  return Semaphore[key]
end

function Semaphore:__tostring()
  return ("weft.Semaphore (%d of %d available)"):format(self.available, self.permits)
end

--- A semaphore with so many permits.
---@param permits integer
---@return weft.Semaphore
function M.new(permits)
  if type(permits) ~= "number" or not (permits >= 1) or permits % 1 ~= 0 then
    error("semaphore takes the number of permits, at least 1", 2)
  end
  return setmetatable({
    permits = permits,
    available = permits,
    _line = waiters.new(),
    _held = {}, -- how many the tasks hold, by their records, until they end
  }, Semaphore)
end

-- Gives one permit to the next in line, or back.
local function pass_on(gate)
  if not gate._line:wake() then gate.available = gate.available + 1 end
end

-- Notes that the running task will hold one more: what it still holds at its end goes back.
local function hold(gate, record)
  local held = gate._held
  if held[record] then
    held[record] = held[record] + 1
    return
  end
  held[record] = 1
  task.defer(function()
    local count = held[record]
    held[record] = nil
    for _ = 1, count do pass_on(gate) end
  end)
end

--- Takes a permit if there is one now and nobody waits for it.
---@return boolean
function Semaphore:try_acquire()
  local record = core.record()
  if not record then error("semaphore: no task is running", 2) end
  if self.available == 0 then return false end -- while somebody waits there is none
  self.available = self.available - 1
  hold(self, record)
  return true
end

--- Takes a permit; waits for one in the order of arrival.
---@param seconds number? that this may take
---@return true? taken nil when the time is over
---@return weft.Error? err
function Semaphore:acquire(seconds)
  if self:try_acquire() then return true end
  local status = self._line:wait(nil, seconds)
  if status == 0 then
    hold(self, core.record())
    return true
  end
  return await.finish("waiting for a semaphore", status)
end

--- Gives a permit back: one of the running task's, or else of the nearest task that started it and
-- holds one, so that a task may be started with a permit and give it back itself.
function Semaphore:release()
  local record = core.record()
  while record and (self._held[record] or 0) == 0 do record = record.parent end
  if not record then error("release: no permit was taken by this task", 2) end
  self._held[record] = self._held[record] - 1
  pass_on(self)
end

local function released(gate, ok, ...)
  gate:release()
  if not ok then errors.raise((...)) end
  return ...
end

--- Calls `fn(...)` with a permit.
---@param fn function
---@return any ... what it returned; what it raised is raised
function Semaphore:with(fn, ...)
  self:acquire()
  return released(self, xpcall(fn, errors.on_raise, ...))
end

return M
