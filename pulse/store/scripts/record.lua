-- Adds to what is kept of the requests of one slot of time, and makes room by whole clients.
--
-- KEYS[1]  a hash: mark and request as a text, to the times at which it came, four bytes each
-- KEYS[2]  a hash of what is known of the slot: its level, its bytes, requests by minute, the last
--          number of each process, who came too often to be kept and how often they did
-- ARGV     process, number, level, the most bytes, seconds to keep, how many minutes; then minute
--          and requests, again and again; then mark with request and times, again and again
--
-- What comes again under its number is not added again. Returns level and bytes.

local call, sub = redis.call, string.sub
local requests, about = KEYS[1], KEYS[2]
local process, number = 's' .. ARGV[1], tonumber(ARGV[2])
local room, minutes = tonumber(ARGV[4]), tonumber(ARGV[6])
-- As in pulse/core/recording.py.
local MARK, NOBODY, OVERHEAD = 12, 49, 120

local known = call('HMGET', about, 'level', 'bytes', process, 'left')
local before = tonumber(known[1] or 0)
local level = math.max(before, tonumber(ARGV[3]))
local bytes = tonumber(known[2] or 0)
local some_left = known[4]

local function limit()
  if level == 0 then return 'g' end
  if level >= NOBODY then return '' end
  return string.format('%012x', 2 ^ (48 - level))
end

-- Lets go of what a test of marks says; returns how many requests that were.
local function drop(test)
  local gone, fields = 0, {}
  for _, field in ipairs(call('HKEYS', requests)) do
    if test(sub(field, 1, MARK)) then
      local length = call('HSTRLEN', requests, field)
      bytes, gone = bytes - length - #field - OVERHEAD, gone + length / 4
      fields[#fields + 1] = field
    end
  end
  for from = 1, #fields, 1000 do
    call('HDEL', requests, unpack(fields, from, math.min(from + 999, #fields)))
  end
  return gone
end

if (tonumber(known[3]) or -1) < number then
  for place = 7, 6 + 2 * minutes, 2 do
    call('HINCRBY', about, 'm' .. ARGV[place], ARGV[place + 1])
  end
  local highest = limit()
  for place = 7 + 2 * minutes, #ARGV, 2 do
    local field, times = ARGV[place], ARGV[place + 1]
    local mark = sub(field, 1, MARK)
    if mark < highest then
      if some_left and call('HEXISTS', about, 'x' .. mark) == 1 then
        call('HINCRBY', about, 'left', #times / 4)
      else
        local found = call('HGET', requests, field)
        local after = (found or '') .. times
        call('HSET', requests, field, after)
        bytes = bytes + #times + (found and 0 or OVERHEAD + #field)
        if #after * 4 > room then
          call('HSET', about, 'x' .. mark, 1)
          some_left = true
          local gone = drop(function(other) return other == mark end)
          call('HINCRBY', about, 'left', gone)
        end
      end
    end
  end
  call('HSET', about, process, number)
end
while level > before or (bytes > room and level < NOBODY) do
  if bytes > room then level = level + 1 end
  local highest = limit()
  drop(function(mark) return mark >= highest end)
  before = level
end
call('HSET', about, 'level', level, 'bytes', bytes)
call('EXPIRE', requests, ARGV[5])
call('EXPIRE', about, ARGV[5])
return {level, bytes}
