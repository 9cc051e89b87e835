-- What Envoy does not tell about a client certificate: read from its DER (X.690, RFC 5280).
--
-- Envoy has parsed the certificate before, so its form is right; whatever is unexpected here raises an error all
-- the same, and the gate then denies the request. The facts are the certificate's own word: "verified" says
-- whether an issuer that we trust has signed them.
local sha1 = ...

local byte, char, floor, sub = string.byte, string.char, math.floor, string.sub

-- Identifiers in their DER form.
local SUBJECT_KEY, AUTHORITY_KEY, ALTERNATIVE_NAMES = "\85\29\14", "\85\29\35", "\85\29\17"
local SEQUENCE, SET, OCTETS, BITS, BOOLEAN = 0x30, 0x31, 0x04, 0x03, 0x01
local VERSION, EXTENSIONS, KEY_ID = 0xA0, 0xA3, 0x80
local EMAIL, DNS, URI, ADDRESS = 0x81, 0x82, 0x86, 0x87
local UNIVERSAL = 0x1C

-- OpenSSL's short names of attributes (crypto/objects); others are written as numbers.
local SHORT = {
  ["2.5.4.3"] = "CN",
  ["2.5.4.4"] = "SN",
  ["2.5.4.5"] = "serialNumber",
  ["2.5.4.6"] = "C",
  ["2.5.4.7"] = "L",
  ["2.5.4.8"] = "ST",
  ["2.5.4.9"] = "street",
  ["2.5.4.10"] = "O",
  ["2.5.4.11"] = "OU",
  ["2.5.4.12"] = "title",
  ["2.5.4.13"] = "description",
  ["2.5.4.15"] = "businessCategory",
  ["2.5.4.17"] = "postalCode",
  ["2.5.4.41"] = "name",
  ["2.5.4.42"] = "GN",
  ["2.5.4.43"] = "initials",
  ["2.5.4.44"] = "generationQualifier",
  ["2.5.4.46"] = "dnQualifier",
  ["2.5.4.65"] = "pseudonym",
  ["2.5.4.97"] = "organizationIdentifier",
  ["1.2.840.113549.1.9.1"] = "emailAddress",
  ["0.9.2342.19200300.100.1.1"] = "UID",
  ["0.9.2342.19200300.100.1.25"] = "DC",
}

local function hex(bytes)
  return (bytes:gsub(".", function(each)
    return ("%02X"):format(byte(each))
  end))
end

-- The element at a place: its tag, its content, and where the next one begins.
local function element(der, place)
  local tag, length = byte(der, place, place + 1)
  local start = place + 2
  assert(length ~= nil and tag % 32 ~= 31, "certificate: no element")
  if length >= 0x80 then
    local count = length - 0x80
    assert(count >= 1 and count <= 3, "certificate: length")
    length = 0
    for _ = 1, count do
      length = length * 256 + assert(byte(der, start), "certificate: length")
      start = start + 1
    end
  end
  assert(start + length - 1 <= #der, "certificate: too short")
  return tag, sub(der, start, start + length - 1), start + length
end

-- All elements of a content: {tag, content} each.
local function elements(der)
  local found, place = {}, 1
  while place <= #der do
    local tag, content, after = element(der, place)
    found[#found + 1] = { tag, content }
    place = after
  end
  return found
end

local function expect(pair, tag)
  assert(pair ~= nil and pair[1] == tag, "certificate: another element was expected")
  return pair[2]
end

-- An object identifier in dotted form. One with a number that Lua cannot hold exactly stays hexadecimal.
local EXACT = 2 ^ 53

local function dotted(der)
  local numbers, value = {}, 0
  for place = 1, #der do
    local each = byte(der, place)
    value = value * 128 + each % 128
    if value >= EXACT then
      return "#" .. hex(der)
    end
    if each < 128 then
      if #numbers == 0 then
        numbers[1] = math.min(floor(value / 40), 2)
        value = value - 40 * numbers[1]
      end
      numbers[#numbers + 1] = ("%d"):format(value)
      value = 0
    end
  end
  return table.concat(numbers, ".")
end

-- A character string as OpenSSL's one-line form shows it: bytes, and of UniversalString the last byte of each
-- character when the others are zero. A slash or plus of the value is escaped: neither can begin an attribute.
local function shown(tag, content)
  if tag == UNIVERSAL and #content % 4 == 0 and not content:gsub("(...).", "%1"):find("[^%z]") then
    content = content:gsub("...(.)", "%1")
  end
  content = content:gsub("[^ -~]", function(each)
    return ("\\x%02X"):format(byte(each))
  end)
  return (content:gsub("[/+]", "\\%0"))
end

-- "/C=DE/O=Acme/CN=a" (X509_NAME_oneline of OpenSSL 3): in the order of the certificate, "+" within a set.
local function legacy(name)
  local parts = {}
  for _, set in ipairs(elements(name)) do
    for place, attribute in ipairs(elements(expect(set, SET))) do
      local type_and_value = elements(expect(attribute, SEQUENCE))
      local oid = dotted(type_and_value[1][2])
      parts[#parts + 1] = (place == 1 and "/" or "+") .. (SHORT[oid] or oid) .. "=" .. shown(unpack(type_and_value[2]))
    end
  end
  return table.concat(parts)
end

local MAPPED = ("\0"):rep(10) .. "\255\255"

local function address(bytes)
  assert(#bytes == 4 or #bytes == 16, "certificate: address")
  return sub(bytes, 1, 12) == MAPPED and sub(bytes, 13) or bytes
end

local readers = {
  [SUBJECT_KEY] = function(facts, value)
    facts.ski = hex(expect(elements(value)[1], OCTETS))
  end,
  [AUTHORITY_KEY] = function(facts, value)
    for _, each in ipairs(elements(expect(elements(value)[1], SEQUENCE))) do
      if each[1] == KEY_ID then
        facts.issuer_ski = hex(each[2])
      end
    end
  end,
  [ALTERNATIVE_NAMES] = function(facts, value)
    local lists = { [EMAIL] = facts.email, [DNS] = facts.dns, [URI] = facts.uri, [ADDRESS] = facts.ip }
    for _, each in ipairs(elements(expect(elements(value)[1], SEQUENCE))) do
      local list = lists[each[1]]
      if list ~= nil then
        list[#list + 1] = each[1] == ADDRESS and address(each[2]) or each[2]
      end
    end
  end,
}

local function read_extensions(facts, extensions)
  local seen = {}
  for _, extension in ipairs(elements(extensions)) do
    local parts = elements(expect(extension, SEQUENCE))
    local oid = parts[1][2]
    local value = parts[2][1] == BOOLEAN and parts[3] or parts[2]
    -- RFC 5280, 4.2: not more than one of a kind.
    assert(not seen[oid], "certificate: an extension comes twice")
    seen[oid] = true
    if readers[oid] ~= nil then
      readers[oid](facts, expect(value, OCTETS))
    end
  end
end

local function read(der)
  local facts = { ski = "", issuer_ski = "", email = {}, dns = {}, uri = {}, ip = {} }
  local tag, content = element(der, 1)
  local certificate = elements(expect({ tag, content }, SEQUENCE))
  local parts = elements(expect(certificate[1], SEQUENCE))
  -- version (left out in version 1), serial number, algorithm, issuer, validity, subject, key
  local first = parts[1][1] == VERSION and 2 or 1
  facts.issuer = legacy(expect(parts[first + 2], SEQUENCE))
  facts.subject = legacy(expect(parts[first + 4], SEQUENCE))
  for place = first + 6, #parts do
    if parts[place][1] == EXTENSIONS then
      read_extensions(facts, expect(elements(parts[place][2])[1], SEQUENCE))
    end
  end
  facts.sha1 = sha1(der)
  return facts
end

-- Identifiers of the signatures and keys that count, in their DER form: RSA with SHA-2, also as PSS (with which the
-- proxy takes no other digests), ECDSA with SHA-2, Ed25519; RSA from 2048 bits on, P-256, P-384, P-521.
local RSA, EC, ED25519 = "\42\134\72\134\247\13\1\1", "\42\134\72\206\61", "\43\101\112"
local SIGNATURES = {
  [RSA .. "\10"] = true,
  [RSA .. "\11"] = true,
  [RSA .. "\12"] = true,
  [RSA .. "\13"] = true,
  [EC .. "\4\3\2"] = true,
  [EC .. "\4\3\3"] = true,
  [EC .. "\4\3\4"] = true,
  [ED25519] = true,
}
local CURVES = { [EC .. "\3\1\7"] = true, ["\43\129\4\0\34"] = true, ["\43\129\4\0\35"] = true }
local LEAST_BYTES = 2048 / 8

local function is_strong(key)
  local parts = elements(key)
  local algorithm = elements(expect(parts[1], SEQUENCE))
  local oid = algorithm[1][2]
  if oid == RSA .. "\1" then
    -- The content of the bit string begins with how many bits of its last byte are unused: none.
    local numbers = elements(expect(elements(sub(expect(parts[2], BITS), 2))[1], SEQUENCE))
    local modulus = numbers[1][2]:gsub("^%z+", "")
    return #modulus > LEAST_BYTES or (#modulus == LEAST_BYTES and byte(modulus) >= 0x80)
  end
  return oid == ED25519 or (oid == EC .. "\2\1" and CURVES[algorithm[2][2]] == true)
end

-- Envoy writes these names into x-forwarded-client-cert as they are: a separator in one would be a new element.
local function are_plain(names)
  for place = 1, #names do
    if names[place]:find('[^!-~]') or names[place]:find('[",;]') then
      return false
    end
  end
  return true
end

-- Whether a leaf is signed and keyed as we want it from others' CAs, and has only names that can be passed on.
local function sound(der)
  local tag, content = element(der, 1)
  local certificate = elements(expect({ tag, content }, SEQUENCE))
  local parts = elements(expect(certificate[1], SEQUENCE))
  local first = parts[1][1] == VERSION and 2 or 1
  local facts = { email = {}, dns = {}, uri = {}, ip = {} }
  for place = first + 6, #parts do
    if parts[place][1] == EXTENSIONS then
      read_extensions(facts, expect(elements(parts[place][2])[1], SEQUENCE))
    end
  end
  local signature = elements(expect(certificate[2], SEQUENCE))[1][2]
  return SIGNATURES[signature] == true
    and is_strong(expect(parts[first + 5], SEQUENCE))
    and are_plain(facts.dns)
    and are_plain(facts.uri)
end

-- The base64 text of each certificate in what Envoy calls URL-encoded PEM.
local function bodies(encoded)
  local pem = encoded:gsub("%%(%x%x)", function(digits)
    return char(tonumber(digits, 16))
  end)
  local found = {}
  for body in pem:gmatch("%-%-%-%-%-BEGIN CERTIFICATE%-%-%-%-%-\n(.-)%-%-%-%-%-END CERTIFICATE") do
    found[#found + 1] = body:gsub("\n", "")
  end
  return found
end

-- A time as OpenSSL prints it: "Mar  1 13:35:00 2022 GMT".
local MONTHS = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }

local function time_text(seconds)
  local t = os.date("!*t", seconds)
  return ("%s %2d %02d:%02d:%02d %d GMT"):format(MONTHS[t.month], t.day, t.hour, t.min, t.sec, t.year)
end

return { read = read, sound = sound, bodies = bodies, time_text = time_text }
