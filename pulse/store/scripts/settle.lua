-- Packs a bucket of measures that is over: what was a field for each count is one.
--
-- KEYS[1]  the bucket, a hash
-- ARGV[1]  the version that was packed: another has more, and stays as it is
-- ARGV[2]  what it holds; ARGV[3] seconds to keep it
--
-- The version stays, as nothing was added. Returns whether it was packed.

local call, bucket = redis.call, KEYS[1]
local known = call('HMGET', bucket, 'version', 'endpoints')
if known[1] ~= ARGV[1] then return 0 end
call('DEL', bucket)
call('HSET', bucket, 'version', ARGV[1], 'endpoints', known[2] or 0, 'packed', ARGV[2])
call('EXPIRE', bucket, ARGV[3])
return 1
