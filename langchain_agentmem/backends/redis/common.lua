What every script of this backend begins with.

-- common --
local call = redis.call

-- Arguments that are too many for one command come in blocks of so many, each made of records that say how long they are; a last
-- key says so. Only one block is taken apart at a time: strings that look alike have one hash in Lua, so that many of them at
-- once would take a time that grows with the square of their number.
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

-- A command with many arguments, in parts that Lua's stack can hold.
local function in_parts(command, key, words, from, upto)
  for start = from, upto, 2000 do
    local part = {}
    for at = start, math.min(start + 1999, upto) do part[#part + 1] = words[at] end
    call(command, key, unpack(part))
  end
end

-- The time on the server's clock, in milliseconds, that lies some seconds ahead.
local function ahead(seconds)
  local time = call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + math.ceil(seconds * 1000))
end

-- Let keys expire at a time on the server's clock, all at the same moment; never with nil.
local function expire(keys, at)
  for _, key in ipairs(keys) do
    if at then call('PEXPIREAT', key, at) else call('PERSIST', key) end
  end
end

-- How much longer an index may be needed than what it refers to: clocks differ.
local GRACE = 3600

-- Keep keys as long as the first of them was to live so far (its PTTL), and at least some seconds more (nil: for ever).
local function outlive(keys, left, seconds)
  if seconds and left ~= -1 then
    expire(keys, ahead(math.max(seconds + GRACE, left / 1000)))
  elseif left >= 0 then
    expire(keys, nil)
  end
end

-- Stored data that a script refuses to go on with; the driver knows the error by its first word. A loop whose step or end comes of
-- what is stored must end: a script without end blocks the whole server.
local function damaged(what)
  error('damaged: ' .. what, 0)
end

-- The length of a record in a log of vectors, each after a double.
local function record_length(width)
  local bytes = tonumber(width)
  if not bytes or bytes < 1 or bytes >= 4294967296 or bytes % 1 ~= 0 then damaged('vectors of ' .. tostring(width) .. ' bytes') end
  return 8 + bytes
end

-- What says of names that are gone through in order whether one comes again: the index is out of order.
local function once()
  local seen = {}
  return function(name)
    if seen[name] then damaged('an index out of order') end
    seen[name] = true
  end
end

-- A record that says how long it is.
local function framed(text)
  return struct.pack('>I', #text) .. text
end

-- Changes by their tokens, for some minutes: a repetition comes moments after what it repeats. Of two logs, hashes, the first becomes
-- the second when it is full.
local function result_by_token(logs, token)
  return call('HGET', logs[1], token) or call('HGET', logs[2], token)
end

local function note_token(logs, token, result, most)
  if call('HLEN', logs[1]) >= most then call('RENAME', logs[1], logs[2]) end
  call('HSET', logs[1], token, result)
  call('PEXPIRE', logs[1], 600000)
end
