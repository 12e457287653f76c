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
    begin_edition()
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

-- Delete the messages and records that end with the session. Return the number of messages, and the IDs of the records.
local function remove_ending()
  local removed, agents = remove(call('ZRANGEBYLEX', INDEX, range_of('e')))
  local ids = {}
  if removed > 0 then
    empty_summaries(agents)
    rewrite_messages()
    settled_title()
  end
  local low, found = '-', nil
  repeat
    found = call('ZRANGEBYLEX', RECORDS, low, '+', 'LIMIT', 0, 100)
    for _, member in ipairs(found) do
      low = '(' .. member
      if string.sub(member, 37, 37) == 'e' then
        ids[#ids + 1] = string.sub(member, 1, 36)
        call('ZREM', RECORDS, member)
      end
    end
  until #found < 100
  return removed, ids
end

-- Return the time at which the open session is ended if it is not used until then.
local function time_of_end()
  local state = call('HMGET', SESSION, 'updated', 'timeout', 'openings')
  return state[2] and state[3] and tonumber(state[1]) + tonumber(state[2]) or math.huge
end

-- End the session: close its openings, and delete what its ending says. Return 1 if nothing is left and it was deleted, and the IDs of
-- deleted records.
local function end_session()
  local _, ids = remove_ending()
  call('HDEL', SESSION, 'openings')
  local state = call('HMGET', SESSION, 'ends', 'count', 'exceptions')
  local exceptions, at = {}, 1
  while at <= #(state[3] or '') do
    local length = struct.unpack('>I', state[3], at)
    exceptions[string.sub(state[3], at + 4, at + 3 + length)] = true
    at = at + 4 + length
  end
  for _, field in ipairs(call('HKEYS', VARIABLES)) do
    local agent = string.match(field, '^(%Z*)')
    if (exceptions[agent] or false) ~= (state[1] == '1') then call('HDEL', VARIABLES, field) end
  end
  if state[1] ~= '1' or tonumber(state[2]) > 0 or call('EXISTS', RECORDS, VARIABLES) > 0 then return 0, ids end
  call('UNLINK', unpack(data_keys()))
  return 1, ids
end

-- Return the agents of messages, each followed by the number of its messages.
local function agents_of_messages()
  local found, low, high = {}, '[a\1', '[a\255'
  while true do
    local member = call('ZRANGEBYLEX', INDEX, low, high, 'LIMIT', 0, 1)[1]
    if not member then return found end
    local agent = string.sub(member, 2, -14)
    local first, last = range_of('a', agent)
    found[#found + 1], found[#found + 2] = agent, call('ZLEXCOUNT', INDEX, first, last)
    low = '(' .. string.sub(last, 2)
  end
end

-- Return the numbers of records by agent and status (both framed).
local function records_by_names()
  local counts, bound, page = {}, '-', nil
  repeat
    page = call('ZRANGEBYLEX', RECORDS, bound, '+', 'LIMIT', 0, 100)
    for _, member in ipairs(page) do
      bound = '(' .. member
      local length = struct.unpack('>I', member, 38)
      local names = string.sub(member, 38, 45 + length + struct.unpack('>I', member, 42 + length))
      counts[names] = (counts[names] or 0) + 1
    end
  until #page < 100
  return counts
end

-- add_record --
-- Add a record to the session.
-- KEYS: the keys of the session.
-- ARGV: now, identity, ttl ('' to leave the expiry unchanged), 1 if the ttl is sliding, the record.
use_session(tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1')
local id = string.sub(ARGV[5], 1, 36)
call('ZREMRANGEBYLEX', RECORDS, '[' .. id, '(' .. id .. '\255') -- a repeated record under another data key has other bytes
call('ZADD', RECORDS, 0, ARGV[5])
keep_expiry()

-- end --
-- Delete the variables, and the messages and records that end with the session. Return the number of messages, then the IDs of
-- the records.
-- KEYS: the keys of the session.
-- ARGV: none.
call('UNLINK', VARIABLES)
local removed, ids = remove_ending()
return {removed, ids}

-- close --
-- Close an opening. If it was the last one, end the session. Return 1 if it was ended; 1 if it was deleted, too; its last use; its
-- timeout; the IDs of deleted records. An opening that may not have been stored yet is refused when it arrives later.
-- KEYS: the keys of the session.
-- ARGV: now, token; ends and exceptions (framed) of a session without openings ('': the opening may not have been stored).
local state = call('HMGET', SESSION, 'created', 'updated', 'openings', 'timeout')
local alive, left, stored = state[1] and session_is_alive(tonumber(ARGV[1])), {}, false
for token in string.gmatch(state[3] or '', '%S+') do
  if token ~= ARGV[2] then left[#left + 1] = token else stored = true end
end
if ARGV[3] == '' and not (alive and stored) then
  note_token(TOKENS, ARGV[2], 'withdrawn', MOST_TOKENS)
  return {0, 0, '', '', {}}
end
if not alive then return {0, 0, '', '', {}} end
if #left > 0 then
  call('HSET', SESSION, 'openings', table.concat(left, ' '))
  return {0, 0, '', '', {}}
end
if not state[3] then call('HSET', SESSION, 'ends', ARGV[3], 'exceptions', ARGV[4]) end
local deleted, ids = end_session()
return {1, deleted, state[2], state[4] or '', ids}

-- check --
-- End the session if its timeout is over. Return the time of the next check ('' if the session is not open), and the same as `close`.
-- KEYS: the keys of the session.
-- ARGV: now.
local now, state = tonumber(ARGV[1]), call('HMGET', SESSION, 'updated', 'timeout')
if not state[1] or not session_is_alive(now) or time_of_end() == math.huge then return {'', 0, 0, '', '', {}} end
if time_of_end() > now then return {string.format('%.17g', time_of_end()), 0, 0, '', '', {}} end
local deleted, ids = end_session()
return {'', 1, deleted, state[1], state[2], ids}

-- open_until --
-- Return the time at which the open session is ended if it is not used until then: 'inf' for never, '' if it is not open.
-- KEYS: the keys of the session.
-- ARGV: none.
if not call('HGET', SESSION, 'openings') then return '' end
return time_of_end() == math.huge and 'inf' or string.format('%.17g', time_of_end())

-- change --
-- Replace the ending. Return 1 if the session exists.
-- KEYS: the keys of the session.
-- ARGV: now, ends, exceptions (framed).
if call('EXISTS', SESSION) == 0 or not session_is_alive(tonumber(ARGV[1])) then return 0 end
call('HSET', SESSION, 'ends', ARGV[2], 'exceptions', ARGV[3])
return 1

-- swap_metadata --
-- Replace the metadata if they are the expected ones. Return 1 if the session exists, and the metadata afterwards ('' for none).
-- KEYS: the keys of the session.
-- ARGV: now, expected ('' for none), metadata, those of `replace_head`.
if call('EXISTS', SESSION) == 0 or not session_is_alive(tonumber(ARGV[1])) then return {0, ''} end
local stored = call('HGET', SESSION, 'metadata') or ''
if stored ~= ARGV[2] or not replace_head(4) then return {1, stored} end
call('HSET', SESSION, 'metadata', ARGV[3])
return {1, ARGV[3]}

-- activity --
-- Count messages by agent and records by agent and status. Return two flat lists: agents ('' for none) and counts; agents, statuses
-- and counts.
-- KEYS: the keys of the session.
-- ARGV: now.
local messages, records = {}, {}
if not session_is_alive(tonumber(ARGV[1])) then return {messages, records} end
local others = tonumber(call('HGET', SESSION, 'count') or 0)
messages = agents_of_messages()
for at = 2, #messages, 2 do others = others - messages[at] end
if others > 0 then messages[#messages + 1], messages[#messages + 2] = '', others end
for names, count in pairs(records_by_names()) do
  records[#records + 1], records[#records + 2] = names, count
end
return {messages, records}

-- tally --
-- Count what the session contains. Return nothing if it does not exist; otherwise the period in which it expires, the numbers of
-- messages, summaries and records, the numbers of variables by period, and the agents.
-- KEYS: the keys of the session.
-- ARGV: now, the ends of the periods, the name of variables that are not counted ('' for none).
local now, ends = tonumber(ARGV[1]), ends_from(2)
if call('EXISTS', SESSION) == 0 or not session_is_alive(now) then return {} end
local state, summaries, records, variables = call('HMGET', SESSION, 'expires', 'count'), 0, 0, {0, 0, 0, 0, 0}
local agents, seen = {}, {}
local function use(agent)
  if not seen[agent] then
    seen[agent] = true
    agents[#agents + 1] = agent
  end
end
for _, field in ipairs(call('HKEYS', SESSION)) do
  if string.sub(field, 1, 8) == 'summary:' and call('HSTRLEN', SESSION, field) > 0 then summaries = summaries + 1 end
end
local writers = agents_of_messages()
for at = 1, #writers, 2 do use(writers[at]) end
for names, count in pairs(records_by_names()) do
  records = records + count
  use(string.sub(names, 5, 4 + struct.unpack('>I', names)))
end
for _, field in ipairs(call('HKEYS', VARIABLES)) do
  local expires = select(3, struct.unpack('>ddd', call('HGET', VARIABLES, field)))
  if is_alive(expires, now) and not is_named(field, ARGV[5]) then
    local period = math.min(period_of(expires, ends), period_of(state[1], ends))
    variables[period] = variables[period] + 1
    use(string.match(field, '^(%Z*)'))
  end
end
return {period_of(state[1], ends), tonumber(state[2] or 0), summaries, records, variables, agents}
