#!lua flags=no-writes
-- load_v1: a saga, as much of it as is asked for.
--
-- KEYS  1 saga (hash)
-- ARGV  1 the most fields that a saga may have to be loaded whole, whatever is asked for; "-1" for any number
--       2… the names of fields that are wanted of a larger one
-- Answer {"whole", field, value, …} | {"part", value or false for each of v, s, g, then of the wanted} | {"none"}
local most = tonumber(ARGV[1])
local size = redis.call("HLEN", KEYS[1])
if size == 0 then
  return {"none"}
end
if most < 0 or size <= most then
  local all = redis.call("HGETALL", KEYS[1])
  table.insert(all, 1, "whole")
  return all
end
local answer = {"part"}
for _, name in ipairs({"v", "s", "g"}) do
  answer[#answer + 1] = redis.call("HGET", KEYS[1], name)
end
for index = 2, #ARGV do
  answer[#answer + 1] = redis.call("HGET", KEYS[1], ARGV[index])
end
return answer
