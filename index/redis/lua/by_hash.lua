-- by_hash, on a single server: a hash, a cursor. Returns the workers whose lease ran
-- out, the next cursor, then scope and block of each.
local found = call('HSCAN', G .. 's', ARGV[5], 'COUNT', 4096)
local out = {dead(), found[1]}
for i = 1, #found[2], 2 do
  local d = found[2][i]
  local v = call('HGET', base(d) .. 'b', ARGV[4])
  if v then
    out[#out + 1] = found[2][i + 1]
    out[#out + 1] = expand(d, ARGV[4], v)
  end
end
return out
