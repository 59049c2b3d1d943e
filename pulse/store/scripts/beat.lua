-- Tells that a process is alive and what it runs, and counts those that share the counters.
--
-- KEYS[1] the sorted set of processes that share the counters, scored by when each was last heard
--         of, in seconds
-- KEYS[2] the same of all processes
-- KEYS[3] the hash of what processes say of themselves
-- ARGV[1] this process; ARGV[2] seconds of silence after which one counts no more
-- ARGV[3] 1 where this process shares the counters; ARGV[4] what it says of itself, empty for nothing

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local silent = now - ARGV[2]

-- First of all: a server that is full refuses what needs memory only to a script that has written
-- nothing yet, and by this one it is told from one that takes writes.
redis.call('ZADD', KEYS[2], now, ARGV[1])
if ARGV[3] == '1' then
  redis.call('ZADD', KEYS[1], now, ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', silent)
redis.call('EXPIRE', KEYS[1], ARGV[2])

for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', silent)) do
  redis.call('HDEL', KEYS[3], gone)
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', silent)
redis.call('EXPIRE', KEYS[2], ARGV[2])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[4])
  redis.call('EXPIRE', KEYS[3], ARGV[2])
end

return redis.call('ZCARD', KEYS[1])
