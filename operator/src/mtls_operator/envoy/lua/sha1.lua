-- SHA-1 (FIPS 180-4) in lower-case hex: for fingerprints, which nothing trusts.
jit.on(true, true)

local band, bor, bxor, rol, tobit = bit.band, bit.bor, bit.bxor, bit.rol, bit.tobit
local lshift, rshift, tohex = bit.lshift, bit.rshift, bit.tohex
local byte, char = string.byte, string.char

-- The message, a one bit, zeros, and the length in bits, to a multiple of 64 bytes.
local function padded(message)
  local length = #message
  local tail = char(band(rshift(length, 21), 255), band(rshift(length, 13), 255), band(rshift(length, 5), 255))
  return message .. "\128" .. ("\0"):rep((55 - length) % 64) .. "\0\0\0\0" .. tail .. char(band(lshift(length, 3), 255))
end

-- The sixteen words of a block, and those made of them.
local function schedule(text, start)
  local words = {}
  for i = 0, 15 do
    local a, b, c, d = byte(text, start + 4 * i, start + 4 * i + 3)
    words[i] = bor(lshift(a, 24), lshift(b, 16), lshift(c, 8), d)
  end
  for i = 16, 79 do
    words[i] = rol(bxor(words[i - 3], words[i - 8], words[i - 14], words[i - 16]), 1)
  end
  return words
end

local function mixed(round, b, c, d)
  if round < 20 then
    return bxor(d, band(b, bxor(c, d))), 0x5A827999
  elseif round < 40 then
    return bxor(b, c, d), 0x6ED9EBA1
  elseif round < 60 then
    return bor(band(b, c), band(d, bor(b, c))), 0x8F1BBCDC
  end
  return bxor(b, c, d), 0xCA62C1D6
end

return function(message)
  local h0, h1, h2, h3, h4 = 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0
  local text = padded(message)
  for start = 1, #text, 64 do
    local words = schedule(text, start)
    local a, b, c, d, e = tobit(h0), tobit(h1), tobit(h2), tobit(h3), tobit(h4)
    for round = 0, 79 do
      local f, constant = mixed(round, b, c, d)
      -- Each sum is cut to 32 bits before it can leave the integers that a double holds.
      local sum = tobit(tobit(rol(a, 5) + f) + tobit(e + tobit(constant)))
      a, b, c, d, e = tobit(sum + words[round]), a, rol(b, 30), c, d
    end
    h0, h1, h2, h3, h4 = tobit(h0 + a), tobit(h1 + b), tobit(h2 + c), tobit(h3 + d), tobit(h4 + e)
  end
  return tohex(h0) .. tohex(h1) .. tohex(h2) .. tohex(h3) .. tohex(h4)
end
