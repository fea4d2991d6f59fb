#!lua
-- announce_v2: keeps what processes of participants say of themselves, and when it was said.
--
-- KEYS  1 announcements (hash: participant/instance -> document)   2 seen (sorted set: participant/instance by moment)
-- ARGV  1 how many may be kept   2 how many of one participant
--       3, 4 and so on: participant/instance, document (empty: it has stopped, and is forgotten)
-- Answer the number that had to make room
--
-- Whoever lives says so again within a minute: those seen longest ago are gone, and make room.
local time = redis.call("TIME")
local now = string.format("%d", tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))

local function forget(name)
  redis.call("HDEL", KEYS[1], name)
  redis.call("ZREM", KEYS[2], name)
end

for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == "" then
    forget(ARGV[i])
  else
    redis.call("HSET", KEYS[1], ARGV[i], ARGV[i + 1])
    redis.call("ZADD", KEYS[2], now, ARGV[i])
  end
end

local kept, dropped, of = 0, 0, {}
for _, name in ipairs(redis.call("ZRANGE", KEYS[2], 0, -1, "REV")) do
  local participant = string.match(name, "^[^/]*")
  local number = (of[participant] or 0) + 1
  if kept == tonumber(ARGV[1]) or number > tonumber(ARGV[2]) then
    forget(name)
    dropped = dropped + 1
  else
    of[participant] = number
    kept = kept + 1
  end
end
return dropped
