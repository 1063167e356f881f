-- match: scope digest, hashes. Returns the workers whose lease ran out and every
-- block up to the first that nobody has.
local out = {dead()}
if #ARGV > 4 then
  for i, v in ipairs(call('HMGET', base(ARGV[4]) .. 'b', unpack(ARGV, 5))) do
    if not v or not find(v, TP, 1, true) then break end
    out[i + 1] = expand(ARGV[4], ARGV[i + 4], v)
  end
end
return out
