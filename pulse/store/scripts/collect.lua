-- Adds to counters of one hour, of which there are only so many.
-- KEYS[1]  a hash of counters
-- ARGV[1]  seconds to keep it
-- ARGV[2]  how many counters it may hold; what finds no room adds to the one without a name
-- then field and amount, again and again
local room = tonumber(ARGV[2]) - redis.call('HLEN', KEYS[1])
for place = 3, #ARGV, 2 do
  local field = ARGV[place]
  if redis.call('HEXISTS', KEYS[1], field) == 0 then
    if room <= 0 then field = '' end
    room = room - 1
  end
  redis.call('HINCRBY', KEYS[1], field, ARGV[place + 1])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
