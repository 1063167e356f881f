-- announce, on a single server: worker, incarnation, lease in ms (0: none), limit;
-- of one that joins, the incarnation that has ended, or 0. Returns the number of
-- records removed, 1 at the end, and the incarnation that holds.
local w, inc, lease, limit, was = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local holds = call('HGET', G .. 'i', w)
local deadline = call('ZSCORE', G .. 'l', w)
local t, n, through, gone = now(), 0, true, false
if was and holds and holds ~= was and (not deadline or tonumber(deadline) > t) then
  if lease > 0 then prolong(w, deadline, t + lease) end
  return {0, 1, holds}
end
if deadline and tonumber(deadline) <= t then
  n, through = clear(w, call('SMEMBERS', G .. 'w' .. w), false, limit)
  holds = false
elseif holds and holds ~= inc then
  n, through = clear(w, call('SMEMBERS', G .. 'w' .. w), true, limit)
  gone = true
end
settle(function()
  if not through then
    gap()
  elseif n > 0 and not gone then
    changed('clear_worker', {w})
  end
end)
if not through then return {n, 0, ''} end
call('HSET', G .. 'i', w, inc)
if lease > 0 then
  call('ZADD', G .. 'l', t + lease, w)
else
  call('ZREM', G .. 'l', w)
end
if holds ~= inc then changed('announce', {w, inc, gone and '1' or ''}) end
return {n, 1, inc}
