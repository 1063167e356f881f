-- What scripts read and change of blocks, which the package comment draws.
local T, TP = '\255', '\255P'
local find, sub, byte = string.find, string.sub, string.byte
local seen, dirty = {}, {} -- of each scope: what blocks are, and which of them changed
local TL = '\255L\255'
local spillAt, largeAt = 1024, 4096 -- bytes of children, and of records, in a block itself

local function scopeOf(d)
  if not seen[d] then seen[d], dirty[d] = {}, {} end
  return seen[d]
end

-- read calls done with each of some fields of a hash and what it is, or false.
local function read(key, fields, done)
  for i = 1, #fields, 4000 do
    local last = math.min(i + 3999, #fields)
    local got = call('HMGET', key, unpack(fields, i, last))
    for j = i, last do done(fields[j], got[j - i + 1]) end
  end
end

local function sound(v)
  if v and (byte(v, 1) ~= 255 or byte(v, -1) ~= 255 or #v < 2) then bad('block of ' .. #v .. ' bytes') end
  return v
end

-- fetch reads blocks that were not read yet, and returns all that were.
local function fetch(d, hashes)
  local have, ask, n = scopeOf(d), {}, 0
  for i = 1, #hashes do
    local hash = hashes[i]
    if have[hash] == nil then
      n = n + 1
      ask[n], have[hash] = hash, false
    end
  end
  for i = 1, n, 4000 do
    local got = call('HMGET', base(d) .. 'b', unpack(ask, i, math.min(i + 3999, n)))
    for j = 1, #got do
      local v = got[j]
      if v then have[ask[i + j - 1]] = sound(v) end
    end
  end
  return have
end

-- store writes the blocks that changed. This cannot fail: they were read.
local function store()
  for d, which in pairs(dirty) do
    local have, set, gone, n = seen[d], {}, {}, 0
    for hash in pairs(which) do
      local v = have[hash]
      if v and v ~= T then
        set[n + 1], set[n + 2], n = hash, v, n + 2
      else
        have[hash] = false
        gone[#gone + 1] = hash
      end
    end
    each('HSET', base(d) .. 'b', set)
    each('HDEL', base(d) .. 'b', gone)
    dirty[d] = {}
  end
end

-- expand returns a block with its records, which are a hash of their own if they
-- are many, and whether they are.
local function expand(d, hash, v)
  local s = find(v, TL, 1, true)
  if not s then return v, false end
  local groups, parents, fields = {}, {}, call('HGETALL', base(d) .. 'r' .. hash)
  for i = 1, #fields, 2 do
    local f = fields[i]
    local p = find(f, T, 1, true) or bad('field of ' .. #f .. ' bytes')
    local parent = sub(f, 1, p)
    local g = groups[parent]
    if not g then
      g = {parent}
      groups[parent], parents[#parents + 1] = g, parent
    end
    g[#g + 1] = sub(f, p + 1)
    g[#g + 1] = fields[i + 1]
  end
  local out = {sub(v, 1, s)}
  for _, parent in ipairs(parents) do out[#out + 1] = table.concat(groups[parent]) end
  return table.concat(out), true
end

-- plain takes the escapes out of an entry.
local escaped = {['\1'] = '\254', ['\2'] = '\255'}
local function plain(e)
  if find(e, '\254', 1, true) then return (string.gsub(e, '\254(.)', escaped)) end
  return e
end

-- add adds to a list in a table.
local function add(lists, key, x)
  local l = lists[key]
  if l then l[#l + 1] = x else lists[key] = {x} end
end

local function halves(v)
  v = plain(v)
  if #v ~= 26 then bad('value of ' .. #v .. ' bytes') end
  return struct.unpack('>I4I4', v, 6)
end

-- class returns the letter of the set of a worker's blocks: m for volatile tiers.
local function class(tier)
  return (tier == 1 or tier == 2 or tier == 5) and 'm' or 'o'
end
