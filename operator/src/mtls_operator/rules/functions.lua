-- The functions of the language, added to rt under their names. A missing argument (nil) makes the result missing,
-- but for concat and coalesce.
local rt = ...

local byte, char, find, floor, gsub = string.byte, string.char, string.find, math.floor, string.gsub
local lower, sub, upper, concat = string.lower, string.sub, string.upper, table.concat

-- Applies a function to each element of a stream; missing results are left out.
function rt.map(called, stream, ...)
  local results = stream and {}
  for i = 1, stream and #stream or 0 do
    results[#results + 1] = called(stream[i], ...)
  end
  return results
end

function rt.lower(value)
  return value and lower(value)
end

function rt.upper(value)
  return value and upper(value)
end

function rt.len(value)
  return value and #value
end

function rt.starts_with(value, start)
  if value == nil or start == nil then
    return nil
  end
  return sub(value, 1, #start) == start
end

function rt.ends_with(value, ending)
  if value == nil or ending == nil then
    return nil
  end
  return #ending <= #value and sub(value, #value - #ending + 1) == ending
end

-- Bytes from start up to but not including finish; negative places count from the end.
function rt.substring(value, start, finish)
  if value == nil then
    return nil
  end
  local length = #value
  finish = finish or length
  if start < 0 then
    start = math.max(start + length, 0)
  end
  if finish < 0 then
    finish = finish + length
  end
  if start >= length or finish <= start then
    return ""
  end
  return sub(value, start + 1, math.min(finish, length))
end

function rt.concat(...)
  local parts = {}
  for i = 1, select("#", ...) do
    parts[#parts + 1] = (select(i, ...))
  end
  return #parts > 0 and concat(parts) or nil
end

function rt.concat_arrays(...)
  local joined
  for i = 1, select("#", ...) do
    local part = (select(i, ...))
    joined = joined or part and {}
    for j = 1, part and #part or 0 do
      joined[#joined + 1] = part[j]
    end
  end
  return joined
end

function rt.coalesce(...)
  for i = 1, select("#", ...) do
    local value = (select(i, ...))
    if value ~= nil then
      return value
    end
  end
  return nil
end

function rt.join(array, separator)
  if array == nil or separator == nil then
    return nil
  end
  return concat(array, separator)
end

-- At most so many parts; the last one takes the rest.
function rt.split(value, separator, most)
  if value == nil then
    return nil
  end
  local parts, position = {}, 1
  while #parts < most - 1 do
    local first, last = find(value, separator, position, true)
    if first == nil then
      break
    end
    parts[#parts + 1] = sub(value, position, first - 1)
    position = last + 1
  end
  parts[#parts + 1] = sub(value, position)
  return parts
end

function rt.has_key(map, key)
  if map == nil or key == nil then
    return nil
  end
  return map[key] ~= nil
end

function rt.has_value(array, wanted)
  if array == nil or wanted == nil then
    return nil
  end
  for i = 1, #array do
    if array[i] == wanted then
      return true
    end
  end
  return false
end

-- unwanted is a set of bytes.
function rt.remove_bytes(value, unwanted)
  return value and (gsub(value, ".", function(each)
    return unwanted[each] and "" or nil
  end))
end

-- The network of a packed address.
local function network(address, bits)
  local whole, rest = floor(bits / 8), bits % 8
  local kept = sub(address, 1, whole)
  if rest > 0 then
    local last = byte(address, whole + 1)
    kept = kept .. char(last - last % 2 ^ (8 - rest))
  end
  return kept .. ("\0"):rep(#address - #kept)
end

function rt.cidr(address, bits4, bits6)
  return address and network(address, #address == 4 and bits4 or bits6)
end

function rt.cidr6(address, bits)
  return address and (#address == 4 and address or network(address, bits))
end

local SYMBOLS = {}
for value = 0, 63 do
  local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  SYMBOLS[byte(alphabet, value + 1)] = value
end

-- The standard alphabet (RFC 4648, 4), with or without padding; anything else is missing.
function rt.decode_base64(value)
  local text, padding = (value or "-"):match("^([%w+/]*)(=?=?)$")
  if text == nil or #text % 4 == 1 or (padding ~= "" and #padding ~= -#text % 4) then
    return nil
  end
  return (gsub(text, "(.)(.)(.?)(.?)", function(...)
    local bits = 0
    for i = 1, 4 do
      bits = bits * 64 + (SYMBOLS[byte((select(i, ...)))] or 0)
    end
    local bytes = char(floor(bits / 65536), floor(bits / 256) % 256, bits % 256)
    local _, _, third, fourth = ...
    return sub(bytes, 1, third == "" and 1 or fourth == "" and 2 or 3)
  end))
end

-- UTF-8 (RFC 3629) of a code point below 65536; nil for half of a surrogate pair, which is no character.
local function utf8(code)
  if code < 0x80 then
    return char(code)
  elseif code < 0x800 then
    return char(0xC0 + floor(code / 64), 0x80 + code % 64)
  elseif code >= 0xD800 and code < 0xE000 then
    return nil
  end
  return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
end

-- What an escape at the end of a text stands for, and the length of the text before it; nil if there is none.
-- text is an array of bytes.
local PERCENT, PLUS, SPACE, U = 37, 43, 32, 117

local function number_at(text, first, last)
  local digits = char(unpack(text, first, last))
  return find(digits, "^%x+$") and tonumber(digits, 16) or nil
end

local function escape_at_end(text, length, unicode)
  if length >= 3 and text[length - 2] == PERCENT then
    local value = number_at(text, length - 1, length)
    return value and char(value), length - 3
  end
  if unicode and length >= 6 and text[length - 5] == PERCENT and text[length - 4] == U then
    local value = number_at(text, length - 3, length)
    return value and utf8(value), length - 6
  end
  return nil
end

-- Decodes until nothing is left to decode, in one pass: each byte that comes out may complete another escape.
-- Escapes never overlap, so the order in which they are decoded does not matter.
local function decoded_completely(value, unicode)
  local text, length = {}, 0
  local function push(each)
    while each do
      length = length + 1
      text[length] = each == PLUS and SPACE or each
      local meaning, before = escape_at_end(text, length, unicode)
      each = nil
      if meaning then
        length = before
        if #meaning == 1 then
          each = byte(meaning)
        else
          for i = 1, #meaning do
            length = length + 1
            text[length] = byte(meaning, i)
          end
        end
      end
    end
  end
  for i = 1, #value do
    push(byte(value, i))
  end
  local result = {}
  for i = 1, length do
    result[i] = char(text[i])
  end
  return concat(result)
end

local function decoded_once(value, unicode)
  value = gsub(value, "%+", " ")
  if not unicode then
    return (gsub(value, "%%(%x%x)", function(digits)
      return char(tonumber(digits, 16))
    end))
  end
  return (gsub(value, "%%(u?)(%x%x)(%x?%x?)", function(u, first, rest)
    if u == "" then
      return char(tonumber(first, 16)) .. rest
    end
    return #rest == 2 and utf8(tonumber(first .. rest, 16)) or nil
  end))
end

function rt.url_decode(value, completely, unicode)
  if value == nil then
    return nil
  end
  return (completely and decoded_completely or decoded_once)(value, unicode)
end
