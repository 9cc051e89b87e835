-- What the application is told about the client certificate, on every request anew: nothing, unless the
-- certificate is verified, not revoked and not of unknown state at this moment.
--
-- Envoy has taken every such header of the client's away, and set x-forwarded-client-cert for whatever certificate
-- was presented: here it is taken away again. An error in here leaves the request undecided, and the gate denies it.
local wanted, issuers, certificates, sha256 = ...

local XFCC = "x-forwarded-client-cert"
local CERT, CHAIN = "client-cert", "client-cert-chain"
local CLOUDFLARE_DER, CLOUDFLARE_DIGEST = "cf-client-cert-der-base64", "cf-client-cert-sha256"

-- The limits of Cloudflare's fields of the same content. What is longer is not forwarded: servers refuse requests
-- with headers of that size, and a part of a certificate is none.
local MOST_LEAF, MOST_CHAIN = 10 * 1024, 16 * 1024
-- More than this holds too long a certificate in every case: in a URL a character of base64 takes at most three.
local MOST_SENT = 80 * 1024

-- Values by what they are made of; forgotten when there are too many, for clients choose what they present.
local function memory(most)
  local kept, count = {}, 0
  local function keep(key, value)
    if count >= most then
      kept, count = {}, 0
    end
    kept[key], count = value, count + 1
    return value
  end
  return function(key)
    return kept[key]
  end, keep
end

local known_leaf, keep_leaf = memory(256)
local known_chain, keep_chain = memory(64)

-- RFC 9440, 2.1: a Byte Sequence of RFC 8941.
local function byte_sequence(body)
  return ":" .. body .. ":"
end

-- The certificate in both forms; empty when it is too long. By its digest: the same bytes say the same.
local function leaf_of(ssl, digest)
  local leaf = known_leaf(digest)
  if leaf == nil then
    local body = certificates.bodies(ssl:urlEncodedPemEncodedPeerCertificate())[1]
    local sequence = byte_sequence(body)
    leaf = keep_leaf(digest, #sequence <= MOST_LEAF and { der = body, sequence = sequence } or {})
  end
  return leaf
end

-- RFC 9440, 2.3, wants the chain that was used for the validation, but a client can send any certificate behind its
-- own: taken are, in the order sent, the issuer that Envoy found in the verified chain, and then each certificate
-- that this host trusts and that has issued the one before. The first other one ends the chain.
local function validated(handle, bodies, issuer)
  local parts, size, expected = {}, -2, nil
  for place = 2, #bodies do
    local part = byte_sequence(bodies[place])
    size = size + 2 + #part
    if size > MOST_CHAIN then
      return ""
    end
    local der = handle:base64Decode(bodies[place])
    local digest = sha256(der)
    if issuers[digest] == nil or (place == 2 and digest ~= issuer) then
      break
    end
    local facts = certificates.read(der)
    if expected ~= nil and facts.subject ~= expected then
      break
    end
    parts[#parts + 1] = part
    expected = facts.issuer
    if facts.subject == expected then
      break
    end
  end
  return table.concat(parts, ", ")
end

-- Kept by all that was sent: another connection with the same leaf can send another chain.
local function chain_of(request, ssl)
  local sent = ssl:urlEncodedPemEncodedPeerCertificateChain()
  if #sent > MOST_SENT then
    return ""
  end
  local issuer = ssl:sha256PeerCertificateIssuerDigest()
  local chain = known_chain(sent)
  if chain == nil or chain.issuer ~= issuer then
    local text = validated(request.handle, certificates.bodies(sent), issuer)
    chain = keep_chain(sent, { issuer = issuer, text = text })
  end
  return chain.text
end

local function set(headers, name, value)
  if value ~= nil and value ~= "" then
    headers:replace(name, value)
  end
end

return function(request)
  local headers = request.headers
  -- Envoy leaves the header "connection" of an upgrade as it came. A header that it names is dropped by whoever
  -- takes it for hop-by-hop (RFC 9110, 7.6.1): ours must not be.
  if headers:get("upgrade") ~= nil then
    headers:replace("connection", "upgrade")
  end
  local good = request.verified and not request.revoked and not request.unknown
  -- Without a certificate it is not there. After a change Envoy looks for the route again: only for a reason.
  if (not good or not wanted.xfcc) and headers:get(XFCC) ~= nil then
    headers:remove(XFCC)
  end
  if not good or not (wanted.rfc9440 or wanted.cloudflare) then
    return
  end
  local ssl = request.info:downstreamSslConnection()
  local digest = ssl:sha256PeerCertificateDigest()
  local leaf = leaf_of(ssl, digest)
  if wanted.rfc9440 and leaf.sequence ~= nil then
    headers:replace(CERT, leaf.sequence)
    set(headers, CHAIN, chain_of(request, ssl))
  end
  if wanted.cloudflare then
    set(headers, CLOUDFLARE_DER, leaf.der)
    headers:replace(CLOUDFLARE_DIGEST, digest)
  end
end
