-- watch, on a single server: how long changes are kept with nobody watching, in ms
-- ("": they are not, if nobody watches). Returns the number of the newest change,
-- then the workers whose lease ran out.
--
-- A server that began again, or took over, may lack its last changes, and would
-- number others as those. Who has seen them must not go on: numbers go on beyond
-- all that there can have been, and what was kept is dropped.
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)')
local old = call('GET', G .. 'r')
if run and run ~= old then
  call('SET', G .. 'r', run)
  if call('EXISTS', G .. 'q') == 1 then
    call('INCRBY', G .. 'q', '4294967296')
    gap()
  end
end
local q = call('GET', G .. 'q') or '0'
if ARGV[4] ~= '' then
  if call('EXISTS', G .. 'x') == 0 then
    call('XADD', G .. 'x', q .. '-1', 'gap', '')
    call('SET', G .. 'c', '0')
  end
  call('PEXPIRE', G .. 'x', ARGV[4])
  call('PEXPIRE', G .. 'c', ARGV[4])
end
return {q, dead()}
