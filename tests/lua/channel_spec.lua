local weft = require "weft"

local function started(fn, ...)
  local task = weft.spawn(fn, ...)
  weft.sleep(0)
  weft.sleep(0)
  return task
end

local function blamed(fn)
  local ok, message = pcall(fn)
  assert.is_false(ok)
  return assert(tostring(message):match "channel_spec%.lua:%d+: (.*)", message)
end

local function code_of(value, err)
  assert.is_nil(value)
  return err and err.code
end

describe("a channel", function()
  it("hands over values in order, false too", function()
    local queue = weft.channel(10)
    local sender = weft.spawn(function()
      for i = 1, 100 do assert.is_true(queue:send(i)) end
      queue:send(false)
      queue:close()
    end)
    local got = {}
    for value in queue:values() do got[#got + 1] = value end
    sender:await()
    for i = 1, 100 do assert.equal(i, got[i]) end
    assert.is_false(got[101])
    assert.equal(101, #got)
  end)

  it("makes a sender wait while it is full", function()
    local queue = weft.channel(2)
    local sent = 0
    local sender = started(function()
      for i = 1, 5 do
        queue:send(i)
        sent = i
      end
    end)
    assert.equal(2, sent)
    assert.equal("weft.Channel (2 of 2)", tostring(queue))
    assert.is_false(queue:try_send "no room")
    assert.equal(1, queue:receive())
    assert.equal(2, queue.count) -- the sender's value is there at once
    weft.sleep(0)
    assert.equal(3, sent)
    for i = 2, 5 do assert.equal(i, queue:receive()) end
    sender:await()
    assert.is_nil(queue:try_receive())
  end)

  it("without room hands over from task to task", function()
    local queue = weft.channel(0)
    assert.is_false(queue:try_send "nobody receives")
    local sender = started(function()
      queue:send "a"
      return "sent"
    end)
    assert.is_false(sender.done)
    assert.equal("a", queue:receive())
    assert.equal("sent", sender:await())
    local receiver = started(queue.receive, queue)
    assert.is_true(queue:try_send "b")
    assert.equal("b", receiver:await())
    sender = started(queue.send, queue, "c")
    assert.equal("c", queue:try_receive())
    sender:await()
  end)

  it("serves senders and receivers in the order in which they came", function()
    local queue, order = weft.channel(0), {}
    local receivers = {}
    for i = 1, 3 do
      receivers[i] = started(function()
        local value = queue:receive()
        order[#order + 1] = i .. value
      end)
    end
    weft.gather(function() queue:send "a" end, function() queue:send "b" end,
      function() queue:send "c" end)
    for i = 1, 3 do receivers[i]:await() end
    assert.same({ "1a", "2b", "3c" }, order)
    local senders = {}
    for i = 1, 3 do senders[i] = started(queue.send, queue, i) end
    for i = 1, 3 do assert.equal(i, queue:receive()) end
    for i = 1, 3 do senders[i]:await() end
  end)

  it("loses no value to a receiver that was cancelled", function()
    for _, cancel_first in ipairs { true, false } do
      local queue, got = weft.channel(5), nil
      local receiver = started(function() got = queue:receive() end)
      if cancel_first then
        receiver:cancel()
        pcall(receiver.await, receiver)
      end
      queue:send "value"
      receiver:cancel()
      pcall(receiver.await, receiver)
      assert.equal("value", got or queue:try_receive())
    end
  end)

  it("loses no value to a time-out", function()
    local queue, got = weft.channel(5), 0
    local sender = weft.spawn(function()
      for _ = 1, 50 do
        queue:send "value"
        weft.sleep(0.001)
      end
      queue:close()
    end)
    repeat
      local value, err = weft.timeout(0.001, queue.receive, queue)
      if value then got = got + 1 end
    until not value and err.code == "closed"
    sender:await()
    assert.equal(50, got)
    assert.equal(0, queue._receivers.count)
  end)

  it("does not send what a cancelled sender wanted to send", function()
    local queue = weft.channel(1)
    queue:send "first"
    local sender = started(queue.send, queue, "never")
    sender:cancel()
    assert.is_false((pcall(sender.await, sender)))
    local second = started(queue.send, queue, "second")
    assert.equal("first", queue:receive())
    assert.equal("second", queue:receive())
    assert.is_true(second:await())
    assert.is_nil(queue:try_receive())
  end)

  it("can be waited for so long and no longer", function()
    local queue = weft.channel(1)
    assert.equal("timeout", code_of(queue:receive(0.005)))
    queue:send "first"
    assert.equal("timeout", code_of(queue:send("never", 0.005)))
    assert.equal("first", queue:receive(0))
    assert.is_nil(queue:try_receive())
  end)

  it("that is closed gives what it holds, and then the code `closed`", function()
    local queue = weft.channel(5)
    queue:send(1)
    queue:send(2)
    queue:close()
    queue:close()
    assert.equal("closed", code_of(queue:send(3)))
    assert.equal("closed", code_of(queue:try_send(3)))
    assert.same({ 1, 2 }, { queue:receive(), (queue:try_receive()) })
    assert.equal("closed", code_of(queue:receive()))
    assert.equal("closed", code_of(queue:try_receive()))
    assert.matches("closed", tostring(queue))
  end)

  it("tells those who wait when it is closed", function()
    local queue = weft.channel(1)
    local receivers, senders = {}, {}
    for i = 1, 2 do receivers[i] = started(queue.receive, queue) end
    queue:close()
    for i = 1, 2 do assert.equal("closed", code_of(receivers[i]:await())) end
    queue = weft.channel(1)
    queue:send "held"
    for i = 1, 2 do senders[i] = started(queue.send, queue, i) end
    queue:close()
    for i = 1, 2 do assert.equal("closed", code_of(senders[i]:await())) end
    assert.equal("held", queue:receive())
    assert.equal("closed", code_of(queue:receive()))
  end)

  it("does not grow with those who gave up waiting", function()
    local queue = weft.channel(1)
    for _ = 1, 100 do queue:receive(0) end
    assert.equal(0, queue._receivers.count)
    assert.equal(queue._receivers, queue._receivers.next)
  end)

  it("holds a number of values, and no nil", function()
    for _, capacity in ipairs { -1, 1.5, "1", 0 / 0, 1 / 0 } do
      assert.equal("channel takes the number of values it holds",
        blamed(function() weft.channel(capacity) end))
    end
    assert.equal("a channel carries no nil", blamed(function() weft.channel(1):send(nil) end))
    assert.equal("a channel carries no nil", blamed(function() weft.channel(1):try_send() end))
  end)
end)
