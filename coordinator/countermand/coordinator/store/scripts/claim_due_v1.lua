#!lua
-- claim_due_v1: leases the sagas of one partition that are due, by this server's clock.
--
-- KEYS  1 due (sorted set)
-- ARGV  1 limit   2 lease in milliseconds
--       3 the time that the caller expects in Unix milliseconds, or ""   4 tolerance in milliseconds
-- Answer {now, "claimed", id, …} | {now, "jumped"}
--
-- A clock that is not where its reader's steady clock says has jumped: firing by it would time out the whole world.
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local text = string.format("%d", now)
if ARGV[3] ~= "" and math.abs(now - tonumber(ARGV[3])) > tonumber(ARGV[4]) then
  return {text, "jumped"}
end
local answer = {text, "claimed"}
local due = redis.call("ZRANGE", KEYS[1], "-inf", text, "BYSCORE", "LIMIT", 0, tonumber(ARGV[1]))
local until_ms = string.format("%d", now + tonumber(ARGV[2]))
for _, id in ipairs(due) do
  redis.call("ZADD", KEYS[1], until_ms, id)
  answer[#answer + 1] = id
end
return answer
