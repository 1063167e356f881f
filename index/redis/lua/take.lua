-- lost collects what the records that take removed counted, by scope and worker.
local lost = {}

local function lose(d, w, v)
  local s = lost[d] or {}
  lost[d] = s
  local c = s[w] or {0, 0, 0}
  s[w] = c
  local hi, lo = halves(v)
  c[1], c[2], c[3] = c[1] - 1, c[2] - lo, c[3] - hi
end

-- chosen returns which records of a block are wanted away: their fields, their
-- parts, and what stays.
local function chosen(all, want)
  local fields, parts, stays, names, any = {}, {}, {}, {}, false
  for i = 1, #all, 2 do
    local f, v = all[i], all[i + 1]
    if string.byte(f, 1) == 112 then
      names['d' .. string.sub(f, 2)] = v
    else
      local w, t, ref = parse(f)
      if want(f, v, w, t) then
        halves(v)
        fields[#fields + 1] = f
        parts[#parts + 1] = {w, ref, class(t), v}
      else
        stays[ref], stays[class(t) .. w], any = true, true, true
      end
    end
  end
  return fields, parts, stays, names, any
end

-- take removes the wanted records of a block, and what leads to them. What leads
-- to a record goes after it: a reader never misses one.
local function take(d, hash, want)
  local b = base(d)
  local fields, parts, stays, names, any = chosen(call('HGETALL', b .. 'b' .. hash), want)
  local n = #fields
  if n == 0 then return 0 end
  local parents = {}
  for _, x in ipairs(parts) do
    local ref = x[2]
    if not stays[ref] and not parents[ref] then
      if string.byte(ref, 1) == 105 then
        parents[ref] = string.sub(ref, 3)
      else
        parents[ref] = names[ref] or bad('block without the name of a parent')
        fields[#fields + 1] = 'p' .. string.sub(ref, 2)
      end
    end
  end
  each('HDEL', b .. 'b' .. hash, fields)
  for _, p in pairs(parents) do
    call('HDEL', b .. 'p' .. p, hash)
    if call('EXISTS', b .. 'p' .. p) == 0 then call('SREM', b .. 'k', p) end
  end
  for _, x in ipairs(parts) do
    local w, c = x[1], x[3]
    lose(d, w, x[4])
    if not stays[c .. w] then
      stays[c .. w] = true
      call('SREM', b .. c .. w, hash)
    end
  end
  if single and not any then call('HDEL', G .. 'h' .. hash, d) end
  return n
end

-- settle counts what take removed, and forgets scopes that have nothing left.
local function settle()
  for d, ws in pairs(lost) do
    local b = base(d)
    for w, c in pairs(ws) do
      count(d, w, c[1], c[2], c[3])
      if single and call('EXISTS', b .. 'm' .. w) + call('EXISTS', b .. 'o' .. w) == 0 then
        call('SREM', G .. 'w' .. w, d)
      end
    end
    if single and call('EXISTS', b .. 'k') == 0 then
      local s = call('HGET', G .. 's', d)
      if s then
        call('SREM', G .. 'a' .. string.sub(s, 1, 32), d)
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
      local key = base(d) .. c .. w
      local hashes = call('SRANDMEMBER', key, limit)
      for _, hash in ipairs(hashes) do
        n = n + take(d, hash, want)
        -- A set may name a block that is gone: it goes, too.
        call('SREM', key, hash)
      end
      limit = limit - #hashes
      if limit <= 0 then return n, false end
    end
  end
  return n, true
end
