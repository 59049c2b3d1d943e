-- Puts up an announcement, never a lower one over a higher of the same lineage.
--
-- KEYS[1] the announcement, "lineage:revision:key_epoch"
-- ARGV    lineage, revision, key epoch
--
-- Returns the announcement that stands afterwards. Revision and key epoch each only rise, so
-- that of two writers who overtake each other neither takes back what the other said.

local lineage, revision, epoch = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local standing = redis.call('GET', KEYS[1])
if standing then
  local theirs, number, keys = string.match(standing, '^([^:]+):(%d+):(%d+)$')
  if theirs == lineage then
    revision = math.max(revision, tonumber(number))
    epoch = math.max(epoch, tonumber(keys))
  end
end
local text = string.format('%s:%.0f:%.0f', lineage, revision, epoch)
if text ~= standing then
  redis.call('SET', KEYS[1], text)
end
return text
