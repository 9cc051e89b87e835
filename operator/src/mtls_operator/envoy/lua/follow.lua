-- Which script decides: this one, or the mounted file of the same name, whichever has the higher epoch.
--
-- The operator writes every change to a mounted file and pushes it as well. A proxy that it cannot reach
-- follows the file, up to CHECK_SECONDS after the kubelet has swapped it. An older file, or one that does not
-- load, changes nothing. The file's first line is "-- <name> <epoch>"; all that is known about the rest is that
-- it defines envoy_on_request, so that versions of this code can follow each other.
local name, epoch, mounted, decide = ...

local CHECK_SECONDS = 2
-- An epoch is a time. The operator takes none for its own that is more than 3650 days ahead, and so publishes
-- nothing above it: a proxy that had followed such a file would keep it although the file is put right.
local FARTHEST_SECONDS = 3649 * 86400
local HEADER = "^%-%- " .. name:gsub("%p", "%%%0") .. " (%d+)"

local current, running = decide, epoch
local next_check = 0
local refused

local function stays(problem)
  return name .. " " .. running .. " stays: " .. problem
end

local function load_script(text, title)
  local chunk, problem = loadstring(text, "=" .. title)
  if chunk == nil then
    return nil, problem
  end
  -- Its globals are its own; MTLS_FOLLOWED tells it not to follow files itself.
  local environment = setmetatable({ MTLS_FOLLOWED = true }, { __index = _G })
  local loaded, failure = pcall(setfenv(chunk, environment))
  if not loaded then
    return nil, failure
  end
  local handler = rawget(environment, "envoy_on_request")
  if type(handler) ~= "function" then
    return nil, "it does not define envoy_on_request"
  end
  return handler
end

local function follow(handle)
  local file = io.open(mounted, "r")
  if file == nil then
    return
  end
  local title = file:read("*l") or ""
  local newer = tonumber(title:match(HEADER))
  if newer == nil or newer <= running or newer == refused or newer > (os.time() + FARTHEST_SECONDS) * 1000 then
    file:close()
    return
  end
  local text = title .. "\n" .. (file:read("*a") or "")
  file:close()
  local handler, problem = load_script(text, title)
  if handler == nil then
    refused = newer
    handle:logErr(stays("the mounted script " .. newer .. " is refused: " .. tostring(problem)))
    return
  end
  current, running = handler, newer
  handle:logWarn(name .. " " .. newer .. " is in force, from the mounted file")
end

local function dispatch(handle)
  local now = os.time()
  -- A clock that was set back must not stop the checks.
  if now >= next_check or now < next_check - CHECK_SECONDS then
    next_check = now + CHECK_SECONDS
    local checked, problem = pcall(follow, handle)
    if not checked then
      handle:logErr(stays("the mounted script cannot be checked: " .. tostring(problem)))
    end
  end
  return current(handle)
end

if MTLS_FOLLOWED then
  envoy_on_request = decide
else
  envoy_on_request = dispatch
end

-- Collect garbage when SPARE_KILOBYTES are in use besides what this script keeps, rather than at twice as much: a
-- collection looks at everything that is kept, and requests would pay for that.
local SPARE_KILOBYTES = 2048
collectgarbage()
collectgarbage("setpause", math.floor(100 + math.max(100, 100 * SPARE_KILOBYTES / collectgarbage("count"))))
