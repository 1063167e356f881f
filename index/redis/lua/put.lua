-- put: runs of records of one scope and worker, each
--   scope digest, scope, worker, its life (on a single server 0, or 1 if the client
--   holds a lease of it, and it has to be there), count, low sum, high sum of the
--   bytes, and of each record hash, prefix (255: the hash before), key and value.
-- All is read before anything is written, and what can fail is written first: so a
-- put that fails is not seen.
local function walk(run)
  local i = 4
  while ARGV[i] do
    local n = tonumber(ARGV[i + 4])
    run(i, n)
    i = i + 7 + 3 * n
  end
end

local away, found = {}, {}
for _, w in ipairs(dead()) do away[w] = true end
local hashes = {} -- by scope
walk(function(i, n)
  local d, w = ARGV[i], ARGV[i + 2]
  if away[w] or (single and ARGV[i + 3] == '1' and not call('ZSCORE', G .. 'l', w)) then found[#found + 1] = w end
  local list = hashes[d] or {}
  hashes[d] = list
  for j = i + 7, i + 4 + 3 * n, 3 do list[#list + 1] = ARGV[j] end
end)
if #found > 0 then return found end
for d, list in pairs(hashes) do fetch(d, list) end

-- replace puts a record behind the name of its parent, which ends at e. It returns
-- true if there was none, else the bytes of the old.
local function replace(have, touched, hash, e, record)
  local v = have[hash]
  local key = sub(record, 1, find(record, T, 1, true))
  local p, q = find(v, T .. key, e, true)
  if p then
    local other = find(v, TP, e, true)
    if other and other < p then p = nil end
  end
  if not p then
    have[hash] = sub(v, 1, e) .. record .. sub(v, e + 1)
    touched[hash] = true
    return true
  end
  local r = find(v, T, q + 1, true) or bad('record without a value')
  local old, value = sub(v, q + 1, r), sub(record, #key + 1)
  if old ~= value then
    have[hash] = sub(v, 1, q) .. value .. sub(v, r + 1)
    touched[hash] = true
  end
  return false, halves(sub(old, 1, -2))
end

local large = {} -- of blocks whose records are many, by scope: what is put

-- apart puts a record of such a block, and returns what replace does.
local function apart(d, hash, prefix, record)
  local key = sub(record, 1, find(record, T, 1, true))
  local field = 'P' .. prefix .. T .. key
  large[d] = large[d] or {}
  local of = large[d][hash] or {}
  large[d][hash] = of
  local old = of[field] or call('HGET', base(d) .. 'r' .. hash, field)
  of[field] = sub(record, #key + 1)
  if old then return false, halves(sub(old, 1, -2)) end
  return true
end

-- spread gives the records of a block, which begin behind p, a hash of their own.
local function spread(d, have, hash, p)
  local v, r = have[hash], base(d) .. 'r' .. hash
  local heads, list, parent, key = {sub(v, 1, p) .. 'L' .. T}, {}, nil, nil
  for e in string.gmatch(sub(v, p + 1), '([^\255]*)\255') do
    if key then
      list[#list + 1] = parent .. key .. T
      list[#list + 1] = e .. T
      key = nil
    elseif byte(e, 1) == 80 then -- P
      parent = e .. T
      heads[#heads + 1] = parent
    else
      key = e
    end
  end
  call('UNLINK', r)
  each('HSET', r, list)
  have[hash] = table.concat(heads)
end

local runs, links = {}, {} -- links: by scope, parents and their children in turns
walk(function(i, n)
  local d, lo, hi, fresh = ARGV[i], tonumber(ARGV[i + 5]), tonumber(ARGV[i + 6]), 0
  local have, touched, link, hash = scopeOf(d), dirty[d], links[d] or {}, nil
  local sets, k = {m = {}, o = {}}, #link
  links[d] = link
  for j = i + 7, i + 4 + 3 * n, 3 do
    local prefix, record = ARGV[j + 1], ARGV[j + 2]
    if prefix == T then prefix = hash end
    hash = ARGV[j]
    local v, new, h, l = have[hash], true, nil, nil
    local _, e
    if v then _, e = find(v, TP .. prefix .. T, 1, true) end
    if v and find(v, TL, 1, true) then
      new, h, l = apart(d, hash, prefix, record)
      if not e then
        have[hash] = v .. 'P' .. prefix .. T
        touched[hash] = true
        link[k + 1], link[k + 2], k = prefix, hash, k + 2
      end
    elseif e then
      new, h, l = replace(have, touched, hash, e, record)
    else
      have[hash] = (v or T) .. 'P' .. prefix .. T .. record
      touched[hash] = true
      link[k + 1], link[k + 2], k = prefix, hash, k + 2
    end
    if new then
      fresh = fresh + 1
      local s = sets[class(byte(record, 2))]
      s[#s + 1] = hash
    else
      lo, hi = lo - l, hi - h
    end
  end
  runs[#runs + 1] = {i, fresh, lo, hi, sets}
end)

-- Blocks get to know their children, or a set does, if there are many.
for d, link in pairs(links) do
  local parents, sets = {}, {}
  for k = 1, #link, 2 do parents[(k + 1) / 2] = link[k] end
  local have, touched = fetch(d, parents), dirty[d]
  for k = 1, #link, 2 do
    local prefix, hash = link[k], link[k + 1]
    local v = have[prefix] or T
    if byte(v, 2) == 83 then -- S
      add(sets, prefix, hash)
    else
      v = T .. 'C' .. hash .. v
      if #v > spillAt then
        local p = find(v, TL, 1, true) or find(v, TP, 1, true) or #v
        if p > spillAt then
          for c in string.gmatch(sub(v, 1, p), '\255C([^\255]*)') do add(sets, prefix, c) end
          v = T .. 'S' .. sub(v, p)
        end
      end
      have[prefix] = v
      touched[prefix] = true
    end
  end
  for prefix, l in pairs(sets) do each('SADD', base(d) .. 'c' .. prefix, l) end
end

for d, which in pairs(dirty) do
  local have = seen[d]
  for hash in pairs(which) do
    local v = have[hash]
    if #v > largeAt and not find(v, TL, 1, true) then
      local p = find(v, TP, 1, true)
      if p and #v - p > largeAt then spread(d, have, hash, p) end
    end
  end
end

local told = {}
for _, r in ipairs(runs) do
  local i, fresh, sets = r[1], r[2], r[5]
  local d, scope, w, life = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local b = base(d)
  if not single then
    if tonumber(life) > tonumber(call('HGET', b .. 'e', w) or 0) then call('HSET', b .. 'e', w, life) end
  elseif fresh > 0 then
    if not told[d] then
      told[d] = true
      call('HSETNX', G .. 's', d, scope)
      call('SADD', G .. 'a' .. sub(scope, 1, 32), d)
    end
    call('SADD', G .. 'w' .. w, d)
  end
  each('SADD', b .. 'm' .. w, sets.m)
  each('SADD', b .. 'o' .. w, sets.o)
end
for _, r in ipairs(runs) do count(ARGV[r[1]], ARGV[r[1] + 2], r[2], r[3], r[4]) end
changed('put', ARGV)
store()
for d, blocks in pairs(large) do
  for hash, of in pairs(blocks) do
    local list = {}
    for field, value in pairs(of) do
      list[#list + 1] = field
      list[#list + 1] = value
    end
    each('HSET', base(d) .. 'r' .. hash, list)
  end
end
return {}
