Scripts that read and restore whole items. Their KEYS are the namespaces of a root; see store.lua.

-- shared --

-- keys --
-- Return the keys of the items of a namespace.
-- KEYS: the namespaces of the root.
-- ARGV: namespace.
return call('ZRANGE', PREFIX .. 'items:' .. ARGV[1], 0, -1)

-- states --
-- Return four values for each item: its bytes (nil: it does not exist), its paths (nil: its put named none), the width of its
-- vectors, and its vectors.
-- KEYS: the namespaces of the root.
-- ARGV: now, pairs of namespace and key.
local now, result, logs = tonumber(ARGV[1]), {}, {}

-- Return the vectors in a log, by stamp. Each log is read once.
local function vectors_in(namespace, width)
  local name = log_of(namespace, width)
  if not logs[name] then
    local all, found, length = call('GET', name) or '', {}, record_length(width)
    for at = 1, #all, length do
      local mark = string.sub(all, at, at + 7)
      found[mark] = (found[mark] or '') .. string.sub(all, at + 8, at + length - 1)
    end
    logs[name] = found
  end
  return logs[name]
end

for at = 2, ARGC, 2 do
  local namespace, key = ARGV[at], ARGV[at + 1]
  local item, n = item_of(namespace, key), #result
  result[n + 1], result[n + 2], result[n + 3], result[n + 4] = false, false, 0, ''
  if item and is_alive(expiry_of(item), now) then
    local entry = call('HGET', PREFIX .. 'words:' .. namespace, key)
    result[n + 1], result[n + 2] = item, paths_of(namespace, key, head_of(namespace, key))
    local width = entry and struct.unpack('<I', entry, 9) or 0
    if width > 0 then
      result[n + 3], result[n + 4] = width, vectors_in(namespace, width)[string.sub(entry, 1, 8)] or ''
    end
  end
end
return result

-- restore --
-- Delete items, and add items that do not exist. Return the number of added items.
-- KEYS: the namespaces of the root.
-- ARGV: now; the number of items to delete, and pairs of namespace and key; the items to store (see `put`), each followed by the
--   times of its creation, last update and expiry ('' for none).
local first = 3 + 2 * ARGV[2]
for at = 3, first - 1, 2 do forget(ARGV[at], ARGV[at + 1]) end
return put(tonumber(ARGV[1]), first, ARGC, true)
