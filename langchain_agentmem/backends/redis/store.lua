Scripts of the item table. The keys of a root, which is the first label of a namespace. All have one prefix:

  namespaces             A sorted set: the namespaces with items, as their labels, each followed by a zero byte.
  clock                  The stamp of the last change: microseconds since 1970, but unique.
  edits                  A hash: the times of the last deletion (gone), and of the last change of search entries whose stamp stayed
                         (kept).
  expiring               A sorted set: the items with a TTL, by expiry time.
  tokens, tokens:old     Hashes: recent swaps, by idempotency token.
  item:<namespace><key>  An item: expiry (0: never), creation, last update, TTL (0: none), stamp, and a number that older versions
                         used, each a double; then the value.
  items:<namespace>      A sorted set: the keys of the items of a namespace, by stamp.
  words:<namespace>      A hash: by key, the search entry of an item: its stamp, the width of its vectors (0: it has none), its
                         words.
  vectors:<width>:<namespace>  A log of vectors. A log is a string of records: the stamp of an item, and a vector of <width> bytes.
                         Records are only appended; compaction removes the records that no item needs.
  logs:<namespace>       A hash: by width, the length of a log that triggers its compaction; and the number of compactions
                         (compacted).
  paths:<namespace>      A hash: by key, the embedded fields of an item whose put named them, after the item's stamp.

KEYS of every script is `namespaces`. The other keys are derived from it, and are in the same slot.

-- shared --
local NAMESPACES = KEYS[1]
local PREFIX = string.sub(NAMESPACES, 1, -11)  -- the prefix of all keys
local HEAD = 48  -- number of bytes before an item's value

local function head_of(namespace, key)
  local head = call('GETRANGE', PREFIX .. 'item:' .. namespace .. key, 0, HEAD - 1)
  if #head < HEAD then return nil end
  local expires, created, updated, ttl, stamp = struct.unpack('>ddddd', head)
  return {expires = expires, created = created, updated = updated, ttl = ttl, stamp = stamp}
end

-- Return the expiry time of an item. Python refuses an item that is cut short.
local function expiry_of(item)
  return #item < HEAD and 0 or struct.unpack('>d', item)
end

local function exists(head, now)
  return head and is_alive(head.expires, now)
end

-- Return the member of `expiring` for an item.
local function expiring(namespace, key)
  return framed(namespace) .. key
end

local function log_of(namespace, width)
  return PREFIX .. 'vectors:' .. width .. ':' .. namespace
end

-- Return the keys of a namespace except its items.
local function indexes_of(namespace)
  local keys = {}
  for at, name in ipairs({'items:', 'words:', 'logs:', 'paths:'}) do keys[at] = PREFIX .. name .. namespace end
  for _, width in ipairs(call('HKEYS', keys[3])) do
    if width ~= 'compacted' then keys[#keys + 1] = log_of(namespace, width) end
  end
  return keys
end

-- Note that items were deleted (gone), or that search entries changed without a new stamp (kept).
local function note_edit(kind)
  local time, left = call('TIME'), call('PTTL', NAMESPACES)
  call('HSET', PREFIX .. 'edits', kind, time[1] .. string.format('%06d', time[2]))
  if left > 0 then call('PEXPIRE', PREFIX .. 'edits', left) end
end

-- Delete an item and its entries in all indexes.
local function forget(namespace, key)
  note_edit('gone')
  call('UNLINK', PREFIX .. 'item:' .. namespace .. key)
  call('HDEL', PREFIX .. 'words:' .. namespace, key)
  call('HDEL', PREFIX .. 'paths:' .. namespace, key)
  call('ZREM', PREFIX .. 'expiring', expiring(namespace, key))
  call('ZREM', PREFIX .. 'items:' .. namespace, key)
  if call('EXISTS', PREFIX .. 'items:' .. namespace) == 0 then
    call('UNLINK', unpack(indexes_of(namespace)))
    call('ZREM', NAMESPACES, namespace)
  end
end

local SPARE = 200  -- number of unneeded records that a log may hold

-- Remove from a log the records of items that are gone or that have no vectors of this width.
local function compact(namespace, width)
  local live, kept, record = {}, {}, record_length(width)
  for _, entry in ipairs(call('HVALS', PREFIX .. 'words:' .. namespace)) do
    if struct.unpack('<I', entry, 9) == tonumber(width) then live[string.sub(entry, 1, 8)] = true end
  end
  local all = call('GET', log_of(namespace, width)) or ''
  for at = 1, #all, record do
    if live[string.sub(all, at, at + 7)] then kept[#kept + 1] = string.sub(all, at, at + record - 1) end
  end
  call('SET', log_of(namespace, width), table.concat(kept), 'KEEPTTL')
  call('HSET', PREFIX .. 'logs:' .. namespace, width, (2 * #kept + SPARE) * record)
  call('HINCRBY', PREFIX .. 'logs:' .. namespace, 'compacted', 1)
end

-- Store the search entry of an item, and its vectors. A width of -1 means that the item is not searched.
local function index_item(namespace, key, stamp, words, vectors, width)
  local index, logs = PREFIX .. 'words:' .. namespace, PREFIX .. 'logs:' .. namespace
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

-- Restart the TTL of an item.
local function touch(namespace, key, now)
  local head = head_of(namespace, key)
  if head and head.ttl > 0 then
    local item = PREFIX .. 'item:' .. namespace .. key
    local expires = math.max(head.expires, now + head.ttl)
    call('SETRANGE', item, 0, struct.pack('>d', expires))
    call('PEXPIREAT', item, ahead(head.ttl))
    call('ZADD', PREFIX .. 'expiring', string.format('%.17g', expires), expiring(namespace, key))
    outlive(indexes_of(namespace), call('PTTL', PREFIX .. 'items:' .. namespace), head.ttl)
    outlive({NAMESPACES, PREFIX .. 'clock', PREFIX .. 'edits', PREFIX .. 'expiring'}, call('PTTL', NAMESPACES), head.ttl)
  end
end

-- Delete at most `limit` expired items. Return their number.
local function sweep(now, limit)
  local members = call('ZRANGEBYSCORE', PREFIX .. 'expiring', '-inf', now, 'LIMIT', 0, limit)
  local deleted = 0
  for _, member in ipairs(members) do
    local length = struct.unpack('>I', member)
    local namespace, key = string.sub(member, 5, 4 + length), string.sub(member, 5 + length)
    local head = head_of(namespace, key)
    if exists(head, now) then
      call('ZADD', PREFIX .. 'expiring', string.format('%.17g', head.expires), member)
    else
      forget(namespace, key)
      deleted = deleted + 1
    end
  end
  return deleted
end

-- Return at most `most` namespaces at or below a prefix, beginning with `from`.
local function below(prefix, from, most)
  local low = from ~= '' and '[' .. from or (prefix == '' and '-' or '[' .. prefix)
  return call('ZRANGEBYLEX', NAMESPACES, low, prefix == '' and '+' or '[' .. prefix .. '\255', 'LIMIT', 0, most)
end

-- Return the bytes of an item, or false.
local function item_of(namespace, key)
  return call('GET', PREFIX .. 'item:' .. namespace .. key)
end

-- Return the embedded fields of an item if its put named them; otherwise false.
local function paths_of(namespace, key, head)
  local paths = call('HGET', PREFIX .. 'paths:' .. namespace, key)
  return paths and struct.unpack('<d', paths) == head.stamp and string.sub(paths, 9)
end

-- Return the stamp of an item that is restored: the time of its last update, which differs from the stamps in its namespace.
local function restored_stamp(namespace, updated)
  local items, offset = PREFIX .. 'items:' .. namespace, tonumber(string.sub(redis.sha1hex(namespace), 1, 4), 16) % 1000
  local stamp = math.floor(updated * 1000000) + offset
  while call('ZCOUNT', items, string.format('%.0f', stamp), string.format('%.0f', stamp)) > 0 do stamp = stamp + 1 end
  return stamp
end

-- Store items. The arguments from `from` to `upto` are, for each item: namespace, key, value, ttl ('' for none), words, vectors,
-- width (-1: the item is not searched), paths ('' if the put named no fields). With `restores`, the times of the creation, the last
-- update and the expiry ('' for none) follow, and an item that exists stays unchanged. Return the number of stored items.
local function put(now, from, upto, restores)
  local clock = math.max(tonumber(call('GET', PREFIX .. 'clock') or 0), restores and 0 or math.floor(now * 1000000))
  local left, longest, lives, count = call('PTTL', NAMESPACES), 0, {}, 0
  for at = from, upto, restores and 11 or 8 do
    local namespace, key, value, ttl = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
    local item = PREFIX .. 'item:' .. namespace .. key
    local head = head_of(namespace, key)
    if not restores or not exists(head, now) then
      local life = lives[namespace] or {left = call('PTTL', PREFIX .. 'items:' .. namespace), longest = 0}
      lives[namespace] = life
      -- A late clock must not bring the expiry forward, so the TTL counts from the item's last use at least.
      local used = head and math.max(now, head.updated, head.expires - head.ttl) or now
      local created, updated, expires = exists(head, now) and head.created or now, now, ttl and used + ttl
      local seconds, stamp = ttl, clock + 1
      if restores then
        created, updated, expires = tonumber(ARGV[at + 8]), tonumber(ARGV[at + 9]), tonumber(ARGV[at + 10])
        seconds, stamp = expires and expires - now, restored_stamp(namespace, updated)
      end
      clock, count = math.max(clock, stamp), count + 1
      call('SET', item, struct.pack('>dddddd', expires or 0, created, updated, ttl or 0, stamp, 0) .. value)
      call('ZADD', PREFIX .. 'items:' .. namespace, string.format('%.0f', stamp), key)
      index_item(namespace, key, stamp, ARGV[at + 4], ARGV[at + 5], tonumber(ARGV[at + 6]))
      if ARGV[at + 7] == '' then call('HDEL', PREFIX .. 'paths:' .. namespace, key)
      else call('HSET', PREFIX .. 'paths:' .. namespace, key, struct.pack('<d', stamp) .. ARGV[at + 7]) end
      if seconds then
        call('PEXPIREAT', item, ahead(seconds))
        call('ZADD', PREFIX .. 'expiring', string.format('%.17g', expires), expiring(namespace, key))
        life.longest = life.longest and math.max(life.longest, seconds)
        longest = longest and math.max(longest, seconds)
      else
        call('ZREM', PREFIX .. 'expiring', expiring(namespace, key))
        life.longest, longest = nil, nil
      end
    end
  end
  if count == 0 then return 0 end
  if restores then note_edit('kept') end
  for namespace, life in pairs(lives) do
    call('ZADD', NAMESPACES, 0, namespace)
    outlive(indexes_of(namespace), life.left, life.longest)
  end
  call('SET', PREFIX .. 'clock', string.format('%.0f', clock), 'KEEPTTL')
  outlive({NAMESPACES, PREFIX .. 'clock', PREFIX .. 'edits', PREFIX .. 'expiring'}, left, longest)
  return count
end

-- get --
-- Return items, nil for those that do not exist; then, if requested, the named fields of each.
-- KEYS: the namespaces of the root.
-- ARGV: now, 1 to return the named fields, pairs of namespace and key.
local now, found, paths = tonumber(ARGV[1]), {}, {}
for at = 3, ARGC, 2 do
  local item = item_of(ARGV[at], ARGV[at + 1])
  local expires = item and expiry_of(item)
  found[#found + 1] = item and is_alive(expires, now) and item or false
  if ARGV[2] == '1' then paths[#paths + 1] = item and paths_of(ARGV[at], ARGV[at + 1], head_of(ARGV[at], ARGV[at + 1])) or false end
end
for _, one in ipairs(paths) do found[#found + 1] = one end
return found

-- change --
-- Restart the TTL of items, delete items, and store items.
-- KEYS: the namespaces of the root.
-- ARGV: now, the numbers of items to touch, to delete and to store; pairs of namespace and key of the items to touch and to delete;
--   the items to store (see `put`).
local now, touched, deleted = tonumber(ARGV[1]), 5 + 2 * ARGV[2], 5 + 2 * ARGV[2] + 2 * ARGV[3]
for at = 5, touched - 1, 2 do touch(ARGV[at], ARGV[at + 1], now) end
for at = touched, deleted - 1, 2 do
  forget(ARGV[at], ARGV[at + 1])
end
if deleted <= ARGC then
  put(now, deleted, ARGC)
end

-- swap --
-- Replace or delete items if all of them have the expected stamps. Return 1 on success.
-- KEYS: the namespaces of the root.
-- ARGV: now, token, number of items; for each item: namespace, key, expected stamp ('' for no item), 1 to delete it or 2 to
--   restart its TTL; the items to store (see `put`).
local now, token, stored = tonumber(ARGV[1]), ARGV[2], 4 + 4 * ARGV[3]
-- An earlier attempt, whose answer was lost, may have succeeded.
local tokens = {PREFIX .. 'tokens', PREFIX .. 'tokens:old'}
if result_by_token(tokens, token) then return 1 end
for at = 4, stored - 1, 4 do
  local head = head_of(ARGV[at], ARGV[at + 1])
  local current = exists(head, now) and head or nil
  if (current and string.format('%.0f', current.stamp) or '') ~= ARGV[at + 2] then return 0 end
end
for at = 4, stored - 1, 4 do
  if ARGV[at + 3] == '1' then forget(ARGV[at], ARGV[at + 1]) end
  if ARGV[at + 3] == '2' then touch(ARGV[at], ARGV[at + 1], now) end
end
if stored <= ARGC then put(now, stored, ARGC) end
note_token(tokens, token, 1, 10000)
return 1

-- scan --
-- Return a page of items, the most recently updated first.
-- The result is the namespace to continue from (nil: none), 1 if more items may follow, the stamp of the last examined item, and
-- records: a stamp (a double), a namespace, a key and an item, each framed. If this call examines all namespaces, the maximum counts
-- records; if not, it counts examined items, and the record of an item that does not pass has only a stamp, for the client to merge.
-- KEYS: the namespaces of the root.
-- ARGV: now, prefix, maximum number of items, upper bound of the stamps ('' for none), 1 to include the bound, namespace to
--   continue from ('' for the first), maximum number of namespaces, 1 if no other root is read, number of items to skip (0 if the
--   call may not examine all namespaces), texts of which a value must contain one (none: any value).
local now, limit, most, skip = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[7]), tonumber(ARGV[9])
local bound = ARGV[4] == '' and '+inf' or (ARGV[5] == '1' and '' or '(') .. ARGV[4]
local namespaces = below(ARGV[2], ARGV[6], most + 1)
local following = namespaces[most + 1] or false
local is_complete = ARGV[8] == '1' and not following and ARGV[6] == ''
if skip > 0 and not is_complete then return {following, 0, ""} end

local due = skip > 0 and call('ZRANGEBYSCORE', PREFIX .. 'expiring', '-inf', now) or {}
local first = 0
if #namespaces == 1 and #due == 0 then first, skip = skip, 0 end
local depth = skip + (is_complete and ARGC > 9 and math.max(limit, 10000) or limit)
local found, owners, stamps, is_cut = {}, {}, {}, false  -- the keys of candidates; their namespaces and stamps if these differ
if #namespaces == 1 then
  found = call('ZREVRANGEBYSCORE', PREFIX .. 'items:' .. namespaces[1], bound, '-inf', 'LIMIT', first, depth)
  is_cut = #found == depth
else
  local candidates = {}
  for at = 1, math.min(#namespaces, most) do
    local some = call('ZREVRANGEBYSCORE', PREFIX .. 'items:' .. namespaces[at], bound, '-inf', 'WITHSCORES', 'LIMIT', 0, depth)
    for index = 1, #some, 2 do
      candidates[#candidates + 1] = {tonumber(some[index + 1]), namespaces[at], some[index]}
    end
    is_cut = is_cut or #some == 2 * depth
  end
  table.sort(candidates, function(a, b) return a[1] > b[1] end)
  for at, candidate in ipairs(candidates) do stamps[at], owners[at], found[at] = unpack(candidate) end
end

local function stamp_of(at)
  return stamps[at] or tonumber(call('ZSCORE', PREFIX .. 'items:' .. namespaces[1], found[at]))
end

local at = 0
if skip > 0 then
  local expired = {}
  for _, member in ipairs(due) do expired[member] = true end
  while skip > 0 and at < #found do
    at = at + 1
    local namespace = owners[at] or namespaces[1]
    if not expired[expiring(namespace, found[at])] or exists(head_of(namespace, found[at]), now) then skip = skip - 1 end
  end
end

local function may_pass(item)
  if ARGC < 10 then return true end
  for text = 10, ARGC do
    if string.find(item, ARGV[text], HEAD + 1, true) then return true end
  end
  return false
end

-- Few large answers are faster for a client than many small ones. An answer must be shorter than 512 MB.
local last = math.min(#found, at + depth)
local result, part, size, count, final = {following, 0, ''}, {}, 0, 0, false
while at < last and (not is_complete or count < limit) do
  at = at + 1
  local namespace, key = owners[at] or namespaces[1], found[at]
  local item = item_of(namespace, key)
  local passes = item and may_pass(item) and is_alive(expiry_of(item), now)
  if passes or not is_complete then
    local stamp = struct.pack('>d', stamp_of(at))
    part[#part + 1] = stamp .. (passes and framed(namespace) .. framed(key) .. framed(item) or string.rep(framed(''), 3))
    size, count = size + #part[#part], count + 1
  end
  final = not item and stamp_of(at)
  if not item then forget(namespace, key) end
  if size > 1000000 then
    result[#result + 1] = table.concat(part)
    part, size = {}, 0
  end
end
if at > 0 and (at < #found or is_cut) then result[2], result[3] = 1, string.format('%.0f', final or stamp_of(at)) end
if #part > 0 then result[#result + 1] = table.concat(part) end
return result

-- rows --
-- Return items, and remove the index entries of those that do not exist.
-- KEYS: the namespaces of the root.
-- ARGV: pairs of namespace and key.
local found = {}
for at = 1, ARGC, 2 do
  local item = item_of(ARGV[at], ARGV[at + 1])
  if not item then forget(ARGV[at], ARGV[at + 1]) end
  found[#found + 1] = item
end
return found

-- find --
-- Return the search entries and the vectors of the items below a prefix.
-- The result is the namespace and the cursor to continue from (nil: the end), the expired items, and four values for each
-- namespace: its name; its search entries (keys, each followed by a zero byte; stamps and widths; lengths of words; words); its
-- log of vectors; and its number of compactions.
-- KEYS: the namespaces of the root.
-- ARGV: now, prefix, width ('' without vectors), namespace to continue from, cursor (0 for the beginning of the namespace), maximum
--   number of items, maximum number of bytes of vectors.
local now, width, most, most_bytes = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[6]), tonumber(ARGV[7])
local result = {false, '0', call('ZRANGEBYSCORE', PREFIX .. 'expiring', '-inf', now)}

local function add(namespace, fields, vectors)
  local keys, heads, lengths, words = {}, {}, {}, {}
  for at = 1, #fields, 2 do
    local n, entry = #keys + 1, fields[at + 1]
    keys[n], heads[n], lengths[n], words[n] = fields[at], string.sub(entry, 1, 12), #entry - 12, string.sub(entry, 13)
  end
  keys[#keys + 1] = ''
  result[#result + 1] = namespace
  result[#result + 1] = {table.concat(keys, '\0'), table.concat(heads), table.concat(lengths, ' '), table.concat(words)}
  result[#result + 1] = vectors
  result[#result + 1] = call('HGET', PREFIX .. 'logs:' .. namespace, 'compacted') or '0'
end

local cursor, items, bytes, from, check = ARGV[5], 0, 0, ARGV[4], once()
repeat
  check(from)
  local namespaces = below(ARGV[2], from, 501)
  for at, namespace in ipairs(namespaces) do
    if at == 501 then
      from = namespace
      break
    end
    if namespace ~= from then cursor = '0' end
    local index, log = PREFIX .. 'words:' .. namespace, width and log_of(namespace, width)
    local count, length = call('HLEN', index), log and call('STRLEN', log) or 0
    if cursor ~= '0' or (items == 0 and (count > most or length > most_bytes)) then
      -- A large namespace is read in parts: first its search entries (w), then its vectors (v).
      local kind, start = string.sub(cursor, 1, 1), string.sub(cursor, 2)
      if cursor == '0' or kind == 'w' then
        local answer = call('HSCAN', index, cursor == '0' and '0' or start, 'COUNT', most)
        add(namespace, answer[2], '')
        cursor = answer[1] ~= '0' and 'w' .. answer[1] or (length > 0 and 'v0')
      else
        local last = start + most_bytes - most_bytes % (8 + width)
        add(namespace, {}, call('GETRANGE', log, start, last - 1))
        cursor = length > last and 'v' .. string.format('%.0f', last)
      end
      if cursor then result[1], result[2] = namespace, cursor
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

-- changes --
-- Return what changed in the search entries of a root.
-- The result is the clock and the two edits; the expired items; 1 if the keys of all items follow, because some were deleted (2: the
-- client must read everything); and for each namespace: its name, the keys of all items or false, and the changed items: their keys, each
-- followed by a zero byte; stamps and widths; lengths of words; words; and the end of the log of vectors.
-- KEYS: the namespaces of the root.
-- ARGV: now, prefix, width ('' without vectors), the clock and the edits that the client knows ('' for none).
local now, width, since = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
local edits = PREFIX .. 'edits'
local clock, gone, kept = call('GET', PREFIX .. 'clock') or '', call('HGET', edits, 'gone') or '', call('HGET', edits, 'kept') or ''
local result = {clock, gone, kept, call('ZRANGEBYSCORE', PREFIX .. 'expiring', '-inf', now), 0}
if clock == ARGV[4] and gone == ARGV[5] and kept == ARGV[6] then return result end
if not since or kept ~= ARGV[6] or clock == '' or tonumber(clock) < since then
  result[5] = 2
  return result
end
if gone ~= ARGV[5] then result[5] = 1 end

-- Return the records of a log that are newer than the known ones: they are at its end.
local function end_of(log, count)
  local length, record = call('STRLEN', log), record_length(width)
  local size = math.max(64, 2 * count) * record
  while true do
    local first = math.max(0, length - size)
    first = first - first % record
    local part = call('GETRANGE', log, first, -1)
    if first == 0 or part == '' or struct.unpack('<d', part) <= since then return part end
    size = 4 * size
  end
end

local from = ''
repeat
  local namespaces = below(ARGV[2], from, 501)
  for at = 1, math.min(#namespaces, 500) do
    local namespace = namespaces[at]
    local changed = call('ZRANGEBYSCORE', PREFIX .. 'items:' .. namespace, '(' .. ARGV[4], '+inf')
    if #changed > 0 or result[5] == 1 then
      local index = PREFIX .. 'words:' .. namespace
      local keys, heads, lengths, words = {}, {}, {}, {}
      for _, key in ipairs(changed) do
        local n, entry = #keys + 1, call('HGET', index, key) or ''
        keys[n], heads[n], lengths[n], words[n] = key, string.sub(entry, 1, 12), #entry - 12, string.sub(entry, 13)
        if entry == '' then heads[n], lengths[n] = struct.pack('<d', 0) .. struct.pack('<I', 0), -1 end
      end
      keys[#keys + 1] = ''
      result[#result + 1] = namespace
      result[#result + 1] = result[5] == 1 and call('HKEYS', index)
      result[#result + 1] = {table.concat(keys, '\0'), table.concat(heads), table.concat(lengths, ' '), table.concat(words)}
      result[#result + 1] = width and #changed > 0 and end_of(log_of(namespace, width), #changed) or ''
    end
  end
  from = namespaces[501]
until not from
return result

-- namespaces --
-- Return the namespace to continue from (nil: the end), and the namespaces that contain items.
-- KEYS: the namespaces of the root.
-- ARGV: now, prefix, namespace to continue from ('' for the first), maximum number of namespaces.
local now, most = tonumber(ARGV[1]), tonumber(ARGV[4])
local namespaces = below(ARGV[2], ARGV[3], most + 1)
local result = {namespaces[most + 1] or false}
for at = 1, math.min(#namespaces, most) do
  local namespace, start = namespaces[at], 0
  repeat
    local keys = call('ZREVRANGE', PREFIX .. 'items:' .. namespace, start, start + 99)
    local found = false
    for _, key in ipairs(keys) do
      if exists(head_of(namespace, key), now) then
        found = true
        break
      end
    end
    if found then result[#result + 1] = namespace end
    start = start + 100
  until found or #keys < 100
end
return result

-- purge --
-- Delete the clock and the tokens if no item is left. Return the number of namespaces.
-- KEYS: the namespaces of the root.
-- ARGV: none.
local count = call('ZCARD', NAMESPACES)
if count == 0 then call('UNLINK', PREFIX .. 'clock', PREFIX .. 'edits', PREFIX .. 'tokens', PREFIX .. 'tokens:old', PREFIX .. 'expiring') end
return count

-- sweep --
-- Delete expired items. Return their number, the next expiry time ('' for none), and 1 if no item is left.
-- KEYS: the namespaces of the root.
-- ARGV: now, maximum number of items.
local deleted = sweep(tonumber(ARGV[1]), ARGV[2])
local following = call('ZRANGE', PREFIX .. 'expiring', 0, 0, 'WITHSCORES')
return {deleted, following[2] or '', 1 - call('EXISTS', NAMESPACES)}

-- unembed --
-- Delete the vectors of some items. Return the namespace and the cursor to continue from (nil: the end).
-- KEYS: the namespaces of the root.
-- ARGV: namespace to continue from ('' for the first), cursor (0 for the beginning of the namespace).
local namespaces = below('', ARGV[1], 2)
local namespace = namespaces[1]
if not namespace then return {false, '0'} end
note_edit('kept')
local index, logs = PREFIX .. 'words:' .. namespace, PREFIX .. 'logs:' .. namespace
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
-- Return searched items that have no vectors of some width.
-- The result is the namespace and the cursor to continue from (nil: the end), and for each item its namespace, key, bytes and named
-- fields (nil: none).
-- KEYS: the namespaces of the root.
-- ARGV: now, namespace to continue from ('' for the first), cursor (0 for the beginning of the namespace), approximate number of
--   items, width.
local now, limit, from, cursor, width = tonumber(ARGV[1]), tonumber(ARGV[4]), ARGV[2], ARGV[3], tonumber(ARGV[5])
local result, examined = {false, '0'}, 0
for at, namespace in ipairs(below('', from, 101)) do
  if at == 101 or examined >= 1000 or #result >= 4 * limit then
    result[1] = namespace
    return result
  end
  if namespace ~= from then cursor = '0' end
  repeat
    local answer = call('HSCAN', PREFIX .. 'words:' .. namespace, cursor, 'COUNT', limit)
    cursor = answer[1]
    for field = 1, #answer[2], 2 do
      local key = answer[2][field]
      examined = examined + 1
      if struct.unpack('<I', answer[2][field + 1], 9) ~= width then
        local head = head_of(namespace, key)
        if exists(head, now) then
          local paths = paths_of(namespace, key, head)
          for _, one in ipairs({namespace, key, item_of(namespace, key), paths}) do result[#result + 1] = one end
        end
      end
    end
    if cursor ~= '0' and (examined >= 1000 or #result >= 4 * limit) then
      result[1], result[2] = namespace, cursor
      return result
    end
  until cursor == '0'
end
return result

-- embed --
-- Store the vectors of items that have not changed and have no vectors of this width. Return the number of these items.
-- KEYS: the namespaces of the root.
-- ARGV: for each item: namespace, key, stamp, vectors, width (0 for no vectors).
local embedded, emptied = 0, {}
note_edit('kept')
for at = 1, ARGC, 5 do
  local namespace, key = ARGV[at], ARGV[at + 1]
  local width = tonumber(ARGV[at + 4])
  local head, entry = head_of(namespace, key), call('HGET', PREFIX .. 'words:' .. namespace, key)
  if head and string.format('%.0f', head.stamp) == ARGV[at + 2] and entry and struct.unpack('<I', entry, 9) ~= width then
    index_item(namespace, key, head.stamp, string.sub(entry, 13), ARGV[at + 3], width)
    if width == 0 then emptied[framed(namespace) .. struct.unpack('<I', entry, 9)] = {namespace, struct.unpack('<I', entry, 9)} end
    local left = call('PTTL', PREFIX .. 'items:' .. namespace)
    if left > 0 then
      for _, one in ipairs(indexes_of(namespace)) do call('PEXPIRE', one, left) end
    end
    embedded = embedded + 1
  end
end
-- The stamp of an item stays. Without this compaction, its old vectors would count beside those that it gets later.
for _, log in pairs(emptied) do compact(log[1], log[2]) end
return embedded

-- set_words --
-- Replace the words of indexed items that have not changed.
-- KEYS: the namespaces of the root.
-- ARGV: for each item: namespace, key, stamp, words.
note_edit('kept')
for at = 1, ARGC, 4 do
  local namespace, key = ARGV[at], ARGV[at + 1]
  local head, index = head_of(namespace, key), PREFIX .. 'words:' .. namespace
  local entry = call('HGET', index, key)
  if head and entry and string.format('%.0f', head.stamp) == ARGV[at + 2] then
    call('HSET', index, key, string.sub(entry, 1, 12) .. ARGV[at + 3])
  end
end
return 0

-- tally --
-- Count the items of some namespaces by kind, including expired ones.
-- Return the namespace to continue from (nil: the end), and the
-- numbers of items whose second label is each of the kinds, and of others.
-- KEYS: the namespaces of the root.
-- ARGV: namespace to continue from ('' for the first), maximum number of namespaces, kinds.
local most, others = tonumber(ARGV[2]), ARGC
local namespaces, result, place = below('', ARGV[1], most + 1), {}, {}
for at = 3, ARGC do place[ARGV[at]] = at - 1 end
for at = 2, others do result[at] = 0 end
result[1] = namespaces[most + 1] or false
for at = 1, math.min(#namespaces, most) do
  local kind = place[string.match(namespaces[at], '^%Z*%z(%Z*)%z')] or others
  result[kind] = result[kind] + call('ZCARD', PREFIX .. 'items:' .. namespaces[at])
end
return result

-- tally_expiring --
-- Count items with a TTL by kind and by period.
-- Return the number of items examined; then for each kind, and for others, the number of expired items and the numbers of those that
-- expire in the first four periods.
-- KEYS: the namespaces of the root.
-- ARGV: now, the ends of the periods, rank of the first item, maximum number of items, kinds.
local now, ends, first, most = tonumber(ARGV[1]), ends_from(2), tonumber(ARGV[5]), tonumber(ARGV[6])
local members, place, others = call('ZRANGE', PREFIX .. 'expiring', first, first + most - 1), {}, 5 * (ARGC - 6) + 2
local result = {#members}
for at = 7, ARGC do place[ARGV[at]] = 5 * (at - 7) + 2 end
for at = 2, others + 4 do result[at] = 0 end
for _, member in ipairs(members) do
  local length = struct.unpack('>I', member)
  local namespace, key = string.sub(member, 5, 4 + length), string.sub(member, 5 + length)
  if call('ZSCORE', PREFIX .. 'items:' .. namespace, key) then
    local head = head_of(namespace, key)
    local at = place[string.match(namespace, '^%Z*%z(%Z*)%z')] or others
    if exists(head, now) then at = at + math.min(4, period_of(head.expires, ends)) end
    result[at] = result[at] + 1
  end
end
return result

-- tally_values --
-- Read values of a page of a namespace.
-- Return the number of items examined, the number of values that begin with a field, and the keys of the objects in another field.
-- KEYS: the namespaces of the root.
-- ARGV: now, namespace, rank of the first item, maximum number of items, the first field ('' for none), the other field ('' for none).
local now, first, most = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
local beginning, matching, found, seen = '{"' .. ARGV[5] .. '"', 0, {}, {}
local keys = call('ZRANGE', PREFIX .. 'items:' .. ARGV[2], first, first + most - 1)
for _, key in ipairs(keys) do
  if exists(head_of(ARGV[2], key), now) then
    if ARGV[5] ~= '' then
      local start = call('GETRANGE', PREFIX .. 'item:' .. ARGV[2] .. key, HEAD, HEAD + #beginning - 1)
      if start == beginning then matching = matching + 1 end
    else
      local readable, value = pcall(cjson.decode, string.sub(item_of(ARGV[2], key), HEAD + 1))
      local nested = readable and type(value) == 'table' and value[ARGV[6]]
      for name in pairs(type(nested) == 'table' and nested or {}) do
        if not seen[name] then
          seen[name] = true
          found[#found + 1] = name
        end
      end
    end
  end
end
return {#keys, matching, found}
