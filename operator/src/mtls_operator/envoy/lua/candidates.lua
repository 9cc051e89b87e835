-- Which rules can apply to a request, in their order: the others are false and are not asked.
--
-- A rule with .paths applies only to these paths, or to those that begin with one of its .prefixes; one with
-- .spares_good never to a request with a good certificate. Whatever a client sends, finding them takes one look-up for
-- each length that prefixes have, and at most one pass over all rules.
local rules = ...

local function add(map, key, position)
  map[key] = map[key] or {}
  local places = map[key]
  -- A rule with two equal paths stands there once.
  if places[#places] ~= position then
    places[#places + 1] = position
  end
end

-- Positions of the rules that apply to any path, and of the others by path, and by prefix for each length.
local function index(takes)
  local found = { always = {}, paths = {}, prefixes = {}, lengths = {} }
  for position = 1, #rules do
    local rule = rules[position]
    if takes(rule) and rule.paths == nil then
      found.always[#found.always + 1] = position
    elseif takes(rule) then
      for i = 1, #rule.paths do
        add(found.paths, rule.paths[i], position)
      end
      for i = 1, #rule.prefixes do
        local length = #rule.prefixes[i]
        if found.prefixes[length] == nil then
          found.prefixes[length] = {}
          found.lengths[#found.lengths + 1] = length
        end
        add(found.prefixes[length], rule.prefixes[i], position)
      end
    end
  end
  table.sort(found.lengths)
  found.rules_always = {}
  for i = 1, #found.always do
    found.rules_always[i] = rules[found.always[i]]
  end
  return found
end

local for_all = index(function()
  return true
end)
local for_good = index(function(rule)
  return not rule.spares_good
end)

-- The lists of positions that hold for a path, besides those that always do; nil when there are none.
local function lists_of(from, path)
  local lists = from.paths[path] ~= nil and { from.paths[path] } or nil
  for i = 1, #from.lengths do
    local length = from.lengths[i]
    if length > #path then
      break
    end
    local places = from.prefixes[length][path:sub(1, length)]
    if places ~= nil then
      lists = lists or {}
      lists[#lists + 1] = places
    end
  end
  return lists
end

local function mark(marked, places)
  for i = 1, #places do
    marked[places[i]] = true
  end
end

return function(path, good)
  local from = good and for_good or for_all
  local lists = lists_of(from, path)
  if lists == nil then
    return from.rules_always
  end
  local marked = {}
  mark(marked, from.always)
  for i = 1, #lists do
    mark(marked, lists[i])
  end
  local found = {}
  for position = 1, #rules do
    if marked[position] then
      found[#found + 1] = rules[position]
    end
  end
  return found
end
