Scripts that read and restore whole threads. Their KEYS are those of a thread; see checkpoints.lua.

-- shared --

-- state --
-- Return the last user ('' for none), creation, last use, TTL, expiry and secret of a thread, its users, and the times of their
-- last writes; nil if the thread does not exist.
-- KEYS: the keys of the thread.
-- ARGV: now.
if call('EXISTS', THREAD) == 0 or not thread_is_alive(ARGV[1]) then return false end
local state = call('HMGET', THREAD, 'user', 'created', 'updated', 'ttl', 'expires', 'secret')
return {state[1] or '', state[2], state[3], state[4], state[5], state[6], users()}

-- fields --
-- Return the fields of a hash of the thread.
-- KEYS: the keys of the thread.
-- ARGV: the number of the key.
return call('HKEYS', KEYS[tonumber(ARGV[1])])

-- rows --
-- Return the values of fields of a hash of the thread.
-- KEYS: the keys of the thread.
-- ARGV: the number of the key, fields.
local found = {}
for at = 2, ARGC do found[at - 1] = call('HGET', KEYS[tonumber(ARGV[1])], ARGV[at]) end
return found

-- restore --
-- Create a thread without rows. Return 0 if it exists.
-- KEYS: the keys of the thread.
-- ARGV: now, expiry ('' for none), names and values of the fields.
local now, expires = tonumber(ARGV[1]), tonumber(ARGV[2])
if call('EXISTS', THREAD) == 1 and thread_is_alive(now) then return 0 end
call('UNLINK', unpack(KEYS))
in_parts('HSET', THREAD, ARGV, 3, ARGC)
if expires then
  call('HSET', THREAD, 'expires', ARGV[2])
  expire(KEYS, ahead(expires - now))
end
return 1

-- restore_rows --
-- Add rows that are not stored.
-- KEYS: the keys of the thread.
-- ARGV: number of values, pairs of field and row; number of elements, pairs of reference and element; number of checkpoints, for
--   each its field, row and run ('' for none); then for each pending write the field of its checkpoint and the write.
if call('EXISTS', THREAD) == 0 then return 0 end
local at = 1
for _, key in ipairs({VALUES, ELEMENTS}) do
  local last = at + 2 * ARGV[at]
  for n = at + 1, last, 2 do call('HSETNX', key, ARGV[n], ARGV[n + 1]) end
  at = last + 1
end
local last = at + 3 * ARGV[at]
for n = at + 1, last, 3 do
  call('HSETNX', CHECKPOINTS, ARGV[n], ARGV[n + 1])
  call('ZADD', ORDER, 0, ARGV[n])
  if ARGV[n + 2] ~= '' then call('SADD', RUNS, ARGV[n + 2]) end
end
for n = last + 1, ARGC, 2 do
  local stored, header, is_new = call('HGET', WRITES, ARGV[n]) or '', each_write(ARGV[n + 1])(), true
  for known in each_write(stored) do
    if known[1] == header[1] and known[2] == header[2] then is_new = false end
  end
  if is_new then call('HSET', WRITES, ARGV[n], stored .. ARGV[n + 1]) end
end
local left = call('PTTL', THREAD)
if left > 0 then expire(KEYS, ahead(left / 1000)) end
return 1
