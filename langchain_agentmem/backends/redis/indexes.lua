The scripts of the indexes that lie apart from what they list: the sessions of a user, the users of a tenant, its threads, the roots of
its namespaces (sorted sets of members by when they were used last), and what of them is to expire when (a sorted set, and a hash
with the notes of each member).

-- shared --

-- enlist --
-- member, now: the member was used now.
call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])

-- newest --
-- start, stop: members by place, those used last first, each followed by when that was.
return call('ZREVRANGE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES')

-- heal --
-- Pairs of a member that is gone and when it was last used as far as is known: it goes unless it was used since then. Returns how
-- many are left.
for at = 1, ARGC, 2 do
  local used = call('ZSCORE', KEYS[1], ARGV[at])
  if used and tonumber(used) <= tonumber(ARGV[at + 1]) then call('ZREM', KEYS[1], ARGV[at]) end
end
return call('ZCARD', KEYS[1])

-- schedule --
-- member, time, whether an earlier time that is known stays, notes: when the member is to be looked at. Notes are added to those
-- that are known, each once, with a zero byte between them.
if ARGV[3] == '1' then call('ZADD', KEYS[1], 'LT', ARGV[2], ARGV[1])
else call('ZADD', KEYS[1], ARGV[2], ARGV[1]) end
local known = ARGC > 3 and call('HGET', KEYS[2], ARGV[1]) or ''
for at = 4, ARGC do
  if not string.find('\0' .. known .. '\0', '\0' .. ARGV[at] .. '\0', 1, true) then
    known = known == '' and ARGV[at] or known .. '\0' .. ARGV[at]
    call('HSET', KEYS[2], ARGV[1], known)
  end
end

-- reschedule --
-- Pairs of a member and when it is to be looked at, '' for never again; one that is there no more stays away.
for at = 1, ARGC, 2 do
  if ARGV[at + 1] == '' then
    call('ZREM', KEYS[1], ARGV[at])
    call('HDEL', KEYS[2], ARGV[at])
  else
    call('ZADD', KEYS[1], 'XX', ARGV[at + 1], ARGV[at])
  end
end

-- due --
-- now, limit: members, each followed by its notes.
local found = {}
for _, member in ipairs(call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  found[#found + 1] = member
  found[#found + 1] = call('HGET', KEYS[2], member) or ''
end
return found

-- schema --
-- version, language: those of the layout in use; these if there is none yet. Then whether there was none.
local made = call('SET', KEYS[1], ARGV[1], 'NX')
call('SET', KEYS[2], ARGV[2], 'NX')
return {call('GET', KEYS[1]), call('GET', KEYS[2]), made and 1 or 0}
