#!lua flags=no-writes
-- page_v1: what comes next in some indexes of one partition, taken as one, in the order of (score, member).
--
-- KEYS  1… indexes (sorted sets; no member stands in two of them)
-- ARGV  1 "newest" (from the highest place down) or "oldest"
--       2 the least score, or "-inf"   3 the score below which all stay, or "+inf"
--       4 score and   5 member of the place to go on after, or "" to begin at the end; nobody need stand there
--       6 the most members to answer with
-- Answer {member, score, …}; fewer than asked for means that there are no more
--
-- Costs a few logarithms of the indexes' size, wherever the page is and however many members share a score.

-- Redis orders members of one score by their bytes; Lua's own comparison of strings would follow the server's locale.
local function less(one, other)
  for at = 1, math.min(#one, #other) do
    local mine, its = string.byte(one, at), string.byte(other, at)
    if mine ~= its then
      return mine < its
    end
  end
  return #one < #other
end

-- How many members stand before the place, and how many stand on it: 0 or 1.
local function rank_of(key, score, member)
  local first = redis.call("ZCOUNT", key, "-inf", "(" .. score)
  local last = redis.call("ZCOUNT", key, "-inf", score)
  while first < last do
    local middle = math.floor((first + last) / 2)
    local found = redis.call("ZRANGE", key, middle, middle)[1]
    if found == member then
      return middle, 1
    elseif less(found, member) then
      first = middle + 1
    else
      last = middle
    end
  end
  return first, 0
end

local newest, limit = ARGV[1] == "newest", tonumber(ARGV[6])
local lists = {}
for _, key in ipairs(KEYS) do
  local first = redis.call("ZCOUNT", key, "-inf", "(" .. ARGV[2])
  local beyond = redis.call("ZCOUNT", key, "-inf", "(" .. ARGV[3])
  if ARGV[4] ~= "" then
    local before, there = rank_of(key, ARGV[4], ARGV[5])
    if newest then
      beyond = math.min(beyond, before)
    else
      first = math.max(first, before + there)
    end
  end
  if newest then
    first = math.max(first, beyond - limit)
  else
    beyond = math.min(beyond, first + limit)
  end
  if first < beyond then
    local part = redis.call("ZRANGE", key, first, beyond - 1, "WITHSCORES")
    lists[#lists + 1] = {part = part, at = newest and #part - 1 or 1}
  end
end

local function comes_first(one, other)
  local my_score, its_score = tonumber(one.part[one.at + 1]), tonumber(other.part[other.at + 1])
  if my_score ~= its_score then
    return (my_score < its_score) ~= newest
  end
  return less(one.part[one.at], other.part[other.at]) ~= newest
end

local answer = {}
while #answer < 2 * limit do
  local best = nil
  for _, list in ipairs(lists) do
    if list.part[list.at] and (not best or comes_first(list, best)) then
      best = list
    end
  end
  if not best then
    break
  end
  answer[#answer + 1] = best.part[best.at]
  answer[#answer + 1] = best.part[best.at + 1]
  best.at = best.at + (newest and -2 or 2)
end
return answer
