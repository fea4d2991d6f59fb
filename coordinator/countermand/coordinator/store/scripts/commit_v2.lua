#!lua
-- commit_v2: one saga's step forward, as a whole or not at all.
--
-- KEYS  1 saga (hash)   2 history (list)   3 due (sorted set)   4 retire (sorted set)
--       5 catalogue (set: the names of the counted indexes that have members)
-- ARGV  1 saga id
--       2 expected version ("0": the saga must not exist)
--       3 new version
--       4 token of this commit
--       5 state (msgpack)
--       6 real wake-up in Unix milliseconds, or ""
--       7 guard in milliseconds from now, or ""
--       8 index entries: JSON [[name, score], …]; [name, score, true] for an index that is counted
--       9 prefix of the index keys (they have the hash tag of KEYS; which of them change is known only here)
--      10 milliseconds from now until the saga is retired, or ""
--      11 number of field names and values that follow
--      12… field, value, …, then the journal records
-- What commit_v1 has stored counts nothing yet; the next change of its place counts it.
-- A guard that is still set stays set, whoever commits over it: it is given up when somebody settles a later version.
-- Answer {"committed", version of the guard taken over or ""} | {"mine"} | {"conflict", stored version or "0"}
--
-- Everything is checked before the first write, because nothing is rolled back. The shebang line makes a server that
-- is out of memory refuse the script as a whole.
local fields = tonumber(ARGV[11])
if not (tonumber(ARGV[2]) and tonumber(ARGV[3]) and fields and fields % 2 == 0 and #ARGV >= 11 + fields) then
  return redis.error_reply("ERR commit_v2: malformed arguments")
end
local index = cjson.decode(ARGV[8])
local stored = redis.call("HMGET", KEYS[1], "v", "t", "x", "g")
local version = stored[1] or "0"
if version ~= ARGV[2] then
  if stored[2] == ARGV[4] then
    -- Written again, unchanged, so that a WAIT or WAITAOF that follows on this connection has something to wait for.
    redis.call("HSET", KEYS[1], "t", ARGV[4])
    return {"mine"}
  end
  return {"conflict", version}
end
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- From here on, writes only.
redis.call("HSET", KEYS[1], "v", ARGV[3], "t", ARGV[4], "s", ARGV[5], "w", ARGV[6], "x", ARGV[8])
for first = 12, 11 + fields, 2 do
  redis.call("HSET", KEYS[1], ARGV[first], ARGV[first + 1])
end
for record = 12 + fields, #ARGV do
  redis.call("RPUSH", KEYS[2], ARGV[record])
end
if ARGV[7] ~= "" then
  redis.call("HSETNX", KEYS[1], "g", ARGV[3])
  redis.call("ZADD", KEYS[3], string.format("%d", now + tonumber(ARGV[7])), ARGV[1])
elseif stored[4] then
  -- The moment that stands there is the guard's; should it be missing, now is soon enough.
  redis.call("ZADD", KEYS[3], "NX", string.format("%d", now), ARGV[1])
elseif ARGV[6] == "" then
  redis.call("ZREM", KEYS[3], ARGV[1])
else
  redis.call("ZADD", KEYS[3], ARGV[6], ARGV[1])
end
if stored[3] ~= ARGV[8] then
  local former = {}
  for _, entry in ipairs(stored[3] and cjson.decode(stored[3]) or {}) do
    former[entry[1]] = entry
  end
  for _, entry in ipairs(index) do
    local name = entry[1]
    redis.call("ZADD", ARGV[9] .. name, string.format("%d", entry[2]), ARGV[1])
    if entry[3] then
      redis.call("SADD", KEYS[5], name)
    end
    former[name] = nil
  end
  for name, entry in pairs(former) do
    redis.call("ZREM", ARGV[9] .. name, ARGV[1])
    if entry[3] and redis.call("EXISTS", ARGV[9] .. name) == 0 then
      redis.call("SREM", KEYS[5], name)
    end
  end
end
if ARGV[10] ~= "" then
  redis.call("ZADD", KEYS[4], string.format("%d", now + tonumber(ARGV[10])), ARGV[1])
end
return {"committed", stored[4] or ""}
