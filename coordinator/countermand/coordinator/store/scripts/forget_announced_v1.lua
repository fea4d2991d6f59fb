#!lua
-- forget_announced_v1: drops what has not been announced again for a long time.
--
-- KEYS  1 announcements (hash: participant/instance -> document)   2 seen (sorted set: participant/instance by moment)
-- ARGV  1 milliseconds   2 limit
-- Answer the number dropped
--
-- No guard against a clock that jumps: whoever lives announces itself again within a minute.
local time = redis.call("TIME")
local before = string.format("(%d", tonumber(time[1]) * 1000 - tonumber(ARGV[1]))
local names = redis.call("ZRANGE", KEYS[2], "-inf", before, "BYSCORE", "LIMIT", 0, tonumber(ARGV[2]))
for _, name in ipairs(names) do
  redis.call("HDEL", KEYS[1], name)
  redis.call("ZREM", KEYS[2], name)
end
return #names
