-- sweep: a time as eight bytes, or "" for all records; limit in prefixes, or "";
-- scope digest or "" for all, prefixes of it. Without prefixes it does all at
-- once, or nothing and returns -1 if there are more prefixes than the limit.
local before, limit, d = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local hi, lo = 0, 0
if before ~= '' then hi, lo = struct.unpack('>I4I4', before) end

local function want(_, v)
  if before == '' then return true end
  halves(v)
  local h, l, refs, flags = struct.unpack('>I4I4I4B', v, 13)
  return (h < hi or (h == hi and l < lo)) and refs == 0 and flags % 2 == 0
end

local function sweep(d, prefixes)
  local n, b = 0, base(d)
  for _, p in ipairs(prefixes) do
    for _, hash in ipairs(call('HKEYS', b .. 'p' .. p)) do
      n = n + take(d, hash, want)
      -- A set may name a block that is gone: it goes, too.
      if call('EXISTS', b .. 'b' .. hash) == 0 then call('HDEL', b .. 'p' .. p, hash) end
    end
    if call('EXISTS', b .. 'p' .. p) == 0 then call('SREM', b .. 'k', p) end
  end
  return n
end

if not limit then
  local n = sweep(d, {unpack(ARGV, 7)})
  settle()
  if n > 0 then gap() end
  return n
end
local scopes, all, n = {d}, 0, 0
if d == '' then scopes = call('HKEYS', G .. 's') end
for _, d in ipairs(scopes) do all = all + call('SCARD', base(d) .. 'k') end
if all > limit then return -1 end
for _, d in ipairs(scopes) do n = n + sweep(d, call('SMEMBERS', base(d) .. 'k')) end
settle()
if n > 0 then changed(before == '' and 'clear' or 'expire', {before}) end
return n
