-- The facts that expressions read: f["<field>"]. Each is computed when it is first read, for one request; none
-- is ever nil. A field that does not exist raises an error, and the gate then denies the request.
local packed, collections, certificates = ...

-- Key of the request within its table of facts; no field has this name.
local REQUEST = 1

-- Cipher suites of TLS 1.3 under the names that Cloudflare gives them; the others have OpenSSL's.
local CIPHERS = {
  TLS_AES_128_GCM_SHA256 = "AEAD-AES128-GCM-SHA256",
  TLS_AES_256_GCM_SHA384 = "AEAD-AES256-GCM-SHA384",
  TLS_CHACHA20_POLY1305_SHA256 = "AEAD-CHACHA20-POLY1305-SHA256",
}

-- Asked for only where a rule reads it: most requests are decided without.
local function ssl_of(request)
  return request.info:downstreamSslConnection()
end

-- Facts of the certificate are "" without one. With one that is not valid they are filled: "verified" alone
-- says whether they are worth anything.
local function certificate(method)
  return function(request)
    local ssl = ssl_of(request)
    return ssl and ssl[method](ssl) or ""
  end
end

-- Hexadecimal digits in upper case.
local function number(method)
  local read = certificate(method)
  return function(request)
    return read(request):upper()
  end
end

-- A point in time as text; Envoy gives 0 without a certificate.
local function time(method)
  return function(request)
    if not request.presented then
      return ""
    end
    local ssl = ssl_of(request)
    return certificates.time_text(ssl[method](ssl))
  end
end

-- Facts that are read from the certificate itself, by its SHA-256: the same bytes say the same. How often that is
-- kept is bounded, for clients choose what they present.
local MOST_KEPT = 256
local NOTHING = { sha1 = "", ski = "", issuer_ski = "", subject = "", issuer = "", email = {}, dns = {}, uri = {}, ip = {} }
local kept, kept_count = {}, 0

local function leaf(request)
  if not request.presented then
    return NOTHING
  end
  local ssl = ssl_of(request)
  local digest = ssl:sha256PeerCertificateDigest()
  if kept[digest] == nil then
    local body = certificates.bodies(ssl:urlEncodedPemEncodedPeerCertificate())[1]
    local facts = certificates.read(request.handle:base64Decode(body))
    if kept_count >= MOST_KEPT then
      kept, kept_count = {}, 0
    end
    kept[digest], kept_count = facts, kept_count + 1
  end
  return kept[digest]
end

local function inside(name)
  return function(request)
    return leaf(request)[name]
  end
end

-- RFC 9440: byte sequences of the leaf and of the rest of the chain as the client sent it. Never kept: other
-- connections with the same leaf can send another chain.
local MOST_LEAF, MOST_CHAIN = 10 * 1024, 16 * 1024

local function encoded_leaf(request)
  local body = request.presented and certificates.bodies(ssl_of(request):urlEncodedPemEncodedPeerCertificate())[1]
  return body and ":" .. body .. ":" or ""
end

local function encoded_chain(request)
  local bodies = request.presented and certificates.bodies(ssl_of(request):urlEncodedPemEncodedPeerCertificateChain()) or {}
  local parts = {}
  for i = 2, #bodies do
    parts[#parts + 1] = ":" .. bodies[i] .. ":"
  end
  return table.concat(parts, ", ")
end

local function unless_longer(encoded, most)
  return function(request)
    local text = encoded(request)
    return #text <= most and text or ""
  end
end

local function is_longer(encoded, most)
  return function(request)
    return #encoded(request) > most
  end
end

local function lines(request)
  request.lines = request.lines or collections.header_lines(request.headers, request.host)
  return request.lines
end

local function arguments(request)
  request.arguments = request.arguments or collections.arguments(request.query)
  return request.arguments
end

-- The value of a header that has one; "" when there is none.
local function first(name)
  return function(request)
    return collections.values_of(request.headers, name)[1] or ""
  end
end

local function cookie(request)
  return table.concat(collections.values_of(request.headers, "cookie"), "; ")
end

local function uri(request)
  if request.query == "" then
    return request.path
  end
  return request.path .. "?" .. request.query
end

-- Milliseconds since 1970; one instant for the whole request.
local function arrival(request)
  request.arrival = request.arrival or request.handle:timestamp()
  return request.arrival
end

local fields = {
  ["true"] = function()
    return true
  end,
  ["false"] = function()
    return false
  end,
  ["ssl"] = function(request)
    return ssl_of(request) ~= nil
  end,
  ["cf.tls_client_auth.cert_presented"] = function(request)
    return request.presented
  end,
  ["cf.tls_client_auth.cert_verified"] = function(request)
    return request.verified
  end,
  ["cf.tls_client_auth.cert_revoked"] = function(request)
    return request.revoked
  end,
  ["cf.tls_client_auth.cert_serial"] = number("serialNumberPeerCertificate"),
  ["cf.tls_client_auth.cert_issuer_serial"] = number("serialNumberPeerCertificateIssuer"),
  ["cf.tls_client_auth.cert_subject_dn"] = certificate("subjectPeerCertificate"),
  ["cf.tls_client_auth.cert_issuer_dn"] = certificate("issuerPeerCertificate"),
  ["cf.tls_client_auth.cert_subject_dn_rfc2253"] = certificate("subjectPeerCertificate"),
  ["cf.tls_client_auth.cert_issuer_dn_rfc2253"] = certificate("issuerPeerCertificate"),
  ["cf.tls_client_auth.cert_subject_dn_legacy"] = inside("subject"),
  ["cf.tls_client_auth.cert_issuer_dn_legacy"] = inside("issuer"),
  ["cf.tls_client_auth.cert_not_before"] = time("validFromPeerCertificate"),
  ["cf.tls_client_auth.cert_not_after"] = time("expirationPeerCertificate"),
  ["cf.tls_client_auth.cert_ski"] = inside("ski"),
  ["cf.tls_client_auth.cert_issuer_ski"] = inside("issuer_ski"),
  ["cf.tls_client_auth.cert_fingerprint_sha1"] = inside("sha1"),
  ["cf.tls_client_auth.cert_rfc9440"] = unless_longer(encoded_leaf, MOST_LEAF),
  ["cf.tls_client_auth.cert_rfc9440_too_large"] = is_longer(encoded_leaf, MOST_LEAF),
  ["cf.tls_client_auth.cert_chain_rfc9440"] = unless_longer(encoded_chain, MOST_CHAIN),
  ["cf.tls_client_auth.cert_chain_rfc9440_too_large"] = is_longer(encoded_chain, MOST_CHAIN),
  ["tls.client.san.dns"] = inside("dns"),
  ["tls.client.san.uri"] = inside("uri"),
  ["tls.client.san.email"] = inside("email"),
  ["tls.client.san.ip"] = inside("ip"),
  ["cf.tls_client_auth.cert_fingerprint_sha256"] = certificate("sha256PeerCertificateDigest"),
  ["cf.tls_version"] = certificate("tlsVersion"),
  ["cf.tls_cipher"] = function(request)
    local ssl = ssl_of(request)
    local name = ssl and ssl:ciphersuiteString() or ""
    return CIPHERS[name] or name
  end,
  ["cf.edge.server_ip"] = function(request)
    return packed(request.info:downstreamDirectLocalAddress())
  end,
  ["cf.edge.server_port"] = function(request)
    return tonumber(request.info:downstreamDirectLocalAddress():match(":(%d+)$"))
  end,
  ["http.host"] = function(request)
    return request.host
  end,
  ["http.cookie"] = cookie,
  ["http.referer"] = first("referer"),
  ["http.user_agent"] = first("user-agent"),
  ["http.x_forwarded_for"] = function(request)
    return table.concat(lines(request).map["x-forwarded-for"] or {}, ", ")
  end,
  ["http.request.cookies"] = function(request)
    return collections.cookies(cookie(request))
  end,
  ["http.request.full_uri"] = function(request)
    return (ssl_of(request) and "https://" or "http://") .. request.host .. uri(request)
  end,
  ["http.request.headers"] = function(request)
    return lines(request).map
  end,
  ["http.request.headers.names"] = function(request)
    return lines(request).names
  end,
  ["http.request.headers.values"] = function(request)
    return lines(request).values
  end,
  -- A request with more headers than the limits allow is refused before any rule.
  ["http.request.headers.truncated"] = function()
    return false
  end,
  ["http.request.method"] = function(request)
    return request.headers:get(":method")
  end,
  ["http.request.timestamp.sec"] = function(request)
    return math.floor(arrival(request) / 1000)
  end,
  ["http.request.timestamp.msec"] = function(request)
    return arrival(request) % 1000
  end,
  ["http.request.uri"] = uri,
  ["http.request.uri.args"] = function(request)
    return arguments(request).map
  end,
  ["http.request.uri.args.names"] = function(request)
    return arguments(request).names
  end,
  ["http.request.uri.args.values"] = function(request)
    return arguments(request).values
  end,
  ["http.request.uri.path"] = function(request)
    return request.path
  end,
  -- Behind the last dot of the last segment, unless that dot is its first character.
  ["http.request.uri.path.extension"] = function(request)
    return (request.path:match("[^/]%.([^./]*)$") or ""):lower()
  end,
  ["http.request.uri.query"] = function(request)
    return request.query
  end,
  ["http.request.version"] = function(request)
    return request.info:protocol()
  end,
  ["ip.src"] = function(request)
    return packed(request.info:downstreamDirectRemoteAddress())
  end,
}

local lazy = {
  __index = function(facts, field)
    local value = fields[field](rawget(facts, REQUEST))
    if value == nil then
      error("no value for " .. field)
    end
    rawset(facts, field, value)
    return value
  end,
}

return function(request)
  return setmetatable({ [REQUEST] = request }, lazy)
end
