-- What is asked of a certificate of a CA that its users brought, beyond what the proxy asks in the handshake: how it
-- is signed and keyed, that its names cannot forge what applications are told, and the lists of that CA.
--
-- lists: digest of the issuing certificate -> { keys, ends }, or false where the list cannot be had. "keys" is sorted:
-- WIDTH characters for each revoked serial number, the first 48 bits of the SHA-256 of its hexadecimal text. From
-- the second "ends" on a list says nothing any more. A CA that is not in the table has no lists.
local lists, certificates, sha256 = ...

local WIDTH, SYMBOLS = 8, 4
-- In the order of bytes, as strings are compared.
local ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
-- Of this many leaves it is kept what they are worth: clients choose what they present, but not who signs it.
local MOST_KEPT = 4096

local floor, sub = math.floor, string.sub

local function key_of(serial)
  local digest, symbols = sha256(serial:upper()), {}
  for half = 0, 1 do
    local bits = tonumber(digest:sub(6 * half + 1, 6 * half + 6), 16)
    for place = SYMBOLS, 1, -1 do
      local symbol = bits % 64 + 1
      symbols[SYMBOLS * half + place] = sub(ALPHABET, symbol, symbol)
      bits = floor(bits / 64)
    end
  end
  return table.concat(symbols)
end

local function holds(keys, key)
  local low, high = 0, #keys / WIDTH
  while low < high do
    local middle = floor((low + high) / 2)
    local found = sub(keys, WIDTH * middle + 1, WIDTH * middle + WIDTH)
    if found == key then
      return true
    elseif found < key then
      low = middle + 1
    else
      high = middle
    end
  end
  return false
end

local kept, kept_count = {}, 0

-- The same bytes are worth the same: by the digest of the leaf. What cannot be read is worth nothing.
local function worth(request)
  local ssl = request.info:downstreamSslConnection()
  local digest = ssl:sha256PeerCertificateDigest()
  local found = kept[digest]
  if found == nil then
    local read, sound = pcall(function()
      local body = certificates.bodies(ssl:urlEncodedPemEncodedPeerCertificate())[1]
      return certificates.sound(request.handle:base64Decode(body))
    end)
    if kept_count >= MOST_KEPT then
      kept, kept_count = {}, 0
    end
    found = { sound = read and sound, key = key_of(ssl:serialNumberPeerCertificate()) }
    kept[digest], kept_count = found, kept_count + 1
  end
  return found
end

local function is_sound(request)
  return worth(request).sound
end

-- "0" not revoked, "1" revoked, "?" nobody knows.
local function state(request, issuer)
  local list = lists[issuer]
  if list == nil then
    return "0"
  end
  if not list or (list.ends ~= nil and os.time() >= list.ends) then
    return "?"
  end
  return holds(list.keys, worth(request).key) and "1" or "0"
end

return { is_sound = is_sound, state = state }
