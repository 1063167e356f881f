-- prefixes: scope digest, cursor. Returns the next cursor and prefixes that have
-- records.
local found, out = call('HSCAN', base(ARGV[4]) .. 'b', ARGV[5], 'COUNT', 4096), {}
for i = 1, #found[2], 2 do
  local tag = byte(found[2][i + 1], 2)
  if tag == 67 or tag == 83 then out[#out + 1] = found[2][i] end -- C, S
end
return {found[1], out}
