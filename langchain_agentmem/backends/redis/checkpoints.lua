The scripts of the checkpoint table. The keys of a thread; a zero byte stands between the parts of a field:

  thread       a hash: who it is, user (the last), when each user wrote last (user:<id>), created, updated, ttl, expires, secret,
               copied (whence and when)
  checkpoints  a hash: by namespace and id, a header and the document. The header, in MessagePack: parent or false, the fields of
               the values that it needs, run or false, when it was stored
  order        a sorted set of the fields of checkpoints, which Redis keeps in lexical order
  values       a hash: by namespace, channel and version, a header and the data. The header: kind, digest, the field of the
               base or false, head, tail, type, number
  elements     a hash: by reference, an element
  writes       a hash: by namespace and id of a checkpoint, its pending writes: each a header and the data. The header: task,
               index, path, channel, kind, type
  runs         a set: the runs that the checkpoints are of

-- shared --
local H, C, O, V, E, W, R = unpack(KEYS)
local WIDTH = 16

local function header_of(row)
  local length = struct.unpack('>I', row)
  return cmsgpack.unpack(string.sub(row, 5, 4 + length)), string.sub(row, 5 + length)
end

local function is_over(expires, now)
  return expires and tonumber(expires) <= now
end

local function range_of(namespace)
  return '[' .. namespace .. '\0', '[' .. namespace .. '\0\255'
end

-- The users of the thread, and when each wrote last. Older versions noted the last user alone.
local function users()
  local ids, times, all = {}, {}, call('HGETALL', H)
  for at = 1, #all, 2 do
    local id = string.match(all[at], '^user:(.*)$')
    if id then
      ids[#ids + 1], times[#times + 1] = id, all[at + 1]
    end
  end
  local last = call('HMGET', H, 'user', 'updated')
  if last[1] and call('HEXISTS', H, 'user:' .. last[1]) == 0 then
    ids[#ids + 1], times[#times + 1] = last[1], last[2]
  end
  return ids, times
end

-- The users of the thread, with a zero byte between them, which no id holds.
local function all_users()
  local ids = users()
  return table.concat(ids, '\0')
end

-- The thread is used: it is made if need be, and anew if it had expired. Returns whether it has the secret that is expected.
-- Arguments from `at` on: identity, now, user ('' for none), ttl ('' for none), secret ('' for none).
local function use(at)
  local now, user, ttl, secret = tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local state = call('HMGET', H, 'created', 'expires', 'ttl', 'secret', 'updated', 'user')
  if is_over(state[2], now) then
    call('UNLINK', unpack(KEYS))
    state = {}
  end
  if secret ~= '' and state[4] and state[4] ~= secret then
    return false
  end
  return true, function()
    if not state[1] then
      call('HSET', H, 'identity', ARGV[at], 'created', ARGV[at + 1])
      if ttl ~= '' then call('HSET', H, 'ttl', ttl) end
      state[3] = ttl ~= '' and ttl
    end
    if now > tonumber(state[5] or 0) then call('HSET', H, 'updated', ARGV[at + 1]) end
    if user ~= '' then
      local former, used = state[6], tonumber(call('HGET', H, 'user:' .. user) or 0)
      if former and former ~= user then call('HSETNX', H, 'user:' .. former, state[5]) end
      call('HSET', H, 'user', user, 'user:' .. user, string.format('%.17g', math.max(now, used)))
    end
    if secret ~= '' and not state[4] then call('HSET', H, 'secret', secret) end
    return tonumber(state[3])
  end
end

-- A clock that is late never brings the expiry forward.
local function keep_alive(ttl, now)
  if ttl then
    local expires = math.max(now + ttl, tonumber(call('HGET', H, 'expires') or 0))
    call('HSET', H, 'expires', string.format('%.17g', expires))
    expire(KEYS, ahead(ttl))
  end
end

-- Whether values can be added: what they require is there, and what is there under their names is the same.
-- Arguments from `at` on: the number of requirements, these (field, digest), the number of values, these (field, row), the
-- number of elements, these (reference, element).
local function fits(at)
  for place = at + 1, at + 2 * ARGV[at], 2 do
    local row = call('HGET', V, ARGV[place])
    if not row or (ARGV[place + 1] ~= '' and header_of(row)[2] ~= ARGV[place + 1]) then return false end
  end
  at = at + 1 + 2 * ARGV[at]
  for place = at + 1, at + 2 * ARGV[at], 2 do
    local row = call('HGET', V, ARGV[place])
    if row and row ~= ARGV[place + 1] then return false end
  end
  return true
end

local function add(at)
  at = at + 1 + 2 * ARGV[at]
  for _, key in ipairs({V, E}) do
    local last = at + 2 * ARGV[at]
    in_parts('HSET', key, ARGV, at + 1, last)
    at = last + 1
  end
end

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

-- What it takes to rebuild values: the pending writes of checkpoints (of some channels only, unless nil), the rows of values and
-- of all that they are spliced from, and the elements behind their references.
local function parts(fields, members, channels)
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
    local blob = call('HGET', W, member) or ''
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
    local chain, at = {}, field
    while at and not chain[at] do
      if not rows[at] then
        local row = call('HGET', V, at)
        if not row then break end
        rows[at], headers[at] = row, {header_of(row)}
        order[#order + 1] = at
      end
      chain[at] = true
      chain[#chain + 1] = at
      at = headers[at][1][3]
    end
    if chain[1] and headers[chain[1]][1][1] ~= 'plain' then
      local run = ''
      for place = #chain, 1, -1 do
        local header, data = unpack(headers[chain[place]])
        -- Parts that overlap would double the run with each value.
        if place < #chain and (header[4] < 0 or header[5] < 0 or (header[4] + header[5]) * WIDTH > #run) then
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
    for at, element in ipairs(call('HMGET', E, unpack(references, start, last))) do
      if element then
        local place = #found + 1
        found[place], elements[place], lengths[place] = references[start + at - 1], element, #element
      end
    end
  end
  return call('HGET', H, 'secret'), table.concat(writes), table.concat(values), table.concat(found),
    table.concat(lengths, ' '), table.concat(elements)
end

local function rows_of(members)
  local found = {}
  for at, member in ipairs(members) do
    found[at] = framed(member) .. framed(call('HGET', C, member))
  end
  return table.concat(found)
end

-- secret --
-- use, then the proposal: the thread's secret and its users.
local _, used = use(1)
local ttl = used()
call('HSETNX', H, 'secret', ARGV[6])
keep_alive(ttl, tonumber(ARGV[2]))
return {call('HGET', H, 'secret'), all_users()}

-- put --
-- use, then field, row, run ('' for none), and what `fits` takes. Returns whether it was stored, and the thread's users.
local shares, used = use(1)
if not shares or not fits(9) then return {0} end
local ttl = used()
call('HSET', C, ARGV[6], ARGV[7])
call('ZADD', O, 0, ARGV[6])
if ARGV[8] ~= '' then call('SADD', R, ARGV[8]) end
add(9)
keep_alive(ttl, tonumber(ARGV[2]))
return {1, all_users()}

-- put_writes --
-- use, then field, the number of writes, these, and what `fits` takes. Returns what `put` does.
local after = 8 + ARGV[7]
local shares, used = use(1)
if not shares or not fits(after) then return {0} end
local ttl = used()
local records, places = {}, {}
for header, _, record in each_write(call('HGET', W, ARGV[6]) or '') do
  records[#records + 1] = record
  places[header[1] .. '\0' .. header[2]] = #records
end
for at = 8, after - 1 do
  local header = each_write(ARGV[at])()
  local place = header[1] .. '\0' .. header[2]
  if not places[place] then
    places[place] = #records + 1
    records[#records + 1] = ARGV[at]
  elseif header[2] < 0 then
    records[places[place]] = ARGV[at]
  end
end
call('HSET', W, ARGV[6], table.concat(records))
add(after)
keep_alive(ttl, tonumber(ARGV[2]))
return {1, all_users()}

-- get --
-- now, namespace, checkpoint id ('' for the latest): its row and its parts, or nil.
if is_over(call('HGET', H, 'expires'), tonumber(ARGV[1])) then return false end
local member = ARGV[2] .. '\0' .. ARGV[3]
if ARGV[3] == '' then
  local low, high = range_of(ARGV[2])
  member = call('ZREVRANGEBYLEX', O, high, low, 'LIMIT', 0, 1)[1]
end
local row = member and call('HGET', C, member)
if not row then return false end
return {framed(member) .. framed(row), parts(header_of(row)[2], {member})}

-- parts --
-- The number of checkpoints, their fields, the number of channels (-1 for all), these, the fields of values. Returns nil when
-- one of the checkpoints is there no more.
local members, channels = {}, {}
for at = 2, 1 + ARGV[1] do
  if call('HEXISTS', C, ARGV[at]) == 0 then return false end
  members[#members + 1] = ARGV[at]
end
local at = 2 + ARGV[1]
local last = at + math.max(0, ARGV[at])
for place = at + 1, last do channels[ARGV[place]] = true end
local fields = {}
for place = last + 1, ARGC do fields[#fields + 1] = ARGV[place] end
return {parts(fields, members, tonumber(ARGV[at]) >= 0 and channels or nil)}

-- page --
-- now, namespace (* for all, = and it), checkpoint id ('' for all), before ('' for no bound), and where the last page ended: id
-- ('' for the first page) and namespace; then limit.
if is_over(call('HGET', H, 'expires'), tonumber(ARGV[1])) then return '' end
local wanted, before, last_id, last_namespace, limit = ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local found = {}

-- By bytes, as Redis does: Lua's own comparison depends on the server's locale.
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
    members = fits and call('HEXISTS', C, member) == 1 and {member} or {}
  else
    members = call('ZREVRANGEBYLEX', O, high, low, 'LIMIT', 0, limit)
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
    local following = call('ZRANGEBYLEX', O, from, '+', 'LIMIT', 0, 1)[1]
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
-- now, namespace, checkpoint id, limit: the rows of a checkpoint, its parent, and so on.
if is_over(call('HGET', H, 'expires'), tonumber(ARGV[1])) then return '' end
local found, at = {}, ARGV[3]
while at and #found < tonumber(ARGV[4]) do
  local member = ARGV[2] .. '\0' .. at
  local row = call('HGET', C, member)
  if not row then break end
  found[#found + 1] = framed(member) .. framed(row)
  at = header_of(row)[1]
end
return table.concat(found)

-- entries --
-- The headers of all checkpoints.
local found = {}
local members = call('ZRANGE', O, 0, -1)
for at, member in ipairs(members) do
  local row = call('HGET', C, member)
  found[at] = framed(member) .. framed(string.sub(row, 1, 4 + struct.unpack('>I', row)))
end
return table.concat(found)

-- delete --
-- The number of checkpoints that are known, these, and those of them to delete: with them go their writes, and the values and
-- elements that nothing else needs. Returns 0, and deletes nothing, when a checkpoint that is not known follows one of them.
local known, doomed, last = {}, {}, 1 + ARGV[1]
for at = 2, last do known[ARGV[at]] = true end
for at = last + 1, ARGC do doomed[ARGV[at]] = true end

local orphans, needed = {}, {}
for _, member in ipairs(call('ZRANGE', O, 0, -1)) do
  if not doomed[member] then
    local header, document = header_of(call('HGET', C, member))
    local namespace = string.match(member, '^[^%z]*')
    if header[1] and doomed[namespace .. '\0' .. header[1]] then
      if not known[member] then return 0 end
      header[1] = false
      orphans[#orphans + 1] = {member, framed(cmsgpack.pack(header)) .. document}
    end
    for _, field in ipairs(header[2]) do needed[field] = true end
  end
end
for _, orphan in ipairs(orphans) do call('HSET', C, unpack(orphan)) end
in_parts('HDEL', C, ARGV, last + 1, ARGC)
in_parts('HDEL', W, ARGV, last + 1, ARGC)
in_parts('ZREM', O, ARGV, last + 1, ARGC)

local held = {}
local function hold(run)
  for at = 1, #run, WIDTH do held[string.sub(run, at, at + WIDTH - 1)] = true end
end
local pending = call('HGETALL', W)
for at = 1, #pending, 2 do
  local namespace = string.match(pending[at], '^[^%z]*')
  for header, data in each_write(pending[at + 1]) do
    if header[5] == 'value' then needed[namespace .. '\0' .. header[4] .. '\0' .. header[6]] = true
    elseif header[5] ~= 'plain' then hold(data) end
  end
end

-- What a value is spliced from is needed as well.
local rows, bases, unneeded = call('HGETALL', V), {}, {}
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
in_parts('HDEL', V, unneeded, 1, #unneeded)
unneeded = {}
for _, reference in ipairs(call('HKEYS', E)) do
  if not held[reference] then unneeded[#unneeded + 1] = reference end
end
in_parts('HDEL', E, unneeded, 1, #unneeded)
return 1

-- delete_thread --
-- now ('' to delete it even if it has not expired): whether it is gone, when it was used last, when it is to expire, and its users.
local state = call('HMGET', H, 'updated', 'expires')
local kept = ARGV[1] ~= '' and state[1] and not is_over(state[2], tonumber(ARGV[1]))
local whose = all_users()
if not kept then call('UNLINK', unpack(KEYS)) end
return {kept and 0 or 1, state[1], state[2], whose}

-- dump --
-- now: nil if there is no such thread, else its users, its time to live, and all of it.
if call('EXISTS', H) == 0 or is_over(call('HGET', H, 'expires'), tonumber(ARGV[1])) then return false end
local result = {all_users(), call('HGET', H, 'ttl')}
for _, key in ipairs(KEYS) do result[#result + 1] = call('DUMP', key) or '' end
return result

-- restore --
-- identity, now, whence, then what `dump` gave of the keys. Returns 0, and changes nothing, when the thread is in use.
local now = tonumber(ARGV[2])
local in_use = call('EXISTS', C) == 1 or call('EXISTS', W) == 1
if in_use and not is_over(call('HGET', H, 'expires'), now) then
  return call('HGET', H, 'copied') == ARGV[3] .. '\0' .. ARGV[2] and 1 or 0
end
call('UNLINK', unpack(KEYS))
for at, key in ipairs(KEYS) do
  local done = ARGV[3 + at] == '' or redis.pcall('RESTORE', key, 0, ARGV[3 + at])
  if type(done) == 'table' and done.err then
    call('UNLINK', unpack(KEYS))
    return done
  end
end
local last = call('HMGET', H, 'user', 'updated')
if last[1] then call('HSETNX', H, 'user:' .. last[1], last[2]) end
call('HSET', H, 'identity', ARGV[1], 'created', ARGV[2], 'updated', ARGV[2], 'copied', ARGV[3] .. '\0' .. ARGV[2])
keep_alive(tonumber(call('HGET', H, 'ttl')), now)
return 1

-- set_ttl --
-- now, ttl ('' for never), counted from the last use on: nil if there is no such thread, else when it expires and its users.
local now = tonumber(ARGV[1])
local state = call('HMGET', H, 'created', 'expires', 'ttl', 'updated')
if not state[1] or is_over(state[2], now) then return false end
if ARGV[2] == '' then
  call('HDEL', H, 'ttl', 'expires')
  expire(KEYS, nil)
else
  now = math.max(now, tonumber(state[4] or 0), tonumber(state[2] or 0) - tonumber(state[3] or 0))
  call('HSET', H, 'ttl', ARGV[2])
  call('HDEL', H, 'expires')
  keep_alive(tonumber(ARGV[2]), now)
end
return {call('HGET', H, 'expires'), all_users()}

-- has_run --
-- Runs: whether some checkpoint is of one of them.
for at = 1, ARGC do
  if call('SISMEMBER', R, ARGV[at]) == 1 then return 1 end
end
return 0

-- describe --
-- Its last user ('' for none), the number of checkpoints, when it was made and used last, when it expires, its users, and when
-- each wrote last.
local state = call('HMGET', H, 'user', 'created', 'updated', 'expires')
return {state[1] or '', call('HLEN', C), state[2], state[3], state[4], users()}
