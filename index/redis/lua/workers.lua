-- workers: names, or none for all. Returns the workers whose lease ran out, the
-- incarnations of all that were announced, the lives of the named ones, and the
-- number of the newest change that no scope numbers.
local lives = {}
for i = 4, #ARGV do lives[i - 3] = call('HGET', G .. 'e', ARGV[i]) or '1' end
local known = {}
if #ARGV < 4 then known = call('HGETALL', G .. 'i') end
return {call('ZRANGEBYSCORE', G .. 'l', '-inf', now()), known, lives, call('GET', G .. 'q') or '0'}
