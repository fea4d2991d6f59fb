#!lua
-- settle_v1: what a version had to send is confirmed; its guard goes and the real wake-up takes its place.
--
-- KEYS  1 saga (hash)   2 due (sorted set)
-- ARGV  1 saga id   2 version ("0": there was no such saga)
-- Answer 1 if the version was still ours, otherwise 0: then whoever moved it has set the wake-up
local stored = redis.call("HMGET", KEYS[1], "v", "w")
if (stored[1] or "0") ~= ARGV[2] then
  return 0
end
redis.call("HDEL", KEYS[1], "g")
if stored[2] and stored[2] ~= "" then
  redis.call("ZADD", KEYS[2], stored[2], ARGV[1])
else
  redis.call("ZREM", KEYS[2], ARGV[1])
end
return 1
