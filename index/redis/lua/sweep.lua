-- sweep: a time as eight bytes, or "" for all records; limit in records; scope
-- digest or "" for all, and then a cursor, or nothing. Without one it does all at
-- once, or nothing and returns -1 if there are more records than the limit. Else it
-- goes on from the cursor until it has looked at as many records as the limit, and
-- returns how many it removed, and the next cursor.
local before, limit, d, cursor = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local hi, lo = 0, 0
if before ~= '' then hi, lo = struct.unpack('>I4I4', before) end

local function want(_, e)
  if before == '' then return true end
  local v = plain(e)
  if #v ~= 26 then bad('value of ' .. #v .. ' bytes') end
  local h, l, refs, flags = struct.unpack('>I4I4I4B', v, 14)
  return (h < hi or (h == hi and l < lo)) and refs == 0 and flags % 2 == 0
end

-- all sweeps blocks that were read: hashes and what they are, in turns.
local function all(d, blocks)
  local have, n, looked = scopeOf(d), 0, 0
  for i = 1, #blocks, 2 do
    local hash = blocks[i]
    if have[hash] == nil then
      have[hash] = sound(blocks[i + 1])
      local gone, those = take(d, hash, want)
      n, looked = n + gone, looked + those
    end
  end
  return n, looked
end

local n = 0
if cursor then
  local left = limit
  repeat
    local found = call('HSCAN', base(d) .. 'b', cursor, 'COUNT', 256)
    local gone, looked = all(d, found[2])
    n, left, cursor = n + gone, left - looked - #found[2] / 8, found[1]
  until cursor == '0' or left <= 0
  if n > 0 then settle(gap) end
  return {n, cursor}
end

local scopes, records = {d}, 0
for _, c in ipairs(call('HVALS', (single and G or base(d)) .. 'n')) do records = records + tonumber(c) end
if records > limit then return -1 end
if d == '' then scopes = call('HKEYS', G .. 's') end
for _, d in ipairs(scopes) do
  if call('HLEN', base(d) .. 'b') > 4 * limit then return -1 end
end
for _, d in ipairs(scopes) do n = n + all(d, call('HGETALL', base(d) .. 'b')) end
if n > 0 then settle(function() changed(before == '' and 'clear' or 'expire', {before}) end) end
return n
