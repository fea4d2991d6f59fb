#!lua
-- clean_up_v1: deletes one inbox key if it was last written before a moment and nobody holds it.
--
-- KEYS[1]  the key's record (see swap_v1)
-- ARGV[1]  the moment, Unix time in milliseconds
--
-- Answer   1 if deleted, else 0

local before_ms = tonumber(ARGV[1])
if #KEYS ~= 1 or #ARGV ~= 1 or before_ms == nil then
  return redis.error_reply('ERR clean_up_v1: wrong arguments')
end

local present = redis.call('HMGET', KEYS[1], 'at_ms', 'lease_until_ms')
local at_ms, until_ms = tonumber(present[1] or ''), tonumber(present[2] or '0')
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if at_ms == nil or at_ms >= before_ms or until_ms > now_ms then
  return 0
end
return redis.call('UNLINK', KEYS[1])
