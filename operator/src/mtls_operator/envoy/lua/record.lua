-- What the access log and the counters learn about a request: the dynamic metadata "mtls".
--
--   logged   whether the request gets a line; "log" is what stands in it
--   counted  whether the request is counted: as "count", and where several rules applied as "more" too
--
-- Every text is bounded: what a client sends once per connection must not fill the log with every request.
local epoch = ...

local MOST_SUBJECT, MOST_SERIAL = 256, 64
local MOST_NAMED = 32
-- Slots of "more"; the loggers of the listener name each of them.
local SLOTS = 8
-- No rule has this name.
local REST = "+more"

local function names_of(rules)
  local names = {}
  for position = 1, math.min(#rules, MOST_NAMED) do
    names[position] = rules[position].name
  end
  if #rules > MOST_NAMED then
    names[#names + 1] = ("+%d more"):format(#rules - MOST_NAMED)
  end
  return names
end

-- request.presented is nil until the certificate has been judged.
local function line(request, action, rule, logs)
  local text = { action = action, rule = rule and rule.name, rules_epoch = epoch }
  if #logs > 0 then
    text.log_rules = names_of(logs)
  end
  if request.presented == nil then
    return text
  end
  text.presented, text.verified = request.presented, request.verified
  text.revoked, text.unknown = request.revoked, request.unknown
  if request.presented then
    local ssl = request.info:downstreamSslConnection()
    text.subject = ssl:subjectPeerCertificate():sub(1, MOST_SUBJECT)
    text.serial = ssl:serialNumberPeerCertificate():sub(1, MOST_SERIAL)
    -- Where it was not set, get() returns nothing at all.
    local said = request.state:get("mtls.revoked")
    text.revocation_epoch = said and tonumber(said:match(" (%d+)$"))
  end
  return text
end

-- Log rules beside the one that is counted first. A slot that is not used adds nothing to a counter that exists.
local function more(first, logs, from)
  local slots = {}
  for slot = 1, SLOTS do
    local rule = logs[from + slot - 1]
    slots[tostring(slot)] = rule and { rule = rule.name, action = "log", add = 1 }
      or { rule = first.rule, action = first.action, add = 0 }
  end
  local rest = #logs - (from + SLOTS - 1)
  if rest > 0 then
    slots.rest = { rule = REST, action = "log", add = rest }
  else
    slots.rest = { rule = first.rule, action = first.action, add = 0 }
  end
  return slots
end

-- rule: the one that ended the evaluation, or nil; logs: the Log rules that applied, in order, each once.
return function(request, action, rule, logs)
  local metadata = request.info:dynamicMetadata()
  local named = rule or logs[1]
  local first = { rule = named and named.name or "", action = action }
  local from = rule == nil and 2 or 1
  metadata:set("mtls", "counted", true)
  metadata:set("mtls", "count", first)
  if logs[from] ~= nil then
    metadata:set("mtls", "several", true)
    metadata:set("mtls", "more", more(first, logs, from))
  end
  -- Letting through is not worth a line.
  if action ~= "skip" or #logs > 0 then
    metadata:set("mtls", "logged", true)
    metadata:set("mtls", "log", line(request, action, rule, logs))
  end
end
