Scripts that change single messages. The KEYS of every script are the keys of a session; see history.lua.

-- shared --
-- Return whether each message has the digest of its ID.
local function is_identified()
  return call('HLEN', IDS) >= call('XLEN', MESSAGES)
end

-- Return the entry of a position if it passes an agent filter (see `window`).
local function entry_of(position, filter)
  local entry = call('XRANGE', MESSAGES, id_of(position), id_of(position))[1]
  if entry and (filter == '*' or filter == '=' .. (entry[2][4] or '')) then return entry end
end

-- Return the positions of the messages with some digests (a set), in order, that pass an agent filter.
local function positions_of(digests, filter)
  local found, all = {}, call('HGETALL', IDS)
  for at = 1, #all, 2 do
    local position = tonumber(all[at])
    if digests[all[at + 1]] and entry_of(position, filter) then found[#found + 1] = position end
  end
  table.sort(found)
  return found
end

-- Return the time of a message.
local function time_of(position)
  local header = call('HGET', WORDS, string.format('%.0f', position)) or damaged('a message without words')
  return cmsgpack.unpack(string.sub(header, 5, 4 + struct.unpack('>I', header)))[3]
end

-- Update the session after messages were deleted: agents, and the position of the first of them.
local function settle(agents, first)
  revise_summaries(agents, first)
  rewrite_messages()
  settled_title()
end

-- remove_messages --
-- Delete messages, and return their number; -1 if no message has the ID that they follow; nil if a message has no digest of its ID.
-- KEYS: the keys of the session.
-- ARGV: now, agent filter (see `window`), token, the time that they are older than ('' for any), the digest of the ID of the message
--   that they follow ('' for any), 1 if only messages with the IDs that follow are deleted, digests of IDs.
local now, filter, before, after = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[4]), ARGV[5]
local repeated = result_by_token(TOKENS, ARGV[3])
if repeated then return tonumber(repeated) end
if not session_is_alive(now) then return after == '' and 0 or -1 end
if not before and not is_identified() then return false end
local doomed = {}
if ARGV[6] == '1' then
  local digests = {}
  for at = 7, ARGC do digests[ARGV[at]] = true end
  for _, position in ipairs(positions_of(digests, filter)) do doomed[#doomed + 1] = digits(position) end
else
  local last = '-'
  if after ~= '' then
    local found = positions_of({[after]=true}, filter)
    if #found == 0 then return -1 end
    last = '(' .. id_of(found[#found])
  end
  repeat
    local entries = call('XRANGE', MESSAGES, last, '+', 'COUNT', 500)
    for _, entry in ipairs(entries) do
      local position = tonumber(string.match(entry[1], '^%d+')) - 1
      local is_doomed = filter == '*' or filter == '=' .. (entry[2][4] or '')
      if is_doomed and before then is_doomed = time_of(position) < before end
      if is_doomed then doomed[#doomed + 1] = digits(position) end
      last = '(' .. entry[1]
    end
  until #entries < 500
end
local removed, agents = remove(doomed)
if removed > 0 then settle(agents, position_in(doomed[1])) end
note_token(TOKENS, ARGV[3], removed, MOST_TOKENS)
return removed

-- replace --
-- Replace the messages with an ID, and return their new records; nil if a message has no digest of its ID.
-- KEYS: the keys of the session.
-- ARGV: now, agent filter (see `window`), token, the digest of the ID, 1 for a system message; in MessagePack: role, time ('' for that
--   of the old message), metadata ('' for those of the old message), type and body; words, vector ('' for none), title ('' for none).
local NUMBERS = {[202]=4, [203]=8, [204]=1, [205]=2, [206]=4, [207]=8, [208]=1, [209]=2, [210]=4, [211]=8}
local LENGTHS = {[217]='>B', [218]='>H', [219]='>I'}

-- Return the index after a text, number, nil or boolean in MessagePack.
local function after(data, at)
  local kind = string.byte(data, at) or damaged('a message')
  if kind < 128 or kind >= 224 or (kind >= 192 and kind <= 195) then return at + 1 end
  if kind >= 160 and kind <= 191 then return at + kind - 159 end
  if NUMBERS[kind] then return at + 1 + NUMBERS[kind] end
  local length, start = struct.unpack(LENGTHS[kind] or damaged('a message'), data, at + 1)
  return start + length
end

local role, vector, title = ARGV[6], ARGV[11], ARGV[12]
if not session_is_alive(tonumber(ARGV[1])) then return '' end
if not is_identified() then return false end
local positions = positions_of({[ARGV[4]]=true}, ARGV[2])
if #positions > 0 and not result_by_token(TOKENS, ARGV[3]) then
  local changed, agents, vectors, stale, replaced = {}, {}, {}, {}, {}
  for _, position in ipairs(positions) do
    local entry = entry_of(position, '*')
    local old, author = entry[2][2], entry[2][4] or ''
    -- A message is an array of role, agent, ends_with_session, time, metadata, type and body; see `pack_message`.
    local start = after(old, 2)
    local ends_at = after(old, start)
    local time_at = after(old, ends_at)
    local metadata_at = after(old, time_at)
    local type_at = after(old, metadata_at)
    local time = ARGV[7] ~= '' and ARGV[7] or string.sub(old, time_at, metadata_at - 1)
    local metadata = ARGV[8] ~= '' and ARGV[8] or string.sub(old, metadata_at, type_at - 1)
    changed[entry[1]] = '\151' .. role .. string.sub(old, start, time_at - 1) .. time .. metadata .. ARGV[9]
    local header = '\147' .. role .. string.sub(old, start, ends_at - 1) .. time
    call('HSET', WORDS, string.format('%.0f', position), framed(header) .. ARGV[10])
    local members = {'s' .. digits(position), 't' .. author .. '\0' .. digits(position)}
    if ARGV[5] == '1' then call('ZADD', INDEX, 0, members[1], 0, members[2]) else call('ZREM', INDEX, unpack(members)) end
    agents[author], stale[position], replaced[string.format('%.0f', position)] = true, true, true
    vectors[#vectors + 1] = struct.pack('<d', position) .. vector
  end
  for _, width in ipairs(widths()) do
    if width ~= #vector then compact(width, stale) end
  end
  if vector ~= '' then add_vectors({[#vector]=vectors}) end
  local current = settled_title()
  if replaced[call('HGET', SESSION, 'titled') or ''] or not current then
    if title ~= '' then
      call('HSET', SESSION, 'title', title)
      call('HSETNX', SESSION, 'titled', positions[1])
    else
      call('HDEL', SESSION, 'title', 'titled')
    end
  end
  revise_summaries(agents, positions[1])
  rewrite_messages(changed)
  begin_edition()
  local expiry = call('HGET', SESSION, 'at')
  if expiry then expire(data_keys(), expiry) end
  note_token(TOKENS, ARGV[3], 1, MOST_TOKENS)
end
local found = {}
for at, position in ipairs(positions) do found[at] = record(entry_of(position, '*')) end
return table.concat(found)

-- identify --
-- Store the digests of the IDs of messages that have none and have not changed.
-- KEYS: the keys of the session.
-- ARGV: for each message: position, message, digest.
for at = 1, ARGC, 3 do
  local entry = entry_of(tonumber(ARGV[at]), '*')
  if entry and entry[2][2] == ARGV[at + 1] then call('HSETNX', IDS, ARGV[at], ARGV[at + 2]) end
end
local expiry = call('HGET', SESSION, 'at')
if expiry then expire(data_keys(), expiry) end
return 0

-- delete_unchanged --
-- Delete the session if it has not changed and is not open. Return its timeout ('' for none) if it was deleted, else nil.
-- KEYS: the keys of the session.
-- ARGV: now, last use, number of messages, title ('' for none), metadata ('' for none), revision of its summary ('*' for any, '' for
--   none).
local state = call('HMGET', SESSION, 'updated', 'count', 'title', 'metadata', 'revision:', 'timeout', 'openings')
if state[7] and (not state[6] or tonumber(state[1]) + tonumber(state[6]) > tonumber(ARGV[1])) then return false end
if not state[1] or not session_is_alive(tonumber(ARGV[1])) or tonumber(state[1]) ~= tonumber(ARGV[2]) then return false end
if ARGV[6] ~= '*' and (state[5] or '') ~= ARGV[6] then return false end
for at = 2, 4 do
  if (state[at] or '') ~= ARGV[at + 1] then return false end
end
call('UNLINK', unpack(data_keys()))
return state[6] or ''

-- older --
-- Return records of the messages that are older than a time, and 1 if others may follow.
-- KEYS: the keys of the session.
-- ARGV: now, the time, the position to continue after (-1 for all), the maximum number of messages.
local now, before, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
local last, found = '(' .. id_of(tonumber(ARGV[3])), {}
if tonumber(ARGV[3]) < 0 then last = '-' end
if not session_is_alive(now) then return {'', 0} end
repeat
  local entries = call('XRANGE', MESSAGES, last, '+', 'COUNT', 500)
  for _, entry in ipairs(entries) do
    last = '(' .. entry[1]
    if time_of(tonumber(string.match(entry[1], '^%d+')) - 1) < before then found[#found + 1] = record(entry) end
    if #found == most then return {table.concat(found), 1} end
  end
until #entries < 500
return {table.concat(found), 0}

-- delete_messages --
-- Delete messages that have not changed. Return their number.
-- KEYS: the keys of the session.
-- ARGV: now; for each message: position, message.
if not session_is_alive(tonumber(ARGV[1])) then return 0 end
local doomed = {}
for at = 2, ARGC, 2 do
  local entry = entry_of(tonumber(ARGV[at]), '*')
  if entry and entry[2][2] == ARGV[at + 1] then doomed[#doomed + 1] = digits(tonumber(ARGV[at])) end
end
local removed, agents = remove(doomed)
if removed > 0 then settle(agents, position_in(doomed[1])) end
return removed
