local negotiate = require "weft.negotiate"

local HTML, JSON, TEXT = "text/html", "application/json", "text/plain"

describe("negotiate", function()
  local function chosen(accept, ...) return negotiate.accepts(accept, { ... }) end

  it("takes a missing or blank Accept for */* (semantics 86)", function()
    assert.equal(HTML, chosen(nil, HTML, JSON))
    assert.equal(HTML, chosen("", HTML, JSON))
    assert.equal(HTML, chosen(" ", HTML, JSON))
    assert.equal(HTML, chosen("*/*", HTML, JSON))
    assert.is_nil(chosen(nil))
  end)

  it("gives nil when nothing fits", function()
    assert.is_nil(chosen("image/png", HTML, JSON))
    assert.is_nil(chosen("text/*", JSON))
    assert.is_nil(chosen("*/*"))
  end)

  it("goes by the weights (semantics 86)", function()
    assert.equal(JSON, chosen("text/html;q=0.5, application/json;q=0.9", HTML, JSON))
    assert.equal(JSON, chosen("text/html; Q=0.001 ,application/json", HTML, JSON))
    assert.equal(HTML, chosen("text/html;q=0.002,application/json;q=0.001", JSON, HTML))
  end)

  it("excludes what has the weight 0 (semantics 86)", function()
    assert.equal(JSON, chosen("*/*, text/html;q=0", HTML, JSON))
    assert.is_nil(chosen("text/html;q=0.000", HTML))
    assert.is_nil(chosen("text/*, text/html;q=0", HTML))
  end)

  it("takes an invalid weight for 1 (semantics 86)", function()
    for _, q in ipairs { "x", "", "2", "-1", "1.1", "0x0", "1e-3", "nan", ".", "0.1.2" } do
      assert.equal(JSON, chosen("text/html;q=0.9, application/json;q=" .. q, HTML, JSON), q)
      assert.equal(HTML, chosen("text/html;q=1, application/json;q=" .. q, JSON, HTML), q)
    end
  end)

  it("lets the most specific range decide about an offer (semantics 86)", function()
    assert.equal(JSON, chosen("text/html;q=0.1, text/*, */*;q=0.5", HTML, JSON))
    assert.equal(TEXT, chosen("text/html;q=0.1, text/*, */*;q=0.5", HTML, JSON, TEXT))
    local levels = "text/html;level=1;q=0.2, text/html;q=0.8"
    assert.equal(HTML, chosen(levels, "text/html;level=1", HTML))
    assert.equal("text/html;level=2", chosen(levels, "text/html;level=1", "text/html;level=2"))
  end)

  it("prefers, at equal weights, the more specific range", function()
    assert.equal(JSON, chosen("*/*, application/json", HTML, JSON))
    assert.equal(JSON, chosen("text/*, application/json", HTML, JSON))
    assert.equal("text/html;level=1", chosen("text/html;level=1, text/html", HTML,
      "text/html;level=1"))
  end)

  it("then what the client named first, then what we named first", function()
    assert.equal(JSON, chosen("application/json, text/html", HTML, JSON))
    assert.equal(TEXT, chosen("text/*", TEXT, HTML))
    assert.equal(HTML, chosen("text/*", HTML, TEXT))
  end)

  it("answers a browser with HTML", function()
    local browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"
    assert.equal(HTML, chosen(browser, JSON, HTML))
    assert.equal(JSON, chosen(browser, JSON, TEXT))
  end)

  it("compares without case, and parameters in any order", function()
    assert.equal(HTML, chosen("TEXT/HTML", JSON, HTML))
    assert.equal("text/html; b=2; a=1", chosen("text/html;A=1;B=2", HTML, "text/html; b=2; a=1"))
    assert.equal("text/html;charset=utf-8", chosen("text/html", "text/html;charset=utf-8"))
    assert.is_nil(chosen("text/html;level=1", HTML))
  end)

  it("is not misled by commas, semicolons and backslashes in quotes", function()
    local quoted = [[text/html;p="a,b;q=0\"";q=0.5, application/json;q=0.4]]
    assert.equal([[text/html;p="a,b;q=0\""]], chosen(quoted, JSON, [[text/html;p="a,b;q=0\""]]))
    assert.is_nil(chosen([[text/html;p="a, application/json]], JSON))
  end)

  it("passes over what is no media type", function()
    assert.equal(JSON, chosen(",, html, */html, /, a/, /b, ;q=1, application/json", HTML, JSON))
    assert.is_nil(chosen("garbage", HTML))
  end)

  it("reads no more than 64 ranges", function()
    assert.equal(HTML, chosen(("a/b,"):rep(63) .. "text/html", HTML))
    assert.is_nil(chosen(("a/b,"):rep(64) .. "text/html", HTML))
  end)

  it("reads hostile headers in linear time", function()
    local started = os.clock()
    for _, piece in ipairs { ",", ";", "a/b,", "a/b;", '"', "a/b;c=d;", "*/*;q=", "\\", " " } do
      chosen("a/b;" .. piece:rep(32768 / #piece), HTML, JSON, TEXT)
      chosen(piece:rep(32768 / #piece), HTML, JSON, TEXT)
    end
    assert.is_true(os.clock() - started < 1)
  end)

  it("refuses an offer that is no media type, at the caller's line", function()
    local _, message = pcall(function()
      local offer = negotiate.accepts("*/*", { "html" })
      return offer
    end)
    assert.matches('negotiate_spec.lua:%d+: "html" is not a media type', message)
  end)
end)
