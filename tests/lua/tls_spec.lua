-- TLS on sockets: who is trusted, what is agreed on, and how bytes and ends get through.
-- What fetch makes of it is in fetch_tls_spec.lua.

local certificates = require "tests.support.certificates"
local exec = require "weft.exec"
local helper = require "tests.support.helper"
local tcp = require "weft.tcp"
local weft = require "weft"

local authority, leaf, stranger

-- A server that runs the handler for each connection; it ends with the `it`.
local function serve(handler, options)
  options = options or {}
  options.cert, options.key = options.cert or leaf.cert, options.key or leaf.key
  local server = assert(tcp.listen("127.0.0.1:0", handler, { tls = options }))
  weft.defer(function() server:close() end)
  return server
end

-- A server without TLS.
local function serve_plain(handler)
  local server = assert(tcp.listen("127.0.0.1:0", handler))
  weft.defer(function() server:close() end)
  return server
end

local function connect(server, options, timeout)
  options = options or {}
  if options.ca == nil and options.verify == nil then options.ca = authority.cert end
  local socket, err = tcp.connect("localhost", server.port, { tls = options, timeout = timeout })
  if socket then weft.defer(function() socket:close() end) end
  return socket, err
end

local function refused(socket, err)
  assert.is_nil(socket)
  assert.equal("tls", err.code, err.message)
  return err.message
end

-- Passes bytes on, from one socket to another, as `pass(bytes, write)` says, until one of them
-- ends.
local function pump(from, to, pass)
  local going = true
  while going do
    local bytes = from:read "*"
    if not bytes then break end
    pass(bytes, function(part) going = to:write(part) end)
  end
  to:shutdown()
end

local function as_it_is(bytes, write) write(bytes) end

-- Something in between that passes what comes from the server as `pass(bytes, write)` says, and
-- what goes there as `pass_up` does, or as it is.
local function proxy_to(server, pass, pass_up)
  return serve_plain(function(client)
    local upstream = assert(tcp.connect("127.0.0.1", server.port))
    weft.defer(function() upstream:close() end)
    weft.gather(
      function() pump(client, upstream, pass_up or as_it_is) end,
      function() pump(upstream, client, pass) end)
  end)
end

local function echo(socket)
  while true do
    local bytes = socket:read "*"
    if not bytes then return end
    socket:write(bytes)
  end
end

describe("TLS", function()
  setup(function()
    authority = certificates.authority "an authority"
    stranger = certificates.authority "a stranger"
    leaf = authority:issue("DNS:localhost,IP:127.0.0.1", { name = "the server" })
  end)

  describe("trusts", function()
    it("a server whose certificate an authority of ours has signed", function()
      local socket = assert(connect(serve(echo)))
      socket:write "hello"
      assert.equal("hello", socket:read(5))
      assert.equal("TLSv1.3", socket.tls.version)
      assert.equal("CN=the server", socket.tls.subject)
      assert.truthy(socket.tls.cipher)
    end)

    it("an address that the certificate is for", function()
      local server = serve(echo)
      assert(tcp.connect("127.0.0.1", server.port, { tls = { ca = authority.cert } })):close()
    end)

    it("a certificate that was named itself, whoever signed it", function()
      local own = certificates.self_signed "DNS:localhost"
      assert(connect(serve(echo, own), { ca = own.cert }))
      assert(connect(serve(echo), { ca = leaf.cert }))
    end)

    it("authorities in a file, and sees that the file has changed", function()
      local path = helper.write_file(helper.temp_dir() .. "/ca.pem", stranger.cert)
      local server = serve(echo)
      assert.truthy(refused(connect(server, { ca = path })))
      helper.write_file(path, stranger.cert .. authority.cert)
      assert(connect(server, { ca = path }))
    end)

    it("anybody with verify = false", function()
      assert(connect(serve(echo, certificates.self_signed "DNS:elsewhere"), { verify = false }))
    end)

    it("nobody whom the system does not know, unless told otherwise", function()
      local message = refused(tcp.connect("localhost", serve(echo).port, { tls = true }))
      assert.matches("certificate of localhost is not trusted %(.+%): pass tls = { ca", message)
    end)
  end)

  describe("refuses", function()
    it("a certificate that a stranger has signed", function()
      local message = refused(connect(serve(echo), { ca = stranger.cert }))
      assert.matches("is not trusted %(unable to get local issuer certificate%)", message)
    end)

    it("one that only its owner has signed", function()
      local message = refused(connect(serve(echo, certificates.self_signed "DNS:localhost")))
      assert.matches("is not trusted %(self%-signed certificate%)", message)
    end)

    it("one that has expired, and says when", function()
      local old = authority:issue("DNS:localhost", { to = "20210203040506Z" })
      local message = refused(connect(serve(echo, old)))
      assert.matches("the certificate of localhost expired on 2021%-02%-03 04:05 UTC", message)
    end)

    it("one of the future", function()
      local early = authority:issue("DNS:localhost", { from = "20980203040506Z" })
      local message = refused(connect(serve(echo, early)))
      assert.matches("not valid before 2098%-02%-03 04:05 UTC: is the clock right", message)
    end)

    it("one for another host, and says for whom it is", function()
      local other = authority:issue "DNS:a.example,DNS:*.b.example,IP:10.0.0.1"
      local server = serve(echo, other)
      local message = refused(connect(server))
      assert.matches("not for localhost, but for a.example, %*.b.example, 10.0.0.1", message)
      assert.matches("not for 127.0.0.1", refused(tcp.connect("127.0.0.1", server.port,
        { tls = { ca = authority.cert } })))
      assert(connect(server, { ca = authority.cert, server_name = "x.b.example" }))
      assert.truthy(refused(connect(server, { server_name = "b.example" })))
    end)

    it("one whose only name is its subject", function()
      local bare = authority:issue("email:someone@example.com", { name = "localhost" })
      assert.matches("but for nobody in particular", refused(connect(serve(echo, bare))))
    end)

    it("names in certificates that would forge lines of a log", function()
      local nasty = authority:issue "DNS:a\tb"
      assert.matches("but for a%?b:", refused(connect(serve(echo, nasty))))
    end)

    it("a peer that speaks plain HTTP", function()
      local server = serve_plain(function(socket)
        socket:read "*"
        socket:write "HTTP/1.1 400 Bad Request\r\n\r\n"
        socket:read "*"
      end)
      assert.matches("does not speak TLS: it answers in plain HTTP", refused(connect(server)))
    end)

    it("a peer that speaks first, and something else", function()
      local server = serve_plain(function(socket)
        socket:write "220 mail.example ESMTP\r\n"
        socket:read "*"
      end)
      assert.matches("the peer does not speak TLS", refused(connect(server)))
    end)

    it("a peer that closes, or resets, in the middle of the handshake", function()
      local closing = serve_plain(function(socket) socket:read "*" end)
      assert.matches("closed the connection during the TLS handshake", refused(connect(closing)))
      local resetting = serve_plain(function(socket)
        socket:read "*"
        socket:reset()
      end)
      assert.matches("broke during the TLS handshake", refused(connect(resetting)))
    end)

    it("a handshake that was changed on its way", function()
      local server = proxy_to(serve(echo), function(bytes, write)
        local at = math.floor(#bytes / 2)
        local changed = string.char((bytes:byte(at) + 1) % 256)
        write(bytes:sub(1, at - 1) .. changed .. bytes:sub(at + 1))
      end)
      assert.truthy(refused(connect(server)))
    end)
  end)

  describe("takes options", function()
    it("and names the one that is of no use", function()
      local server = serve(echo)
      local function message(options) return refused(connect(server, options)) end
      assert.matches('tls.ca: cannot read "/no/such": No such file', message { ca = "/no/such" })
      assert.matches("tls.ca: there is no certificate in it", message { ca = leaf.key })
      assert.matches("tls.ca: a certificate in it is malformed", message {
        ca = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
      })
      assert.matches("tls.cert: there is no certificate", message {
        ca = authority.cert,
        cert = leaf.key,
        key = leaf.key,
      })
      assert.matches("tls.key: the key does not fit", message {
        ca = authority.cert,
        cert = leaf.cert,
        key = stranger.key,
      })
      assert.matches("tls.cert: there is no private key", message {
        ca = authority.cert,
        cert = leaf.cert,
      })
    end)

    it("and not those that are no options: the script is wrong", function()
      local function raises(pattern, options)
        local ok, message = pcall(function()
          tcp.connect("localhost", 1, { tls = options })
        end)
        assert.is_false(ok)
        assert.matches("tls_spec.lua:%d+: " .. pattern, message)
      end
      raises("tls has no option \"verfy\"", { verfy = false })
      raises("tls.verify is a boolean, not string", { verify = "no" })
      raises("tls.key is of no use without", { key = leaf.key })
      raises("tls.server_name: .* is no host's name", { server_name = "a b" })
      raises("tls.alpn: a protocol is", { alpn = { "" } })
      raises("tls is a table of options", 1)
      assert.error_matches(function() tcp.connect("unix:/x", { tls = true }) end, "no TLS over")
      assert.error_matches(function()
        tcp.listen("127.0.0.1:0", echo, { tls = {} })
      end, "a server needs a certificate")
    end)

    it("and an encrypted key is refused, not asked a password for", function()
      local path = helper.temp_dir() .. "/key"
      assert.equal(0, assert(exec.run {
        "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes128",
        "-pass", "pass:secret", "-out", path,
      }).code)
      local _, err = connect(serve(echo), { cert = leaf.cert, key = path })
      assert.matches("tls.key: the key is encrypted", err.message)
    end)
  end)

  describe("agrees on", function()
    local function seen_by_server(options, host)
      local seen
      local server = serve(function(socket)
        seen = socket.tls
        socket:read "*"
      end, { alpn = { "two", "one" } })
      options.ca = authority.cert
      local socket = assert(tcp.connect(host or "localhost", server.port, { tls = options }))
      weft.defer(function() socket:close() end)
      return helper.eventually(function() return seen end), socket.tls
    end

    it("the server's name, which the client sends when it is one", function()
      assert.equal("localhost", seen_by_server({}).server_name)
      assert.equal("localhost", seen_by_server({ server_name = "LOCALHOST" }).server_name)
      assert.equal("localhost", seen_by_server({ server_name = "localhost." }).server_name)
      assert.is_nil(seen_by_server({}, "127.0.0.1").server_name)
    end)

    it("a protocol: the server's first of those that the client offers", function()
      local server, client = seen_by_server { alpn = { "one", "two", "three" } }
      assert.equal("two", server.alpn)
      assert.equal("two", client.alpn)
      server, client = seen_by_server {}
      assert.is_nil(server.alpn)
      assert.is_nil(client.alpn)
    end)

    it("nothing when there is no protocol in common", function()
      local server = serve(echo, { alpn = "one" })
      assert.matches("speaks none of the protocols of tls.alpn",
        refused(connect(server, { alpn = "other" })))
    end)

    it("going on with a session of before", function()
      local server = serve(function(socket)
        socket:write(tostring(socket.tls.resumed), "\n")
        socket:read "*"
      end)
      local resumed = {}
      for i = 1, 4 do
        local socket = assert(connect(server))
        resumed[i] = socket:read "line" -- the session's ticket comes before it
        assert.equal(resumed[i], tostring(socket.tls.resumed))
        socket:close()
      end
      assert.same({ "false", "true", "true", "true" }, resumed)
      -- but not with one of somebody who trusts otherwise
      assert.is_false(assert(connect(server, { verify = false })).tls.resumed)
    end)
  end)

  describe("asks clients for certificates:", function()
    local function serve_known(handler) return serve(handler or echo, { ca = authority.cert }) end

    it("one that has a good one is let in", function()
      local client = authority:issue("DNS:client", { name = "a client" })
      local subject
      local socket = assert(connect(serve_known(function(socket)
        subject = socket.tls.subject
        echo(socket)
      end), { ca = authority.cert, cert = client.cert, key = client.key }))
      socket:write "x"
      assert.equal("x", socket:read(1))
      assert.equal("CN=a client", subject)
    end)

    it("the certificate and its key may come in one text", function()
      local client = authority:issue "DNS:client"
      local socket = assert(connect(serve_known(), { cert = client.cert .. client.key }))
      socket:write "x"
      assert.equal("x", socket:read(1))
    end)

    it("one that has none is told so by its first read", function()
      local socket = assert(connect(serve_known()))
      local _, err = socket:read(1)
      assert.equal("tls", err.code)
      assert.matches("demands a certificate of its clients: pass tls = { cert", err.message)
    end)

    it("one with a bad one is told so, even if it writes much", function()
      local client = stranger:issue "DNS:client"
      local socket = assert(connect(serve_known(), {
        ca = authority.cert,
        cert = client.cert,
        key = client.key,
      }))
      local _, err
      repeat _, err = socket:write(("x"):rep(256 * 1024)) until err
      assert.equal("tls", err.code, err.message)
      assert.matches("does not accept our certificate %(unknown CA%)", err.message)
    end)
  end)

  describe("carries", function()
    it("much in both directions at once", function()
      local size = 6 * 1024 * 1024
      local sent = ("0123456789abcdef"):rep(size / 16)
      local received
      local server = serve(function(socket)
        weft.gather(
          function() received = socket:read(size) end,
          function() socket:write(sent) end)
        socket:read "*"
      end)
      local socket = assert(connect(server))
      local back
      weft.gather(
        function() back = socket:read(size) end,
        function() socket:write(sent) end)
      helper.eventually(function() return received end)
      assert.is_true(received == sent)
      assert.is_true(back == sent)
    end)

    it("much to somebody who reads it piece by piece, now and then", function()
      local sent = {}
      for i = 1, 100000 do sent[i] = ("%08d"):format(i) end
      sent = table.concat(sent)
      local socket = assert(connect(serve(function(socket) socket:write(sent) end)))
      local got = {}
      for i = 1, #sent / 5000 do
        got[i] = assert(socket:read(5000, 2))
        if i % 20 == 0 then weft.sleep(0.001) end
      end
      assert.is_true(table.concat(got) == sent)
    end)

    it("what was left undecrypted, though nothing more arrives", function()
      local server = serve(function(socket)
        for _ = 1, tonumber(socket:read "line") do socket:write(("z"):rep(4000)) end
        socket:read "*"
      end)
      for count = 16, 64, 3 do -- pieces end anywhere in what is read at once
        local socket = assert(connect(server))
        socket:write(count, "\n")
        if count % 8 == 0 then weft.sleep(0.005) end
        local got = 0
        while got < count * 4000 do
          local bytes = assert(socket:read("*", 2))
          got = got + #bytes
          weft.sleep(0)
        end
        socket:close()
      end
    end)

    it("no more than a little for a peer that does not read", function()
      local server = serve(function() weft.sleep(60) end)
      local socket = assert(connect(server))
      socket.timeout = 0.2
      local written = 0 -- KiB
      while socket:write(("x"):rep(64 * 1024)) do written = written + 64 end
      assert.is_true(written < 64 * 1024, written)
      assert.is_true(socket:is_open())
    end)

    it("what arrived while nobody read, and in the order in which it came", function()
      local server = serve(function(socket)
        for i = 1, 3000 do socket:write(("%08d"):format(i)) end
      end)
      local socket = assert(connect(server))
      weft.sleep(0.05)
      for i = 1, 3000 do
        local got = socket:read(8)
        if got ~= ("%08d"):format(i) then assert.equal(("%08d"):format(i), got) end
      end
      local _, err = socket:read(1)
      assert.equal("closed", err.code)
    end)

    it("bytes that arrive one by one, also those of the handshake", function()
      local server = proxy_to(serve(echo), function(bytes, write)
        for i = 1, #bytes do
          write(bytes:sub(i, i))
          if i % 8 == 0 then weft.sleep(0) end
        end
      end)
      local socket = assert(connect(server))
      socket:write "hello"
      assert.equal("hello", socket:read(5))
    end)

    it("a hundred connections at once", function()
      local server = serve(echo)
      local tasks = {}
      for i = 1, 100 do
        tasks[i] = weft.spawn(function()
          local socket = assert(tcp.connect("localhost", server.port,
            { tls = { ca = authority.cert } }))
          socket:write("number ", i, "\n")
          local line = socket:read "line"
          socket:close()
          return line
        end)
      end
      for i = 1, 100 do assert.equal("number " .. i, tasks[i]:await()) end
    end)
  end)

  describe("ends", function()
    it("for the reader when the peer says so, behind all that was sent", function()
      local server = serve(function(socket) socket:write "all of it" end)
      local socket = assert(connect(server))
      assert.equal("all of it", socket:read "all")
    end)

    it("in one direction when it is shut down", function()
      local server = serve(function(socket)
        local got = socket:read "all"
        socket:write("got ", got)
      end)
      local socket = assert(connect(server))
      socket:write "this"
      assert(socket:shutdown())
      assert.equal("got this", socket:read "all")
    end)

    it("with an error when the connection is cut off, not with what there is", function()
      local upstream = serve(function(socket)
        socket:write "a part"
        weft.sleep(60)
      end)
      local server = serve_plain(function(client)
        local to = assert(tcp.connect("127.0.0.1", upstream.port))
        weft.defer(function() to:close() end)
        weft.spawn(pump, client, to, as_it_is)
        weft.spawn(pump, to, client, as_it_is)
        weft.sleep(0.1)
        client:shutdown() -- the end of TCP, without that of TLS
        weft.sleep(0.1)
      end)
      local socket = assert(connect(server))
      local bytes, err = socket:read "all"
      assert.is_nil(bytes)
      assert.equal("closed", err.code)
      assert.equal("a part", err.partial)
      assert.matches("close_notify", err.message)
    end)

    it("with what the peer said last, when it is only noticed by writing", function()
      local change = false
      local server = proxy_to(serve(function(socket)
        socket:write "x"
        socket:read "all"
      end), as_it_is, function(bytes, write)
        if change then bytes = bytes:sub(1, -2) .. string.char((bytes:byte(-1) + 1) % 256) end
        write(bytes)
      end)
      local socket = assert(connect(server))
      weft.sleep(0.05) -- "x" arrives; nobody takes it, so nothing more is read either
      change = true
      local _, err
      repeat _, err = socket:write(("y"):rep(64 * 1024)) until err
      assert.equal("tls", err.code, err.message)
      assert.matches('ended TLS with the alert "bad record mac"', err.message)
      assert.equal("x", socket:read(1))
    end)

    it("with an error when a record was changed on its way", function()
      local change = false
      local server = proxy_to(serve(echo), function(bytes, write)
        if change then bytes = bytes:sub(1, -2) .. string.char((bytes:byte(-1) + 1) % 256) end
        write(bytes)
      end)
      local socket = assert(connect(server))
      socket:write "x"
      assert.equal("x", socket:read(1))
      change = true
      socket:write "y"
      local _, err = socket:read(1)
      assert.equal("tls", err.code)
      assert.matches("broke the rules of TLS", err.message)
    end)

    it("when its time is over in the middle of a handshake", function()
      local server = serve_plain(function() weft.sleep(60) end)
      local socket, err
      local seconds = helper.timed(function() socket, err = connect(server, nil, 0.05) end)
      assert.is_nil(socket)
      assert.equal("timeout", err.code)
      assert.is_true(seconds < 2)
    end)

    it("when its task is cancelled in the middle of a handshake", function()
      local gone
      local server = serve_plain(function(socket)
        socket:read "*"
        gone = not socket:read(1)
      end)
      local task = weft.spawn(function() connect(server) end)
      weft.sleep(0.02)
      task:cancel()
      helper.eventually(function() return gone end)
    end)

    it("for a client that does not shake hands, without a word to the handler", function()
      local called = false
      local server = serve(function() called = true end)
      local socket = assert(tcp.connect("127.0.0.1", server.port))
      socket:write "GET / HTTP/1.1\r\n\r\n"
      local _, err = socket:read(1)
      assert.equal("closed", err.code)
      assert.is_false(called)
    end)
  end)

  describe("1.2", function()
    -- The openssl program as a server; it answers with what it knows of the connection.
    local function serve_version(flag)
      local dir = helper.temp_dir()
      local program = assert(exec.spawn {
        "openssl", "s_server", flag, "-accept", "127.0.0.1:0", "-www",
        "-cert", helper.write_file(dir .. "/cert", leaf.cert),
        "-key", helper.write_file(dir .. "/key", leaf.key),
        "-cipher", "DEFAULT@SECLEVEL=0",
        stderr = "null",
      })
      local line
      repeat line = assert(program.stdout:read "line") until line:find "^ACCEPT .*:%d+"
      return { port = tonumber(line:match ":(%d+)") }
    end

    it("is spoken with who knows no better, sessions included", function()
      local server = serve_version "-tls1_2"
      for i = 1, 3 do
        local socket = assert(connect(server))
        assert.equal("TLSv1.2", socket.tls.version)
        assert.equal(i > 1, socket.tls.resumed)
        socket:write "GET / HTTP/1.0\r\n\r\n"
        assert.matches("HTTP/1.0 200 ok", socket:read "line")
        socket:reset() -- which says nothing against the session
      end
    end)

    it("is the oldest that is spoken", function()
      assert.matches("speaks neither TLS 1.2 nor 1.3", refused(connect(serve_version "-tls1_1")))
    end)
  end)

  it("keeps no memory of connections that are over", function()
    local server = serve(function(socket) socket:write(socket:read "line", "\n") end)
    local function resident()
      collectgarbage()
      return tonumber(helper.read_file("/proc/self/statm"):match "^%d+ (%d+)") * 4
    end
    local function use(count)
      for _ = 1, count do
        local socket = assert(tcp.connect("localhost", server.port,
          { tls = { ca = authority.cert } }))
        socket:write "x\n"
        assert.equal("x", socket:read "line")
        socket:close()
      end
    end
    use(150)
    local before = resident()
    use(500)
    -- one that was forgotten would be 10 KiB at least; sanitizers keep what was freed for a while
    if helper.read_file("/proc/self/maps"):find "libasan" then return end
    assert.is_true(resident() - before < 2500, resident() - before)
  end)
end)
