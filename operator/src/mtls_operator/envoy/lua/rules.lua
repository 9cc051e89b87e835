-- Decides every request: whether it is for us, what its certificate is worth, and what the rules say.
--
-- The decision is the filter state "mtls.decision". "allow" is set by the very last statement: whatever fails
-- before leaves it unset, and the gate behind this filter denies. Nothing after handle:respond() runs.
local config, rules_for, facts_of, paths, answer, record, forward, own, by_connection = ...

local READY = "/.mtls/ready"
local DENIED = "client certificate required"

-- The kubelet asks by address and without a server name. It is told that this script runs; the application is
-- not asked.
local function ready(handle, headers, info)
  info:filterState():set("mtls.decision", "envoy.string", "ready")
  if headers:get(":method") ~= "GET" then
    handle:respond({ [":status"] = "405", ["allow"] = "GET" }, "")
  end
  handle:respond({ [":status"] = "200", ["content-type"] = "text/plain" }, "ok\n")
end

local NONE = {}

local function refuse(request, action, status, message)
  record(request, action, nil, NONE)
  request.handle:respond(answer(request.headers, status, message))
end

-- An exact name, or a wildcard that stands for exactly one label (RFC 6125, 6.4.3). An authority can hold more than
-- letters, digits, "-" and "_", and a client chooses its server name: "x@admin.example.com" and "%61dmin.example.com"
-- are "admin.example.com" for some applications, and another host for rules.
local function is_ours(host)
  return config.exact[host] or config.wildcard[host:match("^[%w_-]+%.(.+)$") or ""] or false
end

-- The server name that the client asked for, and its certificate: whether it presented one, the issuer in the verified
-- chain (false when there is none), and when it or its issuer ends.
local client_of = by_connection(function(info)
  local ssl = info:downstreamSslConnection()
  local client = { name = info:requestedServerName():lower(), presented = false, issuer = false }
  if ssl ~= nil and ssl:peerCertificatePresented() then
    client.presented, client.ends = true, ssl:expirationPeerCertificate()
    client.issuer = ssl:peerCertificateValidated() and ssl:sha256PeerCertificateIssuerDigest()
    client.ends = math.min(client.ends, config.ends[client.issuer] or client.ends)
  end
  return client
end)

-- What the presented certificate is worth now, not when the connection was opened. An issuer is true in the table when
-- the filter before this one has its list (a managed CA), and false when users brought it.
local function judge(request, client)
  -- Where it was not set, get() returns nothing at all.
  local said = request.state:get("mtls.revoked")
  local state = said and said:sub(1, 1)
  local listed, imported = false, "0"
  if client.issuer and os.time() < client.ends then
    local managed = config.issuers[client.issuer]
    listed = managed == true
    request.verified = listed or (managed == false and own.is_sound(request))
    if request.verified and not listed then
      imported = own.state(request, client.issuer)
    end
  end
  request.revoked = request.verified and (state == "1" or imported == "1")
  request.unknown = imported == "?" or (state ~= "0" and state ~= "1" and (state ~= "?" or listed))
end

-- The rule that ends the evaluation, or nil; adds the Log rules that apply to logs, each once.
local function evaluate(request, logs)
  local rules = rules_for(request.path, request.verified and not request.revoked)
  local facts = #rules > 0 and facts_of(request)
  for position = 1, #rules do
    local rule = rules[position]
    if rule.applies(facts, rule.constants) then
      if rule.action ~= "log" then
        return rule
      end
      if not logs[rule.name] then
        logs[rule.name] = true
        logs[#logs + 1] = rule
      end
    end
  end
  return nil
end

-- A path is judged in every reading that it has; a Block in any of them counts.
local function verdict(request, simple, logs)
  local rule = evaluate(request, logs)
  if simple or (rule ~= nil and rule.action == "block") then
    return rule
  end
  local readings = paths.readings(request.path)
  for position = 1, #readings do
    local reading = setmetatable({ path = readings[position] }, { __index = request })
    local other = evaluate(reading, logs)
    if other ~= nil and other.action == "block" then
      return other
    end
  end
  return rule
end

return function(handle)
  local headers, info = handle:headers(), handle:streamInfo()
  local state = info:filterState()
  -- With the fields that come later: a table that grows is made again. What is presented is not known yet.
  local request = {
    handle = handle,
    headers = headers,
    info = info,
    state = state,
    host = "",
    path = "",
    query = "",
    verified = false,
    revoked = false,
    unknown = false,
  }
  -- Methods are in upper case, and rules compare bytes: over HTTP/2 Envoy lets others pass, which some applications read
  -- as those in upper case.
  if (headers:get(":method") or ""):find("%l") then
    refuse(request, "malformed", "400", "malformed method")
  end
  -- CONNECT has no path.
  local target = headers:get(":path") or ""
  local mark = target:find("?", 1, true)
  local sent = mark and target:sub(1, mark - 1) or target
  local path, simple = sent, paths.simple(sent)
  if not simple then
    if not paths.plain(sent) then
      refuse(request, "malformed", "400", "malformed path")
    end
    path = paths.canonical(sent)
  end
  if path == READY then
    ready(handle, headers, info)
  end

  local client = client_of(info, state)
  local authority = headers:get(":authority") or ""
  local host = authority:lower()
  if not is_ours(host) or client.name ~= host then
    refuse(request, "misdirected", "421", "misdirected request")
  end
  if host ~= authority then
    headers:replace(":authority", host)
  end
  if path ~= sent then
    headers:replace(":path", path .. target:sub(#sent + 1))
  end

  request.host, request.path, request.query = host, path, mark and target:sub(mark + 1) or ""
  request.presented = client.presented
  if client.presented then
    judge(request, client)
  end
  if request.unknown and config.reads_certificate then
    refuse(request, "unknown", "403", DENIED)
  end

  local logs = {}
  local rule = verdict(request, simple, logs)
  if rule ~= nil or #logs > 0 then
    record(request, rule and rule.action or "log", rule, logs)
  end
  if rule ~= nil and rule.action == "block" then
    handle:respond(answer(headers, rule.status, DENIED, rule.own))
  end
  forward(request)
  state:set("mtls.decision", "envoy.string", "allow")
end
