#!lua
-- retire_v1: removes the sagas of one partition whose retention has passed: saga, history and index entries together.
--
-- KEYS  1 retire (sorted set)   2 due (sorted set)
-- ARGV  1 limit   2 prefix of the partition's keys (they have the hash tag of KEYS)
--       3 the time that the caller expects in Unix milliseconds, or ""   4 tolerance in milliseconds
-- Answer the number of sagas removed
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000
-- A clock that has jumped would have everything forgotten at once.
if ARGV[3] ~= "" and math.abs(now - tonumber(ARGV[3])) > tonumber(ARGV[4]) + 1000 then
  return 0
end
now = string.format("%d", now)
local ids = redis.call("ZRANGE", KEYS[1], "-inf", now, "BYSCORE", "LIMIT", 0, tonumber(ARGV[1]))
for _, id in ipairs(ids) do
  local saga = ARGV[2] .. "saga:" .. id
  local index = redis.call("HGET", saga, "x")
  if index then
    for _, entry in ipairs(cjson.decode(index)) do
      redis.call("ZREM", ARGV[2] .. "index:" .. entry[1], id)
    end
  end
  redis.call("UNLINK", saga, ARGV[2] .. "history:" .. id)
  redis.call("ZREM", KEYS[2], id)
  redis.call("ZREM", KEYS[1], id)
end
return #ids
