The scripts of the item table. The keys of a root, which is the first label of a namespace; all begin alike:

  namespaces           a sorted set: the namespaces with items, each its labels, a zero byte after each
  clock                the stamp of the last change: microseconds since 1970, but never the same twice
  expiring             a sorted set: the items with a time to live, by when they expire
  tokens, tokens:old   hashes: the swaps of the last moments, by token
  item:<namespace><key>  an item: expiry (0: never), creation, update, time to live (0: none), stamp, and a number that earlier versions
                         used, each a double; its value
  items:<namespace>    a sorted set: the keys of the items of a namespace, by stamp
  words:<namespace>    a hash: what searches know of items, by key: the item's stamp, the bytes of one of its vectors (0: it has
                       none), its words
  vectors:<bytes>:<namespace>  a string: the vectors of so many bytes, each after the item's stamp. Only added to: what belongs
                       to no item any more is left out when much of it has gathered
  logs:<namespace>     a hash: of these strings, by the bytes of a vector, the length from which on they are gone through; and
                       how often they were (compacted)
  paths:<namespace>    a hash: which fields are embedded of items whose put said so, by key, after the item's stamp

Only the first is passed as a key: the others follow from it, and lie in the same slot.

-- shared --
local N = KEYS[1]
local P = string.sub(N, 1, -11)
local HEAD = 48

local function head_of(namespace, key)
  local head = call('GETRANGE', P .. 'item:' .. namespace .. key, 0, HEAD - 1)
  if #head < HEAD then return nil end
  local expires, created, updated, ttl, stamp = struct.unpack('>ddddd', head)
  return {expires = expires, created = created, updated = updated, ttl = ttl, stamp = stamp}
end

-- When an item expires; one that is cut short is for the client to refuse.
local function expiry_of(item)
  return #item < HEAD and 0 or struct.unpack('>d', item)
end

local function is_alive(head, now)
  return head and (head.expires == 0 or head.expires > now)
end

local function expiring(namespace, key)
  return framed(namespace) .. key
end

local function log_of(namespace, width)
  return P .. 'vectors:' .. width .. ':' .. namespace
end

-- The keys of a namespace that are no items.
local function indexes_of(namespace)
  local keys = {P .. 'items:' .. namespace, P .. 'words:' .. namespace, P .. 'logs:' .. namespace, P .. 'paths:' .. namespace}
  for _, width in ipairs(call('HKEYS', keys[3])) do
    if width ~= 'compacted' then keys[#keys + 1] = log_of(namespace, width) end
  end
  return keys
end

local function forget(namespace, key)
  call('UNLINK', P .. 'item:' .. namespace .. key)
  call('HDEL', P .. 'words:' .. namespace, key)
  call('HDEL', P .. 'paths:' .. namespace, key)
  call('ZREM', P .. 'expiring', expiring(namespace, key))
  call('ZREM', P .. 'items:' .. namespace, key)
  if call('EXISTS', P .. 'items:' .. namespace) == 0 then
    call('UNLINK', unpack(indexes_of(namespace)))
    call('ZREM', N, namespace)
  end
end

-- How much may lie in a log beside what is needed.
local SPARE = 200

-- Leave out of a log what belongs to no item, or to one that has other vectors, or none.
local function compact(namespace, width)
  local live, kept, record = {}, {}, record_length(width)
  for _, entry in ipairs(call('HVALS', P .. 'words:' .. namespace)) do
    if struct.unpack('<I', entry, 9) == tonumber(width) then live[string.sub(entry, 1, 8)] = true end
  end
  local all = call('GET', log_of(namespace, width)) or ''
  for at = 1, #all, record do
    if live[string.sub(all, at, at + 7)] then kept[#kept + 1] = string.sub(all, at, at + record - 1) end
  end
  call('SET', log_of(namespace, width), table.concat(kept), 'KEEPTTL')
  call('HSET', P .. 'logs:' .. namespace, width, (2 * #kept + SPARE) * record)
  call('HINCRBY', P .. 'logs:' .. namespace, 'compacted', 1)
end

-- Note what searches know of an item: its words, and its vectors, each of so many bytes (-1: it is not searched).
local function know(namespace, key, stamp, words, vectors, width)
  local index, logs = P .. 'words:' .. namespace, P .. 'logs:' .. namespace
  if width < 0 then
    call('HDEL', index, key)
    return
  end
  local mark = struct.pack('<d', stamp)
  call('HSET', index, key, mark .. struct.pack('<I', width) .. words)
  if vectors == '' then return end
  local records = {}
  for at = 1, #vectors, width do records[#records + 1] = mark .. string.sub(vectors, at, at + width - 1) end
  local length = call('APPEND', log_of(namespace, width), table.concat(records))
  local bound = tonumber(call('HGET', logs, width))
  if not bound then call('HSET', logs, width, SPARE * (8 + width))
  elseif length > bound then compact(namespace, width) end
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

-- Which fields of an item are embedded, where its put said so; else false.
local function paths_of(namespace, key, head)
  local paths = call('HGET', P .. 'paths:' .. namespace, key)
  return paths and struct.unpack('<d', paths) == head.stamp and string.sub(paths, 9)
end

-- Store items: groups of namespace, key, value, ttl ('' for none), words, vectors (both '' for none), the bytes of one vector (-1:
-- it is not searched), paths ('' for those that all have).
local function put(now, from, upto)
  local stamp = math.max(tonumber(call('GET', P .. 'clock') or 0), math.floor(now * 1000000))
  local left, longest, lives = call('PTTL', N), 0, {}
  for at = from, upto, 8 do
    local namespace, key, value, ttl = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
    local place = P .. 'item:' .. namespace .. key
    local head = head_of(namespace, key)
    local life = lives[namespace] or {left = call('PTTL', P .. 'items:' .. namespace), longest = 0}
    lives[namespace] = life
    stamp = stamp + 1
    -- A time to live counts from the item's last use at least: a clock that is late never brings an expiry forward, a shorter time
    -- to live does.
    local used = head and math.max(now, head.updated, head.expires - head.ttl) or now
    local fields = {ttl and used + ttl or 0, is_alive(head, now) and head.created or now, now, ttl or 0, stamp, 0}
    call('SET', place, struct.pack('>dddddd', unpack(fields)) .. value)
    call('ZADD', P .. 'items:' .. namespace, string.format('%.0f', stamp), key)
    know(namespace, key, stamp, ARGV[at + 4], ARGV[at + 5], tonumber(ARGV[at + 6]))
    if ARGV[at + 7] == '' then call('HDEL', P .. 'paths:' .. namespace, key)
    else call('HSET', P .. 'paths:' .. namespace, key, struct.pack('<d', stamp) .. ARGV[at + 7]) end
    if ttl then
      call('PEXPIREAT', place, ahead(ttl))
      call('ZADD', P .. 'expiring', string.format('%.17g', used + ttl), expiring(namespace, key))
      life.longest = life.longest and math.max(life.longest, ttl)
      longest = longest and math.max(longest, ttl)
    else
      call('ZREM', P .. 'expiring', expiring(namespace, key))
      life.longest, longest = nil, nil
    end
  end
  for namespace, life in pairs(lives) do
    call('ZADD', N, 0, namespace)
    outlive(indexes_of(namespace), life.left, life.longest)
  end
  call('SET', P .. 'clock', string.format('%.0f', stamp), 'KEEPTTL')
  outlive({N, P .. 'clock', P .. 'expiring'}, left, longest)
end

-- get --
-- now, whether their paths are wanted, then pairs of namespace and key: the items, nil for those that are not there; then, if wanted,
-- the paths of each, nil for those of all.
local now, found, paths = tonumber(ARGV[1]), {}, {}
for at = 3, ARGC, 2 do
  local item = whole(ARGV[at], ARGV[at + 1])
  local expires = item and expiry_of(item)
  found[#found + 1] = item and (expires == 0 or expires > now) and item or false
  if ARGV[2] == '1' then paths[#paths + 1] = item and paths_of(ARGV[at], ARGV[at + 1], head_of(ARGV[at], ARGV[at + 1])) or false end
end
for _, one in ipairs(paths) do found[#found + 1] = one end
return found

-- change --
-- now, the numbers of items to touch, to delete and to put, and these: pairs of namespace and key, then groups as in `put`.
local now, touched, deleted = tonumber(ARGV[1]), 5 + 2 * ARGV[2], 5 + 2 * ARGV[2] + 2 * ARGV[3]
for at = 5, touched - 1, 2 do
  local namespace, key = ARGV[at], ARGV[at + 1]
  local head = head_of(namespace, key)
  if head and head.ttl > 0 then
    local place = P .. 'item:' .. namespace .. key
    local expires = math.max(head.expires, now + head.ttl)
    call('SETRANGE', place, 0, struct.pack('>d', expires))
    call('PEXPIREAT', place, ahead(head.ttl))
    call('ZADD', P .. 'expiring', string.format('%.17g', expires), expiring(namespace, key))
    outlive(indexes_of(namespace), call('PTTL', P .. 'items:' .. namespace), head.ttl)
    outlive({N, P .. 'clock', P .. 'expiring'}, call('PTTL', N), head.ttl)
  end
end
for at = touched, deleted - 1, 2 do
  forget(ARGV[at], ARGV[at + 1])
end
if deleted <= ARGC then
  put(now, deleted, ARGC)
end

-- swap --
-- now, a token, the number of items; of each its namespace, key, the stamp that is expected ('' for no item), and whether to
-- delete it; then groups as in `put`.
local now, token, stored = tonumber(ARGV[1]), ARGV[2], 4 + 4 * ARGV[3]
-- An attempt whose answer was lost may have done it.
local tokens = {P .. 'tokens', P .. 'tokens:old'}
if result_by_token(tokens, token) then return 1 end
for at = 4, stored - 1, 4 do
  local head = head_of(ARGV[at], ARGV[at + 1])
  local current = is_alive(head, now) and head or nil
  if (current and string.format('%.0f', current.stamp) or '') ~= ARGV[at + 2] then return 0 end
end
for at = 4, stored - 1, 4 do
  if ARGV[at + 3] == '1' then forget(ARGV[at], ARGV[at + 1]) end
end
if stored <= ARGC then put(now, stored, ARGC) end
note_token(tokens, token, 1, 10000)
return 1

-- scan --
-- now, prefix, limit, the stamp that all are to lie below ('' for none), whether that one too, the namespace to go on from, the
-- most namespaces, whether this root alone is asked, texts that a value must hold one of (none: any value). Returns the namespace that
-- comes next (nil: none), how many were looked at and the stamp of the last of these, and records of the newest items: stamp (a
-- double), namespace, key, item, each framed. Those left out have records too, with nothing but a stamp, unless nothing else is asked.
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

local function may_pass(item)
  if ARGC < 9 then return true end
  for at = 9, ARGC do
    if string.find(item, ARGV[at], HEAD + 1, true) then return true end
  end
  return false
end

-- Many small answers cost a client more than few large ones; no answer may be longer than 512 MB.
local last = math.min(#candidates, limit)
local result, part, size = {following, last, last > 0 and string.format('%.0f', candidates[last][1]) or ''}, {}, 0
local is_whole = ARGV[8] == '1' and not following and ARGV[6] == ''
for at = 1, last do
  local stamp, namespace, key = unpack(candidates[at])
  local item = whole(namespace, key)
  if not item then
    forget(namespace, key)
  else
    local expires = expiry_of(item)
    if (expires ~= 0 and expires <= now) or not may_pass(item) then item = false end
  end
  if item or not is_whole then
    if not item then namespace, key, item = '', '', '' end
    part[#part + 1] = struct.pack('>d', stamp) .. framed(namespace) .. framed(key) .. framed(item)
    size = size + #part[#part]
  end
  if size > 1000000 then
    result[#result + 1] = table.concat(part)
    part, size = {}, 0
  end
end
if #part > 0 then result[#result + 1] = table.concat(part) end
return result

-- rows --
-- Pairs of namespace and key: the items; what is there no more is forgotten.
local found = {}
for at = 1, ARGC, 2 do
  local item = whole(ARGV[at], ARGV[at + 1])
  if not item then forget(ARGV[at], ARGV[at + 1]) end
  found[#found + 1] = item
end
return found

-- find --
-- now, prefix, the bytes of a vector ('' for none wanted), the namespace to go on from, the place in it (0: its beginning), the
-- most items, the most bytes of vectors. Returns where to go on (nil: nowhere), the expired items, and of each namespace: it;
-- what is known of its items (the keys with a zero byte after each, stamps and bytes of a vector, lengths, words); vectors; and
-- how often they were compacted.
local now, width, most, most_bytes = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[6]), tonumber(ARGV[7])
local result = {false, '0', call('ZRANGEBYSCORE', P .. 'expiring', '-inf', now)}

local function add(namespace, fields, vectors)
  local keys, heads, lengths, words = {}, {}, {}, {}
  for at = 1, #fields, 2 do
    local place, entry = #keys + 1, fields[at + 1]
    keys[place], heads[place], lengths[place], words[place] = fields[at], string.sub(entry, 1, 12), #entry - 12, string.sub(entry, 13)
  end
  keys[#keys + 1] = ''
  result[#result + 1] = namespace
  result[#result + 1] = {table.concat(keys, '\0'), table.concat(heads), table.concat(lengths, ' '), table.concat(words)}
  result[#result + 1] = vectors
  result[#result + 1] = call('HGET', P .. 'logs:' .. namespace, 'compacted') or '0'
end

local place, items, bytes, from, check = ARGV[5], 0, 0, ARGV[4], once()
repeat
  check(from)
  local namespaces = below(ARGV[2], from, 501)
  for at, namespace in ipairs(namespaces) do
    if at == 501 then
      from = namespace
      break
    end
    if namespace ~= from then place = '0' end
    local index, log = P .. 'words:' .. namespace, width and log_of(namespace, width)
    local count, length = call('HLEN', index), log and call('STRLEN', log) or 0
    if place ~= '0' or (items == 0 and (count > most or length > most_bytes)) then
      -- A large namespace, in parts: first what is known of its items, then their vectors.
      local kind, start = string.sub(place, 1, 1), string.sub(place, 2)
      if place == '0' or kind == 'w' then
        local answer = call('HSCAN', index, place == '0' and '0' or start, 'COUNT', most)
        add(namespace, answer[2], '')
        place = answer[1] ~= '0' and 'w' .. answer[1] or (length > 0 and 'v0')
      else
        local last = start + most_bytes - most_bytes % (8 + width)
        add(namespace, {}, call('GETRANGE', log, start, last - 1))
        place = length > last and 'v' .. string.format('%.0f', last)
      end
      if place then result[1], result[2] = namespace, place
      else result[1] = below(ARGV[2], namespace, 2)[2] or false end
      return result
    end
    if items + count > most or bytes + length > most_bytes then
      result[1] = namespace
      return result
    end
    if count > 0 then
      items, bytes = items + count, bytes + length
      add(namespace, call('HGETALL', index), log and call('GET', log) or '')
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

-- unembed --
-- The namespace to go on from, the place in it (0: its beginning): the vectors of some items are forgotten. Returns where to go on
-- (nil: nowhere).
local namespaces = below('', ARGV[1], 2)
local namespace = namespaces[1]
if not namespace then return {false, '0'} end
local index, logs = P .. 'words:' .. namespace, P .. 'logs:' .. namespace
local answer = call('HSCAN', index, namespace == ARGV[1] and ARGV[2] or '0', 'COUNT', 1000)
for at = 1, #answer[2], 2 do
  local entry = answer[2][at + 1]
  if struct.unpack('<I', entry, 9) > 0 then
    call('HSET', index, answer[2][at], string.sub(entry, 1, 8) .. struct.pack('<I', 0) .. string.sub(entry, 13))
  end
end
if answer[1] ~= '0' then return {namespace, answer[1]} end
for _, width in ipairs(call('HKEYS', logs)) do
  if width ~= 'compacted' then
    compact(namespace, width)
    if call('STRLEN', log_of(namespace, width)) == 0 then
      call('UNLINK', log_of(namespace, width))
      call('HDEL', logs, width)
    end
  end
end
return {namespaces[2] or false, '0'}

-- unembedded --
-- now, the namespace to go on from, the place in it (0: its beginning), about how many items, the bytes of a vector. Returns where
-- to go on (nil: nowhere), and the items that are searched and have no such vectors: namespace, key, item, paths (nil for none).
local now, limit, from, place, width = tonumber(ARGV[1]), tonumber(ARGV[4]), ARGV[2], ARGV[3], tonumber(ARGV[5])
local result, looked_at = {false, '0'}, 0
for at, namespace in ipairs(below('', from, 101)) do
  if at == 101 or looked_at >= 1000 or #result >= 4 * limit then
    result[1] = namespace
    return result
  end
  if namespace ~= from then place = '0' end
  repeat
    local answer = call('HSCAN', P .. 'words:' .. namespace, place, 'COUNT', limit)
    place = answer[1]
    for field = 1, #answer[2], 2 do
      local key = answer[2][field]
      looked_at = looked_at + 1
      if struct.unpack('<I', answer[2][field + 1], 9) ~= width then
        local head = head_of(namespace, key)
        if is_alive(head, now) then
          local paths = paths_of(namespace, key, head)
          for _, one in ipairs({namespace, key, whole(namespace, key), paths}) do result[#result + 1] = one end
        end
      end
    end
    if place ~= '0' and (looked_at >= 1000 or #result >= 4 * limit) then
      result[1], result[2] = namespace, place
      return result
    end
  until place == '0'
end
return result

-- embed --
-- Groups of namespace, key, stamp, vectors, the bytes of one (0: none): items that still have the stamp, and no such vectors, are
-- given these; returns how many.
local embedded, emptied = 0, {}
for at = 1, ARGC, 5 do
  local namespace, key = ARGV[at], ARGV[at + 1]
  local width = tonumber(ARGV[at + 4])
  local head, entry = head_of(namespace, key), call('HGET', P .. 'words:' .. namespace, key)
  if head and string.format('%.0f', head.stamp) == ARGV[at + 2] and entry and struct.unpack('<I', entry, 9) ~= width then
    know(namespace, key, head.stamp, string.sub(entry, 13), ARGV[at + 3], width)
    if width == 0 then emptied[framed(namespace) .. struct.unpack('<I', entry, 9)] = {namespace, struct.unpack('<I', entry, 9)} end
    local left = call('PTTL', P .. 'items:' .. namespace)
    if left > 0 then
      for _, one in ipairs(indexes_of(namespace)) do call('PEXPIRE', one, left) end
    end
    embedded = embedded + 1
  end
end
-- The stamp stays: what the item is given later must not count beside what it had.
for _, log in pairs(emptied) do compact(log[1], log[2]) end
return embedded
