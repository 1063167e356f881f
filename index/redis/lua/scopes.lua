-- scopes, in a cluster: triples of scope digest, scope and worker that are to be
-- known before records of them are put. They are never forgotten.
for i = 4, #ARGV, 3 do
  call('HSETNX', G .. 's', ARGV[i], ARGV[i + 1])
  call('SADD', G .. 'a' .. string.sub(ARGV[i + 1], 1, 32), ARGV[i])
  call('SADD', G .. 'w' .. ARGV[i + 2], ARGV[i])
end
return 1
