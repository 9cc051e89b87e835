-- The facts that expressions read: f["<field>"]. Each is computed when it is first read, for one request; none
-- is ever nil. A field that does not exist raises an error, and the gate then denies the request.
local packed = ...

-- Key of the request within its table of facts; no field has this name.
local REQUEST = 1

-- Facts of the certificate are "" without one. With one that is not valid they are filled: "verified" alone
-- says whether they are worth anything.
local function certificate(method)
  return function(request)
    local ssl = request.ssl
    return ssl and ssl[method](ssl) or ""
  end
end

local serial = certificate("serialNumberPeerCertificate")

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
  ["http.host"] = function(request)
    return request.host
  end,
  ["http.request.method"] = function(request)
    return request.headers:get(":method")
  end,
  ["http.request.uri"] = function(request)
    if request.query == "" then
      return request.path
    end
    return request.path .. "?" .. request.query
  end,
  ["http.request.uri.path"] = function(request)
    return request.path
  end,
  ["http.request.uri.query"] = function(request)
    return request.query
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
