-- Functions that compiled rules call as rt.<name>; the chunk returns them.
-- All values are byte strings. Each function returns true or false, for any input.

local byte, find, floor, lower, sub = string.byte, string.find, math.floor, string.lower, string.sub
local rt = {}

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

-- Is the packed address in one of the ranges of its family?
-- ranges[4] and ranges[16] are {low, high, low, high, ...}, sorted, without overlaps.
function rt.in_ranges(address, ranges)
  local ends = ranges[#address]
  if ends == nil then
    return false
  end
  local first, last = 1, #ends / 2
  while first <= last do
    local middle = floor((first + last) / 2)
    if address < ends[2 * middle - 1] then
      last = middle - 1
    elseif address > ends[2 * middle] then
      first = middle + 1
    else
      return true
    end
  end
  return false
end

return rt
