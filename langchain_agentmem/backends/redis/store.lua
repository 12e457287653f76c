The scripts of the item table. The keys of a root, which is the first label of a namespace; all begin alike:

  namespaces           a sorted set: the namespaces with items, each its labels, a zero byte after each
  clock                the stamp of the last change: microseconds since 1970, but never the same twice
  expiring             a sorted set: the items with a time to live, by when they expire
  item:<namespace><key>  an item: expiry (0: never), creation, update, time to live (0: none), stamp, each a double; its value
  items:<namespace>    a sorted set: the keys of the items of a namespace, by stamp
  words:<namespace>    a hash: what full-text search knows of items, by key, each after the item's stamp
  vectors:<namespace>  a hash: what vector search knows of items, likewise

Only the first is passed as a key: the others follow from it, and lie in the same slot.

-- shared --
local N = KEYS[1]
local P = string.sub(N, 1, -11)
local HEAD = 40

local function head_of(namespace, key)
  local head = call('GETRANGE', P .. 'item:' .. namespace .. key, 0, HEAD - 1)
  if #head < HEAD then return nil end
  local expires, created, updated, ttl, stamp = struct.unpack('>ddddd', head)
  return {expires = expires, created = created, updated = updated, ttl = ttl, stamp = stamp}
end

local function is_alive(head, now)
  return head and (head.expires == 0 or head.expires > now)
end

local function expiring(namespace, key)
  return framed(namespace) .. key
end

local function forget(namespace, key)
  call('UNLINK', P .. 'item:' .. namespace .. key)
  call('HDEL', P .. 'words:' .. namespace, key)
  call('HDEL', P .. 'vectors:' .. namespace, key)
  call('ZREM', P .. 'expiring', expiring(namespace, key))
  call('ZREM', P .. 'items:' .. namespace, key)
  if call('EXISTS', P .. 'items:' .. namespace) == 0 then
    call('ZREM', N, namespace)
  end
end

-- Delete at most so many expired items; returns how many.
local function sweep(now, limit)
  local members = call('ZRANGEBYSCORE', P .. 'expiring', '-inf', now, 'LIMIT', 0, limit)
  local deleted = 0
  for _, member in ipairs(members) do
    local length = struct.unpack('>I', member)
    local namespace, key = string.sub(member, 5, 4 + length), string.sub(member, 5 + length)
    local head = head_of(namespace, key)
    if is_alive(head, now) then
      call('ZADD', P .. 'expiring', string.format('%.17g', head.expires), member)
    else
      forget(namespace, key)
      deleted = deleted + 1
    end
  end
  return deleted
end

-- The namespaces at or below a prefix, from one on, at most so many.
local function below(prefix, from, most)
  local low = from ~= '' and '[' .. from or (prefix == '' and '-' or '[' .. prefix)
  return call('ZRANGEBYLEX', N, low, prefix == '' and '+' or '[' .. prefix .. '\255', 'LIMIT', 0, most)
end

local function whole(namespace, key)
  return call('GET', P .. 'item:' .. namespace .. key)
end

-- Store items: groups of namespace, key, value, ttl ('' for none), words, vectors (both '' for none).
local function put(now, from, upto)
  local stamp = math.max(tonumber(call('GET', P .. 'clock') or 0), math.floor(now * 1000000))
  local left, longest, lives = call('PTTL', N), 0, {}
  for at = from, upto, 6 do
    local namespace, key, value, ttl = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
    local place = P .. 'item:' .. namespace .. key
    local head = head_of(namespace, key)
    local life = lives[namespace] or {left = call('PTTL', P .. 'items:' .. namespace), longest = 0}
    lives[namespace] = life
    stamp = stamp + 1
    local fields = {ttl and now + ttl or 0, is_alive(head, now) and head.created or now, now, ttl or 0, stamp}
    call('SET', place, struct.pack('>ddddd', unpack(fields)) .. value)
    call('ZADD', P .. 'items:' .. namespace, string.format('%.0f', stamp), key)
    for offset, name in pairs({[4] = 'words:', [5] = 'vectors:'}) do
      local known = ARGV[at + offset]
      if known ~= '' then call('HSET', P .. name .. namespace, key, struct.pack('>d', stamp) .. known)
      else call('HDEL', P .. name .. namespace, key) end
    end
    if ttl then
      call('PEXPIREAT', place, ahead(ttl))
      call('ZADD', P .. 'expiring', string.format('%.17g', now + ttl), expiring(namespace, key))
      life.longest = life.longest and math.max(life.longest, ttl)
      longest = longest and math.max(longest, ttl)
    else
      call('ZREM', P .. 'expiring', expiring(namespace, key))
      life.longest, longest = nil, nil
    end
  end
  for namespace, life in pairs(lives) do
    call('ZADD', N, 0, namespace)
    outlive({P .. 'items:' .. namespace, P .. 'words:' .. namespace, P .. 'vectors:' .. namespace}, life.left, life.longest)
  end
  call('SET', P .. 'clock', string.format('%.0f', stamp), 'KEEPTTL')
  outlive({N, P .. 'clock', P .. 'expiring'}, left, longest)
end

-- get --
-- now, then pairs of namespace and key: the items, nil for those that are not there.
local now, found = tonumber(ARGV[1]), {}
for at = 2, #ARGV, 2 do
  local item = whole(ARGV[at], ARGV[at + 1])
  local expires = item and struct.unpack('>d', item)
  found[#found + 1] = item and (expires == 0 or expires > now) and item or false
end
return found

-- change --
-- now, the numbers of items to touch, to delete and to put, and these: pairs of namespace and key, then groups as in `put`.
local now, touched, deleted = tonumber(ARGV[1]), 5 + 2 * ARGV[2], 5 + 2 * ARGV[2] + 2 * ARGV[3]
for at = 5, touched - 1, 2 do
  local namespace, key = ARGV[at], ARGV[at + 1]
  local head = head_of(namespace, key)
  if head and head.ttl > 0 then
    local place = P .. 'item:' .. namespace .. key
    call('SETRANGE', place, 0, struct.pack('>d', now + head.ttl))
    call('PEXPIREAT', place, ahead(head.ttl))
    call('ZADD', P .. 'expiring', string.format('%.17g', now + head.ttl), expiring(namespace, key))
    local own = {P .. 'items:' .. namespace, P .. 'words:' .. namespace, P .. 'vectors:' .. namespace}
    outlive(own, call('PTTL', own[1]), head.ttl)
    outlive({N, P .. 'clock', P .. 'expiring'}, call('PTTL', N), head.ttl)
  end
end
for at = touched, deleted - 1, 2 do
  forget(ARGV[at], ARGV[at + 1])
end
if deleted <= #ARGV then
  put(now, deleted, #ARGV)
end

-- swap --
-- now, the stamp that is expected ('' for no item), whether to delete, and a group as in `put`.
local now = tonumber(ARGV[1])
local head = head_of(ARGV[4], ARGV[5])
local current = is_alive(head, now) and head or nil
if (current and string.format('%.0f', current.stamp) or '') ~= ARGV[2] then
  -- Done before, by an attempt whose answer was lost?
  local same = current and current.updated == now and string.sub(whole(ARGV[4], ARGV[5]), HEAD + 1) == ARGV[6]
  return same and ARGV[3] == '0' and 1 or 0
end
if ARGV[3] == '1' then forget(ARGV[4], ARGV[5]) else put(now, 4, 9) end
return 1

-- scan --
-- now, prefix, limit, the stamp that all are to lie below ('' for none), whether that one too, the namespace to go on from, the
-- most namespaces. Returns the namespace that comes next (nil: none), and the newest items: namespace, key, item each.
local now, limit, most = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[7])
local bound = ARGV[4] == '' and '+inf' or (ARGV[5] == '1' and '' or '(') .. ARGV[4]
local namespaces = below(ARGV[2], ARGV[6], most + 1)
local following = namespaces[most + 1] or false
local candidates = {}
for at = 1, math.min(#namespaces, most) do
  local found = call('ZREVRANGEBYSCORE', P .. 'items:' .. namespaces[at], bound, '-inf', 'WITHSCORES', 'LIMIT', 0, limit)
  for place = 1, #found, 2 do
    candidates[#candidates + 1] = {tonumber(found[place + 1]), namespaces[at], found[place]}
  end
end
table.sort(candidates, function(a, b) return a[1] > b[1] end)
local result = {following}
for at = 1, math.min(#candidates, limit) do
  local stamp, namespace, key = unpack(candidates[at])
  local item = whole(namespace, key)
  if not item then
    forget(namespace, key)
    item = ''
  else
    local expires = struct.unpack('>d', item)
    if expires ~= 0 and expires <= now then item = '' end
  end
  result[#result + 1] = string.format('%.0f', stamp)
  result[#result + 1] = namespace
  result[#result + 1] = key
  result[#result + 1] = item
end
return result

-- rows --
-- Pairs of namespace and key: the items; what is there no more is forgotten.
local found = {}
for at = 1, #ARGV, 2 do
  local item = whole(ARGV[at], ARGV[at + 1])
  if not item then forget(ARGV[at], ARGV[at + 1]) end
  found[#found + 1] = item
end
return found

-- find --
-- now, prefix, with vectors or without, the namespace to go on from, the place in it (0: its beginning), the most items.
-- Returns where to go on (nil: nowhere), the expired items, and of each namespace: it, its words, its vectors.
local now, most = tonumber(ARGV[1]), tonumber(ARGV[6])
local with_vectors = ARGV[3] == '1'
local result = {false, '0', call('ZRANGEBYSCORE', P .. 'expiring', '-inf', now)}

local function values(name, namespace)
  return table.concat(call('HVALS', P .. name .. namespace))
end

local function part(name, namespace, place)
  local answer = call('HSCAN', P .. name .. namespace, place, 'COUNT', most)
  local kept = {}
  for at = 2, #answer[2], 2 do kept[#kept + 1] = answer[2][at] end
  return answer[1], table.concat(kept)
end

local place, taken, from = ARGV[5], 0, ARGV[4]
repeat
  local namespaces = below(ARGV[2], from, 501)
  for at, namespace in ipairs(namespaces) do
    if at == 501 then
      from = namespace
      break
    end
    if namespace ~= from then place = '0' end
    local words = call('HLEN', P .. 'words:' .. namespace)
    local vectors = with_vectors and call('HLEN', P .. 'vectors:' .. namespace) or 0
    local size = math.max(words, vectors)
    if place ~= '0' or (size > most and taken == 0) then
      -- A large namespace, in parts: first its words, then its vectors.
      local kind, cursor = string.sub(place, 1, 1), string.sub(place, 2)
      if place == '0' then kind, cursor = 'w', '0' end
      local blob
      cursor, blob = part(kind == 'w' and 'words:' or 'vectors:', namespace, cursor)
      result[#result + 1] = namespace
      result[#result + 1] = kind == 'w' and blob or ''
      result[#result + 1] = kind == 'w' and '' or blob
      if cursor ~= '0' then result[1], result[2] = namespace, kind .. cursor
      elseif kind == 'w' and vectors > 0 then result[1], result[2] = namespace, 'v0'
      else
        local after = below(ARGV[2], namespace, 2)[2]
        if after then result[1] = after end
      end
      return result
    end
    if taken + size > most then
      result[1] = namespace
      return result
    end
    if size > 0 then
      taken = taken + size
      result[#result + 1] = namespace
      result[#result + 1] = values('words:', namespace)
      result[#result + 1] = with_vectors and values('vectors:', namespace) or ''
    end
  end
until #namespaces < 501
return result

-- namespaces --
-- now, prefix, the namespace to go on from, the most: where to go on (nil: nowhere), and those that hold items.
local now, most = tonumber(ARGV[1]), tonumber(ARGV[4])
local namespaces = below(ARGV[2], ARGV[3], most + 1)
local result = {namespaces[most + 1] or false}
for at = 1, math.min(#namespaces, most) do
  local namespace, start = namespaces[at], 0
  repeat
    local keys = call('ZREVRANGE', P .. 'items:' .. namespace, start, start + 99)
    local found = false
    for _, key in ipairs(keys) do
      if is_alive(head_of(namespace, key), now) then
        found = true
        break
      end
    end
    if found then result[#result + 1] = namespace end
    start = start + 100
  until found or #keys < 100
end
return result

-- sweep --
-- now, limit: how many expired items were deleted, when the next expires, and whether no item is left.
local deleted = sweep(tonumber(ARGV[1]), ARGV[2])
local following = call('ZRANGE', P .. 'expiring', 0, 0, 'WITHSCORES')
return {deleted, following[2] or '', 1 - call('EXISTS', N)}
