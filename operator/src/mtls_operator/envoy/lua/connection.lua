-- What the handshake has said about a client, asked once for each connection: every question to Envoy costs more than
-- looking the answer up. Kept is only what a handshake settles for good, as what was presented and who issued it; what
-- depends on the time, on lists and on rules is judged at every request.
--
-- The listener numbers connections, in the filter state "mtls.connection"; a proxy never uses a number again. Without
-- a number nothing is kept: all connections without one would be taken for the same. How many are remembered is
-- bounded, for clients open them.
local NUMBER = "mtls.connection"
-- What Envoy writes where it has no number.
local NONE = { ["-"] = true, ["0"] = true, [""] = true }
local MOST_KEPT = 8192

-- ask: what is known about a connection, from the information about one of its streams; anything but nil. An error in
-- it is one of the request, and nothing is kept.
return function(ask)
  local kept, count = {}, 0
  return function(info, state)
    local number = state:get(NUMBER)
    if number == nil or NONE[number] then
      return ask(info)
    end
    local known = kept[number]
    if known == nil then
      known = ask(info)
      if count >= MOST_KEPT then
        kept, count = {}, 0
      end
      kept[number], count = known, count + 1
    end
    return known
  end
end
