-- The parts of a request that come in any number: header lines, cookies, query arguments.
-- An array is a table without holes, a map a table from names to arrays of values.

-- Headers that this proxy sets itself; it drops what a client sends under these names.
local OURS = {
  ["x-envoy-external-address"] = true,
  ["x-envoy-internal"] = true,
  ["x-forwarded-client-cert"] = true,
  ["x-forwarded-proto"] = true,
  ["x-request-id"] = true,
}
local FORWARDED_FOR = "x-forwarded-for"
local byte = string.byte
local TAB, SPACE, COLON = byte("\t :", 1, 3)

local function map_of(names, values)
  local map = {}
  for i = 1, #names do
    local list = map[names[i]]
    if list == nil then
      map[names[i]] = { values[i] }
    else
      list[#list + 1] = values[i]
    end
  end
  return map
end

-- Without blanks at both ends; in two steps, for patterns with two ends take quadratic time. Most have none.
local function trimmed(text)
  local first, last = byte(text, 1), byte(text, -1)
  if first ~= SPACE and first ~= TAB and last ~= SPACE and last ~= TAB then
    return text
  end
  local start = text:find("[^ \t]")
  return start and text:sub(start):match("^(.*[^ \t])") or ""
end

-- The value of a line as the client sent it, without blanks around it, which are no part of it (RFC 9110, 5.5): over
-- HTTP/2 a client can send some, and the application does not see them. Nil when the line is not the client's.
local function sent(name, value)
  if name == FORWARDED_FOR then
    -- The proxy has appended the peer, so there is always one element more than the client sent.
    value = value:match("^(.*),[^,]*$")
  end
  return value and trimmed(value)
end

-- Header lines in order of arrival, as the client sent them; the authority is the header "host".
-- Iteration gives each line by itself. get() would join the values of a repeated header with commas, and a
-- client could then hide a value behind another one.
local function header_lines(headers, host)
  local names, values = { "host" }, { host }
  for name, value in pairs(headers) do
    if byte(name, 1) ~= COLON and not OURS[name] then
      value = sent(name, value)
      if value ~= nil then
        names[#names + 1] = name
        values[#values + 1] = value
      end
    end
  end
  return { names = names, values = values, map = map_of(names, values) }
end

-- The values of one header, as header_lines gives them, without looking at the others. The name is not that of one
-- which this proxy sets, nor "host".
local function values_of(headers, name)
  local values = {}
  for position = 0, headers:getNumValues(name) - 1 do
    values[#values + 1] = sent(name, headers:getAtIndex(name, position))
  end
  return values
end

-- Names that headers can have (RFC 9110, 5.1), in lower case as everywhere here. Envoy would find "X" for "x", and cut
-- a name at NUL.
local NAME = "^[%l%d!#$%%&'*+.^_`|~-]+$"
-- Keys within a map of headers; no header has such a name.
local HEADERS, MISSING, WHOLE = 1, 2, 3

-- The map of header_lines, of which only those headers are read that are asked for: a rule about one does not pay for
-- all. It cannot be iterated; who wants all of it takes whole() of its metatable.
local by_name = {
  __index = function(map, name)
    local missing = rawget(map, MISSING)
    if missing[name] then
      return nil
    end
    local values = not OURS[name] and name:find(NAME) and values_of(rawget(map, HEADERS), name) or {}
    if #values == 0 then
      missing[name] = true
      return nil
    end
    rawset(map, name, values)
    return values
  end,
  whole = function(map)
    return rawget(map, WHOLE)()
  end,
}

-- whole: gives the map of header_lines.
local function header_map(headers, host, whole)
  return setmetatable({ [HEADERS] = headers, [MISSING] = {}, [WHOLE] = whole, host = { host } }, by_name)
end

local function unescaped(text)
  return (text:gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

-- Pairs of a text such as "a=1&b": the name up to the first "=", and the rest. Empty parts are left out.
local function pairs_of(text, part, prepare)
  local names, values = {}, {}
  for each in text:gmatch(part) do
    each = prepare and prepare(each) or each
    if each ~= "" then
      local name, value = each:match("^([^=]*)=?(.*)$")
      names[#names + 1] = name
      values[#values + 1] = value
    end
  end
  return names, values
end

-- Nothing is decoded: the application may decode it in its own way.
local function arguments(query)
  local names, values = pairs_of(query, "[^&]+")
  return { names = names, values = values, map = map_of(names, values) }
end

-- Cookies by name (RFC 6265, 4.2.1); names are percent-decoded, values are as they came.
local function cookies(header)
  local names, values = pairs_of(header, "[^;]+", trimmed)
  for i = 1, #names do
    names[i] = unescaped(names[i])
  end
  return map_of(names, values)
end

return {
  header_lines = header_lines,
  header_map = header_map,
  values_of = values_of,
  arguments = arguments,
  cookies = cookies,
}
