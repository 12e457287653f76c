Scripts that rewrite the values of one key.

-- cells --
-- Return the kind of a key, the cursor of the next part ('' after the last one), and pairs of a name and a value that contains a
-- needle. The name is a field of a hash, or the ID of an entry of a stream and the index of the value in it; '' for a string and
-- for the members of a sorted set.
-- KEYS: the key.
-- ARGV: the cursor ('' for the first part), needles.
local key, cursor, kind = KEYS[1], ARGV[1], call('TYPE', KEYS[1]).ok
local found = {kind, ''}

local function add(name, value)
  for at = 2, ARGC do
    if string.find(value, ARGV[at], 1, true) then
      found[#found + 1], found[#found + 2] = name, value
      return
    end
  end
end

if kind == 'string' then
  add('', call('GET', key))
elseif kind == 'hash' then
  local page = call('HSCAN', key, cursor == '' and '0' or cursor, 'COUNT', 200)
  for at = 1, #page[2], 2 do add(page[2][at], page[2][at + 1]) end
  found[2] = page[1] == '0' and '' or page[1]
elseif kind == 'zset' then
  local page = call('ZSCAN', key, cursor == '' and '0' or cursor, 'COUNT', 200)
  for at = 1, #page[2], 2 do add('', page[2][at]) end
  found[2] = page[1] == '0' and '' or page[1]
elseif kind == 'stream' then
  local page = call('XRANGE', key, cursor == '' and '-' or '(' .. cursor, '+', 'COUNT', 1000)
  for _, entry in ipairs(page) do
    for at, value in ipairs(entry[2]) do add(entry[1] .. ' ' .. at, value) end
    found[2] = entry[1]
  end
  if #page < 1000 then found[2] = '' end
end
return found

-- rewrite --
-- Replace values of a key that are unchanged. Return the number of replaced values.
-- KEYS: the key.
-- ARGV: the kind; names, former and new values.
local key, kind, done = KEYS[1], ARGV[1], 0
if call('TYPE', key).ok ~= kind then return 0 end
if kind == 'string' then
  if call('GET', key) == ARGV[3] then
    call('SET', key, ARGV[4], 'KEEPTTL')
    done = 1
  end
elseif kind == 'hash' then
  for at = 2, ARGC, 3 do
    if call('HGET', key, ARGV[at]) == ARGV[at + 1] then
      call('HSET', key, ARGV[at], ARGV[at + 2])
      done = done + 1
    end
  end
elseif kind == 'zset' then
  for at = 2, ARGC, 3 do
    local score = call('ZSCORE', key, ARGV[at + 1])
    if score then
      call('ZADD', key, score, ARGV[at + 2])  -- first, because an empty key would lose its TTL
      call('ZREM', key, ARGV[at + 1])
      done = done + 1
    end
  end
else
  -- An entry of a stream never changes, so the stream is written again.
  local changes, fresh, last, left = {}, key .. ':new', '-', call('PTTL', key)
  for at = 2, ARGC, 3 do changes[ARGV[at]] = {ARGV[at + 1], ARGV[at + 2]} end
  call('UNLINK', fresh)
  repeat
    local page = call('XRANGE', key, last, '+', 'COUNT', 500)
    for _, entry in ipairs(page) do
      for at, value in ipairs(entry[2]) do
        local change = changes[entry[1] .. ' ' .. at]
        if change and change[1] == value then
          entry[2][at] = change[2]
          done = done + 1
        end
      end
      call('XADD', fresh, entry[1], unpack(entry[2]))
      last = '(' .. entry[1]
    end
  until #page < 500
  call('RENAME', fresh, key)
  if left > 0 then call('PEXPIRE', key, left) end
end
return done
