--- A channel: a bounded queue between tasks. Senders wait while it is full, receivers while it is
-- empty, both in the order of arrival; no value is lost or seen twice, whoever is cancelled.
-- It lives in one worker; what goes to all workers is a topic.

local await = require "weft.await"
local errors = require "weft.errors"
local waiters = require "weft.waiters"

local M = {}

---@class weft.Channel
---@field capacity integer how many values it holds while nobody receives them
---@field count integer how many it holds
---@field closed boolean
local Channel = { __name = "weft.Channel" }
Channel.__index = Channel

function Channel:__tostring()
  return ("weft.Channel (%d of %d%s)"):format(self.count, self.capacity,
    self.closed and ", closed" or "")
end

--- A channel that holds so many values; with 0, a sender waits until its value is received.
---@param capacity integer
---@return weft.Channel
function M.new(capacity)
  if type(capacity) ~= "number" or not (capacity >= 0 and capacity < math.huge)
    or capacity % 1 ~= 0 then
    error("channel takes the number of values it holds", 2)
  end
  return setmetatable({
    capacity = capacity,
    count = 0,
    closed = false,
    _values = {}, -- from _first on
    _first = 1,
    _senders = waiters.new(), -- each with its value; only while it is full
    _receivers = waiters.new(), -- only while it is empty
  }, Channel)
end

local function closed_error() return errors.new("closed", "the channel is closed") end

local function put(channel, value)
  channel._values[channel._first + channel.count] = value
  channel.count = channel.count + 1
end

local function take(channel)
  local first = channel._first
  local value = channel._values[first]
  channel._values[first] = nil
  channel.count = channel.count - 1
  channel._first = channel.count == 0 and 1 or first + 1
  return value
end

local function check_value(value)
  if value == nil then error("a channel carries no nil", 3) end
end

-- Sends if that needs no wait: to a receiver, or into the queue.
local function send_now(channel, value)
  local receiver = channel._receivers:wake()
  if receiver then
    receiver.value = value
    return true
  end
  if channel.count >= channel.capacity then return false end
  put(channel, value)
  return true
end

-- Receives if that needs no wait. A sender that waited takes the place that becomes free.
local function receive_now(channel)
  if channel.count > 0 then
    local value = take(channel)
    local sender = channel._senders:wake()
    if sender then
      put(channel, sender.value)
      sender.value = true -- what it sent is sent
    end
    return value
  end
  local sender = channel._senders:wake()
  if not sender then return nil end
  local value = sender.value
  sender.value = true
  return value
end

--- Sends a value; waits while the channel is full.
---@param value any not nil
---@param seconds number? that this may take
---@return true? sent
---@return weft.Error? err with the code "closed", or "timeout"; the value was not sent then
function Channel:send(value, seconds)
  check_value(value)
  if self.closed then return nil, closed_error() end
  if send_now(self, value) then return true end
  local status, sent = self._senders:wait(value, seconds)
  if status ~= 0 then return await.finish("sending to a channel", status) end
  if sent == M then return nil, closed_error() end
  return true
end

--- Sends a value if there is room for it now.
---@param value any not nil
---@return boolean? sent nil when the channel is closed
---@return weft.Error? err
function Channel:try_send(value)
  check_value(value)
  if self.closed then return nil, closed_error() end
  return send_now(self, value)
end

--- Receives a value; waits while the channel is empty. When it is closed, what it holds can still
-- be received.
---@param seconds number? that this may take
---@return any value nil if there is none
---@return weft.Error? err with the code "closed", or "timeout"
function Channel:receive(seconds)
  local value = receive_now(self)
  if value ~= nil then return value end
  if self.closed then return nil, closed_error() end
  local status, received = self._receivers:wait(nil, seconds)
  if status ~= 0 then return await.finish("receiving from a channel", status) end
  if received == nil then return nil, closed_error() end
  return received
end

--- Receives a value if there is one now.
---@return any value nil if there is none
---@return weft.Error? err when there will be none: the channel is closed
function Channel:try_receive()
  local value = receive_now(self)
  if value == nil and self.closed then return nil, closed_error() end
  return value
end

local function next_value(channel) return (channel:receive()) end

--- Iterates over what is received until the channel is closed and empty.
---@return fun(channel: weft.Channel): any
---@return weft.Channel
function Channel:values() return next_value, self end

--- Closes it: nothing more can be sent. Senders that wait, and receivers once nothing is left, get
-- the code "closed". Fine twice.
function Channel:close()
  if self.closed then return end
  self.closed = true
  self._receivers:wake_all()
  repeat
    local sender = self._senders:wake()
    if sender then sender.value = M end -- its value was not sent
  until not sender
end

return M
