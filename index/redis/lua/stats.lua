-- stats: in a cluster a scope digest. Returns the workers whose lease ran out,
-- the number of the newest change, and what is counted of each worker: records,
-- low and high sums of their bytes; on a single server the incarnations.
local c = single and G or base(ARGV[4])
return {dead(), single and call('GET', G .. 'q') or '0', call('HGETALL', c .. 'n'), call('HGETALL', c .. 'y'), call('HGETALL', c .. 'z'), call('HGETALL', c .. 'i')}
