-- match: scope digest, hashes. Returns the workers whose lease ran out and the
-- names of the fields of every block up to the first that nobody has.
local b, out = base(ARGV[4]), {dead()}
for i = 5, #ARGV do
  local fields = call('HKEYS', b .. 'b' .. ARGV[i])
  if #fields == 0 then break end
  out[i - 3] = cmsgpack.pack(fields)
end
return out
