-- scan: scope digest, prefix, limit. Returns the workers whose lease ran out, the
-- blocks' hashes beyond the limit, then hash and fields of each block.
local b, limit = base(ARGV[4]), tonumber(ARGV[6])
local hashes = call('HKEYS', b .. 'p' .. ARGV[5])
local out, rest = {dead(), {}}, {}
for i, hash in ipairs(hashes) do
  if i > limit then
    rest[#rest + 1] = hash
  else
    out[#out + 1] = hash
    out[#out + 1] = cmsgpack.pack(call('HGETALL', b .. 'b' .. hash))
  end
end
out[2] = rest
return out
