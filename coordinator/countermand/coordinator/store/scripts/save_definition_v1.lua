#!lua
-- save_definition_v1: a name and version get their content once and for all.
--
-- KEYS  1 documents (hash: identity -> document)   2 names (hash: name@version -> identity)
--       3 newest (hash: name -> version)
-- ARGV  1 identity   2 document   3 name   4 version
-- Answer {"saved"} | {"taken", identity}
local label = ARGV[3] .. "@" .. ARGV[4]
local taken = redis.call("HGET", KEYS[2], label)
if taken and taken ~= ARGV[1] then
  return {"taken", taken}
end
redis.call("HSET", KEYS[1], ARGV[1], ARGV[2])
redis.call("HSET", KEYS[2], label, ARGV[1])
local newest = redis.call("HGET", KEYS[3], ARGV[3])
if not newest or tonumber(newest) < tonumber(ARGV[4]) then
  redis.call("HSET", KEYS[3], ARGV[3], ARGV[4])
end
return {"saved"}
