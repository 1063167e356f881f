-- remove: of each removal
--   scope digest ("": all that differ in the adapter), digest without adapter,
--   scope, worker, hash, tier as a byte or "", group as four bytes or "".
local n, wanted, groups, list = 0, {}, {}, {}
for i = 4, #ARGV, 7 do
  local scopes, group = {ARGV[i]}, ARGV[i + 1]
  if ARGV[i] == '' then
    groups[group] = groups[group] or call('SMEMBERS', G .. 'a' .. group)
    scopes = groups[group]
  end
  for _, d in ipairs(scopes) do
    add(wanted, d, ARGV[i + 4])
    list[#list + 1] = {d, i}
  end
end
for d, hashes in pairs(wanted) do fetch(d, hashes) end
for _, x in ipairs(list) do
  local i = x[2]
  local w, tier, group = ARGV[i + 3], ARGV[i + 5], ARGV[i + 6]
  n = n + take(x[1], ARGV[i + 4], function(k, _, worker)
    return worker == w and (tier == '' or sub(k, 2, 2) == tier) and (group == '' or sub(k, 3, 6) == group)
  end, w)
end
if n > 0 then settle(function() changed('remove', ARGV) end) end
return n
