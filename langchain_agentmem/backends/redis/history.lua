The scripts of the message log. The keys of a session:

  session    a hash: who it is, title, titled (the position of the message that the title was taken from; - for a title that
             was set by hand), count, next, created, updated, expires (by the callers' clocks), at (by the server's), indexed, once the messages of no agent are indexed as well; of each log of vectors, by the bytes of one, the
             length from which on it is gone through (bound:<bytes>);
             the summaries, by agent or for all (summary:, summary:<agent>), and their revisions (revision:…)
  messages   a stream: the message at position n has the id (n+1)-0 and the field m; the field a when it is an agent's
  index      a sorted set of texts: a kind, for some kinds an agent and a zero byte, and a position of 12 digits. The kinds:
             a: an agent's messages; e: those that end with the session; s: system messages; t: an agent's system messages
  tokens     a hash: the additions and the summaries of the last moments, by token; tokens:old, the same before them. They outlive
             the session by at most ten minutes: an addition whose answer was lost is not made again after another writer
             deleted it
  words      a hash: what searches know of messages, by position
  vectors:<bytes>  a string: the vectors of so many bytes, each after its message's position; of two for one position the later
             counts. Only added to: what belongs to no message any more is left out when much of it has gathered. It follows
             from the key `vectors`, and lies in the same slot

-- shared --
local S, M, I, T, W, V, O = unpack(KEYS)
local TOKENS, MOST_TOKENS = {T, O}, 500

local function id_of(position)
  return string.format('%.0f-0', position + 1)
end

local function digits(position)
  return string.format('%012.0f', position)
end

local function position_in(member)
  return tonumber(string.sub(member, -12))
end

-- The range of an agent's messages ('' for no agent) of a kind, for the commands by lexical order.
local function range_of(kind, agent)
  local start = kind .. (agent and agent .. '\0' or '')
  return '[' .. start, '[' .. start .. '\255'
end

local function newest(kind, agent)
  local low, high = range_of(kind, agent)
  local found = call('ZREVRANGEBYLEX', I, high, low, 'LIMIT', 0, 1)
  return found[1] and position_in(found[1])
end

local function alive(now)
  local expires = call('HGET', S, 'expires')
  return not expires or tonumber(expires) > now
end

-- Delete messages that are indexed; returns how many.
local function remove(members)
  for _, member in ipairs(members) do
    local position = position_in(member)
    local entry = call('XRANGE', M, id_of(position), id_of(position))[1]
    if entry then
      local agent = entry[2][4] or ''
      local at = digits(position)
      call('XDEL', M, entry[1])
      call('HDEL', W, string.format('%.0f', position))
      call('ZREM', I, 'a' .. agent .. '\0' .. at, 't' .. agent .. '\0' .. at, 's' .. at, 'e' .. at)
    end
  end
  if #members > 0 then
    call('HINCRBY', S, 'count', -#members)
  end
  return #members
end

local function log_of(width)
  return V .. ':' .. string.format('%.0f', width)
end

-- The bytes of a vector in each log.
local function widths()
  local found = {}
  for _, field in ipairs(call('HKEYS', S)) do
    local width = string.match(field, '^bound:(%d+)$')
    if width then found[#found + 1] = tonumber(width) end
  end
  return found
end

local function unlink_vectors()
  for _, width in ipairs(widths()) do
    call('UNLINK', log_of(width))
    call('HDEL', S, 'bound:' .. width)
  end
end

-- Leave out of a log what belongs to no message, or to one of those positions.
local function compact(width, positions)
  local all, kept, last, record = call('GET', log_of(width)) or '', {}, {}, 8 + width
  for at = 1, #all, record do last[struct.unpack('<d', all, at)] = at end
  for at = 1, #all, record do
    local position = struct.unpack('<d', all, at)
    if last[position] == at and not positions[position] and call('HEXISTS', W, string.format('%.0f', position)) == 1 then
      kept[#kept + 1] = string.sub(all, at, at + record - 1)
    end
  end
  if #kept == 0 then
    call('UNLINK', log_of(width))
    call('HDEL', S, 'bound:' .. width)
    return
  end
  call('SET', log_of(width), table.concat(kept), 'KEEPTTL')
  call('HSET', S, 'bound:' .. width, (2 * #kept + 200) * record)
end

-- Add vectors, by their bytes, each after its position.
local function remember(records)
  for width, added in pairs(records) do
    local length = call('APPEND', log_of(width), table.concat(added))
    local bound = tonumber(call('HGET', S, 'bound:' .. width))
    if not bound then call('HSET', S, 'bound:' .. width, length + 200 * (8 + width))
    elseif length > bound then compact(width, {}) end
  end
end

-- The keys of the session, without the tokens.
local function lasting()
  local keys = {S, M, I, W}
  for _, width in ipairs(widths()) do keys[#keys + 1] = log_of(width) end
  return keys
end

-- Write the stream anew: a deleted entry stays in it, unseen, until its neighbours are deleted too.
local function forget_deleted()
  for _, width in ipairs(widths()) do compact(width, {}) end
  local at = call('HGET', S, 'at')
  if call('XLEN', M) == 0 then
    call('UNLINK', M)
    return
  end
  local fresh, last = M .. ':new', '-'
  call('UNLINK', fresh)
  repeat
    local entries = call('XRANGE', M, last, '+', 'COUNT', 500)
    for _, entry in ipairs(entries) do
      call('XADD', fresh, entry[1], unpack(entry[2]))
      last = '(' .. entry[1]
    end
  until #entries < 500
  call('RENAME', fresh, M)
  if at then call('PEXPIREAT', M, at) end
end

-- The position of the first human message, of a session whose title does not say where it was taken from: it was stored by an
-- older version, which noted it of no title. Nil when messages before it were deleted: the title may be the text of one of them.
local HUMAN = '\151\165human'
local function first_human()
  local last, before = '-', 0
  repeat
    local entries = call('XRANGE', M, last, '+', 'COUNT', 100)
    for _, entry in ipairs(entries) do
      local position = tonumber(string.match(entry[1], '^%d+')) - 1
      if position > before then return nil end
      if string.sub(entry[2][2], 1, #HUMAN) == HUMAN then return position end
      before, last = position + 1, '(' .. entry[1]
    end
  until #entries < 100
  -- Without any human message it was set by hand, unless messages were deleted after these.
  return before > 0 and before == tonumber(call('HGET', S, 'next')) and '-' or nil
end

-- A title goes with the message that it was taken from, and any title with the last message. Returns the title that stays.
local function settled_title()
  local state = call('HMGET', S, 'title', 'titled', 'count')
  if not state[1] then return false end
  local titled = state[2]
  if not titled then
    titled = first_human()
    if titled then call('HSET', S, 'titled', titled) end
  end
  local kept = titled and tonumber(state[3]) > 0
  if kept and titled ~= '-' then kept = #call('XRANGE', M, id_of(titled), id_of(titled)) > 0 end
  if kept then return state[1] end
  call('HDEL', S, 'title', 'titled')
  return false
end

-- Summaries go with any of the messages that they may speak of; what stays is another revision, so that none that was begun
-- before is written after.
local function empty_summaries(agent)
  if call('EXISTS', S) == 0 then return end
  local time, agents = call('TIME'), {['']=true, [agent]=true}
  for _, field in ipairs(call('HKEYS', S)) do
    if string.sub(field, 1, 8) == 'summary:' then agents[string.sub(field, 9)] = true end
  end
  local revision = string.format('%.0f', time[1] * 1000000 + time[2])
  for one in pairs(agents) do call('HSET', S, 'summary:' .. one, '', 'revision:' .. one, revision) end
end

local function record(entry)
  local position = tonumber(string.match(entry[1], '^%d+')) - 1
  return struct.pack('>dI', position, #entry[2][2]) .. entry[2][2]
end

-- The records of all messages, in parts: see `unpacked` on many strings.
local function all_records()
  local parts, last, count = {}, '-', 0
  repeat
    local entries, records = call('XRANGE', M, last, '+', 'COUNT', 1000), {}
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
-- now, identity, titles (each a place among the messages and a text, in frames; the first whose message is stored counts), agent,
-- keep, ttl, sliding, token, then of each message: marks (s: a system
-- message, e: it ends with the session), agent, message, what searches know of it, vector ('' for none). Returns the position of
-- the first.
local now, agent, keep, ttl = tonumber(ARGV[1]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local state = call('HMGET', S, 'next', 'expires', 'at', 'indexed', 'updated')
if state[2] and tonumber(state[2]) <= now then
  call('UNLINK', unpack(lasting()))
  state = {}
end
local repeated = result_by_token(TOKENS, ARGV[8])
if repeated then
  return tonumber(repeated)
end

-- The messages of no agent are indexed only where retention asks for it: most sessions have no others.
local indexed = state[4]
if keep and agent == '' and not indexed then
  local last = '-'
  repeat
    local entries = call('XRANGE', M, last, '+', 'COUNT', 500)
    for _, entry in ipairs(entries) do
      if not entry[2][4] then
        call('ZADD', I, 0, 'a\0' .. digits(tonumber(string.match(entry[1], '^%d+')) - 1))
      end
      last = '(' .. entry[1]
    end
  until #entries < 500
  indexed = '1'
  call('HSET', S, 'indexed', indexed)
end

local first = tonumber(state[1] or 0)
local count, vectors = 0, {}
for at = 9, ARGC, 5 do
  local marks, whose, message, vector = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 4]
  local position = first + count
  count = count + 1
  call('HSET', W, string.format('%.0f', position), ARGV[at + 3])
  if vector ~= '' then
    local alike = vectors[#vector] or {}
    vectors[#vector] = alike
    alike[#alike + 1] = struct.pack('<d', position) .. vector
  end
  if whose == '' then
    call('XADD', M, id_of(position), 'm', message)
  else
    call('XADD', M, id_of(position), 'm', message, 'a', whose)
  end
  if whose ~= '' or indexed then
    call('ZADD', I, 0, 'a' .. whose .. '\0' .. digits(position))
  end
  if string.find(marks, 's', 1, true) then
    call('ZADD', I, 0, 's' .. digits(position), 0, 't' .. whose .. '\0' .. digits(position))
  end
  if string.find(marks, 'e', 1, true) then
    call('ZADD', I, 0, 'e' .. digits(position))
  end
end
if not state[1] then
  call('HSET', S, 'identity', ARGV[2], 'created', ARGV[1], 'count', 0)
end
call('HSET', S, 'next', first + count)
-- A clock that is behind the last addition is late: the time to live counts from that addition.
now = math.max(now, tonumber(state[5] or 0))
call('HSET', S, 'updated', string.format('%.17g', now))
call('HINCRBY', S, 'count', count)

remember(vectors)

-- All but an agent's newest messages go; the newest system message is spared, and counts among them.
if keep then
  local low, high = range_of('a', agent)
  local over = call('ZLEXCOUNT', I, low, high) - keep
  if over > 0 then
    local system = newest('t', agent)
    local oldest = call('ZRANGEBYLEX', I, low, high, 'LIMIT', 0, over + 1)
    local spared = #oldest
    for place, member in ipairs(oldest) do
      if position_in(member) == system then spared = place end
    end
    if #oldest > over then table.remove(oldest, spared) end
    remove(oldest)
  end
end

if (keep or ARGV[3] ~= '') and not settled_title() then
  local at = 1
  while at <= #ARGV[3] do
    local length, place = struct.unpack('>II', ARGV[3], at)
    if #call('XRANGE', M, id_of(first + place), id_of(first + place)) > 0 then
      call('HSET', S, 'title', string.sub(ARGV[3], at + 8, at + 3 + length), 'titled', first + place)
      break
    end
    at = at + 4 + length
  end
end

local at = state[3]
if ttl and (ARGV[7] == '1' or not at) then
  at = ahead(ttl)
  call('HSET', S, 'expires', string.format('%.17g', now + ttl), 'at', at)
end
if at then expire(lasting(), at) end

note_token(TOKENS, ARGV[8], first, MOST_TOKENS)
return first

-- window --
-- now, agent (* for all, = and the agent), limit (-1 for all).
local now, limit = tonumber(ARGV[1]), tonumber(ARGV[3])
if not alive(now) then return '' end
local found, oldest, system = {}, nil, nil
if ARGV[2] == '*' then
  if limit < 0 then return table.concat(all_records()) end
  local entries = call('XREVRANGE', M, '+', '-', 'COUNT', limit)
  for at, entry in ipairs(entries) do found[#entries + 1 - at] = record(entry) end
  if #entries == limit then
    oldest = tonumber(string.match(entries[#entries][1], '^%d+')) - 1
    system = newest('s')
  end
else
  local agent = string.sub(ARGV[2], 2)
  local low, high = range_of('a', agent)
  local members = call('ZREVRANGEBYLEX', I, high, low, 'LIMIT', 0, limit)
  for at = #members, 1, -1 do
    local id = id_of(position_in(members[at]))
    found[#found + 1] = record(call('XRANGE', M, id, id)[1])
  end
  if #members == limit then
    oldest = position_in(members[#members])
    system = newest('t', agent)
  end
end
if system and system < oldest then
  table.insert(found, 1, record(call('XRANGE', M, id_of(system), id_of(system))[1]))
end
return table.concat(found)

-- page --
-- now, agent as above, after, limit.
local now = tonumber(ARGV[1])
if not alive(now) then return '' end
local found = {}
if ARGV[2] == '*' then
  for _, entry in ipairs(call('XRANGE', M, id_of(ARGV[3] + 1), '+', 'COUNT', ARGV[4])) do
    found[#found + 1] = record(entry)
  end
else
  local _, high = range_of('a', string.sub(ARGV[2], 2))
  local low = '(a' .. string.sub(ARGV[2], 2) .. '\0' .. (tonumber(ARGV[3]) < 0 and '' or digits(ARGV[3]))
  for _, member in ipairs(call('ZRANGEBYLEX', I, low, high, 'LIMIT', 0, ARGV[4])) do
    local id = id_of(position_in(member))
    found[#found + 1] = record(call('XRANGE', M, id, id)[1])
  end
end
return table.concat(found)

-- index --
-- now, whether vectors are wanted: positions, lengths and entries of what searches know; of each log the bytes of a vector, and it.
if not alive(tonumber(ARGV[1])) then return {'', '', '', {}} end
local positions, lengths, entries = {}, {}, {}
local all = call('HGETALL', W)
for at = 1, #all, 2 do
  local place = #positions + 1
  positions[place], lengths[place], entries[place] = all[at], #all[at + 1], all[at + 1]
end
local vectors = {}
for _, width in ipairs(ARGV[2] == '1' and widths() or {}) do
  vectors[#vectors + 1] = width
  vectors[#vectors + 1] = call('GET', log_of(width)) or ''
end
return {table.concat(positions, ' '), table.concat(lengths, ' '), table.concat(entries), vectors}

-- rows --
-- now, positions.
if not alive(tonumber(ARGV[1])) then return '' end
local found = {}
for at = 2, ARGC do
  local entry = call('XRANGE', M, id_of(ARGV[at]), id_of(ARGV[at]))[1]
  if entry then found[#found + 1] = record(entry) end
end
return table.concat(found)

-- count --
-- now, agent as above.
if not alive(tonumber(ARGV[1])) then return 0 end
if ARGV[2] == '*' then return tonumber(call('HGET', S, 'count') or 0) end
return call('ZLEXCOUNT', I, range_of('a', string.sub(ARGV[2], 2)))

-- summary --
-- now, agent ('' for all): the summary and its revision.
if not alive(tonumber(ARGV[1])) then return {} end
return call('HMGET', S, 'summary:' .. ARGV[2], 'revision:' .. ARGV[2])

-- swap_summary --
-- now, agent, summary, revision, the revision that is expected ('' for none): whether it is written. Its revision is its token.
if call('EXISTS', S) == 0 or not alive(tonumber(ARGV[1])) then return 0 end
if result_by_token(TOKENS, ARGV[4]) then return 1 end
if (call('HGET', S, 'revision:' .. ARGV[2]) or '') ~= ARGV[5] then return 0 end
call('HSET', S, 'summary:' .. ARGV[2], ARGV[3], 'revision:' .. ARGV[2], ARGV[4])
note_token(TOKENS, ARGV[4], 1, MOST_TOKENS)
return 1

-- clear --
-- agent as above.
if ARGV[1] == '*' then
  unlink_vectors()
  call('UNLINK', M, I, W)
  if call('EXISTS', S) == 1 then call('HSET', S, 'count', 0) end
  call('HDEL', S, 'title', 'titled')
  empty_summaries('')
  return 0
end
empty_summaries(string.sub(ARGV[1], 2))
local low, high = range_of('a', string.sub(ARGV[1], 2))
local removed = remove(call('ZRANGEBYLEX', I, low, high))
if removed > 0 then forget_deleted() end
settled_title()
return removed

-- end --
local removed = remove(call('ZRANGEBYLEX', I, range_of('e')))
if removed > 0 then
  empty_summaries('')
  forget_deleted()
  settled_title()
end
return removed

-- describe --
-- With the summary of the history, and that of messages handed over as a list.
local title = settled_title()
local state = call('HMGET', S, 'count', 'created', 'updated', 'expires', 'summary:', 'summary:\31list')
return {title, state[1], state[2], state[3], state[4], state[5], state[6]}

-- rename --
-- title, now.
if call('EXISTS', S) == 0 or not alive(tonumber(ARGV[2])) then return 0 end
call('HSET', S, 'title', ARGV[1], 'titled', '-')
return 1

-- delete --
-- now ('' to delete it even if it has not expired): whether it is gone, when it was used last (nil: there was none), and when it
-- is to expire.
local found = call('HMGET', S, 'updated', 'expires')
local kept = ARGV[1] ~= '' and found[1] and not (found[2] and tonumber(found[2]) <= tonumber(ARGV[1]))
if not kept then
  call('UNLINK', unpack(lasting()))
end
return {kept and 0 or 1, found[1], found[2]}

-- unembed --
-- The vectors are forgotten.
unlink_vectors()
return 0

-- unembedded --
-- now, the bytes of a vector: the positions of the messages that are searched and have no such vectors.
if not alive(tonumber(ARGV[1])) then return '' end
local width, has, found = tonumber(ARGV[2]), {}, {}
local all = call('GET', log_of(width)) or ''
for at = 1, #all, record_length(width) do has[struct.unpack('<d', all, at)] = true end
for _, position in ipairs(call('HKEYS', W)) do
  if not has[tonumber(position)] then found[#found + 1] = position end
end
return table.concat(found, ' ')

-- embed --
-- Groups of position, message, vector ('' for none): the messages that are there still are given these; returns how many.
local records, given, count = {}, {}, 0
for at = 1, ARGC, 3 do
  local position, vector = tonumber(ARGV[at]), ARGV[at + 2]
  local entry = call('XRANGE', M, id_of(position), id_of(position))[1]
  if entry and entry[2][2] == ARGV[at + 1] then
    local alike = records[#vector] or {}
    records[#vector], given[position], count = alike, #vector, count + 1
    alike[#alike + 1] = struct.pack('<d', position) .. vector
  end
end
records[0] = nil
-- A message has one vector: not one of another length beside it.
for _, width in ipairs(widths()) do
  local stale, any = {}, false
  for position, own in pairs(given) do
    if own ~= width then stale[position], any = true, true end
  end
  if any then compact(width, stale) end
end
remember(records)
local until_ = call('HGET', S, 'at')
if until_ then expire(lasting(), until_) end
return count
