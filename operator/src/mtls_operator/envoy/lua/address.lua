-- Text of a peer address, as Envoy prints it ("192.0.2.1:443", "[2001:db8::1]:443"), to its 4 or 16 bytes.
-- An IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) becomes the IPv4 address. Anything else raises an error.
local char, floor = string.char, math.floor

local MAPPED = ("\0"):rep(10) .. "\255\255"

local function packed4(text)
  local parts = { text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
  for position = 1, 4 do
    parts[position] = tonumber(parts[position])
  end
  return char(unpack(parts, 1, 4))
end

-- Groups of one side of "::", as bytes; a last group in dotted form counts as two.
local function packed_groups(text)
  local bytes = {}
  for group in text:gmatch("[^:]+") do
    if group:find(".", 1, true) then
      bytes[#bytes + 1] = packed4(group)
    else
      local value = tonumber(group, 16)
      bytes[#bytes + 1] = char(floor(value / 256), value % 256)
    end
  end
  return table.concat(bytes)
end

local function packed6(text)
  local left, right = text:match("^(.-)::(.*)$")
  local bytes
  if left == nil then
    bytes = packed_groups(text)
  else
    local head, tail = packed_groups(left), packed_groups(right)
    bytes = head .. ("\0"):rep(16 - #head - #tail) .. tail
  end
  if #bytes ~= 16 then
    error("not an address: " .. text)
  end
  if bytes:sub(1, 12) == MAPPED then
    return bytes:sub(13)
  end
  return bytes
end

return function(text)
  local inner = text:match("^%[([%x:.]+)[^%]]*%]:%d+$")
  if inner ~= nil then
    return packed6(inner)
  end
  return packed4(text:match("^([%d.]+):%d+$"))
end
