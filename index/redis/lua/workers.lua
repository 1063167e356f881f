-- workers: names, or none for all. Returns the workers whose lease ran out, the
-- incarnations of all that were announced, the lives of the named ones, the
-- number of the newest change that no scope numbers, and the named without a lease.
local lives, bare = {}, {}
for i = 4, #ARGV do
  lives[i - 3] = call('HGET', G .. 'e', ARGV[i]) or '1'
  if not call('ZSCORE', G .. 'l', ARGV[i]) then bare[#bare + 1] = ARGV[i] end
end
local known = {}
if #ARGV < 4 then known = call('HGETALL', G .. 'i') end
return {call('ZRANGEBYSCORE', G .. 'l', '-inf', now()), known, lives, call('GET', G .. 'q') or '0', bare}
