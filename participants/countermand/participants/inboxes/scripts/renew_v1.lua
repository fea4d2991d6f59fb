#!lua
-- renew_v1: prolongs the lease of a key's holder, if it still is the holder.
--
-- KEYS[1]  the key's record (see swap_v1)
-- ARGV[1]  the holder's token
-- ARGV[2]  for how long from now, in milliseconds; above 0
--
-- Answer   1 if prolonged, 0 if the key has another holder or none

local lease_ms = tonumber(ARGV[2])
if #KEYS ~= 1 or #ARGV ~= 2 or ARGV[1] == '' or lease_ms == nil or lease_ms <= 0 then
  return redis.error_reply('ERR renew_v1: wrong arguments')
end

if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return 0
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'lease_until_ms', string.format('%.0f', now_ms + lease_ms))
return 1
