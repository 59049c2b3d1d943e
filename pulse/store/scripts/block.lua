-- Adds to what is known of who is refused, and lets the longest quiet go.
--
-- KEYS[1]  a hash of entries by their names; KEYS[2] a sorted set of those, by their last refusal
-- ARGV     the most entries, seconds to keep all, seconds that an entry outlives its last refusal,
--          what begins the rules whose end is no end of an entry; then name and entry as JSON,
--          again and again
--
-- An entry that tells of being forgotten stays for a while, so that what another process has
-- gathered before does not bring back who was let go.

local call, decode = redis.call, cjson.decode
local most, quiet, denials = tonumber(ARGV[1]), tonumber(ARGV[3]), ARGV[4]

local function over(entry)
  local ends = entry.last + quiet
  if string.sub(entry.rule, 1, #denials) == denials then
    return ends
  end
  return math.max(entry['until'] or 0, ends)
end

-- Reads what stands; nil for an entry of another shape, which another release may have written.
local function known(text)
  local fine, entry = pcall(decode, text)
  if not fine or type(entry) ~= 'table' or type(entry.last) ~= 'number' then
    return nil
  end
  if entry.forgotten then
    return entry
  end
  local ends = type(entry['until'])
  if type(entry.rule) ~= 'string' or type(entry.since) ~= 'number'
      or type(entry.refused) ~= 'number' or (ends ~= 'number' and ends ~= 'nil') then
    return nil
  end
  return entry
end

for place = 5, #ARGV, 2 do
  local name, text = ARGV[place], ARGV[place + 1]
  local new, found = decode(text), call('HGET', KEYS[1], name)
  local old = found and known(found)
  local keep = true
  if old and not new.forgotten then
    if old.forgotten then
      keep = new.last > old.last
    else
      local first, later = old, new
      if new.last < old.last then
        first, later = new, old
      end
      if over(first) > later.since then
        later.refused = first.refused + later.refused
        later.since = math.min(first.since, later.since)
        new, text = later, cjson.encode(later)
      else
        keep = later == new
      end
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
