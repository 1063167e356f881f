-- scan: scope digest, prefix, limit. Returns the workers whose lease ran out, the
-- blocks' hashes beyond the limit, then hash and block of each child.
local b, limit, hashes = base(ARGV[4]), tonumber(ARGV[6]), {}
local v = sound(call('HGET', b .. 'b', ARGV[5]))
if v and byte(v, 2) == 83 then -- S
  hashes = call('SMEMBERS', b .. 'c' .. ARGV[5])
elseif v then
  local p = find(v, TP, 1, true) or #v
  for hash in string.gmatch(sub(v, 1, p), '\255C([^\255]*)') do hashes[#hashes + 1] = hash end
end
local out, rest = {dead(), {}}, {}
while #hashes > limit do rest[#rest + 1] = table.remove(hashes) end
read(b .. 'b', hashes, function(hash, v)
  out[#out + 1] = hash
  out[#out + 1] = v and expand(ARGV[4], hash, v) or ''
end)
out[2] = rest
return out
