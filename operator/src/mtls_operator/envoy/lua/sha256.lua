-- SHA-256 (FIPS 180-4) in lower-case hex: to tell certificates apart as Envoy does.
local band, bnot, bxor, ror, tobit = bit.band, bit.bnot, bit.bxor, bit.ror, bit.tobit
local bor, lshift, rshift, tohex = bit.bor, bit.lshift, bit.rshift, bit.tohex
local byte, char, floor = string.byte, string.char, math.floor

-- The first 32 bits of what follows the point in a root. Both roots stay below 128 and 8, so that the digits of
-- a double are enough.
local function fraction(root)
  return tobit(floor((root - floor(root)) * 2 ^ 32))
end

-- The cube root of a whole number; one step of Newton's method takes the last doubt out of the power.
local function cube_root(number)
  local root = number ^ (1 / 3)
  return root - (root * root * root - number) / (3 * root * root)
end

local ROUND, START = {}, {}
local candidate = 2
while #ROUND < 64 do
  local prime = true
  for divisor = 2, candidate - 1 do
    prime = prime and candidate % divisor ~= 0
  end
  if prime then
    ROUND[#ROUND + 1] = fraction(cube_root(candidate))
    START[#START + 1] = fraction(candidate ^ 0.5)
  end
  candidate = candidate + 1
end

-- The message, a one bit, zeros, and the length in bits, to a multiple of 64 bytes.
local function padded(message)
  local length = #message
  local tail = char(band(rshift(length, 21), 255), band(rshift(length, 13), 255), band(rshift(length, 5), 255))
  return message .. "\128" .. ("\0"):rep((55 - length) % 64) .. "\0\0\0\0" .. tail .. char(band(lshift(length, 3), 255))
end

-- The sixteen words of a block, and those made of them.
local function schedule(text, start)
  local words = {}
  for i = 1, 16 do
    local a, b, c, d = byte(text, start + 4 * i - 4, start + 4 * i - 1)
    words[i] = bor(lshift(a, 24), lshift(b, 16), lshift(c, 8), d)
  end
  for i = 17, 64 do
    local early, late = words[i - 15], words[i - 2]
    local first = bxor(ror(early, 7), ror(early, 18), rshift(early, 3))
    local second = bxor(ror(late, 17), ror(late, 19), rshift(late, 10))
    words[i] = tobit(words[i - 16] + first + words[i - 7] + second)
  end
  return words
end

-- Sums of five words stay far below 2^53, where doubles are exact; tobit cuts them to 32 bits.
local function compressed(state, words)
  local a, b, c, d, e, f, g, h = unpack(state)
  for i = 1, 64 do
    local mixed = bxor(ror(e, 6), ror(e, 11), ror(e, 25))
    local choice = bxor(band(e, f), band(bnot(e), g))
    local first = tobit(h + mixed + choice + ROUND[i] + words[i])
    local turned = bxor(ror(a, 2), ror(a, 13), ror(a, 22))
    local majority = bxor(band(a, b), band(a, c), band(b, c))
    a, b, c, d, e, f, g, h = tobit(first + turned + majority), a, b, c, tobit(d + first), e, f, g
  end
  local added = { a, b, c, d, e, f, g, h }
  for i = 1, 8 do
    added[i] = tobit(added[i] + state[i])
  end
  return added
end

return function(message)
  local state = { unpack(START, 1, 8) }
  local text = padded(message)
  for start = 1, #text, 64 do
    state = compressed(state, schedule(text, start))
  end
  local digits = {}
  for i = 1, 8 do
    digits[i] = tohex(state[i])
  end
  return table.concat(digits)
end
