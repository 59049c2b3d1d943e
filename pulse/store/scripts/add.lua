-- Adds to counters of one hour.
-- KEYS[1]  a hash of counters
-- ARGV[1]  seconds to keep it; then field and amount, again and again
for place = 2, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[place], ARGV[place + 1])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
