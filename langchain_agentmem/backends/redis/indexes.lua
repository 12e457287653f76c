Scripts of the indexes whose data is in other slots: the sessions of a user, the users, threads and namespace roots of a tenant
(sorted sets of members by the time of the last use), and the expiry schedules of each (a sorted set of members by the time of
the next check, and a hash with the notes of each member). The index of a user's sessions has a log of changes: a sorted set of the
sessions that changed in the last hour, by the time on the server's clock.

-- shared --
local LOGGED = 3600  -- seconds for which a change stays in the log
local REMOVED = ''  -- in the log: some session was removed from the index

-- Add a session to the log of changes.
local function note_change(log, member)
  local time = call('TIME')
  call('ZADD', log, time[1], member)
  call('ZREMRANGEBYSCORE', log, '-inf', '(' .. (time[1] - LOGGED))
  call('PEXPIRE', log, 2000 * LOGGED)
end

-- note_change --
-- Note that a session is about to change.
-- KEYS: the log of changes.
-- ARGV: the session.
note_change(KEYS[1], ARGV[1])

-- enlist_changed --
-- Same as `enlist` and `note_change`.
-- KEYS: the index, the log of changes.
-- ARGV: the member, now.
call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
note_change(KEYS[2], ARGV[1])

-- changed --
-- Return the time on the server's clock; the number of sessions; 1 if all sessions follow; the sessions that may have changed.
-- KEYS: the index, the log of changes.
-- ARGV: the time of the last call ('' for all sessions), the seconds between a note and its change.
local time, since = tonumber(call('TIME')[1]), tonumber(ARGV[1])
local count = call('ZCARD', KEYS[1])
local removed = since and call('ZSCORE', KEYS[2], REMOVED)
if since and since <= time and since - ARGV[2] > time - LOGGED and not (removed and tonumber(removed) >= since) then
  return {time, count, 0, unpack(call('ZRANGEBYSCORE', KEYS[2], since - ARGV[2], '+inf', 'LIMIT', 0, 5000))}
end
return {time, count, 1}

-- enlist --
-- Add a member, or update the time of its last use.
-- KEYS: the index.
-- ARGV: the member, now.
call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])

-- newest --
-- Return a page of members, the most recently used first, each followed by the time of its last use.
-- KEYS: the index.
-- ARGV: the ranks of the first and the last member.
return call('ZREVRANGE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES')

-- walk --
-- Return a cursor for the next call ('0' after the last member), and a flat list of members and the times of their last use.
-- Members that are in the index during the whole walk are returned at least once.
-- KEYS: the index.
-- ARGV: the cursor ('0' in the first call), the approximate number of members.
return call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])

-- heal --
-- Remove members whose data is gone, unless they were used again. Return the number of members that remain.
-- KEYS: the index, its log of changes. Not every index has one.
-- ARGV: pairs of a member and the time of its last known use.
for at = 1, ARGC, 2 do
  local used = call('ZSCORE', KEYS[1], ARGV[at])
  if used and tonumber(used) <= tonumber(ARGV[at + 1]) then
    call('ZREM', KEYS[1], ARGV[at])
    if call('ZREM', KEYS[2], ARGV[at]) == 1 then note_change(KEYS[2], REMOVED) end
  end
end
local left = call('ZCARD', KEYS[1])
if left == 0 then call('UNLINK', KEYS[2]) end
return left

-- schedule --
-- Set the time of the next check of a member, and add notes to its notes, which are separated by zero bytes.
-- KEYS: the schedule, its notes.
-- ARGV: the member, the time, 1 to keep an earlier time, notes.
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
-- Change the times of the next checks of members that are still in the schedule.
-- KEYS: the schedule, its notes.
-- ARGV: pairs of a member and a time ('' to remove the member).
for at = 1, ARGC, 2 do
  if ARGV[at + 1] == '' then
    call('ZREM', KEYS[1], ARGV[at])
    call('HDEL', KEYS[2], ARGV[at])
  else
    call('ZADD', KEYS[1], 'XX', ARGV[at + 1], ARGV[at])
  end
end

-- remove_note --
-- Remove a note from the notes of a member.
-- KEYS: the schedule, its notes.
-- ARGV: the member, the note.
local left = {}
for note in string.gmatch(call('HGET', KEYS[2], ARGV[1]) or '', '[^%z]+') do
  if note ~= ARGV[2] then left[#left + 1] = note end
end
if #left > 0 then call('HSET', KEYS[2], ARGV[1], table.concat(left, '\0')) else call('HDEL', KEYS[2], ARGV[1]) end

-- due --
-- Return the members that are due for a check, each followed by its notes.
-- KEYS: the schedule, its notes.
-- ARGV: now, the maximum number of members.
local found = {}
for _, member in ipairs(call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  found[#found + 1] = member
  found[#found + 1] = call('HGET', KEYS[2], member) or ''
end
return found

-- schema --
-- Set the layout version and the language of a new database. Return those of the database, and 1 if it was new.
-- KEYS: the version, the language.
-- ARGV: the version, the language.
local created = call('SET', KEYS[1], ARGV[1], 'NX')
call('SET', KEYS[2], ARGV[2], 'NX')
return {call('GET', KEYS[1]), call('GET', KEYS[2]), created and 1 or 0}
