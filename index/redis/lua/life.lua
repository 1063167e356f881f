-- life, in a cluster: worker. Returns its incarnation or "", its life, and 1 if its
-- lease ran out.
local w = ARGV[4]
local deadline = call('ZSCORE', G .. 'l', w)
return {call('HGET', G .. 'i', w) or '', call('HGET', G .. 'e', w) or '1', (deadline and tonumber(deadline) <= now()) and 1 or 0}
