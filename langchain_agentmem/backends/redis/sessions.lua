Scripts of whole sessions. The KEYS of every script are the keys of a session; see history.lua.

-- shared --

-- Note the use of the session. Create it if it does not exist or has expired.
-- The caller then calls `keep_expiry`.
local function use_session(now, identity, ttl, is_sliding)
  local state = call('HMGET', SESSION, 'created', 'expires', 'at', 'updated')
  if not is_alive(state[2], now) then
    call('UNLINK', unpack(data_keys()))
    state = {}
  end
  if not state[1] then
    call('HSET', SESSION, 'identity', identity, 'created', string.format('%.17g', now), 'count', 0, 'next', 0)
  end
  now = math.max(now, tonumber(state[4] or 0))
  call('HSET', SESSION, 'updated', string.format('%.17g', now))
  if ttl and (is_sliding or not state[3]) then
    call('HSET', SESSION, 'expires', string.format('%.17g', now + ttl), 'at', ahead(ttl))
  end
end

-- Let all keys of the session expire when the session does.
local function keep_expiry()
  local at = call('HGET', SESSION, 'at')
  if at then expire(data_keys(), at) end
end

-- add_record --
-- Add a record to the session.
-- KEYS: the keys of the session.
-- ARGV: now, identity, ttl ('' to leave the expiry unchanged), 1 if the ttl is sliding, the record.
use_session(tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1')
call('ZADD', RECORDS, 0, ARGV[5])
keep_expiry()

-- end --
-- Delete the variables, and the messages and records that end with the session. Return the number of messages, then the IDs of
-- the records.
-- KEYS: the keys of the session.
-- ARGV: none.
call('UNLINK', VARIABLES)
local removed = remove(call('ZRANGEBYLEX', INDEX, range_of('e')))
local result = {removed}
if removed > 0 then
  empty_summaries('')
  rewrite_messages()
  settled_title()
end
local low, found = '-', nil
repeat
  found = call('ZRANGEBYLEX', RECORDS, low, '+', 'LIMIT', 0, 100)
  for _, member in ipairs(found) do
    low = '(' .. member
    if string.sub(member, 37, 37) == 'e' then
      result[#result + 1] = string.sub(member, 1, 36)
      call('ZREM', RECORDS, member)
    end
  end
until #found < 100
return result
