--- The documentation is true: runs the examples of every README, and checks the names they use.
--
-- A ```lua block that returns an app is served, one with `describe` is run by `weft test`, every
-- other one is a fragment and is at least compiled. HTML comments in front of a block say more:
--
--   <!-- file: middleware/a.lua -->      the block is this file, beside the apps of its page (so
--                                        is one whose paragraph says: this into `middleware/a.lua`)
--   <!-- run -->                         the fragment is run, in a task and with `weft` at hand; it
--                                        does not raise
--   <!-- load -->                        the same while a new `app` is loaded, which then serves
--   <!-- run: GET /a -> 200 text -->     the app, or what the fragment registers in `app`, answers
--                                        this request so; any number of them
--   <!-- view: GET /a -> 200 text -->    the same, and the fragment is the body of a view
--
-- Of a body is asked that it contains the text. A request may go on with a body (JSON if it begins
-- with "{", else a form); both sides may name headers: GET /a [accept: text/html] -> 200 [x: 1].
-- It decides nothing about style; what is not checked here is left to readers.

local exec = require "weft.exec"
local helper = require "tests.support.helper"
local server = require "tests.support.server"
local weft = require "weft"

local PAGES = {
  "README.md",
  "lua/README.md",
  "middleware/README.md",
  "runtime/README.md",
  "tests/README.md",
}

-- ---- pages and their blocks ----

---@class Block
---@field page string
---@field line integer of its first line of code
---@field language string
---@field code string
---@field marks string[] the comments in front of it
---@field file string?

local function lines_of(text)
  local lines = {}
  for line in (text:gsub("\n?$", "\n")):gmatch "(.-)\n" do lines[#lines + 1] = line end
  return lines
end

--- The comments right in front of a line, in their order, and the paragraph before them.
local function before(lines, at)
  local marks, paragraph = {}, {}
  at = at - 1
  while lines[at] and lines[at]:find "^<!%-%- .* %-%->$" do
    table.insert(marks, 1, lines[at]:match "^<!%-%- (.*) %-%->$")
    at = at - 1
  end
  while lines[at] == "" do at = at - 1 end
  while lines[at] and lines[at] ~= "" do
    table.insert(paragraph, 1, lines[at])
    at = at - 1
  end
  return marks, table.concat(paragraph, " ")
end

---@return Block[]
---@return string prose the page without its blocks, line by line in the same places
local function read_page(page)
  local lines = lines_of(helper.read_file(page))
  local blocks, prose, block = {}, {}, nil
  for i, line in ipairs(lines) do
    local fence = line:match "^```(.*)$"
    if fence and not block then
      local marks, paragraph = before(lines, i)
      block = { page = page, line = i + 1, language = fence, marks = marks, code = {} }
      block.file = paragraph:match "into `([%w_/]+%.lua)`"
      for _, mark in ipairs(marks) do block.file = mark:match "^file: (%S+)$" or block.file end
    elseif fence then
      block.code = table.concat(block.code, "\n") .. "\n"
      blocks[#blocks + 1] = block
      block = nil
    elseif block then
      table.insert(block.code, line)
    end
    prose[i] = (block or fence) and "" or line
  end
  assert(not block, page .. ": a block has no end")
  return blocks, table.concat(prose, "\n") .. "\n"
end

local pages, proses, everything = {}, {}, {}
for _, page in ipairs(PAGES) do
  pages[page], proses[page] = read_page(page)
  everything[#everything + 1] = helper.read_file(page)
end

local function where(block) return ("%s:%d"):format(block.page, block.line) end

local function is_app(block) return block.code:find "\nreturn app\n$" ~= nil end

local function is_spec(block) return block.code:find "\ndescribe%(" ~= nil end

-- ---- running them ----

--- The directory of a page, with the files that its blocks are.
local function directory_of(page)
  local directory = helper.temp_dir()
  for _, block in ipairs(pages[page]) do
    if block.file then
      local folder = block.file:match "^(.*)/"
      if folder then assert(exec.run { "mkdir", "-p", directory .. "/" .. folder }) end
      helper.write_file(directory .. "/" .. block.file, block.code)
    end
  end
  return directory
end

--- The block as the text of an app, each line where it stands in its page.
local function app_source(block)
  if is_app(block) then return ("\n"):rep(block.line - 1) .. block.code end
  local first, last = "", ""
  for _, mark in ipairs(block.marks) do
    if mark:find "^view: " then
      first, last = 'app:any("/*path", function(request) do ', 'end return "" end) '
    elseif mark == "run" then
      first, last = 'app:on("start", function() ', "end) "
    end
  end
  return ('local weft = require "weft" local app = weft.app() %s%s%s%s return app\n'):format(first,
    ("\n"):rep(block.line - 1), block.code, last)
end

---@return { method: string, target: string, headers: table, body: string?, status: integer,
-- wanted: table<string, string>, text: string }?
local function parse_expectation(mark)
  local request, response = mark:match "^%l+: (.-) %-> (.*)$"
  if not request then return nil end
  local wanted = {}
  local function take_headers(text, into)
    return (text:gsub("%s*%[([%w-]+): ([^%]]*)%]", function(name, value)
      into[name] = value
      return ""
    end))
  end
  local headers = {}
  local method, target, body = take_headers(request, headers):match "^(%u+) (%S+)%s*(.*)$"
  local status, text = take_headers(response, wanted):match "^(%d%d%d)%s*(.*)$"
  assert(method and status, "cannot read the mark: " .. mark)
  if body ~= "" then
    headers["content-type"] = body:find "^{" and "application/json"
      or "application/x-www-form-urlencoded"
  end
  return {
    method = method,
    target = target,
    headers = headers,
    body = body ~= "" and body or nil,
    status = tonumber(status),
    wanted = wanted,
    text = text,
  }
end

local function check(url, expected, mark)
  local response = assert(weft.fetch(url .. expected.target, {
    method = expected.method,
    headers = expected.headers,
    body = expected.body,
  }))
  assert.equal(expected.status, response.status, mark)
  for name, value in pairs(expected.wanted) do
    assert.equal(value, response.headers[name], mark .. ": " .. name)
  end
  local found = response.body:find(expected.text, 1, true)
  assert(found, ("%s: the body is %q"):format(mark, response.body))
end

--- Asks an app for every page of it that is a plain GET: none of them is an error.
local function visit(url, code)
  for pattern in code:gmatch 'app:get%("(/[^":*]*)"' do
    local response = assert(weft.fetch(url .. pattern))
    assert(response.status < 500, ("GET %s: %d"):format(pattern, response.status))
  end
end

local function serve(block)
  local directory = directory_of(block.page)
  local path = helper.write_file(directory .. "/served.lua", app_source(block))
  local up = server.start { app = path }
  local marked = false
  for _, mark in ipairs(block.marks) do
    local expected = parse_expectation(mark)
    if expected then
      check(up.url, expected, mark)
      marked = true
    end
  end
  if not marked then visit(up.url, block.code) end
  up:stop()
end

local function absolute(path)
  if path:find "^/" then return path end
  return assert(exec.run { "pwd" }).stdout:gsub("\n$", "") .. "/" .. path
end

local function run_spec(block)
  local directory = directory_of(block.page)
  assert(exec.run { "mkdir", "-p", directory .. "/tests" })
  helper.write_file(directory .. "/tests/docs_example_spec.lua", block.code)
  local run = assert(exec.run {
    absolute(server.binary), "test", "tests", cwd = directory, timeout = 30,
  })
  assert(run.code == 0, run.stdout .. run.stderr)
  assert(run.stdout:find "[1-9]%d* success" or run.stdout:find "[1-9]%d* passed", run.stdout)
end

describe("the examples", function()
  for _, page in ipairs(PAGES) do
    for _, block in ipairs(pages[page]) do
      if block.language == "lua" then
        it(("of %s hold"):format(where(block)), function()
          assert(loadstring(block.code, "=" .. where(block)))
          if is_spec(block) then
            run_spec(block)
          elseif is_app(block) or not block.file and #block.marks > 0 then
            serve(block)
          end
        end)
      end
    end
  end
end)

-- ---- the names they use ----

local function exists(path)
  local file = io.open(path, "r")
  if file then file:close() end
  return file ~= nil
end

local function sources()
  local found = assert(exec.run { "find", "runtime", "lua/weft", "tests", "-name", "*.[chl]*" })
  local texts = {}
  for path in found.stdout:gmatch "[^\n]+" do
    if not path:find "%.md$" and path ~= "tests/docs_spec.lua" then
      texts[#texts + 1] = helper.read_file(path)
    end
  end
  return table.concat(texts, "\n")
end

--- Every match of a pattern in the pages, with its place.
local function each_match(texts, pattern)
  local found = {}
  for _, page in ipairs(PAGES) do
    for number, line in ipairs(lines_of(texts[page] or "")) do
      for match in line:gmatch(pattern) do
        found[#found + 1] = { text = match, where = ("%s:%d"):format(page, number) }
      end
    end
  end
  return found
end

local function no_errors(wrong) assert(#wrong == 0, "\n" .. table.concat(wrong, "\n")) end

local function anchors_of(page)
  local anchors = {}
  for heading in (proses[page] or helper.read_file(page)):gmatch "\n#+ ([^\n]+)" do
    anchors[heading:lower():gsub("[^%w%s_-]", ""):gsub("%s", "-")] = true
  end
  return anchors
end

describe("what the pages name", function()
  local raw = {}
  for _, page in ipairs(PAGES) do raw[page] = helper.read_file(page) end

  it("exists: the targets of links", function()
    local wrong = {}
    for _, link in ipairs(each_match(proses, "%]%(([^)]+)%)")) do
      if not link.text:find "^%a+://" then
        local page = link.where:match "^(.*):"
        local path, anchor = link.text:match "^([^#]*)#?(.*)$"
        local target = path == "" and page or ((page:match "^(.*/)" or "") .. path)
        repeat
          local count
          target, count = target:gsub("[^/]+/%.%./", "", 1)
        until count == 0
        if not exists(target) then
          table.insert(wrong, link.where .. ": there is no " .. target)
        elseif anchor ~= "" and not anchors_of(target)[anchor] then
          table.insert(wrong, link.where .. ": no heading is called " .. link.text)
        end
      end
    end
    no_errors(wrong)
  end)

  it("exists: files of the repository", function()
    local wrong = {}
    local patterns = { "`([%l]+/[%w_./]+%.%l+)`", "%s([%l]+/[%w_./]+%.[chl]%l*)" }
    for _, pattern in ipairs(patterns) do
      for _, path in ipairs(each_match(raw, pattern)) do
        local folder = path.text:match "^(%l+)/"
        local ours = folder == "runtime" or folder == "lua" or folder == "tests"
        if ours and not exists(path.text) and not path.text:find "greeting_spec" then
          table.insert(wrong, path.where .. ": there is no " .. path.text)
        end
      end
    end
    no_errors(wrong)
  end)

  it("exists: functions, types and fields of the C code", function()
    local code, wrong = sources(), {}
    local inside = { ["runtime/README.md"] = raw["runtime/README.md"] }
    local names = each_match(raw, "%f[%w_](weft_%l[%w_]+)%f[^%w_]")
    for _, name in ipairs(each_match(inside, "`(%l[%l_]+)`")) do names[#names + 1] = name end
    for _, name in ipairs(names) do
      if not code:find("%f[%w_]" .. name.text .. "%f[^%w_]") then
        table.insert(wrong, name.where .. ": nothing is called " .. name.text)
      end
    end
    no_errors(wrong)
  end)

  it("exists: the steps of a request, in the files they are said to be in", function()
    local wrong, count = {}, 0
    for _, page in ipairs(PAGES) do
      for _, block in ipairs(pages[page]) do
        for name, path in (block.language == "" and block.code or ""):gmatch
          "([%w_]+) +([%l_]+/[%w_/]+%.%l+)" do
          count = count + 1
          if not exists(path) or not helper.read_file(path):find(name, 1, true) then
            table.insert(wrong, ("%s: %s is not in %s"):format(where(block), name, path))
          end
        end
      end
    end
    no_errors(wrong)
    assert(count > 5, "the life of a request is not found any more")
  end)

  it("exists: public names of weft, and each of them is in the reference", function()
    local wrong, reference = {}, helper.read_file "lua/README.md"
    for _, page in ipairs(PAGES) do
      for _, block in ipairs(pages[page]) do
        local code = block.language == "lua" and block.code or ""
        for name in code:gmatch "%f[%w_\".]weft%.([%l_]+)" do
          if weft[name] == nil and not pcall(require, "weft." .. name)
            and not block.code:find('"weft.' .. name, 1, true) then
            table.insert(wrong, ("%s: there is no weft.%s"):format(where(block), name))
          end
        end
      end
    end
    for name in pairs(weft) do
      if not reference:find("weft%." .. name .. "%f[^%w_]") then
        table.insert(wrong, ("lua/README.md says nothing of weft.%s"):format(name))
      end
    end
    no_errors(wrong)
  end)

  it("is listed: every middleware that is shipped, and every example", function()
    local catalogue = helper.read_file "middleware/README.md"
    local found = assert(exec.run { "find", "middleware", "-maxdepth", "1", "-name", "*.lua" })
    for name in found.stdout:gmatch "middleware/([%w_]+)%.lua" do
      local row = catalogue:match("\n| `weft%.middleware%." .. name .. "`[^\n]*")
      assert(row, name .. " is not listed")
      local comment = helper.read_file("middleware/" .. name .. ".lua"):match "^(.-)\n[^-]"
      for option in (comment:match "Options: (.*)" or ""):gmatch "`([%l_]+)`" do
        assert(row:find("`" .. option .. "%f[^%w_]"), name .. ": its option " .. option)
      end
    end
    found = assert(exec.run { "ls", "middleware/examples" })
    for name in found.stdout:gmatch "[%w_]+" do
      assert(catalogue:find("examples/" .. name, 1, true), name .. " is not listed")
    end
  end)
end)

-- ---- commands ----

local function targets_of_makefile()
  local targets = {}
  for target in helper.read_file("Makefile"):gmatch "\n([%l-]+):[^\n]*## " do
    targets[target] = true
  end
  return targets
end

--- The help of a command, once for each; nil when there is no such command.
local helps = {}
local function help_of(command)
  if helps[command] == nil then
    local run = assert(exec.run { server.binary, "help", command, timeout = 10 })
    helps[command] = run.code == 0 and run.stdout or false
  end
  return helps[command] or nil
end

local PLAIN = { curl = true, cd = true, git = true, kill = true }

local function check_command(line)
  local words = {}
  for word in line:gsub("#.*$", ""):gmatch "%S+" do
    if #words > 0 or not word:find "^[%u_]+=" then words[#words + 1] = word end
  end
  local command = words[1]
  if not command or PLAIN[command] then return nil end
  if command == "make" then
    local target = words[2] and words[2]:match "^[%l-]+$"
    if target and not targets_of_makefile()[target] then return "make has no target " .. target end
  elseif command:find "^weft$" or command:find "^build/.*weft$" then
    local help = words[2] and help_of(words[2])
    if words[2] and not help then return "weft has no command " .. words[2] end
    for _, word in ipairs(words) do
      local option = word:match "^(%-%-[%l-]+)"
      if option and words[2] ~= "test" and not help:find(option, 1, true) then
        return ("weft %s has no option %s"):format(words[2], option)
      end
    end
  elseif not exists(command) then
    return "there is no command " .. command
  end
  for _, word in ipairs(words) do
    local path = word:match "=?(%l+/[%w_./]+)$"
    local folder = path and path:match "^%l+"
    if (folder == "tests" or folder == "middleware" or folder == "runtime" or folder == "lua")
      and not exists(path) then
      return "there is no " .. path
    end
  end
end

describe("the commands", function()
  for _, page in ipairs(PAGES) do
    it(("of %s exist"):format(page), function()
      local wrong = {}
      for _, block in ipairs(pages[page]) do
        for i, line in ipairs(block.language == "sh" and lines_of(block.code) or {}) do
          local reason = check_command(line)
          if reason then
            table.insert(wrong, ("%s:%d: %s"):format(page, block.line + i - 1, reason))
          end
        end
      end
      no_errors(wrong)
    end)
  end

  it("of `weft run` have all their options in the reference, with their defaults", function()
    local reference = helper.read_file "lua/README.md"
    for option in help_of("run"):gmatch "\n  (%-%-[%l-]+)" do
      if option ~= "--help" then
        assert(reference:find("\n| `" .. option, 1, true), option .. " is not in the table")
      end
    end
    local source = helper.read_file "runtime/cli/run.c"
    assert.equal(source:match '"(%d+%.%d+%.%d+%.%d+:%d+)"',
      reference:match "`%-%-listen ADDR` | `(.-)`")
    assert.equal(source:match '"drain%-timeout".-"(%d+)"',
      reference:match "`%-%-drain%-timeout S` | (%d+)")
  end)
end)

-- ---- limits ----

local UNITS = { KiB = 1024, MiB = 1024 ^ 2, s = 1, [""] = 1 }

--- "32 KiB", "10,000", "75 s" -> a number
local function number_of(text)
  local digits, unit = text:match "^([%d,.]+) ?(%a*)$"
  assert(digits and UNITS[unit], ("%q is no value"):format(text))
  return tonumber((digits:gsub(",", ""))) * UNITS[unit]
end

--- The value of "32 * 1024" or "1 << 20" behind a name in a source.
local function constant(path, pattern)
  local text = helper.read_file(path):match(pattern .. " *=? *([%d *+]+)")
  assert(text, ("%s: no constant matches %q"):format(path, pattern))
  return assert(loadstring("return " .. text))()
end

--- The rows of the table behind a line of a page: first column -> second column.
local function table_behind(page, head)
  local text = helper.read_file(page)
  local _, from = text:find(head, 1, true)
  assert(from, ("%s: there is no table %q"):format(page, head))
  local rows = {}
  for line in text:sub(from + 1):gmatch "\n([^\n]*)" do
    local name, value = line:match "^| (.-) | (.-) |"
    if name then
      rows[name:gsub("`", "")] = value:gsub("`", "")
    elseif not line:find "^|%-" then
      break
    end
  end
  return rows
end

describe("the limits in the reference", function()
  it("are the defaults of the server", function()
    local SERVER = "runtime/net/server.c"
    local FIELDS = {
      max_header_size = "head_size",
      max_target_size = "target_size",
      max_header_count = "header_count",
      max_connections = "connections",
      header_timeout = "header_timeout",
      body_timeout = "body_timeout",
      write_timeout = "write_timeout",
      idle_timeout = "idle_timeout",
      request_timeout = "request_timeout",
    }
    local rows = table_behind("lua/README.md", "| option | default | past it |")
    for option, field in pairs(FIELDS) do
      assert(rows[option], option .. " is not in the table")
      local value = constant(SERVER, "%." .. field)
      if option:find "_timeout$" then value = value / 1000 end
      assert.equal(value, number_of(rows[option]), option)
      rows[option] = nil
    end
    assert.equal(weft.app().max_body_size, number_of(rows.max_body_size))
    assert.equal('"reset"', rows.disconnect)
    rows.max_body_size, rows.disconnect = nil, nil
    assert.is_nil(next(rows), "a row that nothing checks: " .. tostring(next(rows)))
  end)

  it("are all options that an app takes", function()
    local rows = table_behind("lua/README.md", "| option | default | past it |")
    local found = assert(exec.run { "grep", "-rlF", "local SECONDS = {", "lua/weft" })
    local source = helper.read_file((found.stdout:match "[^\n]+"))
    for _, set in ipairs { "SECONDS", "COUNTS" } do
      for name in source:match("local " .. set .. " = (%b{})"):gmatch "([%l_]+) = true" do
        assert(rows[name], name .. " is not in the table")
      end
    end
    for name in pairs(rows) do
      local value = name == "disconnect" and "eof" or 1000
      assert.has_no.errors(function() weft.app { [name] = value } end)
    end
  end)

  it("that are fixed are those of the code", function()
    local rows = table_behind("lua/README.md", "| what | value | past it |")
    local CODE = {
      ["fields of a query or a form"] = { "lua/weft/query.lua", "MAX_FIELDS" },
      ["cookies of a request"] = { "lua/weft/cookies.lua", "MAX_COOKIES" },
      ["bytes of a stream not yet taken by the client"] =
        { "runtime/net/exchange.c", "WRITE_HIGH" },
      ["time for an answer after request_timeout"] =
        { "runtime/net/conn.c", "DEADLINE_GRACE", 1000 },
      ["all deferred functions of a task"] = { "runtime/vm/task.h", "WEFT_DEFER_TIME", 1000 },
      ["cancellations that a task may swallow"] = { "runtime/vm/task.c", "IGNORED_MAX" },
      ["start hook"] = { "lua/weft/boot.lua", "START_SECONDS" },
      ["connections to one service"] = { "runtime/net/pool.h", "WEFT_LINKS_MAX" },
      ["idle connections to one service"] = { "runtime/net/pool.h", "WEFT_LINKS_IDLE" },
      ["idle connection to a service"] = { "runtime/net/pool.h", "WEFT_IDLE_TIME", 1000 },
      ["a name that was looked up"] = { "runtime/net/resolve.c", "GOOD_FOR", 1000 },
      ["segments of a route"] = { "lua/weft/router.lua", "MAX_SEGMENTS" },
    }
    for name, value in pairs(rows) do
      local code = assert(CODE[name], "a row that nothing checks: " .. name)
      assert.equal(constant(code[1], code[2]) / (code[3] or 1), number_of(value), name)
    end
  end)

  it("of weft.fetch are its own", function()
    local head = "| option | default | meaning |\n|---|---|---|\n| `method`"
    local rows = table_behind("lua/README.md", head)
    local source = helper.read_file "lua/weft/fetch.lua"
    local timeout, connect = source:match "local TIMEOUT, CONNECT_TIMEOUT = (%d+), (%d+)"
    assert.equal(tonumber(timeout), number_of(rows.timeout))
    assert.equal(tonumber(connect), number_of(rows.connect_timeout))
    assert.equal(constant("lua/weft/fetch.lua", "local MAX_BODY_SIZE"),
      number_of(rows.max_body_size))
  end)
end)
