-- by_hash, on a single server: a hash. Returns the workers whose lease ran out,
-- then scope and fields of each block.
local out = {dead()}
for _, d in ipairs(call('HKEYS', G .. 'h' .. ARGV[4])) do
  local scope = call('HGET', G .. 's', d)
  if scope then
    out[#out + 1] = scope
    out[#out + 1] = cmsgpack.pack(call('HGETALL', base(d) .. 'b' .. ARGV[4]))
  end
end
return out
