-- renew: lease in ms, then pairs of worker and incarnation. Renews leases that
-- have not run out, of workers that nobody announced in another incarnation.
local t, lease = now(), tonumber(ARGV[4])
for i = 5, #ARGV, 2 do
  local deadline = call('ZSCORE', G .. 'l', ARGV[i])
  if deadline and tonumber(deadline) > t and call('HGET', G .. 'i', ARGV[i]) == ARGV[i + 1] then
    call('ZADD', G .. 'l', t + lease, ARGV[i])
  end
end
return 1
