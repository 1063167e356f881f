-- remove: of each removal
--   scope digest ("": all that differ in the adapter), digest without adapter,
--   scope, worker, hash, tier as a byte or "", group as four bytes or "".
local n = 0
for i = 4, #ARGV, 7 do
  local w, hash, tier, group = ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
  local function want(f, _, worker)
    return worker == w and (tier == '' or string.sub(f, 1, 1) == tier) and (group == '' or string.sub(f, 2, 5) == group)
  end
  local scopes = {ARGV[i]}
  if ARGV[i] == '' then scopes = call('SMEMBERS', G .. 'a' .. ARGV[i + 1]) end
  for _, d in ipairs(scopes) do n = n + take(d, hash, want) end
end
settle()
if n > 0 then changed('remove', ARGV) end
return n
