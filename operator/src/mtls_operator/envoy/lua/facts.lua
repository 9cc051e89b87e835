-- The facts that expressions read: f["<field>"]. Each is computed when it is first read, for one request; none
-- is ever nil. A field that does not exist raises an error, and the gate then denies the request.
local packed, collections = ...

-- Key of the request within its table of facts; no field has this name.
local REQUEST = 1

-- Cipher suites of TLS 1.3 under the names that Cloudflare gives them; the others have OpenSSL's.
local CIPHERS = {
  TLS_AES_128_GCM_SHA256 = "AEAD-AES128-GCM-SHA256",
  TLS_AES_256_GCM_SHA384 = "AEAD-AES256-GCM-SHA384",
  TLS_CHACHA20_POLY1305_SHA256 = "AEAD-CHACHA20-POLY1305-SHA256",
}

-- Facts of the certificate are "" without one. With one that is not valid they are filled: "verified" alone
-- says whether they are worth anything.
local function certificate(method)
  return function(request)
    local ssl = request.ssl
    return ssl and ssl[method](ssl) or ""
  end
end

local serial = certificate("serialNumberPeerCertificate")

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
    local values = lines(request).map[name]
    return values and values[1] or ""
  end
end

-- All values of a header in one text.
local function joined(name, joint)
  return function(request)
    return table.concat(lines(request).map[name] or {}, joint)
  end
end

local cookie = joined("cookie", "; ")

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
    return request.ssl ~= nil
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
  ["cf.tls_client_auth.cert_serial"] = function(request)
    return serial(request):upper()
  end,
  ["cf.tls_client_auth.cert_subject_dn"] = certificate("subjectPeerCertificate"),
  ["cf.tls_client_auth.cert_issuer_dn"] = certificate("issuerPeerCertificate"),
  ["cf.tls_client_auth.cert_fingerprint_sha256"] = certificate("sha256PeerCertificateDigest"),
  ["cf.tls_version"] = certificate("tlsVersion"),
  ["cf.tls_cipher"] = function(request)
    local name = request.ssl and request.ssl:ciphersuiteString() or ""
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
  ["http.x_forwarded_for"] = joined("x-forwarded-for", ", "),
  ["http.request.cookies"] = function(request)
    return collections.cookies(cookie(request))
  end,
  ["http.request.full_uri"] = function(request)
    return (request.ssl and "https://" or "http://") .. request.host .. uri(request)
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
