-- Looks a string or an integer up in a JSON text (RFC 8259), for rt.lookup_json_string and rt.lookup_json_integer.
-- The whole text is read once, and must be valid: else everything in it is missing. Nothing that is not asked for is
-- kept, and nesting is bounded.
local rt = ...

local byte, char, find, floor, match, sub = string.byte, string.char, string.find, math.floor, string.match, string.sub
local concat, select = table.concat, select

local MAX_DEPTH = 128
-- Up to here no two integers are one number (RFC 8259, 6); larger ones are not found.
local EXACT = 2 ^ 53 - 1
local ESCAPES = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

-- The number of bytes of the UTF-8 sequence at a place (RFC 3629, 4), or nil.
local FORMS = {
  { "^[\194-\223][\128-\191]", 2 },
  { "^\224[\160-\191][\128-\191]", 3 },
  { "^[\225-\236\238\239][\128-\191][\128-\191]", 3 },
  { "^\237[\128-\159][\128-\191]", 3 },
  { "^\240[\144-\191][\128-\191][\128-\191]", 4 },
  { "^[\241-\243][\128-\191][\128-\191][\128-\191]", 4 },
  { "^\244[\128-\143][\128-\191][\128-\191]", 4 },
}

local function is_unicode(text)
  local position = find(text, "[\128-\255]")
  while position do
    local length
    for i = 1, #FORMS do
      if find(text, FORMS[i][1], position) then
        length = FORMS[i][2]
        break
      end
    end
    if length == nil then
      return false
    end
    position = find(text, "[\128-\255]", position + length)
  end
  return true
end

local function utf8(code)
  if code < 0x80 then
    return char(code)
  elseif code < 0x800 then
    return char(0xC0 + floor(code / 64), 0x80 + code % 64)
  elseif code < 0x10000 then
    return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
  end
  return char(0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
end

local function unit(text, position)
  local digits = match(text, "^\\u(%x%x%x%x)", position)
  return digits and tonumber(digits, 16)
end

-- What the escape at a place stands for, and the place behind it; nil when it is none.
local function escape(text, position)
  local code = unit(text, position)
  if code == nil then
    local meaning = ESCAPES[sub(text, position + 1, position + 1)]
    return meaning, position + 2
  end
  if code < 0xD800 or code > 0xDFFF then
    return utf8(code), position + 6
  end
  local low = unit(text, position + 6)
  if code > 0xDBFF or low == nil or low < 0xDC00 or low > 0xDFFF then
    return nil
  end
  return utf8(0x10000 + (code - 0xD800) * 1024 + low - 0xDC00), position + 12
end

-- The string whose opening quote is at a place, and the place behind its end; nil when it is none.
local function read_string(text, position)
  local parts, start = {}, position + 1
  while true do
    local place = find(text, '[%z\1-\31"\\]', start)
    if place == nil then
      return nil
    end
    parts[#parts + 1] = sub(text, start, place - 1)
    local special = byte(text, place)
    if special == 34 then
      return concat(parts), place + 1
    elseif special ~= 92 then
      return nil
    end
    local meaning
    meaning, start = escape(text, place)
    if meaning == nil then
      return nil
    end
    parts[#parts + 1] = meaning
  end
end

-- The integer at a place or false, and the place behind the number; nil when there is no number.
local function read_number(text, position)
  local whole, behind = match(text, "^(-?%d+)()", position)
  if whole == nil or find(whole, "^-?0%d") then
    return nil
  end
  local after = match(text, "^%.%d+()", behind) or behind
  after = match(text, "^[eE][+-]?%d+()", after) or after
  local number = after == behind and whole ~= "-0" and #whole <= 17 and tonumber(whole)
  if not number or number > EXACT or number < -EXACT then
    return false, after
  end
  return number, after
end

local function skip(text, position)
  return match(text, "^[ \t\n\r]*()", position)
end

local WORDS = { "^true()", "^false()", "^null()" }

-- The place behind the value at a place (nil when there is none) and what the path leads to in it. Off the path,
-- level is nil; at its end, level is #path + 1.
local read

-- Reads the members of an object or array: "entry" gives the key and the place of each value.
local function read_members(text, position, depth, path, level, closing, entry)
  local found
  position = skip(text, position + 1)
  if sub(text, position, position) == closing then
    return position + 1, nil
  end
  local count = 0
  while true do
    local key, place = entry(text, position, count)
    if key == nil then
      return nil
    end
    local here = level ~= nil and level <= #path and path[level] == key
    local behind, inner = read(text, place, depth + 1, path, here and level + 1 or nil)
    if behind == nil then
      return nil
    end
    if here then
      found = inner
    end
    behind = skip(text, behind)
    local separator = sub(text, behind, behind)
    if separator == closing then
      return behind + 1, found
    elseif separator ~= "," then
      return nil
    end
    count, position = count + 1, skip(text, behind + 1)
  end
end

local function object_entry(text, position)
  if byte(text, position) ~= 34 then
    return nil
  end
  local name, behind = read_string(text, position)
  if name == nil then
    return nil
  end
  return name, match(text, "^[ \t\n\r]*:[ \t\n\r]*()", behind) or #text + 1
end

local function array_entry(_, position, count)
  return count, position
end

function read(text, position, depth, path, level)
  local first = sub(text, position, position)
  local value, behind
  if first == "{" or first == "[" then
    if depth > MAX_DEPTH then
      return nil
    elseif first == "{" then
      return read_members(text, position, depth, path, level, "}", object_entry)
    end
    return read_members(text, position, depth, path, level, "]", array_entry)
  elseif first == '"' then
    value, behind = read_string(text, position)
  elseif find(first, "[-%d]") then
    value, behind = read_number(text, position)
  else
    for i = 1, #WORDS do
      behind = behind or match(text, WORDS[i], position)
    end
  end
  return behind, level == #path + 1 and value or nil
end

local function lookup(kind, text, ...)
  local path = { ... }
  for i = 1, select("#", ...) do
    if path[i] == nil then
      return nil
    end
  end
  if text == nil or not is_unicode(text) then
    return nil
  end
  local behind, found = read(text, skip(text, 1), 1, path, 1)
  if behind == nil or skip(text, behind) <= #text or type(found) ~= kind then
    return nil
  end
  return found
end

function rt.lookup_json_string(text, ...)
  return lookup("string", text, ...)
end

function rt.lookup_json_integer(text, ...)
  return lookup("number", text, ...)
end
