-- What every script begins with. KEYS are two that never exist: they say which
-- server of a cluster runs the script, and while that gives their slot away it
-- answers TRYAGAIN before anything is done. ARGV[1] is the prefix of all keys,
-- ARGV[2] is 1 on a single server, ARGV[3] the number of changes kept for
-- watchers. See the package comment for the keys.
local P, single, history = ARGV[1], ARGV[2] == '1', ARGV[3]
local G = P .. '{*}'
local call = redis.call

local function base(d) return P .. '{' .. d .. '}' end

local function now()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- dead returns the workers whose lease ran out.
local function dead()
  if not single then return {} end
  return call('ZRANGEBYSCORE', G .. 'l', '-inf', now())
end

-- prolong gives a worker a lease up to a time, unless it has a longer one.
local function prolong(w, deadline, to)
  if not deadline or tonumber(deadline) < to then call('ZADD', G .. 'l', to, w) end
end

local function whole(x) return string.format('%.0f', x) end

-- count changes what is counted of a worker: records, and their bytes as the sums
-- of the low and of the high halves, since a number here has 53 bits.
local function count(d, w, n, lo, hi)
  local c = single and G or base(d)
  if n ~= 0 and call('HINCRBY', c .. 'n', w, n) == 0 then
    call('HDEL', c .. 'n', w)
    call('HDEL', c .. 'y', w)
    call('HDEL', c .. 'z', w)
    return
  end
  if lo ~= 0 then call('HINCRBY', c .. 'y', w, whole(lo)) end
  if hi ~= 0 then call('HINCRBY', c .. 'z', w, whole(hi)) end
end

-- changed numbers a change, and keeps it if somebody watches. In a cluster the
-- client has a change counted, see count.lua.
local function changed(kind, what)
  if not single then return end
  local q = call('INCR', G .. 'q')
  if call('EXISTS', G .. 'x') == 1 then
    local packed = cmsgpack.pack(what)
    call('XADD', G .. 'x', whole(q) .. '-0', kind, packed)
    local n, size = call('XLEN', G .. 'x'), call('INCRBY', G .. 'c', #packed)
    while n > tonumber(history) or (n > 1 and size > 134217728) do -- 128 MiB
      local old = call('XRANGE', G .. 'x', '-', '+', 'COUNT', 1)[1]
      call('XDEL', G .. 'x', old[1])
      n, size = n - 1, call('DECRBY', G .. 'c', #old[2][2])
    end
  end
end

-- gap numbers a step of a call that takes several. Watchers cannot follow it and
-- have to take a snapshot.
local function gap()
  if not single then return end
  local q = call('INCR', G .. 'q')
  if call('EXISTS', G .. 'x') == 1 then
    local left = call('PTTL', G .. 'x')
    call('UNLINK', G .. 'x')
    call('XADD', G .. 'x', whole(q) .. '-1', 'gap', '')
    call('SET', G .. 'c', '0')
    if left > 0 then
      call('PEXPIRE', G .. 'x', left)
      call('PEXPIRE', G .. 'c', left)
    end
  end
end

-- each calls a command with the members of a list, some thousand at once.
local function each(command, key, list)
  for i = 1, #list, 4000 do
    call(command, key, unpack(list, i, math.min(i + 3999, #list)))
  end
end

local function bad(what) error({err = 'KVCORRUPT ' .. what}) end
