Scripts of the cache. A namespace has three keys in one slot:

  cache            A hash of entries by key. An entry is the expiry time (a double, 0: never), the type (framed) and the data.
  cache:stored     A sorted set of the keys by the time at which their entries were stored.
  cache:expiring   A sorted set of the keys of the entries that expire, by the time of the expiry.

-- shared --
local ENTRIES, STORED, EXPIRING = KEYS[1], KEYS[2], KEYS[3]

-- Remove the entries with some keys.
local function remove(names)
  in_parts('HDEL', ENTRIES, names, 1, #names)
  in_parts('ZREM', STORED, names, 1, #names)
  in_parts('ZREM', EXPIRING, names, 1, #names)
end

-- get --
-- Return for each key the entry, or nothing if it is missing or has expired.
-- KEYS: those of the namespace.
-- ARGV: now, keys.
local now, found = tonumber(ARGV[1]), {}
for at = 2, ARGC do
  local entry = call('HGET', ENTRIES, ARGV[at])
  found[at - 1] = entry and #entry >= 12 and is_alive(struct.unpack('>d', entry), now) and entry or false
end
return found

-- set --
-- Store entries.
-- KEYS: those of the namespace.
-- ARGV: now, then for each entry: key, ttl ('' for none), type, data.
local now = tonumber(ARGV[1])
for at = 2, ARGC, 4 do
  local key, ttl = ARGV[at], tonumber(ARGV[at + 1])
  local expires = ttl and now + ttl or 0
  call('HSET', ENTRIES, key, struct.pack('>d', expires) .. framed(ARGV[at + 2]) .. ARGV[at + 3])
  call('ZADD', STORED, ARGV[1], key)
  if ttl then call('ZADD', EXPIRING, string.format('%.17g', expires), key) else call('ZREM', EXPIRING, key) end
end
local last = nil
if call('ZCARD', EXPIRING) == call('HLEN', ENTRIES) then
  last = ahead(math.max(0, call('ZREVRANGE', EXPIRING, 0, 0, 'WITHSCORES')[2] - now) + GRACE)
end
expire(KEYS, last)

-- clear --
-- Delete all entries. Return their number.
-- KEYS: those of the namespace.
-- ARGV: none.
local count = call('HLEN', ENTRIES)
call('UNLINK', ENTRIES, STORED, EXPIRING)
return count

-- count --
-- Count the living entries that were stored before a time.
-- KEYS: those of the namespace.
-- ARGV: the time, now.
local before, count = tonumber(ARGV[1]), call('ZCOUNT', STORED, '-inf', '(' .. ARGV[1])
for _, key in ipairs(call('ZRANGEBYSCORE', EXPIRING, '-inf', ARGV[2])) do
  local stored = tonumber(call('ZSCORE', STORED, key))
  if stored and stored < before then count = count - 1 end
end
return count

-- tally --
-- Return the numbers of living entries by the period of their expiry; see `period_of`.
-- KEYS: those of the namespace.
-- ARGV: now, the ends of the first three periods.
local found, from = {}, ARGV[1]
for at = 2, 4 do
  found[at - 1] = call('ZCOUNT', EXPIRING, '(' .. from, ARGV[at])
  from = ARGV[at]
end
found[4] = call('ZCOUNT', EXPIRING, '(' .. from, '+inf')
found[5] = call('HLEN', ENTRIES) - call('ZCARD', EXPIRING)
return found

-- prune --
-- Delete entries that were stored before a time. Return their number, and the number of remaining ones.
-- KEYS: those of the namespace.
-- ARGV: the time, the maximum number of entries.
local names = call('ZRANGEBYSCORE', STORED, '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
remove(names)
return {#names, call('HLEN', ENTRIES)}

-- sweep --
-- Delete expired entries. Return their number, and the next expiry ('' for none).
-- KEYS: those of the namespace.
-- ARGV: now, the maximum number of entries.
local names = call('ZRANGEBYSCORE', EXPIRING, '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
remove(names)
return {#names, call('ZRANGE', EXPIRING, 0, 0, 'WITHSCORES')[2] or ''}
