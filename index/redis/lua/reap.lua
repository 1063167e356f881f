-- reap, on a single server: a worker, limit. Removes records of a worker whose
-- lease ran out, and forgets it with the last. Returns their number and 1 at the
-- end.
local w, limit = ARGV[4], tonumber(ARGV[5])
local deadline = call('ZSCORE', G .. 'l', w)
if not deadline or tonumber(deadline) > now() then return {0, 1} end
local n, through = clear(w, call('SMEMBERS', G .. 'w' .. w), false, limit)
settle(function()
  if not through then
    gap()
  elseif n > 0 then
    changed('clear_worker', {w})
  end
end)
if not through then return {n, 0} end
call('ZREM', G .. 'l', w)
call('HDEL', G .. 'i', w)
return {n, 1}
