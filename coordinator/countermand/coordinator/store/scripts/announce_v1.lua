#!lua
-- announce_v1: keeps what one process of a participant says of itself, and when it was said.
--
-- KEYS  1 announcements (hash: participant/instance -> document)   2 seen (sorted set: participant/instance by moment)
-- ARGV  1 participant/instance   2 document   3 how many may be kept
-- Answer the number that had to make room
--
-- Whoever lives says so again within a minute: those seen longest ago are gone, and make room.
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call("HSET", KEYS[1], ARGV[1], ARGV[2])
redis.call("ZADD", KEYS[2], string.format("%d", now), ARGV[1])
local over = redis.call("ZCARD", KEYS[2]) - tonumber(ARGV[3])
if over < 1 then
  return 0
end
local oldest = redis.call("ZRANGE", KEYS[2], 0, over - 1)
for _, name in ipairs(oldest) do
  redis.call("HDEL", KEYS[1], name)
  redis.call("ZREM", KEYS[2], name)
end
return #oldest
