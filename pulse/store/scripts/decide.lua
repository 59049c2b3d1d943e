-- Judges every quota of one request, and charges all of them or none. One round trip.
--
-- KEYS[1]  the announcement; KEYS[2..] the state of each quota
-- ARGV[1]  the announcement that the caller decides by, "" not to compare
-- ARGV[2]  for each quota ">Bddd": algorithm, spacing or period in us, capacity, cost
-- ARGV[3]  for each quota a byte: 0 enforced, else the number of its shadow claim
--
-- Returns now_us, allowed, then for each quota passed, remaining, retry_after_us, reset_after_us;
-- or the announcement alone (nil if there is none) where it is another, with nothing charged.
--
-- What an edit or a clock set back made of a state is written also where nothing is charged.
-- The arithmetic is that of pulse/core/quotas.py: integers below 2^53, in which doubles are exact.
-- "x - x % y" stands for floor, because a call to math.floor costs more than all of it.

local call, match, format, byte = redis.call, string.match, string.format, string.byte
local unpack_wire, WIRE, WIRE_BYTES = struct.unpack, '>Bddd', 25
local SLICE = 1000 -- Lua's stack has room for some 8,000
local STATE = '%d:%d' -- as C's long: 64 bits on every 64-bit server
local expected, wire, groups = ARGV[1], ARGV[2], ARGV[3]

local last = #KEYS
local states
if last <= SLICE then
  states = call('MGET', unpack(KEYS))
else
  states = {}
  for from = 1, last, SLICE do
    for _, state in ipairs(call('MGET', unpack(KEYS, from, math.min(from + SLICE - 1, last)))) do
      states[#states + 1] = state
    end
  end
end
if expected ~= '' and states[1] ~= expected then
  return states[1]
end
local time = call('TIME')
local now = time[1] * 1000000 + time[2]

local reply, kept, mended, short = {now, 1}, {}, {}, {}
local offset, at = 1, 3
for i = 2, last do
  local algorithm, span, capacity, cost = unpack_wire(WIRE, wire, offset)
  local first, second = 0, 0
  if states[i] then
    first, second = match(states[i], '^(%d+):(%d+)$')
    first, second = (first or 0) + 0, (second or 0) + 0
  end
  local wait, remaining, reset
  if algorithm == 0 then
    local tolerance, price = capacity * span, cost * span
    local owed = first - now
    if owed < 0 then owed = 0 end
    if second ~= span and second > 0 then
      owed = owed * span / second
      owed = owed - owed % 1
    end
    if owed > tolerance then owed = tolerance end
    if first > now and (second ~= span or first ~= now + owed) then
      mended[i] = format(STATE, now + owed, span)
    end
    wait = owed + price - tolerance
    if wait <= 0 then owed = owed + price end
    local free = tolerance - owed
    remaining, reset = (free - free % span) / span, owed
    kept[i] = format(STATE, now + owed, span)
  else
    local ends = now + span
    if first <= now then
      second = 0
    elseif first <= ends then
      ends = first
    else
      mended[i] = format(STATE, ends, second)
    end
    reset, wait = ends - now, 0
    if second + cost > capacity then
      wait = reset
    else
      second = second + cost
    end
    remaining = capacity - second
    if remaining < 0 then remaining = 0 end
    kept[i] = format(STATE, ends, second)
  end
  if wait > 0 then
    short[byte(groups, i - 1)] = true
    reply[at], reply[at + 1], reply[at + 2], reply[at + 3] = 0, remaining, wait, reset
  else
    reply[at], reply[at + 1], reply[at + 2], reply[at + 3] = 1, remaining, 0, reset
  end
  offset, at = offset + WIRE_BYTES, at + 4
end

local refused = short[0]
if refused then reply[2] = 0 end
offset, at = 1, 3
for i = 2, last do
  if not refused and not short[byte(groups, i - 1)] then
    local reset = reply[at + 3]
    call('PSETEX', KEYS[i], (reset - reset % 1000) / 1000 + 1001, kept[i])
  else
    if reply[at] == 1 then
      -- It had room, and is not charged: back to what stands.
      local algorithm, span, capacity, cost = unpack_wire(WIRE, wire, offset)
      local remaining = reply[at + 1] + cost
      reply[at + 1] = remaining
      if algorithm == 0 then
        reply[at + 3] = reply[at + 3] - cost * span
      elseif remaining == capacity then
        reply[at + 3] = 0
      end
    end
    if mended[i] then
      local reset = reply[at + 3]
      call('PSETEX', KEYS[i], (reset - reset % 1000) / 1000 + 1001, mended[i])
    end
  end
  offset, at = offset + WIRE_BYTES, at + 4
end
return reply
