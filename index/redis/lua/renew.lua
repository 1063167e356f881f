-- renew: lease in ms, then workers. Renews leases that have not run out, whoever
-- announced the worker last. Returns the others.
local t, lease, lapsed = now(), tonumber(ARGV[4]), {}
for i = 5, #ARGV do
  local deadline = call('ZSCORE', G .. 'l', ARGV[i])
  if deadline and tonumber(deadline) > t then
    prolong(ARGV[i], deadline, t + lease)
  else
    lapsed[#lapsed + 1] = ARGV[i]
  end
end
return lapsed
