#!lua
-- gate_commit_v1: one step forward of a gate or a mailbox, as a whole or not at all.
--
-- KEYS  1 aggregate (hash)   2 locks (sorted set: the gates that somebody holds or waits at, by the moment since)
-- ARGV  1 the aggregate's id
--       2 expected version ("0": it must not exist)
--       3 new version
--       4 token of this commit
--       5 state (msgpack)
--       6 moment in Unix milliseconds from which it may be forgotten, or "": never
--       7 its place among the locks in Unix milliseconds, or "": none
-- Answer 1: it stands | 0: somebody else was faster
--
-- Everything is checked before the first write, because nothing is rolled back. The shebang line makes a server that
-- is out of memory refuse the script as a whole.
if not (tonumber(ARGV[2]) and tonumber(ARGV[3]) and #ARGV == 7) then
  return redis.error_reply("ERR gate_commit_v1: malformed arguments")
end
local stored = redis.call("HMGET", KEYS[1], "v", "t")
if (stored[1] or "0") ~= ARGV[2] then
  if stored[2] == ARGV[4] then
    -- Written again, unchanged, so that a WAIT or WAITAOF that follows on this connection has something to wait for.
    redis.call("HSET", KEYS[1], "t", ARGV[4])
    return 1
  end
  return 0
end

-- From here on, writes only.
redis.call("HSET", KEYS[1], "v", ARGV[3], "t", ARGV[4], "s", ARGV[5])
if ARGV[6] == "" then
  redis.call("PERSIST", KEYS[1])
else
  redis.call("PEXPIREAT", KEYS[1], ARGV[6])
end
if ARGV[7] == "" then
  redis.call("ZREM", KEYS[2], ARGV[1])
else
  redis.call("ZADD", KEYS[2], ARGV[7], ARGV[1])
end
return 1
