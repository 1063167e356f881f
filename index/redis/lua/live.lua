-- live, in a cluster: worker, the life that was seen, the life to come,
-- incarnation ("": the worker is forgotten), lease in ms (0: none), and whether a
-- lease that ran out is expected to have, whether a longer lease stays, and the
-- incarnation that was seen, or "": the first of a life does not change that. Returns
-- 1, or 0 if somebody else was first.
local w, seen, life, inc, lease = ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local deadline, t = call('ZSCORE', G .. 'l', w), now()
if (call('HGET', G .. 'e', w) or '1') ~= seen or (call('HGET', G .. 'i', w) or '') ~= ARGV[11] then return 0 end
if ((deadline and tonumber(deadline) <= t) and '1' or '0') ~= ARGV[9] then return 0 end
if call('HGET', G .. 'i', w) ~= inc and inc ~= '' then call('INCR', G .. 'q') end
if life ~= seen then call('HSET', G .. 'e', w, life) end
if inc == '' then
  call('HDEL', G .. 'i', w)
  call('ZREM', G .. 'l', w)
  return 1
end
call('HSET', G .. 'i', w, inc)
if ARGV[10] == '1' then
  if lease > 0 then prolong(w, deadline, t + lease) end
elseif lease > 0 then
  call('ZADD', G .. 'l', t + lease, w)
else
  call('ZREM', G .. 'l', w)
end
return 1
