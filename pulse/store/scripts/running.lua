-- Tells which processes are alive, and what each said of itself.
--
-- KEYS[1] the sorted set of all processes, scored by when each was last heard of, in seconds
-- KEYS[2] the hash of what processes say of themselves
-- ARGV[1] seconds of silence after which one counts no more
--
-- Returns three values for each: its name, seconds since it was heard of, what it said.

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local told = {}
local alive = redis.call('ZRANGEBYSCORE', KEYS[1], now - ARGV[1], '+inf', 'WITHSCORES')
for i = 1, #alive, 2 do
  local says = redis.call('HGET', KEYS[2], alive[i])
  if says then
    told[#told + 1] = alive[i]
    told[#told + 1] = tostring(now - alive[i + 1])
    told[#told + 1] = says
  end
end
return told
