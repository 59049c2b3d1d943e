-- Reads what decide.lua would judge by. Charges nothing.
--
-- KEYS  the state of each quota
--
-- Returns now_us, then each state as it is kept, nil where there is none.

local call = redis.call
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local reply = {now}
for i, key in ipairs(KEYS) do
  reply[i + 1] = call('GET', key)
end
return reply
