-- Adds to what is known of who is refused, and lets the longest quiet go.
--
-- KEYS[1]  a hash of entries by their names; KEYS[2] a sorted set of those, by their last refusal
-- ARGV     the most entries, seconds to keep all, seconds that an entry outlives its last refusal;
--          then name and entry as JSON, again and again
--
-- An entry that tells of being forgotten stays for a while, so that what another process has
-- gathered before does not bring back who was let go.

local call, decode = redis.call, cjson.decode
local most, quiet = tonumber(ARGV[1]), tonumber(ARGV[3])

local function over(entry)
  return math.max(entry['until'] or 0, entry.last + quiet)
end

for place = 4, #ARGV, 2 do
  local name, text = ARGV[place], ARGV[place + 1]
  local new, found = decode(text), call('HGET', KEYS[1], name)
  local old = found and decode(found)
  local keep = true
  if old and not new.forgotten then
    if old.forgotten then
      keep = new.last > old.last
    elseif over(old) > new.since then
      new.refused = new.refused + old.refused
      if old.last > new.last then
        new.last, new['until'], new.request = old.last, old['until'], old.request
      end
      new.since = math.min(new.since, old.since)
      text = cjson.encode(new)
    end
  end
  if keep then
    call('HSET', KEYS[1], name, text)
    call('ZADD', KEYS[2], new.last, name)
  end
end

local extra = call('ZCARD', KEYS[2]) - most
if extra > 0 then
  local gone = call('ZRANGE', KEYS[2], 0, extra - 1)
  for from = 1, #gone, 1000 do
    call('HDEL', KEYS[1], unpack(gone, from, math.min(from + 999, #gone)))
  end
  call('ZREMRANGEBYRANK', KEYS[2], 0, extra - 1)
end
call('EXPIRE', KEYS[1], ARGV[2])
call('EXPIRE', KEYS[2], ARGV[2])
return 1
