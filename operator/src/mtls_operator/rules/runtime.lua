-- Relations, elements and streams: what compiled rules call as rt.<name>. The chunk returns the table.
-- Strings are byte strings, addresses 4 or 16 packed bytes, arrays tables without holes. A missing value is nil;
-- an array whose elements are looked at one by one is a stream, and nil when the array is missing.

local byte, char, find, lower, sub = string.byte, string.char, string.find, string.lower, string.sub
local concat, floor = table.concat, math.floor
local rt = {}

-- Relations: between a value that is there and an operand. Each returns true or false, for any input.

-- Does the value hold the needle? The empty needle is in every value.
function rt.contains(value, needle)
  return find(value, needle, 1, true) ~= nil
end

-- Does the whole value fit the pattern, given as the literal pieces between its stars?
-- The leftmost place for each piece is always the best one, so there is no backtracking.
local function matches(value, pieces)
  local first, count = pieces[1], #pieces
  if count == 1 then
    return value == first
  end
  if sub(value, 1, #first) ~= first then
    return false
  end
  local position = #first + 1
  for i = 2, count - 1 do
    local _, last = find(value, pieces[i], position, true)
    if last == nil then
      return false
    end
    position = last + 1
  end
  local start = #value - #pieces[count] + 1
  return start >= position and sub(value, start) == pieces[count]
end

rt.strict_wildcard = matches

-- The same without regard to the case of ASCII letters; the pieces are in lower case.
-- string.lower knows no other letters: LuaJIT does not look at the locale.
function rt.wildcard(value, pieces)
  return matches(lower(value), pieces)
end

-- Does some part of the value match? One step per byte; nothing is ever tried twice.
-- automaton.following holds a row per state; a state is the place of its row's first entry, 0 is a match and
-- -1 can never become one. classes gives the entry for each byte, final the states that match at the end.
function rt.accepts(value, automaton)
  local state = automaton.start
  local classes, following = automaton.classes, automaton.following
  for position = 1, #value do
    if state <= 0 then
      break
    end
    state = following[state + classes[byte(value, position)]]
  end
  return state == 0 or automaton.final[state] == true
end

-- Is the value in one of the ranges {low, high, low, high, ...}, sorted and without overlaps?
local function within(value, ends)
  local first, last = 1, #ends / 2
  while first <= last do
    local middle = floor((first + last) / 2)
    if value < ends[2 * middle - 1] then
      last = middle - 1
    elseif value > ends[2 * middle] then
      first = middle + 1
    else
      return true
    end
  end
  return false
end

-- For numbers.
rt.within = within

-- For packed addresses: ranges[4] and ranges[16] are those of each family.
function rt.in_ranges(address, ranges)
  local ends = ranges[#address]
  return ends ~= nil and within(address, ends)
end

-- Named lists, packed into text; each is unpacked once, when the script loads.

-- The set of the strings between separators of one byte.
function rt.set_of(text, separator)
  local set, start = {}, 1
  while true do
    local place = find(text, separator, start, true)
    set[sub(text, start, (place or 0) - 1)] = true
    if place == nil then
      return set
    end
    start = place + 1
  end
end

-- Bytes from hexadecimal digits, four bytes at a time.
local function unpacked_ends(digits, size)
  local ends, part = {}, {}
  for position = 1, #digits, 8 do
    local number = tonumber(sub(digits, position, position + 7), 16)
    part[#part + 1] =
      char(floor(number / 16777216), floor(number / 65536) % 256, floor(number / 256) % 256, number % 256)
    if #part * 4 == size then
      ends[#ends + 1], part = concat(part), {}
    end
  end
  return ends
end

function rt.address_ranges(four, sixteen)
  return { [4] = unpacked_ends(four, 4), [16] = unpacked_ends(sixteen, 16) }
end

-- Does the test hold for the value? A missing value fails every test.
function rt.present(value, test, ...)
  return value ~= nil and test(value, ...)
end

-- Whether the test holds, for each element of a stream. A missing array has no elements.
function rt.each(stream, test, ...)
  local results = {}
  for i = 1, stream and #stream or 0 do
    results[i] = test(stream[i], ...)
  end
  return results
end

-- Elements of arrays and maps.

function rt.at(container, key)
  return container and container[key]
end

-- The element of each container of a stream, where it has one.
function rt.each_at(stream, key)
  local found = stream and {}
  for i = 1, stream and #stream or 0 do
    found[#found + 1] = stream[i][key]
  end
  return found
end

-- Merge sort: the time of table.sort depends on the order of the keys, and clients choose keys.
local function sorted(list)
  local from, into, width = list, {}, 1
  while width < #list do
    for start = 1, #list, 2 * width do
      local left, right = start, start + width
      local last_left, last_right = right - 1, right + width - 1
      for i = start, math.min(last_right, #list) do
        local other = right <= last_right and from[right] or nil
        if left > last_left or (other and other < from[left]) then
          into[i], right = other, right + 1
        else
          into[i], left = from[left], left + 1
        end
      end
    end
    from, into, width = into, from, 2 * width
  end
  return from
end

-- The values of a map, in the order of its keys. A map that reads its entries when they are asked for has the whole in
-- its metatable.
function rt.in_order(map)
  if map == nil then
    return nil
  end
  local lazy = getmetatable(map)
  if lazy ~= nil then
    map = lazy.whole(map)
  end
  local keys, values = {}, {}
  for key in pairs(map) do
    keys[#keys + 1] = key
  end
  keys = sorted(keys)
  for i = 1, #keys do
    values[i] = map[keys[i]]
  end
  return values
end

-- The elements of all containers of a stream in one.
function rt.flattened(stream, of_maps)
  local elements = stream and {}
  for i = 1, stream and #stream or 0 do
    local inner = of_maps and rt.in_order(stream[i]) or stream[i]
    for j = 1, #inner do
      elements[#elements + 1] = inner[j]
    end
  end
  return elements
end

-- Streams of Booleans.

function rt.each_not(stream)
  local results = stream and {}
  for i = 1, stream and #stream or 0 do
    results[i] = not stream[i]
  end
  return results
end

-- Joins streams element by element, as far as the shortest of them reaches; nil when one is missing.
local function zipped(count, streams, join)
  local length = math.huge
  for i = 1, count do
    if streams[i] == nil then
      return nil
    end
    length = math.min(length, #streams[i])
  end
  local results = {}
  for position = 1, length do
    local result = streams[1][position]
    for i = 2, count do
      result = join(result, streams[i][position])
    end
    results[position] = result
  end
  return results
end

function rt.each_and(count, streams)
  return zipped(count, streams, function(a, b)
    return a and b
  end)
end

function rt.each_or(count, streams)
  return zipped(count, streams, function(a, b)
    return a or b
  end)
end

function rt.each_xor(count, streams)
  return zipped(count, streams, function(a, b)
    return a ~= b
  end)
end

-- Both are false for a missing stream.
function rt.any(stream)
  for i = 1, stream and #stream or 0 do
    if stream[i] then
      return true
    end
  end
  return false
end

function rt.all(stream)
  for i = 1, stream and #stream or 0 do
    if not stream[i] then
      return false
    end
  end
  return stream ~= nil
end

return rt
