#!lua flags=no-writes
-- read_v1: the record of one inbox key, with the time that its holder has left by this server's clock.
--
-- KEYS[1]  the key's record (see swap_v1)
--
-- Answer   {token, do, undo, busy_for_ms}; "" for what is absent

if #KEYS ~= 1 or #ARGV ~= 0 then
  return redis.error_reply('ERR read_v1: wrong arguments')
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local present = redis.call('HMGET', KEYS[1], 'token', 'do', 'undo', 'lease_until_ms')
local busy_for_ms = math.max(0, tonumber(present[4] or '0') - now_ms)
return {present[1] or '', present[2] or '', present[3] or '', busy_for_ms}
