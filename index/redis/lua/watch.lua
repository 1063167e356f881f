-- watch, on a single server: how long changes are kept with nobody watching, in
-- ms. Returns the number of the newest change.
local q = call('GET', G .. 'q') or '0'
if call('EXISTS', G .. 'x') == 0 then call('XADD', G .. 'x', q .. '-1', 'gap', '') end
call('PEXPIRE', G .. 'x', ARGV[4])
return q
