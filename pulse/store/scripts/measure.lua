-- Adds what a process measured in a second to what all did in a bucket of time, and ever since.
--
-- KEYS[1]  the bucket, a hash; KEYS[2] the sums of all time, a hash
-- KEYS[3]  endpoints by when they were last used, a sorted set
-- KEYS[4]  the last number that came of this process
-- ARGV[1]  the number: what comes again under it is not added again
-- ARGV[2]  seconds to keep the bucket, and what the process said
-- ARGV[3]  seconds to keep the sums; ARGV[4] the most endpoints, and names of rules; ARGV[5] stands
--          for those beyond
-- ARGV[6]  the first of the epoch's seconds in which the process recorded, ARGV[7] the last; -1 for
--          none
-- ARGV[8]  when it did last, in microseconds
-- ARGV[9]  JSON: by endpoint, amounts by field. Fields are those of pulse/metrics/recorder.py; an
--          endpoint without a name is pulse itself. One text, as thousands of arguments cost their
--          sender, the server and the script several times what is done with them.
--
-- Returns the time in seconds and microseconds.

local call, sub = redis.call, string.sub
-- Beyond that a number of Lua's is not exact.
local MOST = 9007199254740992
local bucket, sums, used, said = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local keep, keep_sums, most, others = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local time = call('TIME')
if tonumber(ARGV[1]) <= tonumber(call('GET', said) or -1) then
  return {tonumber(time[1]), tonumber(time[2])}
end
-- First of all, as a server that is full refuses a script that has written nothing yet.
call('SET', said, ARGV[1], 'EX', keep)

-- An amount that cannot be added is lost alone: an error would be the end of all that is still to
-- come, and under its number none of it comes again.
local function add(key, field, amount)
  redis.pcall('HINCRBY', key, field, math.min(amount, MOST))
end

-- Of a histogram of sixteen buckets to each doubling: which doubling is it?
local function doubling(number)
  if number >= 32 then return math.floor(number / 16) + 4 end
  local bits = 0
  while number > 0 do
    number, bits = math.floor(number / 2), bits + 1
  end
  return bits
end

local function compare(field, amount, is_least)
  local before = tonumber(call('HGET', bucket, field))
  if not before or (is_least and amount < before) or (not is_least and amount > before) then
    call('HSET', bucket, field, amount)
  end
end

-- Rules that are gone leave their names, and addresses are many: beyond so many they are one.
local function add_named(field, amount, names, instead)
  if call('HEXISTS', sums, '\n' .. field) == 0 then
    local known = tonumber(call('HGET', sums, names) or 0)
    if known >= most then
      field = instead .. others
    else
      call('HSET', sums, names, known + 1)
    end
  end
  add(sums, '\n' .. field, amount)
end

local KEPT = {c = true, u = true}
local first, last = tonumber(ARGV[6]), tonumber(ARGV[7])
local endpoints = tonumber(call('HGET', bucket, 'endpoints') or 0)
local requests, errors, refused = 0, 0, 0
for endpoint, fields in pairs(cjson.decode(ARGV[9])) do
  if endpoint == '' then
    for field, amount in pairs(fields) do
      local of_address = string.match(field, '^refused_of %S+ ')
      if of_address then
        add_named(field, amount, 'addresses', of_address)
      else
        add(bucket, '\n' .. field, amount)
        add(sums, '\n' .. field, amount)
      end
    end
  else
    if endpoint ~= others and call('HEXISTS', bucket, endpoint) == 0 then
      if endpoints < most then
        endpoints = endpoints + 1
        call('HSET', bucket, endpoint, 1)
      else
        endpoint = others
      end
    end
    call('ZADD', used, time[1], endpoint)
    for field, amount in pairs(fields) do
      local letter = sub(field, 1, 1)
      if letter == 'n' or letter == 'm' then
        compare(endpoint .. '\n' .. field, amount, letter == 'n')
      else
        add(bucket, endpoint .. '\n' .. field, amount)
        if KEPT[letter] then
          add(sums, endpoint .. '\n' .. field, amount)
          if letter == 'c' then
            requests = requests + amount
            if tonumber(sub(field, 2)) >= 500 then errors = errors + amount end
          end
        elseif letter == 'h' then
          add(sums, endpoint .. '\nd' .. doubling(tonumber(sub(field, 2))), amount)
        elseif letter == 'r' or letter == 'w' then
          local before = string.match(field, '^r%S* ')
          add_named(field, amount, before and 'rules' or 'shadows', before or 'w:')
          if letter == 'r' then refused = refused + amount end
        end
      end
    end
  end
end
for field, amount in pairs({requests = requests, errors = errors, refused = refused}) do
  if amount > 0 then add(sums, '\n' .. field, amount) end
end
call('HSET', bucket, 'endpoints', endpoints)
if first >= 0 then
  for second = first, last do
    call('HSET', bucket, 't' .. second, 1)
  end
  local at = tonumber(call('HGET', sums, 'at') or 0)
  -- What lies ahead was written before the server's clock was set back.
  if at < tonumber(ARGV[8]) or at > (time[1] + 1) * 1000000 then
    call('HSET', sums, 'at', ARGV[8])
  end
end
-- Not from one on: a bucket that was lost and comes again is none that a reader knows.
call('HSETNX', bucket, 'version', time[1] * 1000)
add(bucket, 'version', 1)
call('EXPIRE', bucket, keep)
call('HSETNX', sums, 'since', time[1])
call('EXPIRE', sums, keep_sums)
call('EXPIRE', used, keep_sums)

-- A tenth at once, as to find what is theirs takes a look at all.
local surplus = call('ZCARD', used) - most - 1
if surplus > most / 10 then
  local gone = {}
  for _, endpoint in ipairs(call('ZRANGE', used, 0, surplus - 1)) do
    if endpoint ~= others then gone[endpoint] = true end
  end
  for _, field in ipairs(call('HKEYS', sums)) do
    local endpoint = string.match(field, '^(.+)\n[^\n]*$')
    if endpoint and gone[endpoint] then
      -- In the sum of the others it would be told as if all of it had come just now.
      call('HDEL', sums, field)
    end
  end
  call('ZREMRANGEBYRANK', used, 0, surplus - 1)
end
return {tonumber(time[1]), tonumber(time[2])}
