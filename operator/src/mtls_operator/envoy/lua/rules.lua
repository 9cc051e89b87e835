-- Decides every request: whether it is for us, what its certificate is worth, and what the rules say.
--
-- The decision is the filter state "mtls.decision". "allow" is set by the very last statement: whatever fails
-- before leaves it unset, and the gate behind this filter denies. Nothing after handle:respond() runs.
local config, rules, facts_of, paths, forward = ...

local READY = "/.mtls/ready"
local JSON = "application/json"
local DENIED = '{"error":"client certificate required"}\n'

-- The kubelet asks by address and without a server name. It is told that this script runs; the application is
-- not asked.
local function ready(handle, headers, info)
  info:filterState():set("mtls.decision", "envoy.string", "ready")
  if headers:get(":method") ~= "GET" then
    handle:respond({ [":status"] = "405", ["allow"] = "GET" }, "")
  end
  handle:respond({ [":status"] = "200", ["content-type"] = "text/plain" }, "ok\n")
end

local function note(info, action, names, logged)
  local metadata = info:dynamicMetadata()
  metadata:set("mtls", "action", action)
  metadata:set("mtls", "rule", names)
  metadata:set("mtls", "logged", logged)
end

local function refuse(handle, info, action, status, body)
  note(info, action, "", true)
  handle:respond({ [":status"] = status, ["content-type"] = JSON }, body)
end

-- An exact name, or a wildcard that stands for exactly one label (RFC 6125, 6.4.3).
local function is_ours(host)
  return config.exact[host] or config.wildcard[host:match("^[^.]+%.(.+)$") or ""] or false
end

-- What the presented certificate is worth now, not when the connection was opened.
local function judge(request)
  local ssl = request.ssl
  request.presented = ssl ~= nil and ssl:peerCertificatePresented()
  request.verified, request.revoked, request.unknown = false, false, false
  if not request.presented then
    return
  end
  local state = request.info:filterState():get("mtls.revoked")
  local listed = false
  if ssl:peerCertificateValidated() and os.time() < ssl:expirationPeerCertificate() then
    local issuer = config.issuers[ssl:sha256PeerCertificateIssuerDigest()]
    request.verified = issuer ~= nil
    listed = issuer == true
  end
  request.revoked = request.verified and state == "1"
  request.unknown = state ~= "0" and state ~= "1" and (state ~= "?" or listed)
end

-- The rule that ends the evaluation, or nil; adds every rule that applies to matched.
local function evaluate(request, matched)
  local facts = facts_of(request)
  for position = 1, #rules do
    local rule = rules[position]
    if rule.applies(facts) then
      matched[#matched + 1] = rule
      if rule.action ~= "log" then
        return rule
      end
    end
  end
  return nil
end

-- A path is judged in every reading that it has; a Block in any of them counts.
local function verdict(request, matched)
  local rule = evaluate(request, matched)
  if rule ~= nil and rule.action == "block" then
    return rule
  end
  local readings = paths.readings(request.path)
  for position = 1, #readings do
    local reading = setmetatable({ path = readings[position] }, { __index = request })
    local other = evaluate(reading, matched)
    if other ~= nil and other.action == "block" then
      return other
    end
  end
  return rule
end

-- Names of the rules that applied, in order, each once.
local function names_of(matched)
  local names, seen = {}, {}
  for position = 1, #matched do
    local name = matched[position].name
    if not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  return table.concat(names, ",")
end

-- Whether anything but a Skip applied: letting through is not worth a line in the log.
local function worth_logging(matched)
  for position = 1, #matched do
    if matched[position].action ~= "skip" then
      return true
    end
  end
  return false
end

return function(handle)
  local headers, info = handle:headers(), handle:streamInfo()
  -- CONNECT has no path.
  local target = headers:get(":path") or ""
  local sent, query = target:match("^([^?]*)%??(.*)$")
  if not paths.plain(sent) then
    refuse(handle, info, "malformed", "400", '{"error":"malformed path"}\n')
  end
  local path = paths.canonical(sent)
  if path == READY then
    ready(handle, headers, info)
  end

  local authority = headers:get(":authority") or ""
  local host = authority:lower()
  if not is_ours(host) or info:requestedServerName():lower() ~= host then
    refuse(handle, info, "misdirected", "421", '{"error":"misdirected request"}\n')
  end
  if host ~= authority then
    headers:replace(":authority", host)
  end
  if path ~= sent then
    headers:replace(":path", path .. target:sub(#sent + 1))
  end

  local request = {
    handle = handle,
    headers = headers,
    info = info,
    ssl = info:downstreamSslConnection(),
    host = host,
    path = path,
    query = query,
  }
  judge(request)
  if request.unknown and config.reads_certificate then
    refuse(handle, info, "unknown", "403", DENIED)
  end

  local matched = {}
  local rule = verdict(request, matched)
  if #matched > 0 then
    note(info, (rule or matched[#matched]).action, names_of(matched), worth_logging(matched))
  end
  if rule ~= nil and rule.action == "block" then
    local headers_of_answer = { [":status"] = rule.status, ["content-type"] = rule.content_type or JSON }
    handle:respond(headers_of_answer, rule.body or DENIED)
  end
  forward(request)
  info:filterState():set("mtls.decision", "envoy.string", "allow")
end
