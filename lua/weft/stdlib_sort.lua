--- `table.sort` in Lua, so that the order function, or `__lt`, may await.
--
-- A merge sort: stable, n log n at worst, and with an order function that contradicts itself it
-- still ends, with the elements in some order. It works on copies and writes back at the end: an
-- error in the order function, or a cancelled await, leaves the table as it was. Not made for
-- tables that others change during the sort: what they wrote is overwritten.

local new_table = require "table.new"

local raw_sort = table.sort

-- Runs of so many are sorted by insertion: measured best between 4 and 32.
local RUN = 8

local function less_than(a, b) return a < b end

local function insertion_sort(values, first, last, less)
  for i = first + 1, last do
    local value = values[i]
    local hole = i
    while hole > first and less(value, values[hole - 1]) do
      values[hole] = values[hole - 1]
      hole = hole - 1
    end
    values[hole] = value
  end
end

-- Merges from[first..middle] and from[middle + 1..last] into the same places of `to`.
local function merge(from, to, first, middle, last, less)
  local left, right = first, middle + 1
  for i = first, last do
    if right > last or left <= middle and not less(from[right], from[left]) then
      to[i] = from[left]
      left = left + 1
    else
      to[i] = from[right]
      right = right + 1
    end
  end
end

local function merge_sort(t, count, less)
  local from, to = new_table(count, 0), new_table(count, 0)
  for i = 1, count do
    from[i] = rawget(t, i)
  end
  for first = 1, count, RUN do
    insertion_sort(from, first, math.min(first + RUN - 1, count), less)
  end
  local width = RUN
  while width < count do
    for first = 1, count, 2 * width do
      local middle = math.min(first + width - 1, count)
      merge(from, to, first, middle, math.min(first + 2 * width - 1, count), less)
    end
    from, to = to, from
    width = 2 * width
  end
  for i = 1, count do
    rawset(t, i, from[i])
  end
end

-- Whether comparing the elements may call a metamethod.
local function has_objects(t, count)
  for i = 1, count do
    local kind = type(rawget(t, i))
    if kind == "table" or kind == "userdata" or kind == "cdata" then
      return true
    end
  end
  return false
end

--- `table.sort`, stable, with an order function that may await.
---@param t table
---@param less? fun(a: any, b: any): boolean
local function sort(t, less)
  if type(t) ~= "table" or less ~= nil and type(less) ~= "function" then
    return raw_sort(t, less) -- raises, and names the caller's line
  end
  local count = #t
  if less == nil then
    if not has_objects(t, count) then
      return raw_sort(t)
    end
    less = less_than
  end
  merge_sort(t, count, less)
end

return sort
