Scripts of the message log. The KEYS of every script are the keys of a session:

  session     A hash with these fields:
              identity        the tenant, user and ID of the session
              title, titled   the title, and the position of the message that it was taken from (- if the user set it)
              count, next     the number of messages, and the position of the next one
              created, updated
              expires, at     the expiry time by the callers' clocks, and by the server's clock
              indexed         set if the index contains the messages of no agent
              bound:<width>   for each log of vectors: the length that triggers its compaction
              ordered:<width>   1 if the positions of the log's records ascend
              summary:, summary:<agent>, revision:, revision:<agent>   the running summaries and their revisions
              covers:, covers:<agent>   the position after the last message that a summary tells; missing if it may tell any
              edition         changes with each change of messages that is not an addition at the end
              metadata
              awaited         1 while an import has not yet restored the message that the title was taken from
              openings, timeout   the tokens of the openings, and the seconds without use after which an open session is ended
              head            bytes that describe the messages of an encrypted session
              ends, exceptions    1 if the end of the session deletes its variables, and the agents for which the opposite holds
  messages    A stream. The message at position n has the ID (n+1)-0, the field m, and the field a if an agent wrote it.
  index       A sorted set of members: a kind, for some kinds an agent and a zero byte, and a position of 12 digits. The kinds are
              a (messages of an agent), e (messages that end with the session), s (system messages), t (system messages of an
              agent).
  tokens      A hash: recent additions and summaries, by idempotency token. It outlives the session by at most ten minutes, so a
              retried addition does not repeat messages that another writer deleted.
  words       A hash: by position, the header and the words of a message, for searches.
  vectors     The prefix of the logs of vectors, vectors:<width>, which are in the same slot. A log is a string of records: a
              position, and a vector of <width> bytes. The last record of a position counts. Records are only appended; compaction
              removes the records that no message needs.
  tokens:old  A hash: older tokens.
  records     A sorted set of the session's records; see records.lua.
  variables   A hash: the variables of the session; see variables.lua.
  ids         A hash: by position, the digest of the ID of a message. Messages of earlier versions have none.

-- shared --
local SESSION, MESSAGES, INDEX, NEW_TOKENS, WORDS, VECTORS, OLD_TOKENS, RECORDS, VARIABLES, IDS = unpack(KEYS)
local TOKENS, MOST_TOKENS = {NEW_TOKENS, OLD_TOKENS}, 500
local SPARE = 200  -- number of unneeded records that a log may hold

local function id_of(position)
  return string.format('%.0f-0', position + 1)
end

local function digits(position)
  return string.format('%012.0f', position)
end

local function position_in(member)
  return tonumber(string.sub(member, -12))
end

-- Return the lexical range of the index for a kind, and for an agent ('' for no agent).
local function range_of(kind, agent)
  local start = kind .. (agent and agent .. '\0' or '')
  return '[' .. start, '[' .. start .. '\255'
end

-- Return the position of the newest message of a kind.
local function newest(kind, agent)
  local low, high = range_of(kind, agent)
  local found = call('ZREVRANGEBYLEX', INDEX, high, low, 'LIMIT', 0, 1)
  return found[1] and position_in(found[1])
end

local function session_is_alive(now)
  return is_alive(call('HGET', SESSION, 'expires'), now)
end

-- Note that the messages changed in another way than by an addition at the end.
local function begin_edition()
  local time = call('TIME')
  call('HSET', SESSION, 'edition', string.format('%.0f', time[1] * 1000000 + time[2]))
end

-- Return false if `replace_head` would.
local function may_replace_head(from)
  local found = call('HGET', SESSION, 'head') or ''
  return ARGV[from] ~= '1' or found == ARGV[from + 1] or found == ARGV[from + 2]
end

-- Replace the head if the arguments from a position on say so: 1, the expected head ('' for none) and the new one. Return false, and
-- change nothing, if the head is not the expected one.
local function replace_head(from)
  if not may_replace_head(from) then return false end
  if ARGV[from] == '1' then call('HSET', SESSION, 'head', ARGV[from + 2]) end
  return true
end

-- Delete the messages of index members. Return their number, and their agents.
local function remove(members)
  local agents = {}
  for _, member in ipairs(members) do
    local position = position_in(member)
    local entry = call('XRANGE', MESSAGES, id_of(position), id_of(position))[1]
    if entry then
      local agent = entry[2][4] or ''
      local at = digits(position)
      call('XDEL', MESSAGES, entry[1])
      agents[agent] = true
      call('HDEL', WORDS, string.format('%.0f', position))
      call('HDEL', IDS, string.format('%.0f', position))
      call('ZREM', INDEX, 'a' .. agent .. '\0' .. at, 't' .. agent .. '\0' .. at, 's' .. at, 'e' .. at)
    end
  end
  if #members > 0 then
    call('HINCRBY', SESSION, 'count', -#members)
    call('HDEL', SESSION, 'awaited')
    begin_edition()
  end
  return #members, agents
end

local function log_of(width)
  return VECTORS .. ':' .. string.format('%.0f', width)
end

-- Return the widths of the logs: the number of bytes of a vector.
local function widths()
  local found = {}
  for _, field in ipairs(call('HKEYS', SESSION)) do
    local width = string.match(field, '^bound:(%d+)$')
    if width then found[#found + 1] = tonumber(width) end
  end
  return found
end

local function unlink_log(width)
  call('UNLINK', log_of(width))
  call('HDEL', SESSION, 'bound:' .. width, 'ordered:' .. width)
end

local function unlink_vectors()
  for _, width in ipairs(widths()) do unlink_log(width) end
end

-- Return true if the positions of records ascend, beginning above `last` (nil: anywhere).
local function ascend(records, last)
  for _, one in ipairs(records) do
    local position = struct.unpack('<d', one)
    if last and position <= last then return false end
    last = position
  end
  return true
end

-- Remove from a log the records without a message, and those of some positions. Sort the others by position.
local function compact(width, positions)
  local all, kept, last, record = call('GET', log_of(width)) or '', {}, {}, 8 + width
  for at = 1, #all, record do last[struct.unpack('<d', all, at)] = at end
  for at = 1, #all, record do
    local position = struct.unpack('<d', all, at)
    if last[position] == at and not positions[position] and call('HEXISTS', WORDS, string.format('%.0f', position)) == 1 then
      kept[#kept + 1] = string.sub(all, at, at + record - 1)
    end
  end
  if #kept == 0 then
    unlink_log(width)
    return
  end
  if not ascend(kept) then
    table.sort(kept, function(a, b) return struct.unpack('<d', a) < struct.unpack('<d', b) end)
  end
  call('SET', log_of(width), table.concat(kept), 'KEEPTTL')
  call('HSET', SESSION, 'bound:' .. width, (2 * #kept + SPARE) * record, 'ordered:' .. width, 1)
end

-- Append records to the logs of vectors, by width.
local function add_vectors(records)
  for width, added in pairs(records) do
    local bound, record = tonumber(call('HGET', SESSION, 'bound:' .. width)), 8 + width
    local last = call('GETRANGE', log_of(width), -record, -width - 1)
    local length = call('APPEND', log_of(width), table.concat(added))
    if not ascend(added, last ~= '' and struct.unpack('<d', last) or nil) then call('HDEL', SESSION, 'ordered:' .. width)
    elseif last == '' then call('HSET', SESSION, 'ordered:' .. width, 1) end
    if not bound then call('HSET', SESSION, 'bound:' .. width, length + SPARE * record)
    elseif length > bound then compact(width, {}) end
  end
end

-- Return the keys of the session, without the tokens.
local function data_keys()
  local keys = {SESSION, MESSAGES, INDEX, WORDS, RECORDS, VARIABLES, IDS}
  for _, width in ipairs(widths()) do keys[#keys + 1] = log_of(width) end
  return keys
end

-- Remove deleted messages from the stream and the logs: Redis keeps a deleted entry until its neighbours are deleted too.
-- `changed` has new messages, by the ID of their entry.
local function rewrite_messages(changed)
  for _, width in ipairs(widths()) do compact(width, {}) end
  local at = call('HGET', SESSION, 'at')
  if call('XLEN', MESSAGES) == 0 then
    call('UNLINK', MESSAGES)
    return
  end
  local fresh, last = MESSAGES .. ':new', '-'
  call('UNLINK', fresh)
  repeat
    local entries = call('XRANGE', MESSAGES, last, '+', 'COUNT', 500)
    for _, entry in ipairs(entries) do
      if changed and changed[entry[1]] then entry[2][2] = changed[entry[1]] end
      call('XADD', fresh, entry[1], unpack(entry[2]))
      last = '(' .. entry[1]
    end
  until #entries < 500
  call('RENAME', fresh, MESSAGES)
  if at then call('PEXPIREAT', MESSAGES, at) end
end

-- Return the position of the first human message, or - if there is none. Older versions stored titles without the position of
-- their message. Return nil if messages were deleted, because the title may be the text of one of them.
local HUMAN = '\151\165human'
local function first_human()
  local last, before = '-', 0
  repeat
    local entries = call('XRANGE', MESSAGES, last, '+', 'COUNT', 100)
    for _, entry in ipairs(entries) do
      local position = tonumber(string.match(entry[1], '^%d+')) - 1
      if position > before then return nil end
      if string.sub(entry[2][2], 1, #HUMAN) == HUMAN then return position end
      before, last = position + 1, '(' .. entry[1]
    end
  until #entries < 100
  -- Without a human message, the user set the title, unless messages were deleted at the end.
  return before > 0 and before == tonumber(call('HGET', SESSION, 'next')) and '-' or nil
end

-- Delete the title if the message that it was taken from is gone, or if no message is left. Return the remaining title.
local function settled_title()
  local state = call('HMGET', SESSION, 'title', 'titled', 'count', 'awaited')
  if not state[1] then return false end
  if state[4] then return state[1] end
  local titled = state[2]
  if not titled then
    titled = first_human()
    if titled then call('HSET', SESSION, 'titled', titled) end
  end
  local kept = titled and tonumber(state[3]) > 0
  if kept and titled ~= '-' then kept = #call('XRANGE', MESSAGES, id_of(titled), id_of(titled)) > 0 end
  if kept then return state[1] end
  call('HDEL', SESSION, 'title', 'titled')
  return false
end

-- Change the revisions of the summaries of some agents and of all messages: a summary that another process began before is not
-- stored. Empty those that tell messages from position `first` on.
local function revise_summaries(agents, first)
  if call('EXISTS', SESSION) == 0 then return end
  local time = call('TIME')
  local revision = string.format('%.0f', time[1] * 1000000 + time[2])
  agents[''], agents['\31list'] = true, true
  for agent in pairs(agents) do
    local covers = tonumber(call('HGET', SESSION, 'covers:' .. agent))
    if not covers or covers > first then
      call('HSET', SESSION, 'summary:' .. agent, '')
      call('HDEL', SESSION, 'covers:' .. agent)
    end
    call('HSET', SESSION, 'revision:' .. agent, revision)
  end
end

-- Empty all summaries, and those of some agents that may be written just now.
local function empty_summaries(agents)
  for _, field in ipairs(call('HKEYS', SESSION)) do
    if string.sub(field, 1, 8) == 'summary:' then agents[string.sub(field, 9)] = true end
  end
  revise_summaries(agents, -1)
end

local function record(entry)
  local position = tonumber(string.match(entry[1], '^%d+')) - 1
  return struct.pack('>dI', position, #entry[2][2]) .. entry[2][2]
end

-- Return the records of all messages, in parts. See `unpacked` in common.lua about many strings.
local function all_records()
  local parts, last, count = {}, '-', 0
  repeat
    local entries, records = call('XRANGE', MESSAGES, last, '+', 'COUNT', 1000), {}
    for at, entry in ipairs(entries) do
      records[at] = record(entry)
      last = '(' .. entry[1]
    end
    count = #entries
    parts[#parts + 1] = table.concat(records)
    entries, records = nil, nil
    if #parts % 10 == 0 then collectgarbage() end
  until count < 1000
  return parts
end

-- append --
-- Add messages at the end of a session, and create the session if necessary. Return the position of the first message; -1 if the
-- session must have no messages, but has some.
-- KEYS: the keys of the session.
-- ARGV: now, identity, proposed titles (framed: an index among the messages, and a text; the first whose message stays is used),
--   agent, number of messages to keep ('' for all), ttl ('' to leave the expiry unchanged), 1 if the ttl is sliding, token; for a
--   session that must have no messages: its creation, = and its title ('' for a proposed one) and metadata ('' to leave them
--   unchanged); 1 to change the head, the position that the first message must get then, the former head ('' for none) and the new
--   one; the position that the first message must get in any case ('' for any); then for each message: marks (s: system message, e: ends with the session), agent, message, words, vector ('' for none), digest.
local now, agent, keep, ttl = tonumber(ARGV[1]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local state = call('HMGET', SESSION, 'next', 'expires', 'at', 'indexed', 'updated', 'count', 'title', 'titled')
if not is_alive(state[2], now) then
  call('UNLINK', unpack(data_keys()))
  state = {}
end
local repeated = result_by_token(TOKENS, ARGV[8])
if repeated then
  return tonumber(repeated)
end
local created = ARGV[9] ~= '' and ARGV[9]
if created and tonumber(state[6] or 0) > 0 then
  return -1
end
if ARGV[16] ~= '' and tonumber(state[1] or 0) ~= tonumber(ARGV[16]) then return -3 end
if ARGV[12] == '1' then
  if tonumber(state[1] or 0) ~= tonumber(ARGV[13]) or (call('HGET', SESSION, 'head') or '') ~= ARGV[14] then return -2 end
  call('HSET', SESSION, 'head', ARGV[15])
end

-- In most sessions, all messages are of no agent. The index contains these only if retention needs it.
local indexed = state[4]
if keep and agent == '' and not indexed then
  local last = '-'
  repeat
    local entries = call('XRANGE', MESSAGES, last, '+', 'COUNT', 500)
    for _, entry in ipairs(entries) do
      if not entry[2][4] then
        call('ZADD', INDEX, 0, 'a\0' .. digits(tonumber(string.match(entry[1], '^%d+')) - 1))
      end
      last = '(' .. entry[1]
    end
  until #entries < 500
  indexed = '1'
  call('HSET', SESSION, 'indexed', indexed)
end

local first = tonumber(state[1] or 0)
local count, vectors, ids = 0, {}, {}
for at = 17, ARGC, 6 do
  local marks, author, message, vector = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 4]
  local position = first + count
  count = count + 1
  call('HSET', WORDS, string.format('%.0f', position), ARGV[at + 3])
  if ARGV[at + 5] ~= '' then
    ids[#ids + 1] = string.format('%.0f', position)
    ids[#ids + 1] = ARGV[at + 5]
  end
  if vector ~= '' then
    local alike = vectors[#vector] or {}
    vectors[#vector] = alike
    alike[#alike + 1] = struct.pack('<d', position) .. vector
  end
  if author == '' then
    call('XADD', MESSAGES, id_of(position), 'm', message)
  else
    call('XADD', MESSAGES, id_of(position), 'm', message, 'a', author)
  end
  if author ~= '' or indexed then
    call('ZADD', INDEX, 0, 'a' .. author .. '\0' .. digits(position))
  end
  if string.find(marks, 's', 1, true) then
    call('ZADD', INDEX, 0, 's' .. digits(position), 0, 't' .. author .. '\0' .. digits(position))
  end
  if string.find(marks, 'e', 1, true) then
    call('ZADD', INDEX, 0, 'e' .. digits(position))
  end
end
if not state[1] then
  call('HSET', SESSION, 'identity', ARGV[2], 'created', created or ARGV[1])
  begin_edition()
end
-- A clock may be behind that of the last addition. The time to live counts from the later time.
now = math.max(now, tonumber(state[5] or 0))
local fields = {'next', first + count, 'count', tonumber(state[6] or 0) + count, 'updated', string.format('%.17g', now)}
call('HSET', SESSION, unpack(fields))
if created then
  if ARGV[10] ~= '' then call('HSET', SESSION, 'title', string.sub(ARGV[10], 2), 'titled', '-') end
  if ARGV[11] ~= '' then call('HSET', SESSION, 'metadata', ARGV[11]) end
end

add_vectors(vectors)
in_parts('HSET', IDS, ids, 1, #ids)

-- Delete all but the newest messages of the agent. The newest system message stays, and counts among them.
local is_titled = state[7] and state[8] or created and ARGV[10] ~= ''
if keep then
  local low, high = range_of('a', agent)
  local over = call('ZLEXCOUNT', INDEX, low, high) - keep
  if over > 0 then
    local system = newest('t', agent)
    local oldest = call('ZRANGEBYLEX', INDEX, low, high, 'LIMIT', 0, over + 1)
    local spared = #oldest
    for rank, member in ipairs(oldest) do
      if position_in(member) == system then spared = rank end
    end
    if #oldest > over then table.remove(oldest, spared) end
    remove(oldest)
    is_titled = false  -- the message that the title was taken from may be gone
  end
end

if not is_titled and (keep or ARGV[3] ~= '') and not settled_title() then
  local at = 1
  while at <= #ARGV[3] do
    local length, index = struct.unpack('>II', ARGV[3], at)
    if #call('XRANGE', MESSAGES, id_of(first + index), id_of(first + index)) > 0 then
      call('HSET', SESSION, 'title', string.sub(ARGV[3], at + 8, at + 3 + length), 'titled', first + index)
      break
    end
    at = at + 4 + length
  end
end

local at = state[3]
if ttl and (ARGV[7] == '1' or not at) then
  at = ahead(ttl)
  call('HSET', SESSION, 'expires', string.format('%.17g', now + ttl), 'at', at)
end
if at then expire(data_keys(), at) end

note_token(TOKENS, ARGV[8], first, MOST_TOKENS)
return first

-- head --
-- Return the position of the next message, and the head.
-- KEYS: the keys of the session.
-- ARGV: now.
if not session_is_alive(tonumber(ARGV[1])) then return {0, false} end
local found = call('HMGET', SESSION, 'next', 'head')
return {tonumber(found[1] or 0), found[2]}

-- swap_head --
-- Replace the head if it is the expected one or the new one. Return 1 if the session has the new head.
-- KEYS: the keys of the session.
-- ARGV: now, expected head ('' for none), new head.
if call('EXISTS', SESSION) == 0 or not session_is_alive(tonumber(ARGV[1])) then return 0 end
local found = call('HGET', SESSION, 'head') or ''
if found ~= ARGV[2] and found ~= ARGV[3] then return 0 end
call('HSET', SESSION, 'head', ARGV[3])
return 1

-- window --
-- Return the records of the newest messages, oldest first. The newest system message precedes them if it is older.
-- KEYS: the keys of the session.
-- ARGV: now, agent filter (* for all messages, or = and the agent), maximum number of messages (-1 for all).
local now, limit = tonumber(ARGV[1]), tonumber(ARGV[3])
if not session_is_alive(now) then return '' end
local found, oldest, system = {}, nil, nil
if ARGV[2] == '*' then
  if limit < 0 then return table.concat(all_records()) end
  local entries = call('XREVRANGE', MESSAGES, '+', '-', 'COUNT', limit)
  for at, entry in ipairs(entries) do found[#entries + 1 - at] = record(entry) end
  if #entries == limit then
    oldest = tonumber(string.match(entries[#entries][1], '^%d+')) - 1
    system = newest('s')
  end
else
  local agent = string.sub(ARGV[2], 2)
  local low, high = range_of('a', agent)
  local members = call('ZREVRANGEBYLEX', INDEX, high, low, 'LIMIT', 0, limit)
  for at = #members, 1, -1 do
    local id = id_of(position_in(members[at]))
    found[#found + 1] = record(call('XRANGE', MESSAGES, id, id)[1])
  end
  if #members == limit then
    oldest = position_in(members[#members])
    system = newest('t', agent)
  end
end
if system and system < oldest then
  table.insert(found, 1, record(call('XRANGE', MESSAGES, id_of(system), id_of(system))[1]))
end
return table.concat(found)

-- page --
-- Return the records of the messages after a position, oldest first.
-- KEYS: the keys of the session.
-- ARGV: now, agent filter (see `window`), position, maximum number of messages.
local now = tonumber(ARGV[1])
if not session_is_alive(now) then return '' end
local found = {}
if ARGV[2] == '*' then
  for _, entry in ipairs(call('XRANGE', MESSAGES, id_of(ARGV[3] + 1), '+', 'COUNT', ARGV[4])) do
    found[#found + 1] = record(entry)
  end
else
  local _, high = range_of('a', string.sub(ARGV[2], 2))
  local low = '(a' .. string.sub(ARGV[2], 2) .. '\0' .. (tonumber(ARGV[3]) < 0 and '' or digits(ARGV[3]))
  for _, member in ipairs(call('ZRANGEBYLEX', INDEX, low, high, 'LIMIT', 0, ARGV[4])) do
    local id = id_of(position_in(member))
    found[#found + 1] = record(call('XRANGE', MESSAGES, id, id)[1])
  end
end
return table.concat(found)

-- changed --
-- Return a digit for each session: 1 if it is not as the reader knows it, or if its data is damaged; otherwise 0.
-- KEYS: the first keys of sessions.
-- ARGV: for each session, separated by spaces, the known edition, the known next position, the known expiry ('' for none).
local found = {}
for at, key in ipairs(KEYS) do
  local state = redis.pcall('HMGET', key, 'edition', 'next', 'expires', 'created')
  local edition, following, expires = string.match(ARGV[at], '^(%S*) (%S*) (%S*)$')
  local is_same = not state.err and state[4] and (state[1] or '-') == edition
    and tonumber(state[2] or 0) == tonumber(following) and tonumber(state[3] or '') == tonumber(expires)
  found[at] = is_same and '0' or '1'
end
return table.concat(found)

-- changes --
-- Return nil if the session does not exist; otherwise its edition, the position of the next message, its expiry, and the position
-- from which messages follow: the next position that is known if the edition is, else 0. Then the same as `index` for these messages.
-- The vectors of some other messages may be among them.
-- KEYS: the keys of the session.
-- ARGV: the known edition ('' for none), the known next position, 1 to return vectors.
local state = call('HMGET', SESSION, 'edition', 'next', 'expires', 'created')
if not state[4] then return false end
local edition, following, first = state[1] or '-', tonumber(state[2] or 0), 0
if edition == ARGV[1] and tonumber(ARGV[2]) <= following then first = tonumber(ARGV[2]) end
local result = {edition, following, state[3], first, '', '', '', {}}
if first == following then return result end
local positions, lengths, entries = {}, {}, {}
local function add(position, entry)
  local count = #positions + 1
  positions[count], lengths[count], entries[count] = position, #entry, entry
end
if first == 0 then
  local all = call('HGETALL', WORDS)
  for at = 1, #all, 2 do add(all[at], all[at + 1]) end
else
  for position = first, following - 1 do
    local name = string.format('%.0f', position)
    local entry = call('HGET', WORDS, name)
    if entry then add(name, entry) end
  end
end
result[5], result[6], result[7] = table.concat(positions, ' '), table.concat(lengths, ' '), table.concat(entries)
for _, width in ipairs(ARGV[3] == '1' and widths() or {}) do
  local start = 0
  -- The records of the newest messages are the last of an ordered log.
  if first > 0 and call('HEXISTS', SESSION, 'ordered:' .. width) == 1 then start = -(following - first) * record_length(width) end
  result[8][#result[8] + 1] = width
  result[8][#result[8] + 1] = call('GETRANGE', log_of(width), start, -1)
end
return result

-- rows --
-- Return the records of the messages at some positions, as far as they exist.
-- KEYS: the keys of the session.
-- ARGV: now, positions.
if not session_is_alive(tonumber(ARGV[1])) then return '' end
local found = {}
for at = 2, ARGC do
  local entry = call('XRANGE', MESSAGES, id_of(ARGV[at]), id_of(ARGV[at]))[1]
  if entry then found[#found + 1] = record(entry) end
end
return table.concat(found)

-- count --
-- Return the number of messages.
-- KEYS: the keys of the session.
-- ARGV: now, agent filter (see `window`).
if not session_is_alive(tonumber(ARGV[1])) then return 0 end
if ARGV[2] == '*' then return tonumber(call('HGET', SESSION, 'count') or 0) end
return call('ZLEXCOUNT', INDEX, range_of('a', string.sub(ARGV[2], 2)))

-- summary --
-- Return a running summary, its revision, and the position after the last message that it tells.
-- KEYS: the keys of the session.
-- ARGV: now, agent ('' for the summary of all messages).
if not session_is_alive(tonumber(ARGV[1])) then return {} end
return call('HMGET', SESSION, 'summary:' .. ARGV[2], 'revision:' .. ARGV[2], 'covers:' .. ARGV[2])

-- swap_summary --
-- Store a running summary if the stored one has the expected revision. Return 1 if it was stored. The revision is the token.
-- KEYS: the keys of the session.
-- ARGV: now, agent ('' for the summary of all messages), summary, revision, the position after the last message that it tells ('' if
--   it may tell any), expected revision ('' for no summary).
if call('EXISTS', SESSION) == 0 or not session_is_alive(tonumber(ARGV[1])) then return 0 end
if result_by_token(TOKENS, ARGV[4]) then return 1 end
if (call('HGET', SESSION, 'revision:' .. ARGV[2]) or '') ~= ARGV[6] then return 0 end
call('HSET', SESSION, 'summary:' .. ARGV[2], ARGV[3], 'revision:' .. ARGV[2], ARGV[4])
if ARGV[5] == '' then call('HDEL', SESSION, 'covers:' .. ARGV[2]) else call('HSET', SESSION, 'covers:' .. ARGV[2], ARGV[5]) end
note_token(TOKENS, ARGV[4], 1, MOST_TOKENS)
return 1

-- clear --
-- Delete messages, and the titles and summaries that depend on them.
-- KEYS: the keys of the session.
-- ARGV: agent filter (see `window`).
if ARGV[1] == '*' then
  local agents = {}
  for _, member in ipairs(call('ZRANGEBYLEX', INDEX, range_of('a'))) do agents[string.sub(member, 2, -14)] = true end
  unlink_vectors()
  call('UNLINK', MESSAGES, INDEX, WORDS, IDS)
  if call('EXISTS', SESSION) == 1 then
    call('HSET', SESSION, 'count', 0)
    begin_edition()
  end
  call('HDEL', SESSION, 'title', 'titled', 'awaited')
  empty_summaries(agents)
  return 0
end
empty_summaries({[string.sub(ARGV[1], 2)]=true})
local low, high = range_of('a', string.sub(ARGV[1], 2))
local removed = remove(call('ZRANGEBYLEX', INDEX, low, high))
if removed > 0 then rewrite_messages() end
settled_title()
return removed

-- describe --
-- Describe a session: its title, number of messages, creation, last use, expiry, metadata and head, and two summaries.
-- The summaries are that of its history, and that of messages that were passed as a list.
-- KEYS: the keys of the session.
-- ARGV: none.
local title = settled_title()
local state = call('HMGET', SESSION, 'count', 'created', 'updated', 'expires', 'metadata', 'head', 'summary:', 'summary:\31list')
return {title, unpack(state, 1, 8)}

-- rename --
-- Set the title. Return 1 if the session exists, and has the expected head.
-- KEYS: the keys of the session.
-- ARGV: title, now, those of `replace_head`.
if call('EXISTS', SESSION) == 0 or not session_is_alive(tonumber(ARGV[2])) then return 0 end
if not replace_head(3) then return 0 end
call('HSET', SESSION, 'title', ARGV[1], 'titled', '-')
return 1

-- delete --
-- Delete a session if it has expired.
-- Return 1 if the session is gone, its last use (nil if it did not exist), its expiry, and its timeout.
-- KEYS: the keys of the session.
-- ARGV: now ('' to delete the session in any case).
local found = call('HMGET', SESSION, 'updated', 'expires', 'timeout')
local kept = ARGV[1] ~= '' and found[1] and is_alive(found[2], tonumber(ARGV[1]))
if not kept then
  call('UNLINK', unpack(data_keys()))
end
return {kept and 0 or 1, found[1], found[2], found[3]}

-- unembed --
-- Delete all vectors.
-- KEYS: the keys of the session.
-- ARGV: none.
unlink_vectors()
if call('EXISTS', SESSION) == 1 then begin_edition() end
return 0

-- unembedded --
-- Return the positions of the messages that have no vector of some width.
-- KEYS: the keys of the session.
-- ARGV: now, width (-1 for all messages).
if not session_is_alive(tonumber(ARGV[1])) then return '' end
local width, has, found = tonumber(ARGV[2]), {}, {}
if width >= 0 then
  local all = call('GET', log_of(width)) or ''
  for at = 1, #all, record_length(width) do has[struct.unpack('<d', all, at)] = true end
end
for _, position in ipairs(call('HKEYS', WORDS)) do
  if not has[tonumber(position)] then found[#found + 1] = position end
end
return table.concat(found, ' ')

-- embed --
-- Store the vectors of messages that have not changed. Return the number of these messages.
-- KEYS: the keys of the session.
-- ARGV: for each message: position, message, vector ('' for none).
local records, given, count = {}, {}, 0
for at = 1, ARGC, 3 do
  local position, vector = tonumber(ARGV[at]), ARGV[at + 2]
  local entry = call('XRANGE', MESSAGES, id_of(position), id_of(position))[1]
  if entry and entry[2][2] == ARGV[at + 1] then
    local alike = records[#vector] or {}
    records[#vector], given[position], count = alike, #vector, count + 1
    alike[#alike + 1] = struct.pack('<d', position) .. vector
  end
end
records[0] = nil
-- A message has one vector: remove its vectors of other widths.
for _, width in ipairs(widths()) do
  local stale, any = {}, false
  for position, own in pairs(given) do
    if own ~= width then stale[position], any = true, true end
  end
  if any then compact(width, stale) end
end
add_vectors(records)
if count > 0 then begin_edition() end
local expiry = call('HGET', SESSION, 'at')
if expiry then expire(data_keys(), expiry) end
return count

-- set_words --
-- Replace the search entries of messages that have not changed.
-- KEYS: the keys of the session.
-- ARGV: for each message: position, message, search entry.
for at = 1, ARGC, 3 do
  local position = tonumber(ARGV[at])
  local entry, name = call('XRANGE', MESSAGES, id_of(position), id_of(position))[1], string.format('%.0f', position)
  if entry and entry[2][2] == ARGV[at + 1] and call('HEXISTS', WORDS, name) == 1 then
    call('HSET', WORDS, name, ARGV[at + 2])
    begin_edition()
  end
end
return 0
