Scripts of the variable table. A hash holds the variables of a session, of a user, of an agent, or of all users. A field is the
agent ('' for none), a zero byte and the name. A value is the times of the creation, the last update and the expiry (0: never), as
doubles, and the JSON text.

-- shared --
local function write_variable(hash, agent, name, value, now, ttl)
  local field = agent .. '\0' .. name
  local known, created, updated = call('HGET', hash, field), now, now
  if known then
    local before, last, expires = struct.unpack('>ddd', known)
    updated = math.max(now, last)
    if is_alive(expires, now) then created = before end
  end
  call('HSET', hash, field, struct.pack('>ddd', created, updated, ttl and updated + ttl or 0) .. value)
end

-- Write the variables in the arguments from a position on: for each its name, JSON text and ttl ('' for none).
local function write_variables(hash, agent, now, from)
  for at = from, ARGC, 3 do write_variable(hash, agent, ARGV[at], ARGV[at + 1], now, tonumber(ARGV[at + 2])) end
end

-- Return false if `swap_head` would.
local function may_swap_head(hash, agent, now, from)
  if ARGV[from] == '' then return true end
  local known, value = call('HGET', hash, agent .. '\0' .. ARGV[from]), ''
  if known and is_alive(select(3, struct.unpack('>ddd', known)), now) then value = string.sub(known, 25) end
  return value == ARGV[from + 1]
end

-- Replace or delete the head of a scope: the arguments from a position on are its name (empty: change nothing), expected value ('' for
-- none), new value ('' to delete it) and TTL ('' for none). Return false, and change nothing, if it is not the expected one.
local function swap_head(hash, agent, now, from)
  if ARGV[from] == '' then return true end
  if not may_swap_head(hash, agent, now, from) then return false end
  if ARGV[from + 2] == '' then
    call('HDEL', hash, agent .. '\0' .. ARGV[from])
  else
    write_variable(hash, agent, ARGV[from], ARGV[from + 2], now, tonumber(ARGV[from + 3]))
  end
  return true
end

-- Return the fields of an agent that are in the hash, or those with the names in the arguments from a position on.
local function fields_of(hash, agent, every, from)
  local found, prefix = {}, agent .. '\0'
  if every then
    for _, field in ipairs(call('HKEYS', hash)) do
      if string.sub(field, 1, #prefix) == prefix then found[#found + 1] = field end
    end
  else
    for at = from, ARGC do found[#found + 1] = prefix .. ARGV[at] end
  end
  return found
end

-- Return false if the hash belongs to a session (its key follows that of the hash) that has expired.
local function scope_is_alive(now)
  return not KEYS[2] or is_alive(call('HGET', KEYS[2], 'expires'), now)
end

-- set --
-- Set variables. Return 0, and change nothing, if the head changed.
-- KEYS: the hash.
-- ARGV: now, agent, those of `swap_head`, then for each variable: name, JSON text, ttl ('' for none).
if not swap_head(KEYS[1], ARGV[2], tonumber(ARGV[1]), 3) then return 0 end
write_variables(KEYS[1], ARGV[2], tonumber(ARGV[1]), 7)
return 1

-- read --
-- Return the expiry of the session, and the living variables: pairs of a field and a value.
-- KEYS: the hash, and for a session the key `session`.
-- ARGV: now, agents.
local now, found = tonumber(ARGV[1]), {}
if not scope_is_alive(now) then return {'', found} end
for at = 2, ARGC do
  for _, field in ipairs(fields_of(KEYS[1], ARGV[at], true)) do
    local value = call('HGET', KEYS[1], field)
    if value and is_alive(select(3, struct.unpack('>ddd', value)), now) then
      found[#found + 1] = field
      found[#found + 1] = value
    end
  end
end
return {KEYS[2] and call('HGET', KEYS[2], 'expires') or '', found}

-- remove --
-- Delete variables. Return the number of those that had not expired (-1: the head changed), and the number of remaining ones.
-- KEYS: the hash, and for a session the key `session`.
-- ARGV: now, 1 for all variables, agent, those of `swap_head`, names.
local now, removed = tonumber(ARGV[1]), 0
if not scope_is_alive(now) then return {0, 1} end
if not swap_head(KEYS[1], ARGV[3], now, 4) then return {-1, 1} end
for _, field in ipairs(fields_of(KEYS[1], ARGV[3], ARGV[2] == '1', 8)) do
  local value = call('HGET', KEYS[1], field)
  if value then
    if is_alive(select(3, struct.unpack('>ddd', value)), now) then removed = removed + 1 end
    call('HDEL', KEYS[1], field)
  end
end
return {removed, call('HLEN', KEYS[1])}

-- forget --
-- Delete all variables. Return their number.
-- KEYS: the hash.
-- ARGV: none.
local count = call('HLEN', KEYS[1])
call('UNLINK', KEYS[1])
return count

-- is_used --
-- Return 1 if a variable has not expired.
-- KEYS: the hash.
-- ARGV: now.
for _, field in ipairs(call('HKEYS', KEYS[1])) do
  local expires = select(3, struct.unpack('>ddd', call('HGET', KEYS[1], field)))
  if is_alive(expires, tonumber(ARGV[1])) then return 1 end
end
return 0

-- expire --
-- Delete expired variables. Return their number, the number of remaining ones, and the next expiry ('' for none).
-- KEYS: the hash.
-- ARGV: now.
local now, removed, following = tonumber(ARGV[1]), 0, nil
for _, field in ipairs(call('HKEYS', KEYS[1])) do
  local expires = select(3, struct.unpack('>ddd', call('HGET', KEYS[1], field)))
  if not is_alive(expires, now) then
    removed = removed + call('HDEL', KEYS[1], field)
  elseif expires > 0 then
    following = math.min(expires, following or expires)
  end
end
return {removed, call('HLEN', KEYS[1]), following and string.format('%.17g', following) or ''}

-- tally --
-- Count variables by period. Return the numbers, and the agents.
-- KEYS: the hash.
-- ARGV: now, the ends of the periods, the name of variables that are not counted ('' for none).
local now, ends, counts, agents, seen = tonumber(ARGV[1]), ends_from(2), {0, 0, 0, 0, 0}, {}, {}
for _, field in ipairs(call('HKEYS', KEYS[1])) do
  local expires = select(3, struct.unpack('>ddd', call('HGET', KEYS[1], field)))
  if is_alive(expires, now) and not is_named(field, ARGV[5]) then
    local period, agent = period_of(expires, ends), string.match(field, '^(%Z*)')
    counts[period] = counts[period] + 1
    if not seen[agent] then
      seen[agent] = true
      agents[#agents + 1] = agent
    end
  end
end
return {counts, agents}

-- every --
-- Return the expiry of the session, and the living variables of all agents: pairs of a field and a value.
-- KEYS: the hash, and for a session the key `session`.
-- ARGV: now.
local now, all, found = tonumber(ARGV[1]), call('HGETALL', KEYS[1]), {}
if not scope_is_alive(now) then return {'', found} end
for at = 1, #all, 2 do
  if is_alive(select(3, struct.unpack('>ddd', all[at + 1])), now) then
    found[#found + 1], found[#found + 2] = all[at], all[at + 1]
  end
end
return {KEYS[2] and call('HGET', KEYS[2], 'expires') or '', found}

-- delete_unchanged --
-- Delete variables that were not updated. Return their number, and the number of remaining ones.
-- KEYS: the hash.
-- ARGV: for each variable: agent, name, the time of its last update.
local removed = 0
for at = 1, ARGC, 3 do
  local field = ARGV[at] .. '\0' .. ARGV[at + 1]
  local value = call('HGET', KEYS[1], field)
  if value and select(2, struct.unpack('>ddd', value)) == tonumber(ARGV[at + 2]) then
    removed = removed + call('HDEL', KEYS[1], field)
  end
end
return {removed, call('HLEN', KEYS[1])}

-- restore --
-- Add variables, unless they exist. Return their number; -1, and add none, if the head changed.
-- KEYS: the hash.
-- ARGV: now, agent, those of `swap_head`, then for each variable: field, value.
local now, added = tonumber(ARGV[1]), 0
if not swap_head(KEYS[1], ARGV[2], now, 3) then return -1 end
for at = 7, ARGC, 2 do
  local known = call('HGET', KEYS[1], ARGV[at])
  if not (known and is_alive(select(3, struct.unpack('>ddd', known)), now)) then
    call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
    added = added + 1
  end
end
return added
