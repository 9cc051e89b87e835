-- What a refused client is told: a fixed text and the request's id, which is ours. Nothing that it sent comes back.
--
-- The text is JSON unless the client accepts it less than plain text (RFC 9110, 12.5.1), or what the author of a rule
-- wrote. A gRPC client gets it as grpc-message: Envoy turns an answer to it into a trailers-only response with the
-- gRPC status that goes with the HTTP status.
local JSON, TEXT = "application/json", "text/plain"
-- More of an Accept header is not looked at.
local MOST_READ = 1024

-- How specific a media range is, and how much a client wants what is in it.
local function ranges(accept)
  local found = {}
  for element in accept:sub(1, MOST_READ):lower():gmatch("[^,]+") do
    local name = element:match("^%s*([^%s;]+)")
    if name ~= nil then
      found[name] = tonumber(element:match(";%s*q=([%d.]+)")) or 1
    end
  end
  return found
end

local function weight(found, media_type)
  return found[media_type] or found[media_type:match("^[^/]+") .. "/*"] or found["*/*"] or 0
end

-- Without an Accept header everything is accepted.
local function wants_json(accept)
  local found = ranges(accept or "")
  if next(found) == nil then
    return true
  end
  local json = weight(found, JSON)
  return json > 0 and json >= weight(found, TEXT)
end

-- As Envoy tells gRPC requests.
local function is_grpc(content_type)
  return content_type ~= nil and content_type:match("^application/grpc%f[+%z]") ~= nil
end

-- The id that the proxy gave the request. Another text than that of a UUID is nothing that it gave.
local function id_of(headers)
  local id = headers:get("x-request-id")
  return id ~= nil and #id == 36 and id:match("^[%x-]+$") or nil
end

local function json_text(message, id)
  if id == nil then
    return ('{"error":"%s"}\n'):format(message)
  end
  return ('{"error":"%s","request_id":"%s"}\n'):format(message, id)
end

local function plain_text(message, id)
  if id == nil then
    return message .. "\n"
  end
  return ("%s\nrequest id: %s\n"):format(message, id)
end

-- Headers and body of the answer to a request. own: body and content type from a rule, or nil. Never kept by a cache: it
-- may be about a path that others may see.
return function(headers, status, message, own)
  local id = id_of(headers)
  local fields = { [":status"] = status, ["cache-control"] = "no-store", ["x-request-id"] = id }
  if own ~= nil then
    fields["content-type"] = own.content_type
    return fields, own.body
  end
  if is_grpc(headers:get("content-type")) then
    return fields, message
  end
  if wants_json(headers:get("accept")) then
    fields["content-type"] = JSON
    return fields, json_text(message, id)
  end
  fields["content-type"] = TEXT
  return fields, plain_text(message, id)
end
