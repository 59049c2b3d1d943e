-- Raises marks of one hour: of two values the higher stands, so what is sent twice counts once.
-- KEYS[1]  a hash of marks
-- ARGV[1]  seconds to keep it; then field and value, again and again
for place = 2, #ARGV, 2 do
  local stands = redis.call('HGET', KEYS[1], ARGV[place])
  if not stands or tonumber(stands) < tonumber(ARGV[place + 1]) then
    redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1])
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
