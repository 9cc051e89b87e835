-- Paths as an application may read them.
--
-- Envoy has normalised the path before: dot segments, escapes of plain characters, repeated and escaped slashes,
-- backslashes. What it leaves alone are parameters of segments ("/admin;v=1", RFC 3986, 3.3): some applications
-- route by the whole segment, others drop the parameters first and then remove dot segments ("/x/..;/admin").
local PARAMETERS = { ";.*$", "%%3[bB].*$" }

-- Whether every reader agrees what the path is: it starts with a slash and has no fragment, backslash, blank
-- or control character. Control characters are refused in their escaped form too: no path has one, and some
-- applications match up to them.
local function plain(path)
  return path:find("^/") ~= nil
    and not path:find("[%c%s#\\\127]")
    and not path:find("%%[01]%x")
    and not path:find("%%7[fF]")
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

return { plain = plain, without_parameters = without_parameters }
