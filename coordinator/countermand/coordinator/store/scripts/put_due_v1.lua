#!lua
-- put_due_v1: gives a saga in motion that has no wake-up one, if nobody has moved it meanwhile.
--
-- KEYS  1 saga (hash)   2 due (sorted set)
-- ARGV  1 saga id   2 version   3 moment in Unix milliseconds
-- Answer 1 if it did, otherwise 0
if redis.call("HGET", KEYS[1], "v") ~= ARGV[2] or redis.call("ZSCORE", KEYS[2], ARGV[1]) then
  return 0
end
redis.call("ZADD", KEYS[2], ARGV[3], ARGV[1])
return 1
