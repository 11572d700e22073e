--- Which of the media types we offer does the client want most?
-- Owns the reading of `Accept` (RFC 9110 section 12.5.1). It decides nothing about an answer:
-- whether nil becomes a 406 or the first offer is the caller's affair.

local byte, find, lower, sub = string.byte, string.find, string.lower, string.sub

local negotiate = {}

-- Browsers send fewer than ten. What a client lists behind these is ignored, so that a long
-- header does not multiply with the offers.
local MAX_RANGES = 64

local COMMA, SEMICOLON, EQUALS, QUOTE, BACKSLASH = 44, 59, 61, 34, 92

--- The last byte before the next `separator` that stands outside quotes.
local function item_end(text, from, last, separator)
  local quoted, at = false, from
  while at <= last do
    local code = byte(text, at)
    if code == QUOTE then
      quoted = not quoted
    elseif quoted and code == BACKSLASH then
      at = at + 1
    elseif not quoted and code == separator then
      return at - 1
    end
    at = at + 1
  end
  return last
end

local function is_blank(code) return code == 32 or code == 9 end

--- The bytes from `first` to `last` without the spaces and tabs around them.
local function trimmed(text, first, last)
  while first <= last and is_blank(byte(text, first)) do first = first + 1 end
  while last > first and is_blank(byte(text, last)) do last = last - 1 end
  return sub(text, first, last)
end

--- A weight from 0 to 1; what is none counts as 1 (semantics 86).
local function weight(text)
  local q = find(text, "^%d*%.?%d*$") and tonumber(text)
  return q and q <= 1 and q or 1
end

--- One media type or range, "text/html;level=1;q=0.5"; nil when it is none.
local function parse_type(text, from, last)
  local stop = item_end(text, from, last, SEMICOLON)
  local name = lower(trimmed(text, from, stop))
  local slash = find(name, "/", 1, true)
  if not slash or slash == 1 or slash == #name then return nil end

  local params, q, count = {}, 1, 0
  while stop < last do
    from = stop + 2
    stop = item_end(text, from, last, SEMICOLON)
    local equals = item_end(text, from, stop, EQUALS) + 1
    if equals <= stop then
      local key = lower(trimmed(text, from, equals - 1))
      local value = trimmed(text, equals + 1, stop)
      if byte(value, 1) == QUOTE and #value > 1 and byte(value, -1) == QUOTE then
        value = sub(value, 2, -2):gsub("\\(.)", "%1")
      end
      if key == "q" then
        q = weight(value)
        break -- what follows the weight belongs to no media type
      end
      params[key] = lower(value)
      count = count + 1
    end
  end

  local kind = sub(name, 1, slash - 1)
  local any_subtype = sub(name, slash + 1) == "*"
  local specificity = count > 0 and 3 or kind == "*" and 0 or any_subtype and 1 or 2
  return { name = name, kind = kind, params = params, q = q, specificity = specificity }
end

local function parse_accept(header)
  local ranges, from, len = {}, 1, #header
  while from <= len and #ranges < MAX_RANGES do
    local last = item_end(header, from, len, COMMA)
    ranges[#ranges + 1] = parse_type(header, from, last)
    from = last + 2
  end
  return ranges
end

local function matches(range, offer)
  if range.name ~= "*/*" and range.name ~= offer.name and range.name ~= offer.kind .. "/*" then
    return false
  end
  for name, value in pairs(range.params) do
    if offer.params[name] ~= value then return false end
  end
  return true
end

--- The range that decides about an offer, the most specific one, and its place in the header.
local function deciding_range(ranges, offer)
  local best, place
  for i, range in ipairs(ranges) do
    if matches(range, offer) and (not best or range.specificity > best.specificity) then
      best, place = range, i
    end
  end
  return best, place
end

--- Chooses among `offers`. The weight of the most specific range that matches an offer counts;
-- 0 excludes it. Of equal weights the more specific range wins, then what the client named
-- first, then what we named first.
---@param accept string? the header; nil or blank means the client takes anything
---@param offers string[] media types, in our order of preference
---@return string? # one of the offers
function negotiate.accepts(accept, offers)
  if not accept or not find(accept, "[^ \t]") then return offers[1] end
  local ranges = parse_accept(accept)
  local chosen, chosen_range, chosen_place
  for _, text in ipairs(offers) do
    local offer = parse_type(text, 1, #text)
    if not offer then error(("%q is not a media type"):format(text), 2) end
    local range, place = deciding_range(ranges, offer)
    if range and range.q > 0 then
      local better = not chosen or range.q > chosen_range.q
      if not better and range.q == chosen_range.q then
        local more = range.specificity - chosen_range.specificity
        better = more > 0 or more == 0 and place < chosen_place
      end
      if better then chosen, chosen_range, chosen_place = text, range, place end
    end
  end
  return chosen
end

return negotiate
