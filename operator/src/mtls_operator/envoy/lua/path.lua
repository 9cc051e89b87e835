-- Paths as an application may read them.
--
-- Envoy has normalised the path before: dot segments, escapes of plain characters, repeated and escaped slashes,
-- backslashes. What it leaves alone are parameters of segments ("/admin;v=1", RFC 3986, 3.3): some applications
-- route by the whole segment, others drop the parameters first and then remove dot segments ("/x/..;/admin").
-- And escapes of delimiters ("/v1/x%3Acancel"): most applications decode them before they route.
local char = string.char

local NONE = {}

-- Printable characters that Envoy leaves escaped, but for those that would change the structure of the path.
local DELIMITERS = "[!\"$&-,:-<=>@%[%]^`{|}]"
-- Two-, three- and four-byte forms of characters that have a shorter one (RFC 3629, 3): old decoders read "/" in
-- "%C0%AF".
local OVERLONG = { "%%[cC][01]%%[89aAbB]%x", "%%[eE]0%%[89]%x", "%%[fF]0%%8%x" }
local PARAMETERS = { ";.*$", "%%3[bB].*$" }

-- Such a path is plain and canonical, and nothing in it can be read in two ways. Most paths are of this kind.
local function simple(path)
  return path:find("^/[%w/._~-]*$") ~= nil and not path:find("//", 1, true)
end

local function overlong(path)
  for position = 1, #OVERLONG do
    if path:find(OVERLONG[position]) then
      return true
    end
  end
  return false
end

-- Whether every reader agrees what the path is: it starts with a slash and has no fragment, backslash, blank
-- or control character. Control characters are refused in their escaped form too: no path has one, and some
-- applications match up to them. A percent sign begins an escape of two digits: some applications read "%u0061".
local function plain(path)
  if simple(path) then
    return true
  end
  return path:find("^/") ~= nil
    and not path:find("[%c%s#\\\127]")
    and not path:find("%%[01]%x")
    and not path:find("%%7[fF]")
    and not path:find("%%%X")
    and not path:find("%%%x%X")
    and not path:find("%%%x?$")
    and not overlong(path)
end

-- The path with its escapes in upper case: both cases mean the same (RFC 3986, 6.2.2.1), and rules compare bytes.
-- Repeated slashes are one: of a path of nothing but slashes Envoy leaves two.
local function canonical(path)
  if path:find("//", 1, true) then
    path = path:gsub("//+", "/")
  end
  return simple(path) and path or (path:gsub("%%%x%x", string.upper))
end

local function delimiter(digits)
  local character = char(tonumber(digits, 16))
  return character:find(DELIMITERS) and character or nil
end

-- The path of an application that decodes delimiters before it routes.
local function decoded(path)
  return (path:gsub("%%(%x%x)", delimiter))
end

-- The path of an application that drops parameters, or nil when there are none.
local function without_parameters(path)
  if not path:find(";", 1, true) and not path:find("%%3[bB]") then
    return nil
  end
  local kept, open = {}, false
  for segment in path:gmatch("/([^/]*)") do
    for position = 1, #PARAMETERS do
      segment = segment:gsub(PARAMETERS[position], "")
    end
    local name = segment:gsub("%%2[eE]", ".")
    open = name == "" or name == "." or name == ".."
    if name == ".." then
      kept[#kept] = nil
    elseif not open then
      kept[#kept + 1] = segment
    end
  end
  local result = "/" .. table.concat(kept, "/")
  if open and #kept > 0 then
    result = result .. "/"
  end
  return result
end

-- The other paths that an application may read in a canonical one, each once.
local function readings(path)
  if simple(path) then
    return NONE
  end
  local found, seen = {}, { [path] = true }
  local function add(reading)
    if reading ~= nil and not seen[reading] then
      seen[reading] = true
      found[#found + 1] = reading
    end
  end
  local characters = decoded(path)
  add(characters)
  add(without_parameters(path))
  add(without_parameters(characters))
  return found
end

return { simple = simple, plain = plain, canonical = canonical, readings = readings, without_parameters = without_parameters }
