-- Says for every presented certificate whether it is revoked, in the filter state "mtls.revoked":
--   "0" not revoked, or not validated and so of no worth anyway
--   "1" revoked
--   "?" validated, but no list speaks of it: there is none of its issuer, or its serial number is not of the form that
--       we give out, so that somebody else has signed with the key of a CA that was given to us
-- and behind that a blank and the epoch of the lists, for the access log.
-- Without a certificate nothing is set. When this script fails nothing is set either: the rules script takes
-- a presented certificate without an answer for one of unknown state.
--
-- lists: digest of the issuing certificate -> the index of its first certificate, and one bit per certificate that it
-- ever issued, six to a character of the base64 alphabet, lowest bit first. The last four bytes of a serial number
-- are the index. A certificate that is newer than the list is not on it.
local lists, epoch, by_connection = ...

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local BEHIND = (" %d"):format(epoch)
local BITS = 6
local INDEX_DIGITS = 8
-- Hexadecimal digits of a serial number with an index; the first of them is below the one whose byte has a sign.
local SERIAL_DIGITS, SIGNED = 38, string.byte("8")

local byte, floor = string.byte, math.floor

local bits_of = {}
for position = 1, #ALPHABET do
  bits_of[byte(ALPHABET, position)] = position - 1
end

local function state_of(ssl)
  local list = lists[ssl:sha256PeerCertificateIssuerDigest()]
  local serial = ssl:serialNumberPeerCertificate()
  local index = tonumber(serial:sub(-INDEX_DIGITS), 16)
  if list == nil or index == nil or #serial ~= SERIAL_DIGITS or byte(serial) >= SIGNED then
    return "?"
  end
  local place = index - list[1]
  local symbol = place >= 0 and byte(list[2], floor(place / BITS) + 1) or nil
  if symbol ~= nil and floor(bits_of[symbol] / 2 ^ (place % BITS)) % 2 == 1 then
    return "1"
  end
  return "0"
end

-- What is said about a certificate, or false when none was presented. One script has one set of lists, so that this
-- holds for as long as the connection and the script do.
local said = by_connection(function(info)
  local ssl = info:downstreamSslConnection()
  if ssl == nil or not ssl:peerCertificatePresented() then
    return false
  end
  return (ssl:peerCertificateValidated() and state_of(ssl) or "0") .. BEHIND
end)

return function(handle)
  local info = handle:streamInfo()
  local state = info:filterState()
  local revoked = said(info, state)
  if revoked then
    state:set("mtls.revoked", "envoy.string", revoked)
  end
end
