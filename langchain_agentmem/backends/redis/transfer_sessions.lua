Scripts that read and restore whole sessions. Their KEYS are those of a session; see history.lua.

-- shared --

-- state --
-- Return the fields of the session, and of its variables, or nil if it does not exist.
-- KEYS: the keys of the session.
-- ARGV: now.
if call('EXISTS', SESSION) == 0 or not session_is_alive(tonumber(ARGV[1])) then return false end
settled_title()
return {call('HGETALL', SESSION), call('HGETALL', VARIABLES)}

-- messages --
-- Return the records of the messages after a position, then pairs of a width and the records of their vectors.
-- KEYS: the keys of the session.
-- ARGV: now, position, maximum number of messages.
if not session_is_alive(tonumber(ARGV[1])) then return {''} end
local found, wanted, first, last = {}, {}, nil, nil
for at, entry in ipairs(call('XRANGE', MESSAGES, id_of(ARGV[2] + 1), '+', 'COUNT', ARGV[3])) do
  found[at] = record(entry)
  last = tonumber(string.match(entry[1], '^%d+')) - 1
  first, wanted[last] = first or last, true
end

-- Return the records of a log that may belong to the messages. Those of an ordered log are adjacent.
local function records_of(width)
  local log, length = log_of(width), record_length(width)
  if call('HEXISTS', SESSION, 'ordered:' .. width) == 0 then return call('GET', log) or '' end
  local total = call('STRLEN', log) / length
  -- Return the number of records below a position.
  local function below(position)
    local low, high = 0, total
    while low < high do
      local middle = math.floor((low + high) / 2)
      local at = struct.unpack('<d', call('GETRANGE', log, middle * length, middle * length + 7))
      if at < position then low = middle + 1 else high = middle end
    end
    return low
  end
  local from, upto = below(first), below(last + 1)
  return from < upto and call('GETRANGE', log, from * length, upto * length - 1) or ''
end

local result = {table.concat(found)}
for _, width in ipairs(first and widths() or {}) do
  local all, kept, length = records_of(width), {}, record_length(width)
  for at = 1, #all, length do
    if wanted[struct.unpack('<d', all, at)] then kept[#kept + 1] = string.sub(all, at, at + length - 1) end
  end
  result[#result + 1], result[#result + 2] = width, table.concat(kept)
end
return result

-- restore --
-- Create a session without messages. Return 0 if it exists.
-- KEYS: the keys of the session.
-- ARGV: now, expiry ('' for none), number of fields; names and values of the fields; names and values of the variables.
local now, expires, fields = tonumber(ARGV[1]), tonumber(ARGV[2]), 3 + 2 * ARGV[3]
if call('EXISTS', SESSION) == 1 and session_is_alive(now) then return 0 end
call('UNLINK', unpack(data_keys()))
call('HSET', SESSION, 'count', 0)
in_parts('HSET', SESSION, ARGV, 4, fields)
begin_edition()
-- The messages follow in other calls. Until then, the title must not be deleted because its message is missing.
if call('HEXISTS', SESSION, 'title') == 1 then call('HSET', SESSION, 'awaited', 1) end
in_parts('HSET', VARIABLES, ARGV, fields + 1, ARGC)
if expires then
  local at = ahead(expires - now)
  call('HSET', SESSION, 'expires', ARGV[2], 'at', at)
  expire(data_keys(), at)
end
return 1

-- restore_messages --
-- Add messages at positions that are free. Return the number of added messages.
-- KEYS: the keys of the session.
-- ARGV: now; for each message: position, marks (s: system message, e: ends with the session), agent, message, words, vector ('' for
--   none), digest ('' for none).
if call('EXISTS', SESSION) == 0 or not session_is_alive(tonumber(ARGV[1])) then return 0 end
local state = call('HMGET', SESSION, 'indexed', 'next', 'at', 'titled')
local following, added, vectors, late, last = tonumber(state[2] or 0), 0, {}, {}, -1
for at = 2, ARGC, 7 do
  local position, marks, author, message, vector = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 5]
  local id, name = id_of(position), string.format('%.0f', position)
  if #call('XRANGE', MESSAGES, id, id) == 0 then
    local fields = author == '' and {'m', message} or {'m', message, 'a', author}
    -- A stream only grows at its end. Messages before its end are merged into a new stream.
    local stored = redis.pcall('XADD', MESSAGES, id, unpack(fields))
    if type(stored) == 'table' and stored.err then late[#late + 1] = {id, fields, position} end
    call('HSET', WORDS, name, ARGV[at + 4])
    if ARGV[at + 6] ~= '' then call('HSET', IDS, name, ARGV[at + 6]) end
    if vector ~= '' then
      local alike = vectors[#vector] or {}
      vectors[#vector] = alike
      alike[#alike + 1] = struct.pack('<d', position) .. vector
    end
    if author ~= '' or state[1] then call('ZADD', INDEX, 0, 'a' .. author .. '\0' .. digits(position)) end
    if string.find(marks, 's', 1, true) then
      call('ZADD', INDEX, 0, 's' .. digits(position), 0, 't' .. author .. '\0' .. digits(position))
    end
    if string.find(marks, 'e', 1, true) then call('ZADD', INDEX, 0, 'e' .. digits(position)) end
    added = added + 1
  end
  following, last = math.max(following, position + 1), math.max(last, position)
end
if #late > 0 then
  local fresh, last, number = MESSAGES .. ':new', '-', 1
  call('UNLINK', fresh)
  local function merge(below)
    while late[number] and late[number][3] < below do
      call('XADD', fresh, late[number][1], unpack(late[number][2]))
      number = number + 1
    end
  end
  repeat
    local entries = call('XRANGE', MESSAGES, last, '+', 'COUNT', 500)
    for _, entry in ipairs(entries) do
      merge(tonumber(string.match(entry[1], '^%d+')) - 1)
      call('XADD', fresh, entry[1], unpack(entry[2]))
      last = '(' .. entry[1]
    end
  until #entries < 500
  merge(math.huge)
  call('RENAME', fresh, MESSAGES)
end
call('HSET', SESSION, 'next', string.format('%.0f', following))
if last >= (tonumber(state[4] or 0) or 0) then call('HDEL', SESSION, 'awaited') end  -- tonumber('-') is nil: any message
call('HINCRBY', SESSION, 'count', added)
begin_edition()
add_vectors(vectors)
if state[3] then expire(data_keys(), state[3]) end
return added

-- restore_record --
-- Add a record to a session that exists, unless one with its ID is stored. Return 1 if it was added.
-- KEYS: the keys of the session.
-- ARGV: now, ID, the record.
if call('EXISTS', SESSION) == 0 or not session_is_alive(tonumber(ARGV[1])) then return 0 end
if #call('ZRANGEBYLEX', RECORDS, '[' .. ARGV[2], '(' .. ARGV[2] .. '\255', 'LIMIT', 0, 1) > 0 then return 0 end
call('ZADD', RECORDS, 0, ARGV[3])
local at = call('HGET', SESSION, 'at')
if at then expire({RECORDS}, at) end
return 1
