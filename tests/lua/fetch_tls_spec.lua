-- https:// as fetch sees it: the options, the connections, and the ends of bodies. Who is trusted
-- and why is in tls_spec.lua.

local certificates = require "tests.support.certificates"
local raw = require "tests.support.raw_upstream"
local tcp = require "weft.tcp"
local weft = require "weft"

local authority, leaf

-- An upstream with TLS that runs `script(socket, number)` for each connection.
local function serve(script, options)
  options = options or {}
  options.cert, options.key = leaf.cert, leaf.key
  local upstream = { connections = 0, seen = {} }
  local server = assert(tcp.listen("127.0.0.1:0", function(socket)
    upstream.connections = upstream.connections + 1
    upstream.seen[upstream.connections] = socket.tls
    script(socket, upstream.connections)
  end, { tls = options }))
  weft.defer(function() server:close() end)
  upstream.port = server.port
  upstream.url = "https://localhost:" .. server.port
  return upstream
end

local function answering(bytes, options)
  return serve(function(socket)
    while true do
      local head = raw.read_request(socket)
      if not head then return end
      if not socket:write(bytes) then return end
    end
  end, options)
end

local function trusting(options)
  options = options or {}
  options.tls = options.tls or {}
  options.tls.ca = authority.cert
  return options
end

local function fails(code, pattern, ...)
  local response, err = weft.fetch(...)
  assert.is_nil(response)
  assert.equal(code, err.code, err.message)
  assert.matches(pattern, err.message)
end

describe("fetch of https://", function()
  setup(function()
    authority = certificates.authority "an authority"
    leaf = authority:issue "DNS:localhost,DNS:other.example,IP:127.0.0.1"
  end)

  it("verifies, and says what to do about a certificate that is not trusted", function()
    local upstream = answering(raw.OK)
    fails("tls", "^GET localhost:%d+: the certificate of localhost is not trusted %(.+%): pass tls",
      upstream.url)
    fails("tls", "is not trusted", upstream.url, {})
    fails("tls", "is not trusted", upstream.url, { tls = {} })
    assert.equal("ok", assert(weft.fetch(upstream.url, trusting())).body)
    assert.equal("ok", assert(weft.fetch(upstream.url, { tls = { verify = false } })).body)
  end)

  it("trusts what SSL_CERT_FILE names, without any option", function()
    local exec = require "weft.exec"
    local helper = require "tests.support.helper"
    local upstream = answering(raw.OK)
    local dir = helper.temp_dir()
    local spec = helper.write_file(dir .. "/one_spec.lua", ([[
      it("fetches", function()
        assert.equal("ok", assert(require("weft").fetch %q).body)
      end)
    ]]):format(upstream.url))
    local done = assert(exec.run {
      helper.read_file("/proc/self/cmdline"):match "^%Z+", "test", spec,
      env = { SSL_CERT_FILE = helper.write_file(dir .. "/ca", authority.cert) },
    })
    assert.equal(0, done.code, done.stdout .. done.stderr)
  end)

  it("sends the name of the host, and offers http/1.1", function()
    local upstream = answering(raw.OK, { alpn = { "h2", "http/1.1" } })
    assert(weft.fetch(upstream.url, trusting()))
    assert.equal("localhost", upstream.seen[1].server_name)
    assert.equal("http/1.1", upstream.seen[1].alpn)
  end)

  it("goes to port 443, and does not say so in Host", function()
    local _, err = weft.fetch("https://127.0.0.1/", { connect_timeout = 1 })
    assert.matches("GET 127.0.0.1:443: ", err.message)
  end)

  it("sends and reads large bodies", function()
    local body = ("0123456789abcdef"):rep(256 * 1024) -- 4 MiB
    local upstream = serve(function(socket)
      local _, got = raw.read_request(socket)
      socket:write("HTTP/1.1 200 OK\r\nContent-Length: ", #got, "\r\n\r\n", got)
      socket:read "*"
    end)
    local response = assert(weft.fetch(upstream.url, trusting { body = body }))
    assert.is_true(response.body == body)
  end)

  describe("keeps connections", function()
    it("for the next request", function()
      local upstream = answering(raw.OK)
      for _ = 1, 10 do assert(weft.fetch(upstream.url, trusting())) end
      assert.equal(1, upstream.connections)
    end)

    it("but lends none that was made with other options", function()
      local client = authority:issue "DNS:client"
      local upstream = answering(raw.OK)
      local ways = {
        { verify = false },
        { ca = authority.cert },
        { ca = authority.cert .. leaf.cert },
        { ca = authority.cert, server_name = "other.example" },
        { ca = authority.cert, cert = client.cert, key = client.key },
        { ca = authority.cert, alpn = "http/1.0" },
      }
      for round = 1, 2 do
        for i, way in ipairs(ways) do
          assert(weft.fetch(upstream.url, { tls = way }))
          assert.equal(round == 1 and i or #ways, upstream.connections)
        end
      end
      fails("tls", "is not trusted", upstream.url)
    end)

    it("and those without TLS apart", function()
      local upstream = answering(raw.OK)
      assert(weft.fetch(upstream.url, trusting()))
      fails("closed", "ended before an answer", (upstream.url:gsub("https", "http")))
    end)

    it("and sessions, so that a new one costs less", function()
      local upstream = serve(function(socket)
        raw.read_request(socket)
        socket:write "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
      end)
      for _ = 1, 3 do assert(weft.fetch(upstream.url, trusting())) end
      local resumed = {}
      for i, seen in ipairs(upstream.seen) do resumed[i] = seen.resumed end
      assert.same({ false, true, true }, resumed)
    end)

    it("and replaces one that was closed meanwhile", function()
      local upstream = serve(function(socket)
        raw.read_request(socket)
        socket:write(raw.OK)
      end)
      for i = 1, 3 do
        assert.equal("ok", assert(weft.fetch(upstream.url, trusting())).body)
        assert.equal(i, upstream.connections)
      end
    end)
  end)

  describe("ends", function()
    -- Passes bytes between a client and the upstream, but not the end of TLS: the connection to
    -- the client just ends, once the upstream has said `count` things.
    local function cutting_off(upstream, seconds)
      local server = assert(tcp.listen("127.0.0.1:0", function(client)
        local to = assert(tcp.connect("127.0.0.1", upstream.port))
        weft.defer(function() to:close() end)
        local function pump(from, into)
          while true do
            local bytes = from:read "*"
            if not bytes then return end
            into:write(bytes)
          end
        end
        weft.spawn(pump, client, to)
        weft.spawn(pump, to, client)
        weft.sleep(seconds)
        client:shutdown()
        weft.sleep(0.1)
      end))
      weft.defer(function() server:close() end)
      return "https://localhost:" .. server.port
    end

    it("a body with the connection, if that ends as TLS demands", function()
      local upstream = serve(function(socket)
        raw.read_request(socket)
        socket:write "HTTP/1.1 200 OK\r\n\r\nall of it"
      end)
      assert.equal("all of it", assert(weft.fetch(upstream.url, trusting())).body)
    end)

    it("with an error if the connection is cut off instead", function()
      local upstream = serve(function(socket)
        raw.read_request(socket)
        socket:write "HTTP/1.1 200 OK\r\n\r\na part"
        weft.sleep(60)
      end)
      fails("closed", "without TLS's close_notify: it may be cut short",
        cutting_off(upstream, 0.1), trusting())
    end)

    it("with an error inside a body whose length is known", function()
      local upstream = serve(function(socket)
        raw.read_request(socket)
        socket:write "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\na part"
      end)
      fails("closed", "ended inside the response", upstream.url, trusting())
    end)

    it("with the reason when the server wants a certificate", function()
      local upstream = answering(raw.OK, { ca = authority.cert })
      fails("tls", "demands a certificate of its clients", upstream.url, trusting())
      local client = authority:issue "DNS:client"
      assert(weft.fetch(upstream.url, {
        tls = { ca = authority.cert, cert = client.cert, key = client.key },
      }))
    end)

    it("with the reason when the server has no TLS", function()
      local upstream = raw.serve(function(socket)
        socket:read "*"
        socket:write "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
      end)
      fails("tls", "does not speak TLS: it answers in plain HTTP",
        (upstream.url:gsub("http", "https")))
    end)

    it("with the name of the time-out, in the handshake", function()
      local upstream = raw.serve(function() weft.sleep(60) end)
      fails("timeout", "timed out while in the TLS handshake; connect_timeout is 0.05 s",
        (upstream.url:gsub("http", "https")), { connect_timeout = 0.05 })
    end)

    it("when it is cancelled, in the handshake", function()
      local gone
      local upstream = raw.serve(function(socket)
        socket:read "*"
        gone = not socket:read(1)
      end)
      local task = weft.spawn(weft.fetch, (upstream.url:gsub("http", "https")))
      weft.sleep(0.02)
      task:cancel()
      require("tests.support.helper").eventually(function() return gone end)
    end)
  end)

  it("runs a hundred at once", function()
    local upstream = serve(function(socket) -- and keeps none of them
      raw.read_request(socket)
      socket:write "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    end)
    local tasks = {}
    for i = 1, 100 do tasks[i] = weft.spawn(weft.fetch, upstream.url, trusting()) end
    for i = 1, 100 do assert.equal("ok", assert(tasks[i]:await()).body) end
  end)
end)
