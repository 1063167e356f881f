-- What take removed: counts of each scope and worker, links from parents, sets of
-- workers' blocks, and fields of blocks that have many records; rest are the others.
local lost, unlinked, left, fields, rest = {}, {}, {}, {}, {}

local function lose(d, w, v)
  local s = lost[d] or {}
  lost[d] = s
  local c = s[w] or {0, 0, 0}
  s[w] = c
  local hi, lo = halves(v)
  c[1], c[2], c[3] = c[1] - 1, c[2] - lo, c[3] - hi
end

-- lists adds to one of a scope's lists.
local function lists(of, d, name, x)
  of[d] = of[d] or {}
  add(of[d], name, x)
end

-- lastOf is how the fields of a worker's records end.
local masked = {['\254'] = '\254\1', ['\255'] = '\254\2'}
local function lastOf(w) return string.gsub(w, '[\254\255]', masked) .. T end

-- lead notes what does not lead to the records that are gone any more.
local function lead(d, hash, gone, stays, empty)
  for _, x in ipairs(gone) do
    lose(d, x[2], x[3])
    if not stays[x[1]] then lists(left, d, x[1], hash) end
  end
  for _, prefix in ipairs(empty) do lists(unlinked, d, prefix, hash) end
end

local function parentOf(field)
  local p = find(field, T, 1, true) or bad('field of ' .. #field .. ' bytes')
  return sub(field, 2, p - 1), p
end

-- takeApart is take for a block whose records are a hash of their own, from s on. It
-- looks closely only at fields that may be the worker's: there may be thousands.
local function takeApart(d, hash, s, want, worker)
  local r = base(d) .. 'r' .. hash
  rest[d] = rest[d] or {}
  local all, some, others = rest[d][hash] or call('HKEYS', r), {}, {}
  local last = worker and lastOf(worker) or ''
  for _, f in ipairs(all) do
    if sub(f, -#last) == last or last == '' then some[#some + 1] = f else others[#others + 1] = f end
  end
  local gone, stays, from = {}, {}, {}
  read(r, some, function(f, e)
    local parent, p = parentOf(f)
    local k = plain(sub(f, p + 1, -2))
    if #k < 14 or not e then bad('record of ' .. #k .. ' bytes') end
    local w, t = sub(k, 15), byte(k, 2)
    e = sub(e, 1, -2)
    if want(k, e, w, t) then
      gone[#gone + 1] = {class(t) .. w, w, e}
      from[parent] = true
      lists(fields, d, hash, f)
    else
      stays[class(t) .. w] = true
      others[#others + 1] = f
    end
  end)
  rest[d][hash] = others
  if #gone == 0 then return 0, #all end
  local kept, empty, v = {}, {}, sub(seen[d][hash], 1, s)
  for _, f in ipairs(others) do kept[parentOf(f)] = true end
  for parent in pairs(from) do
    if not kept[parent] then empty[#empty + 1] = parent end
  end
  local heads = {}
  for parent in pairs(kept) do heads[#heads + 1] = 'P' .. parent .. T end
  if #heads > 0 then v = v .. 'L' .. T .. table.concat(heads) end
  lead(d, hash, gone, stays, empty)
  seen[d][hash] = v
  dirty[d][hash] = true
  return #gone, #all
end

-- take removes the wanted records of a block that was fetched, which are of a worker
-- unless that is nil. It returns how many, and at how many it looked.
local function take(d, hash, want, worker)
  local v = seen[d][hash]
  if not v then return 0, 0 end
  local s = find(v, TL, 1, true)
  if s then return takeApart(d, hash, s, want, worker) end
  local p = find(v, TP, 1, true)
  if not p then return 0, 0 end
  local out, n, looked = {sub(v, 1, p - 1)}, 0, 0
  local gone, stays, empty = {}, {}, {}
  local parent, key, kept
  local function close()
    if parent and not kept then empty[#empty + 1] = parent end
  end
  for e in string.gmatch(sub(v, p + 1), '([^\255]*)\255') do
    if key then
      local k = plain(key)
      if #k < 14 or not parent then bad('record of ' .. #k .. ' bytes') end
      local w, t = sub(k, 15), byte(k, 2)
      looked = looked + 1
      if want(k, e, w, t) then
        n = n + 1
        gone[n] = {class(t) .. w, w, e}
      else
        if not kept then out[#out + 1] = 'P' .. parent end
        kept, stays[class(t) .. w] = true, true
        out[#out + 1] = key
        out[#out + 1] = e
      end
      key = nil
    elseif byte(e, 1) == 80 then -- P
      close()
      parent, kept = sub(e, 2), false
    elseif byte(e, 1) == 82 then -- R
      key = e
    else
      bad('entry of ' .. #e .. ' bytes')
    end
  end
  close()
  if n == 0 then return 0, looked end
  lead(d, hash, gone, stays, empty)
  out[#out + 1] = ''
  seen[d][hash] = table.concat(out, T)
  dirty[d][hash] = true
  return n, looked
end

-- unlink takes children from parents, and returns the parents whose children are
-- sets.
local function unlink(d, links)
  local list, sets = {}, {}
  for prefix in pairs(links) do list[#list + 1] = prefix end
  local have = fetch(d, list)
  for prefix, hashes in pairs(links) do
    local v = have[prefix] or T
    if byte(v, 2) == 83 then
      sets[#sets + 1] = prefix
    else
      for _, hash in ipairs(hashes) do
        local s, e = find(v, T .. 'C' .. hash .. T, 1, true)
        if s then v = sub(v, 1, s) .. sub(v, e + 1) end
      end
      have[prefix] = v
      dirty[d][prefix] = true
    end
  end
  return sets
end

-- forget removes what led to records that are gone.
local function forget(d, sets)
  local b = base(d)
  for _, prefix in ipairs(sets) do
    each('SREM', b .. 'c' .. prefix, unlinked[d][prefix])
    if call('EXISTS', b .. 'c' .. prefix) == 0 then
      seen[d][prefix] = T .. sub(seen[d][prefix], 4)
      dirty[d][prefix] = true
    end
  end
  for set, hashes in pairs(left[d] or {}) do each('SREM', b .. set, hashes) end
  if not single then return end
  for w in pairs(lost[d] or {}) do
    if call('EXISTS', b .. 'm' .. w) + call('EXISTS', b .. 'o' .. w) == 0 then call('SREM', G .. 'w' .. w, d) end
  end
end

-- settle writes what take removed: first what can fail, so that a call that fails
-- is not seen; note is called then. What leads to records goes after them: a
-- reader never misses one. Scopes that have nothing left are forgotten.
local function settle(note)
  local sets = {}
  for d in pairs(seen) do sets[d] = unlinked[d] and unlink(d, unlinked[d]) or {} end
  for d, ws in pairs(lost) do
    for w, c in pairs(ws) do count(d, w, c[1], c[2], c[3]) end
  end
  note()
  store()
  for d, blocks in pairs(fields) do
    for hash, list in pairs(blocks) do each('HDEL', base(d) .. 'r' .. hash, list) end
  end
  for d in pairs(seen) do forget(d, sets[d]) end
  store()
  for d in pairs(seen) do
    if single and call('EXISTS', base(d) .. 'b') == 0 then
      local s = call('HGET', G .. 's', d)
      if s then
        call('SREM', G .. 'a' .. sub(s, 1, 32), d)
        call('HDEL', G .. 's', d)
      end
    end
  end
end

-- clear removes at most limit blocks of a worker from scopes, of all tiers or of
-- the volatile ones. It returns how many records, and whether it came to the end.
local function clear(w, scopes, volatile, limit)
  local n = 0
  local function want(_, _, worker, t) return worker == w and (not volatile or class(t) == 'm') end
  for _, d in ipairs(scopes) do
    for c in string.gmatch(volatile and 'm' or 'mo', '.') do
      local hashes = call('SRANDMEMBER', base(d) .. c .. w, limit)
      fetch(d, hashes)
      for _, hash in ipairs(hashes) do
        n = n + take(d, hash, want, w)
        -- A set may name a block that is gone: it goes, too.
        lists(left, d, c .. w, hash)
      end
      limit = limit - #hashes
      if limit <= 0 then return n, false end
    end
  end
  return n, true
end
