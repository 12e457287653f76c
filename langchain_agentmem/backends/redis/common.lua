Functions at the beginning of every script of this backend.

-- common --
local call = redis.call

-- A call may have more arguments than one command can hold. Python then sends them as blocks of IN_BLOCK framed records, and
-- appends a key that ends in `}:packed`. Only one block is unpacked at a time: Lua hashes similar long strings alike, so a table of
-- many of them would take quadratic time.
local IN_BLOCK = 5000
local ARGC = #ARGV

local function unpacked(blocks)
  local first, current, known = nil, nil, {}
  local function open(number)
    local block, at, words = blocks[number], 1, {}
    while at <= #block do
      local length = struct.unpack('>I', block, at)
      words[#words + 1] = string.sub(block, at + 4, at + 3 + length)
      at = at + 4 + length
    end
    return words
  end
  ARGC = (#blocks - 1) * IN_BLOCK + #open(#blocks)
  first = open(1)
  return setmetatable({}, {__index = function(_, at)
    if at <= IN_BLOCK then return first[at] end
    local number = math.floor((at - 1) / IN_BLOCK) + 1
    if number ~= current then
      known = nil
      collectgarbage()
      known, current = open(number), number
    end
    return known[at - (number - 1) * IN_BLOCK]
  end})
end

local ARGV = ARGV
if string.sub(KEYS[#KEYS], -8) == '}:packed' then
  KEYS[#KEYS] = nil
  ARGV = unpacked(ARGV)
end

-- Run a command with many arguments, in parts that fit on Lua's stack.
local function in_parts(command, key, words, from, upto)
  for start = from, upto, 2000 do
    local part = {}
    for at = start, math.min(start + 1999, upto) do part[#part + 1] = words[at] end
    call(command, key, unpack(part))
  end
end

-- The rule for expiry. Return true if data with an expiry time (nil, false or 0: none) has not expired, on the clock of the caller.
local function is_alive(expires, now)
  local at = tonumber(expires or 0)
  return at == 0 or at > now
end

-- Return true if the variable in a field of a hash has a name.
local function is_named(field, name)
  return name ~= '' and string.sub(field, -#name - 1) == '\0' .. name
end

-- Return the number of the period in which an expiry time falls, by the ends of the first three: 1 to 3, 4 for later, 5 for never.
local function period_of(expires, ends)
  local at = tonumber(expires or 0)
  if at == 0 then return 5 end
  for period = 1, 3 do
    if at <= ends[period] then return period end
  end
  return 4
end

-- Return the ends of the periods, which are the arguments from `from` on.
local function ends_from(from)
  return {tonumber(ARGV[from]), tonumber(ARGV[from + 1]), tonumber(ARGV[from + 2])}
end

-- Return the time that is some seconds from now on the server's clock, in milliseconds.
local function ahead(seconds)
  local time = call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + math.ceil(seconds * 1000))
end

-- Let keys expire at the same moment of the server's clock (nil: never).
local function expire(keys, at)
  for _, key in ipairs(keys) do
    if at then call('PEXPIREAT', key, at) else call('PERSIST', key) end
  end
end

-- Seconds that an index outlives its data, because clocks differ.
local GRACE = 3600

-- Extend the life of keys: at least as long as the first of them was to live (its PTTL), and at least some seconds (nil: forever).
local function outlive(keys, left, seconds)
  if seconds and left ~= -1 then
    expire(keys, ahead(math.max(seconds + GRACE, left / 1000)))
  elseif left >= 0 then
    expire(keys, nil)
  end
end

-- Refuse damaged data. Python recognises the error by its first word. A loop whose step or bound is stored data must check it: a
-- script that never ends blocks the whole server.
local function damaged(what)
  error('damaged: ' .. what, 0)
end

-- Return the length of a record in a log of vectors: a double, and one vector.
local function record_length(width)
  local bytes = tonumber(width)
  if not bytes or bytes < 1 or bytes >= 4294967296 or bytes % 1 ~= 0 then damaged('vectors of ' .. tostring(width) .. ' bytes') end
  return 8 + bytes
end

-- Return a function that refuses a name that it has seen before. A loop over sorted names calls it for each name.
local function once()
  local seen = {}
  return function(name)
    if seen[name] then damaged('an index out of order') end
    seen[name] = true
  end
end

-- Return a record: the length of a text, and the text.
local function framed(text)
  return struct.pack('>I', #text) .. text
end

-- Idempotency tokens. Two logs (hashes of results by token) keep them for ten minutes, which is longer than any retry takes. When
-- the first log is full, it replaces the second.
local function result_by_token(logs, token)
  return call('HGET', logs[1], token) or call('HGET', logs[2], token)
end

local function note_token(logs, token, result, most)
  if call('HLEN', logs[1]) >= most then call('RENAME', logs[1], logs[2]) end
  call('HSET', logs[1], token, result)
  call('PEXPIRE', logs[1], 600000)
end
