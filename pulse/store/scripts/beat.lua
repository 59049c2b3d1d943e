-- Tells that a process is alive, and counts those that are.
--
-- KEYS[1] the sorted set of processes, scored by when each was last heard of, in seconds
-- ARGV[1] this process; ARGV[2] seconds of silence after which one counts no more

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
