-- clear_worker: worker, limit in blocks; in a cluster the scope digest, the
-- greatest life whose records go, and whether only volatile tiers are meant.
-- Returns the number of records and 1 at the end.
local w, limit = ARGV[4], tonumber(ARGV[5])
local scopes, volatile = {ARGV[6]}, ARGV[8] == '1'
if single then
  scopes = call('SMEMBERS', G .. 'w' .. w)
elseif ARGV[7] ~= '' and tonumber(call('HGET', base(ARGV[6]) .. 'e', w) or 0) > tonumber(ARGV[7]) then
  return {0, 1}
end
local n, through = clear(w, scopes, volatile, limit)
settle(function()
  if not through then
    gap()
  elseif n > 0 then
    changed('clear_worker', {w})
  end
end)
return {n, through and 1 or 0}
