Scripts of the checkpoint table. The KEYS of every script are the keys of a thread. Zero bytes separate the parts of a field name:

  thread       A hash with these fields:
               identity         the tenant and ID of the thread
               user, user:<id>  the user of the last write, and for each user the time of the user's last write
               created, updated, ttl, expires
               secret           the secret that keys the references of the thread
               copied           the source and the time, if the thread is a copy
               revision         a number that every write increases
  checkpoints  A hash: by namespace and ID, a header and the document. The header, in MessagePack: parent or false, fields of the
               values that the checkpoint needs, run or false, time.
  order        A sorted set of the fields of `checkpoints`, in lexical order.
  values       A hash: by namespace, channel and version, a header and the data. The header: kind, digest, field of the base or
               false, head, tail, type, number.
  elements     A hash: elements by reference.
  writes       A hash: by namespace and ID of a checkpoint, its pending writes, each a header and the data. The header: task, index,
               path, channel, kind, type.
  runs         A set: the runs of the checkpoints.

-- shared --
local THREAD, CHECKPOINTS, ORDER, VALUES, ELEMENTS, WRITES, RUNS = unpack(KEYS)
local WIDTH = 16  -- number of bytes of a reference

-- Return the header of a row, and the rest of the row.
local function header_of(row)
  local length = struct.unpack('>I', row)
  return cmsgpack.unpack(string.sub(row, 5, 4 + length)), string.sub(row, 5 + length)
end

local function thread_is_alive(now)
  return is_alive(call('HGET', THREAD, 'expires'), tonumber(now))
end

-- Return the lexical range of the checkpoints of a namespace.
local function range_of(namespace)
  return '[' .. namespace .. '\0', '[' .. namespace .. '\0\255'
end

-- Return the users of the thread, and the time of each user's last write. Older versions stored the last user only.
local function users()
  local ids, times, all = {}, {}, call('HGETALL', THREAD)
  for at = 1, #all, 2 do
    local id = string.match(all[at], '^user:(.*)$')
    if id then
      ids[#ids + 1], times[#times + 1] = id, all[at + 1]
    end
  end
  local last = call('HMGET', THREAD, 'user', 'updated')
  if last[1] and call('HEXISTS', THREAD, 'user:' .. last[1]) == 0 then
    ids[#ids + 1], times[#times + 1] = last[1], last[2]
  end
  return ids, times
end

-- Return the users of the thread, separated by zero bytes.
local function all_users()
  local ids = users()
  return table.concat(ids, '\0')
end

-- Prepare a write to the thread. If the thread has expired, delete it first.
-- Return true if the thread has the expected secret, and a function. The function creates the thread if necessary, stores its user,
-- secret and last use, and returns its TTL.
-- Arguments from `at`, called the use: identity, now, user ('' for none), ttl ('' for none), secret ('' for none), the secret that
-- replaces it ('' for none).
local function use(at)
  local now, user, ttl, secret, following = tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  local state = call('HMGET', THREAD, 'created', 'expires', 'ttl', 'secret', 'updated', 'user', 'revision')
  if not is_alive(state[2], now) then
    call('UNLINK', unpack(KEYS))
    state = {}
  end
  if secret ~= '' and (state[4] or following ~= '') and state[4] ~= secret then
    return false
  end
  return true, function()
    if not state[7] then
      call('HSET', THREAD, 'revision', string.format('%.0f', now * 1000000))
    else
      call('HINCRBY', THREAD, 'revision', 1)
    end
    if not state[1] then
      call('HSET', THREAD, 'identity', ARGV[at], 'created', ARGV[at + 1])
      if ttl ~= '' then call('HSET', THREAD, 'ttl', ttl) end
      state[3] = ttl ~= '' and ttl
    end
    if now > tonumber(state[5] or 0) then call('HSET', THREAD, 'updated', ARGV[at + 1]) end
    if user ~= '' then
      local former, used = state[6], tonumber(call('HGET', THREAD, 'user:' .. user) or 0)
      if former and former ~= user then call('HSETNX', THREAD, 'user:' .. former, state[5]) end
      call('HSET', THREAD, 'user', user, 'user:' .. user, string.format('%.17g', math.max(now, used)))
    end
    if following ~= '' then call('HSET', THREAD, 'secret', following)
    elseif secret ~= '' and not state[4] then call('HSET', THREAD, 'secret', secret) end
    return tonumber(state[3])
  end
end

-- Extend the life of the thread. A late clock does not bring the expiry forward.
local function keep_alive(ttl, now)
  if ttl then
    local expires = math.max(now + ttl, tonumber(call('HGET', THREAD, 'expires') or 0))
    call('HSET', THREAD, 'expires', string.format('%.17g', expires))
    expire(KEYS, ahead(ttl))
  end
end

-- Return true if the values that a write requires are stored, and no different value has the field of a new one.
-- Arguments from `at`, called the additions: number of requirements, pairs of field and digest ('' for any), number of values,
-- pairs of field and row, number of elements, pairs of reference and element.
local function fits(at)
  for n = at + 1, at + 2 * ARGV[at], 2 do
    local row = call('HGET', VALUES, ARGV[n])
    if not row or (ARGV[n + 1] ~= '' and header_of(row)[2] ~= ARGV[n + 1]) then return false end
  end
  at = at + 1 + 2 * ARGV[at]
  for n = at + 1, at + 2 * ARGV[at], 2 do
    local row = call('HGET', VALUES, ARGV[n])
    if row and row ~= ARGV[n + 1] then return false end
  end
  return true
end

-- Store the values and elements of the additions from `at`.
local function add(at)
  at = at + 1 + 2 * ARGV[at]
  for _, key in ipairs({VALUES, ELEMENTS}) do
    local last = at + 2 * ARGV[at]
    in_parts('HSET', key, ARGV, at + 1, last)
    at = last + 1
  end
end

-- Iterate over pending writes: the header, the data and the whole record of each.
local function each_write(blob)
  local at = 1
  return function()
    if at > #blob then return nil end
    local header, data = struct.unpack('>II', blob, at)
    local start = at
    at = at + 8 + header + data
    return cmsgpack.unpack(string.sub(blob, start + 8, start + 7 + header)), string.sub(blob, at - data, at - 1),
      string.sub(blob, start, at - 1)
  end
end

-- Return everything that is needed to rebuild values: the thread's secret, the pending writes of checkpoints (those of
-- `channels`, or all if it is nil), the rows of the values and of their bases, and the elements (references, lengths, bytes).
-- The bases and elements of a value that has its digest in `known` are omitted.
local function parts(fields, members, channels, known)
  local rows, headers, order, writes, wanted, references = {}, {}, {}, {}, {}, {}

  local function want(run)
    for at = 1, #run, WIDTH do
      local reference = string.sub(run, at, at + WIDTH - 1)
      if not wanted[reference] then
        wanted[reference] = true
        references[#references + 1] = reference
      end
    end
  end

  for _, member in ipairs(members) do
    local namespace = string.match(member, '^[^%z]*')
    local blob = call('HGET', WRITES, member) or ''
    local kept = {}
    for header, data, record in each_write(blob) do
      if not channels or channels[header[4]] then
        kept[#kept + 1] = record
        if header[5] == 'value' then fields[#fields + 1] = namespace .. '\0' .. header[4] .. '\0' .. header[6]
        elseif header[5] ~= 'plain' then want(data) end
      end
    end
    writes[#writes + 1] = framed(member) .. framed(table.concat(kept))
  end

  for _, field in ipairs(fields) do
    local chain, at, ended = {}, field, false
    while at and not chain[at] do
      if not rows[at] then
        local row = call('HGET', VALUES, at)
        if not row then break end
        rows[at], headers[at] = row, {header_of(row)}
        order[#order + 1] = at
      end
      chain[at] = true
      chain[#chain + 1] = at
      local header = headers[at][1]
      ended = known[at] == header[2]
      at = not ended and header[3]
    end
    if ended then
      for depth = 1, #chain - 1 do want(headers[chain[depth]][2]) end
    elseif chain[1] and headers[chain[1]][1][1] ~= 'plain' then
      local run = ''
      for depth = #chain, 1, -1 do
        local header, data = unpack(headers[chain[depth]])
        -- A head and a tail that overlap would double the run with each value.
        if depth < #chain and (header[4] < 0 or header[5] < 0 or (header[4] + header[5]) * WIDTH > #run) then
          damaged('a value spliced from too little')
        end
        run = string.sub(run, 1, header[4] * WIDTH) .. data .. string.sub(run, #run - header[5] * WIDTH + 1)
      end
      want(run)
    end
  end

  local values, found, elements, lengths = {}, {}, {}, {}
  for at, field in ipairs(order) do
    values[at] = framed(field) .. framed(rows[field])
  end
  for start = 1, #references, 4000 do
    local last = math.min(start + 3999, #references)
    for at, element in ipairs(call('HMGET', ELEMENTS, unpack(references, start, last))) do
      if element then
        local n = #found + 1
        found[n], elements[n], lengths[n] = references[start + at - 1], element, #element
      end
    end
  end
  return call('HGET', THREAD, 'secret'), table.concat(writes), table.concat(values), table.concat(found),
    table.concat(lengths, ' '), table.concat(elements)
end

-- Return framed pairs of a field and a row of checkpoints.
local function rows_of(members)
  local found = {}
  for at, member in ipairs(members) do
    found[at] = framed(member) .. framed(call('HGET', CHECKPOINTS, member))
  end
  return table.concat(found)
end

-- secret --
-- Store a secret if the thread has none. Return the secret and the users of the thread.
-- KEYS: the keys of the thread.
-- ARGV: the use (see `use`), the proposed secret.
local _, used = use(1)
local ttl = used()
call('HSETNX', THREAD, 'secret', ARGV[7])
keep_alive(ttl, tonumber(ARGV[2]))
return {call('HGET', THREAD, 'secret'), all_users()}

-- stored_secret --
-- Return the secret of the thread, or nil.
-- KEYS: the keys of the thread.
-- ARGV: now.
return thread_is_alive(ARGV[1]) and call('HGET', THREAD, 'secret')

-- put --
-- Store a checkpoint. Return 1 and the users of the thread, or 0 if the secret or a required value differs.
-- KEYS: the keys of the thread.
-- ARGV: the use (see `use`), field, row, run ('' for none), the additions (see `fits`).
local shares, used = use(1)
if not shares or not fits(10) then return {0} end
local ttl = used()
call('HSET', CHECKPOINTS, ARGV[7], ARGV[8])
call('ZADD', ORDER, 0, ARGV[7])
if ARGV[9] ~= '' then call('SADD', RUNS, ARGV[9]) end
add(10)
keep_alive(ttl, tonumber(ARGV[2]))
return {1, all_users()}

-- put_writes --
-- Store pending writes. A write with a negative index replaces the stored one; any other is stored once. Return the same as `put`.
-- KEYS: the keys of the thread.
-- ARGV: the use (see `use`), field of the checkpoint, number of writes, writes, the additions (see `fits`).
local after = 9 + ARGV[8]
local shares, used = use(1)
if not shares or not fits(after) then return {0} end
local ttl = used()
local records, indexes = {}, {}
for header, _, record in each_write(call('HGET', WRITES, ARGV[7]) or '') do
  records[#records + 1] = record
  indexes[header[1] .. '\0' .. header[2]] = #records
end
for at = 9, after - 1 do
  local header = each_write(ARGV[at])()
  local name = header[1] .. '\0' .. header[2]
  if not indexes[name] then
    indexes[name] = #records + 1
    records[#records + 1] = ARGV[at]
  elseif header[2] < 0 then
    records[indexes[name]] = ARGV[at]
  end
end
call('HSET', WRITES, ARGV[7], table.concat(records))
add(after)
keep_alive(ttl, tonumber(ARGV[2]))
return {1, all_users()}

-- replace --
-- Replace a stored checkpoint and some of its pending writes. Return the same as `put`, or 0 if the checkpoint does not exist.
-- KEYS: the keys of the thread.
-- ARGV: the use (see `use`), field, row, number of changes, pairs of a record of `writes` and its new form ('': deleted), the
--   additions (see `fits`).
local after = 10 + 2 * ARGV[9]
if call('HEXISTS', CHECKPOINTS, ARGV[7]) == 0 then return {0} end
local shares, used = use(1)
if not shares or not fits(after) then return {0} end
local ttl = used()
call('HSET', CHECKPOINTS, ARGV[7], ARGV[8])
local changes, records = {}, {}
for at = 10, after - 1, 2 do changes[ARGV[at]] = ARGV[at + 1] end
for _, _, record in each_write(call('HGET', WRITES, ARGV[7]) or '') do
  records[#records + 1] = changes[record] or record
end
local blob = table.concat(records)
if blob ~= '' then call('HSET', WRITES, ARGV[7], blob) else call('HDEL', WRITES, ARGV[7]) end
add(after)
keep_alive(ttl, tonumber(ARGV[2]))
return {1, all_users()}

-- get --
-- Return a checkpoint and everything that is needed to rebuild it, or nil.
-- KEYS: the keys of the thread.
-- ARGV: now, namespace, checkpoint ID ('' for the latest), fields and digests of values that the caller has.
if not thread_is_alive(ARGV[1]) then return false end
local member = ARGV[2] .. '\0' .. ARGV[3]
if ARGV[3] == '' then
  local low, high = range_of(ARGV[2])
  member = call('ZREVRANGEBYLEX', ORDER, high, low, 'LIMIT', 0, 1)[1]
end
local row = member and call('HGET', CHECKPOINTS, member)
if not row then return false end
local known = {}
for at = 4, ARGC, 2 do known[ARGV[at]] = ARGV[at + 1] end
return {framed(member) .. framed(row), call('HGET', THREAD, 'revision'), parts(header_of(row)[2], {member}, nil, known)}

-- parts --
-- Return everything that is needed to rebuild values and pending writes, or nil if one of the checkpoints is gone.
-- KEYS: the keys of the thread.
-- ARGV: number of checkpoints, their fields, number of channels (-1 for all), channels, fields of values.
local members, channels = {}, {}
for at = 2, 1 + ARGV[1] do
  if call('HEXISTS', CHECKPOINTS, ARGV[at]) == 0 then return false end
  members[#members + 1] = ARGV[at]
end
local at = 2 + ARGV[1]
local last = at + math.max(0, ARGV[at])
for n = at + 1, last do channels[ARGV[n]] = true end
local fields = {}
for n = last + 1, ARGC do fields[#fields + 1] = ARGV[n] end
return {parts(fields, members, tonumber(ARGV[at]) >= 0 and channels or nil, {})}

-- page --
-- Return a page of checkpoints by descending ID and namespace.
-- KEYS: the keys of the thread.
-- ARGV: now, namespace filter (* for all, or = and the namespace), checkpoint ID ('' for all), exclusive upper bound of the IDs (''
--   for none), ID ('' for the first page) and namespace of the last checkpoint before the page, maximum number of checkpoints.
if not thread_is_alive(ARGV[1]) then return '' end
local wanted, before, last_id, last_namespace, limit = ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local found = {}

-- Compare bytes, as Redis does. Lua's own comparison depends on the server's locale.
local function less(a, b)
  for at = 1, math.min(#a, #b) do
    local x, y = string.byte(a, at), string.byte(b, at)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local function list(namespace)
  local low, high = range_of(namespace)
  if before ~= '' then high = '(' .. namespace .. '\0' .. before end
  if last_id ~= '' and (before == '' or less(last_id, before)) then
    high = (less(namespace, last_namespace) and '[' or '(') .. namespace .. '\0' .. last_id
  end
  local members
  if wanted ~= '' then
    local member = namespace .. '\0' .. wanted
    local bound = string.sub(high, 2)
    local fits = less(member, bound) or (member == bound and string.sub(high, 1, 1) == '[')
    members = fits and call('HEXISTS', CHECKPOINTS, member) == 1 and {member} or {}
  else
    members = call('ZREVRANGEBYLEX', ORDER, high, low, 'LIMIT', 0, limit)
  end
  for _, member in ipairs(members) do
    found[#found + 1] = {string.sub(member, #namespace + 2), namespace, member}
  end
end

if ARGV[2] ~= '*' then
  list(string.sub(ARGV[2], 2))
else
  local from, check = '-', once()
  repeat
    local following = call('ZRANGEBYLEX', ORDER, from, '+', 'LIMIT', 0, 1)[1]
    if following then
      local namespace = string.match(following, '^[^%z]*')
      check(namespace)
      list(namespace)
      from = '(' .. namespace .. '\0\255'
    end
  until not following
  table.sort(found, function(a, b) return less(b[1], a[1]) or (a[1] == b[1] and less(b[2], a[2])) end)
end
local members = {}
for at = 1, math.min(limit, #found) do members[at] = found[at][3] end
return rows_of(members)

-- ancestors --
-- Return the rows of a checkpoint, its parent, and so on.
-- KEYS: the keys of the thread.
-- ARGV: now, namespace, checkpoint ID, maximum number of checkpoints.
if not thread_is_alive(ARGV[1]) then return '' end
local found, at = {}, ARGV[3]
while at and #found < tonumber(ARGV[4]) do
  local member = ARGV[2] .. '\0' .. at
  local row = call('HGET', CHECKPOINTS, member)
  if not row then break end
  found[#found + 1] = framed(member) .. framed(row)
  at = header_of(row)[1]
end
return table.concat(found)

-- entries --
-- Return the headers of all checkpoints.
-- KEYS: the keys of the thread.
-- ARGV: none.
local found = {}
local members = call('ZRANGE', ORDER, 0, -1)
for at, member in ipairs(members) do
  local row = call('HGET', CHECKPOINTS, member)
  found[at] = framed(member) .. framed(string.sub(row, 1, 4 + struct.unpack('>I', row)))
end
return table.concat(found)

-- delete --
-- Delete checkpoints with their writes, and the values and elements that only they need.
-- Return 0, and delete nothing, if one of them is the parent of a checkpoint that is not known, or the thread has another secret.
-- KEYS: the keys of the thread.
-- ARGV: the expected and the new secret ('' to leave it), number of known checkpoints, their fields, fields of the checkpoints to
--   delete.
local known, doomed, last = {}, {}, 3 + ARGV[3]
if ARGV[1] ~= '' and call('HGET', THREAD, 'secret') ~= ARGV[1] then return 0 end
for at = 4, last do known[ARGV[at]] = true end
for at = last + 1, ARGC do doomed[ARGV[at]] = true end

local orphans, needed = {}, {}
for _, member in ipairs(call('ZRANGE', ORDER, 0, -1)) do
  if not doomed[member] then
    local header, document = header_of(call('HGET', CHECKPOINTS, member))
    local namespace = string.match(member, '^[^%z]*')
    if header[1] and doomed[namespace .. '\0' .. header[1]] then
      if not known[member] then return 0 end
      header[1] = false
      orphans[#orphans + 1] = {member, framed(cmsgpack.pack(header)) .. document}
    end
    for _, field in ipairs(header[2]) do needed[field] = true end
  end
end
for _, orphan in ipairs(orphans) do call('HSET', CHECKPOINTS, unpack(orphan)) end
if ARGV[1] ~= '' then call('HSET', THREAD, 'secret', ARGV[2]) end
if call('HEXISTS', THREAD, 'revision') == 1 then call('HINCRBY', THREAD, 'revision', 1) end
in_parts('HDEL', CHECKPOINTS, ARGV, last + 1, ARGC)
in_parts('HDEL', WRITES, ARGV, last + 1, ARGC)
in_parts('ZREM', ORDER, ARGV, last + 1, ARGC)

local held = {}
local function hold(run)
  for at = 1, #run, WIDTH do held[string.sub(run, at, at + WIDTH - 1)] = true end
end
local pending = call('HGETALL', WRITES)
for at = 1, #pending, 2 do
  local namespace = string.match(pending[at], '^[^%z]*')
  for header, data in each_write(pending[at + 1]) do
    if header[5] == 'value' then needed[namespace .. '\0' .. header[4] .. '\0' .. header[6]] = true
    elseif header[5] ~= 'plain' then hold(data) end
  end
end

-- The bases of a needed value are needed as well.
local rows, bases, unneeded = call('HGETALL', VALUES), {}, {}
for at = 1, #rows, 2 do bases[rows[at]] = header_of(rows[at + 1])[3] end
for at = 1, #rows, 2 do
  local field = rows[at]
  if needed[field] == true then
    repeat
      needed[field] = 'followed'
      field = bases[field]
    until not field or needed[field] == 'followed'
  end
end
for at = 1, #rows, 2 do
  if needed[rows[at]] then
    local header, data = header_of(rows[at + 1])
    if header[1] ~= 'plain' then hold(data) end
  else
    unneeded[#unneeded + 1] = rows[at]
  end
end
in_parts('HDEL', VALUES, unneeded, 1, #unneeded)
unneeded = {}
for _, reference in ipairs(call('HKEYS', ELEMENTS)) do
  if not held[reference] then unneeded[#unneeded + 1] = reference end
end
in_parts('HDEL', ELEMENTS, unneeded, 1, #unneeded)
return 1

-- delete_thread --
-- Delete a thread if it has expired. Return 1 if the thread is gone, its last use, its expiry, and its users.
-- KEYS: the keys of the thread.
-- ARGV: now ('' to delete the thread in any case).
local state = call('HMGET', THREAD, 'updated', 'expires')
local kept = ARGV[1] ~= '' and state[1] and is_alive(state[2], tonumber(ARGV[1]))
local former_users = all_users()
if not kept then call('UNLINK', unpack(KEYS)) end
return {kept and 0 or 1, state[1], state[2], former_users}

-- forget_user --
-- Delete the thread if it has no other user; otherwise remove the user from it.
-- Return 1 if the thread was deleted, its last use (nil if the user is no user of it), and its former users.
-- KEYS: the keys of the thread.
-- ARGV: the user, 1 to delete the thread although it has other users.
local ids, times = users()
local is_user, last, used = false, nil, -1
for at, id in ipairs(ids) do
  if id == ARGV[1] then is_user = true
  elseif tonumber(times[at] or 0) > used then last, used = id, tonumber(times[at] or 0) end
end
if not is_user then return {0, false, ''} end
local updated, former_users = call('HGET', THREAD, 'updated'), all_users()
if ARGV[2] == '1' or not last then
  call('UNLINK', unpack(KEYS))
  return {1, updated, former_users}
end
call('HDEL', THREAD, 'user:' .. ARGV[1])
if call('HGET', THREAD, 'user') == ARGV[1] then call('HSET', THREAD, 'user', last) end
return {0, updated, former_users}

-- delete_unused --
-- Delete a thread if it was not used again. Return 1 if it was deleted, and its users.
-- KEYS: the keys of the thread.
-- ARGV: its last use.
local used, former_users = call('HGET', THREAD, 'updated'), all_users()
if not used or tonumber(used) ~= tonumber(ARGV[1]) then return {0, ''} end
call('UNLINK', unpack(KEYS))
return {1, former_users}

-- dump --
-- Return the users, the TTL and the serialised keys of a thread, or nil if it does not exist.
-- KEYS: the keys of the thread.
-- ARGV: now.
if call('EXISTS', THREAD) == 0 or not thread_is_alive(ARGV[1]) then return false end
local result = {all_users(), call('HGET', THREAD, 'ttl')}
for _, key in ipairs(KEYS) do result[#result + 1] = call('DUMP', key) or '' end
return result

-- restore --
-- Create a thread from the keys of another. Return 0, and change nothing, if the thread is in use; -1 if the source had another
-- secret.
-- KEYS: the keys of the thread.
-- ARGV: identity, now, identity of the source, the secrets of the source and of the thread ('' to copy it), the serialised keys that
--   `dump` returned.
local now = tonumber(ARGV[2])
local in_use = call('EXISTS', CHECKPOINTS) == 1 or call('EXISTS', WRITES) == 1
if in_use and thread_is_alive(now) then
  return call('HGET', THREAD, 'copied') == ARGV[3] .. '\0' .. ARGV[2] and 1 or 0
end
call('UNLINK', unpack(KEYS))
for at, key in ipairs(KEYS) do
  local done = ARGV[5 + at] == '' or redis.pcall('RESTORE', key, 0, ARGV[5 + at])
  if type(done) == 'table' and done.err then
    call('UNLINK', unpack(KEYS))
    return done
  end
end
if ARGV[4] ~= '' then
  if call('HGET', THREAD, 'secret') ~= ARGV[4] then
    call('UNLINK', unpack(KEYS))
    return -1
  end
  call('HSET', THREAD, 'secret', ARGV[5])
end
local last = call('HMGET', THREAD, 'user', 'updated')
if last[1] then call('HSETNX', THREAD, 'user:' .. last[1], last[2]) end
call('HSET', THREAD, 'identity', ARGV[1], 'created', ARGV[2], 'updated', ARGV[2], 'copied', ARGV[3] .. '\0' .. ARGV[2])
call('HDEL', THREAD, 'revision')
keep_alive(tonumber(call('HGET', THREAD, 'ttl')), now)
return 1

-- set_ttl --
-- Set the TTL of a thread, counted from its last use. Return its expiry and its users, or nil if it does not exist.
-- KEYS: the keys of the thread.
-- ARGV: now, ttl ('' for none).
local now = tonumber(ARGV[1])
local state = call('HMGET', THREAD, 'created', 'expires', 'ttl', 'updated')
if not state[1] or not is_alive(state[2], now) then return false end
if ARGV[2] == '' then
  call('HDEL', THREAD, 'ttl', 'expires')
  expire(KEYS, nil)
else
  now = math.max(now, tonumber(state[4] or 0), tonumber(state[2] or 0) - tonumber(state[3] or 0))
  call('HSET', THREAD, 'ttl', ARGV[2])
  call('HDEL', THREAD, 'expires')
  keep_alive(tonumber(ARGV[2]), now)
end
return {call('HGET', THREAD, 'expires'), all_users()}

-- has_run --
-- Return 1 if a checkpoint of the thread belongs to one of some runs.
-- KEYS: the keys of the thread.
-- ARGV: runs.
for at = 1, ARGC do
  if call('SISMEMBER', RUNS, ARGV[at]) == 1 then return 1 end
end
return 0

-- describe --
-- Describe a thread: its last user ('' for none), number of checkpoints, creation, last use, expiry and users.
-- The last value is the list of the times of the users' last writes.
-- KEYS: the keys of the thread.
-- ARGV: none.
local state = call('HMGET', THREAD, 'user', 'created', 'updated', 'expires')
return {state[1] or '', call('HLEN', CHECKPOINTS), state[2], state[3], state[4], users()}

-- tally --
-- Count what the thread contains.
-- Return nothing if it does not exist; otherwise the period in which it expires, the numbers of
-- checkpoints and pending writes, and the users.
-- KEYS: the keys of the thread.
-- ARGV: now, the ends of the periods.
if call('EXISTS', THREAD) == 0 or not thread_is_alive(ARGV[1]) then return {} end
local writes = 0
for _, member in ipairs(call('HKEYS', WRITES)) do
  local blob, at = call('HGET', WRITES, member), 1
  while at <= #blob do
    local header, data = struct.unpack('>II', blob, at)
    at, writes = at + 8 + header + data, writes + 1
  end
end
return {period_of(call('HGET', THREAD, 'expires'), ends_from(2)), call('HLEN', CHECKPOINTS), writes, all_users()}
