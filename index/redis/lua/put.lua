-- put: runs of records of one scope and worker, each
--   scope digest, scope, worker, its life (on a single server 0, or 1 if the client
--   holds a lease of it, and it has to be there), count, low sum, high sum of the bytes,
--   and of each record hash, prefix, head, value.
local function walk(run)
  local i = 4
  while ARGV[i] do
    local n = tonumber(ARGV[i + 4])
    run(i, n)
    i = i + 7 + 4 * n
  end
end

local away, found = {}, {}
for _, w in ipairs(dead()) do away[w] = true end
walk(function(i)
  local w = ARGV[i + 2]
  if away[w] or (single and ARGV[i + 3] == '1' and not call('ZSCORE', G .. 'l', w)) then found[#found + 1] = w end
end)
if #found > 0 then return found end

local failed
walk(function(i, n)
  if failed then return end
  local d, scope, w, life = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  local lo, hi = tonumber(ARGV[i + 5]), tonumber(ARGV[i + 6])
  local b = base(d)
  local fresh, prefixes, sets, j, last = 0, {}, {m = {}, o = {}}, i + 7, i + 3 + 4 * n
  local bb, bp, gh = b .. 'b', b .. 'p', G .. 'h'

  local function all()
    if single then
      call('HSETNX', G .. 's', d, scope)
      call('SADD', G .. 'a' .. string.sub(scope, 1, 32), d)
      call('SADD', G .. 'w' .. w, d)
    elseif life > tonumber(call('HGET', b .. 'e', w) or 0) then
      call('HSET', b .. 'e', w, life)
    end
    while j <= last do
      local hash, prefix, head, value = ARGV[j], ARGV[j + 1], ARGV[j + 2], ARGV[j + 3]
      local field = head .. w
      local old = call('HGET', bb .. hash, field)
      if old then
        if old ~= value then
          local h, l = halves(old)
          call('HSET', bb .. hash, field, value)
          lo, hi = lo - l, hi - h
        else
          local h, l = halves(old)
          lo, hi = lo - l, hi - h
        end
      else
        -- What leads to a record comes before it: a reader never misses one.
        call('HSET', bp .. prefix, hash, '')
        if single then call('HSET', gh .. hash, d, '') end
        if string.byte(head, 14) == 100 then
          call('HSET', bb .. hash, 'p' .. string.sub(head, 15), prefix, field, value)
        else
          call('HSET', bb .. hash, field, value)
        end
        fresh = fresh + 1
        prefixes[fresh] = prefix
        local s = sets[class(string.byte(head, 1))]
        s[#s + 1] = hash
      end
      j = j + 4
    end
  end

  local ok, err = pcall(all)
  if not ok then
    failed = type(err) == 'table' and err or {err = tostring(err)}
    while j <= last do -- what was not put does not count
      local h, l = halves(ARGV[j + 3])
      lo, hi, j = lo - l, hi - h, j + 4
    end
  end
  each('SADD', b .. 'k', prefixes)
  each('SADD', b .. 'm' .. w, sets.m)
  each('SADD', b .. 'o' .. w, sets.o)
  count(d, w, fresh, lo, hi)
end)
if failed then return redis.error_reply(failed.err) end
changed('put', ARGV)
return {}
