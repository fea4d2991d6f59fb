#!lua
-- swap_v1: replaces the record of one inbox key, if it is still the record that the caller has seen.
--
-- KEYS[1]  the key's record: a hash of token, do, undo (rows as JSON, absent if there is none), lease_until_ms
--          (0: nobody holds the key) and at_ms (when it was last written)
-- ARGV[1]  the token that the caller has seen; "" if there was no record
-- ARGV[2]  the new record's token
-- ARGV[3]  the new row of `do`, "" if there is none
-- ARGV[4]  the new row of `undo`, "" if there is none
-- ARGV[5]  for how long the caller holds the key, in milliseconds; 0 lets it go
--
-- Answer   {1 if replaced, else 0, token, do, undo, busy_for_ms} of the record that stands now
--
-- The time is this server's: participants' clocks never decide who holds a key. Everything is checked before the
-- first write, because Lua doesn't roll back; the flagless `#!lua` lets a full server refuse the script as a whole.

local lease_ms = tonumber(ARGV[5])
if #KEYS ~= 1 or #ARGV ~= 5 or ARGV[2] == '' or lease_ms == nil or lease_ms < 0 then
  return redis.error_reply('ERR swap_v1: wrong arguments')
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local present = redis.call('HMGET', KEYS[1], 'token', 'do', 'undo', 'lease_until_ms')
local token = present[1] or ''

-- A caller whose answer was lost and who asks again finds its own token: the swap was done.
if token == ARGV[2] then
  return {1, ARGV[2], ARGV[3], ARGV[4], lease_ms}
end
if token ~= ARGV[1] then
  local busy_for_ms = math.max(0, tonumber(present[4] or '0') - now_ms)
  return {0, token, present[2] or '', present[3] or '', busy_for_ms}
end

local until_ms = 0
if lease_ms > 0 then
  until_ms = now_ms + lease_ms
end
-- %.0f: Lua would write large numbers as 1.7e+12.
redis.call('HSET', KEYS[1], 'token', ARGV[2],
  'lease_until_ms', string.format('%.0f', until_ms), 'at_ms', string.format('%.0f', now_ms))
for position, field in ipairs({'do', 'undo'}) do
  local row = ARGV[2 + position]
  if row == '' then
    redis.call('HDEL', KEYS[1], field)
  else
    redis.call('HSET', KEYS[1], field, row)
  end
end
return {1, ARGV[2], ARGV[3], ARGV[4], lease_ms}
