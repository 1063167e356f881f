-- sweep: a time as eight bytes, or "" for all records; limit in records; scope
-- digest or "" for all, then nothing, or a cursor and prefixes. Without prefixes it
-- does all at once, or nothing and returns -1 if there are more records than the
-- limit. Else it goes on from the cursor in the first prefix until it has looked at
-- as many records as the limit, and returns how many it removed, how many prefixes
-- it is through with, and the cursor in the next.
local before, limit, d = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local hi, lo = 0, 0
if before ~= '' then hi, lo = struct.unpack('>I4I4', before) end

local function want(_, v)
  if before == '' then return true end
  halves(v)
  local h, l, refs, flags = struct.unpack('>I4I4I4B', v, 13)
  return (h < hi or (h == hi and l < lo)) and refs == 0 and flags % 2 == 0
end

local function one(d, p, hash)
  local n = take(d, hash, want)
  -- A set may name a block that is gone: it goes, too.
  if n == 0 and call('EXISTS', base(d) .. 'b' .. hash) == 0 then call('HDEL', base(d) .. 'p' .. p, hash) end
  return n
end

local function tidy(d, p)
  if call('EXISTS', base(d) .. 'p' .. p) == 0 then call('SREM', base(d) .. 'k', p) end
end

if #ARGV > 6 then
  local b, n, cursor, left = base(d), 0, ARGV[7], limit
  local through = 0
  while left > 0 and ARGV[8 + through] do
    local p = ARGV[8 + through]
    repeat
      local found = call('HSCAN', b .. 'p' .. p, cursor, 'COUNT', 256)
      cursor = found[1]
      for i = 1, #found[2], 2 do
        left = left - 1 - call('HLEN', b .. 'b' .. found[2][i])
        n = n + one(d, p, found[2][i])
      end
    until cursor == '0' or left <= 0
    if cursor == '0' then
      tidy(d, p)
      through = through + 1
    end
    left = left - 1
  end
  settle()
  if n > 0 then gap() end
  return {n, through, cursor}
end

local scopes, prefixes, blocks, n = {d}, 0, {}, 0
if d == '' then scopes = call('HKEYS', G .. 's') end
for _, d in ipairs(scopes) do
  prefixes = prefixes + call('SCARD', base(d) .. 'k')
  if prefixes > limit then return -1 end
end
local records = 0
for _, d in ipairs(scopes) do
  local b = base(d)
  for _, p in ipairs(call('SMEMBERS', b .. 'k')) do
    if records + call('HLEN', b .. 'p' .. p) > limit then return -1 end
    local hashes = call('HKEYS', b .. 'p' .. p)
    for _, hash in ipairs(hashes) do
      records = records + math.max(1, call('HLEN', b .. 'b' .. hash))
      if records > limit then return -1 end
    end
    blocks[#blocks + 1] = {d, p, hashes}
  end
end
for _, x in ipairs(blocks) do
  for _, hash in ipairs(x[3]) do n = n + one(x[1], x[2], hash) end
  tidy(x[1], x[2])
end
settle()
if n > 0 then changed(before == '' and 'clear' or 'expire', {before}) end
return n
