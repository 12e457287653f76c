Scripts that read and restore whole items. Their KEYS are the namespaces of a root; see store.lua.

-- shared --

-- keys --
-- Return the keys of the items of a namespace.
-- KEYS: the namespaces of the root.
-- ARGV: namespace.
return call('ZRANGE', PREFIX .. 'items:' .. ARGV[1], 0, -1)

-- states --
-- Return five values for each item: its bytes (nil: it does not exist), its paths (nil: its put named none), the width of its
-- vectors, their stamp, and its vectors (nil: the log is large).
-- KEYS: the namespaces of the root.
-- ARGV: now, maximum number of bytes of a log that is read as a whole, pairs of namespace and key.
local now, most, result, logs = tonumber(ARGV[1]), tonumber(ARGV[2]), {}, {}

-- Return the vectors in a log, by stamp; nil for a large log. Each log is read once.
local function vectors_in(namespace, width)
  local name = log_of(namespace, width)
  if not logs[name] then
    if call('STRLEN', name) > most then return nil end
    local all, found, length = call('GET', name) or '', {}, record_length(width)
    for at = 1, #all, length do
      local mark = string.sub(all, at, at + 7)
      found[mark] = (found[mark] or '') .. string.sub(all, at + 8, at + length - 1)
    end
    logs[name] = found
  end
  return logs[name]
end

for at = 3, ARGC, 2 do
  local namespace, key = ARGV[at], ARGV[at + 1]
  local item, n = item_of(namespace, key), #result
  result[n + 1], result[n + 2], result[n + 3], result[n + 4], result[n + 5] = false, false, 0, '', ''
  if item and is_alive(expiry_of(item), now) then
    local entry = call('HGET', PREFIX .. 'words:' .. namespace, key)
    result[n + 1], result[n + 2] = item, paths_of(namespace, key, head_of(namespace, key))
    local width = entry and struct.unpack('<I', entry, 9) or 0
    if width > 0 then
      local vectors, stamp = vectors_in(namespace, width), string.sub(entry, 1, 8)
      result[n + 3], result[n + 4], result[n + 5] = width, stamp, vectors and (vectors[stamp] or '') or false
    end
  end
end
return result

-- stamps --
-- Return the stamps of some records of a log of vectors, in their order; the empty string after the last one.
-- KEYS: the namespaces of the root.
-- ARGV: namespace, width, number of the first record.
local length, found = record_length(ARGV[2]), {}
local first, count = tonumber(ARGV[3]), math.max(1, math.floor(4000000 / length))
local records = call('GETRANGE', log_of(ARGV[1], ARGV[2]), first * length, (first + count) * length - 1)
for at = 1, #records, length do found[#found + 1] = string.sub(records, at, at + 7) end
return table.concat(found)

-- records --
-- Return some records of a log of vectors.
-- KEYS: the namespaces of the root.
-- ARGV: namespace, width, numbers of the records.
local log, length, found = log_of(ARGV[1], ARGV[2]), record_length(ARGV[2]), {}
for at = 3, ARGC do
  found[#found + 1] = call('GETRANGE', log, ARGV[at] * length, (ARGV[at] + 1) * length - 1)
end
return table.concat(found)

-- restore --
-- Delete items, and add items that do not exist. Return the number of added items.
-- KEYS: the namespaces of the root.
-- ARGV: now; the number of items to delete, and pairs of namespace and key; the items to store (see `put`), each followed by the
--   times of its creation, last update and expiry ('' for none).
local first = 3 + 2 * ARGV[2]
for at = 3, first - 1, 2 do forget(ARGV[at], ARGV[at + 1]) end
return put(tonumber(ARGV[1]), first, ARGC, true)
