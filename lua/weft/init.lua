--- The public names of weft, and nothing else.

local app = require "weft.app"
local core = require "weft.core"
local errors = require "weft.errors"
local response = require "weft.response"
local task = require "weft.task"

local weft = {
  app = app.new,
  middleware_not_used = app.middleware_not_used,
  abort = errors.abort,
  -- responses
  response = response.response,
  text = response.text,
  html = response.html,
  redirect = response.redirect,
  no_content = response.no_content,
  stream = response.stream,
  -- awaiting
  sleep = task.sleep,
  spawn = task.spawn,
  gather = task.gather,
  race = task.race,
  timeout = task.timeout,
  background = task.background,
  shield = task.shield,
  defer = task.defer,
  context = task.context,
  semaphore = require("weft.semaphore").new,
  channel = require("weft.channel").new,
  -- calling others
  fetch = require("weft.fetch").fetch,
  -- the rest
  log = require "weft.log",
  time = core.time,
  now = core.now,
  clock = core.clock,
}

-- `weft.json(value)` answers with JSON; `weft.json.encode` and `decode` are the codec.
weft.json = setmetatable({}, {
  __index = require "weft.json",
  __call = function(_, ...) return response.json(...) end,
})

return weft
