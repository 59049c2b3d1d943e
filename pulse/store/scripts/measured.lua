-- Tells which buckets of measures have changed, and the sums of all endpoints.
--
-- KEYS[1]  the sums of all time; KEYS[2..] buckets
-- Returns the time in seconds and microseconds, when a process recorded last in microseconds, since
-- when there are sums, requests, errors and refused, then the version of each bucket; what is not
-- there is nil.

local found = redis.call('TIME')
local sums = redis.call(
  'HMGET', KEYS[1], 'at', 'since', '\nrequests', '\nerrors', '\nrefused'
)
for place = 1, 5 do
  found[#found + 1] = sums[place]
end
for place = 2, #KEYS do
  found[#found + 1] = redis.call('HGET', KEYS[place], 'version')
end
return found
