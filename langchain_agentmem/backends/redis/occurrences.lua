Scripts that search a key of any application.

-- shared --
local MOST, AROUND, PART = 20, 2048, 1048576

-- Return true if a value contains one of the needles, which are the arguments from the second one on.
local function contains(value)
  for at = 2, ARGC do
    if string.find(value, ARGV[at], 1, true) then return true end
  end
  return false
end

-- Add a value that contains a needle to `found`; of a long value, the parts around the needles.
local function add(found, value)
  if not contains(value) then return end
  if #value <= 2 * AROUND then
    found[#found + 1] = value
    return
  end
  for at = 2, ARGC do
    local first, last = string.find(value, ARGV[at], 1, true)
    local count = 0
    while first and count < MOST do
      found[#found + 1] = string.sub(value, math.max(1, first - AROUND), last + AROUND)
      first, last = string.find(value, ARGV[at], last + 1, true)
      count = count + 1
    end
  end
end

-- search --
-- Search a part of a key. Return the cursor of the next part ('' after the last one), and values that contain a needle.
-- KEYS: the key.
-- ARGV: the cursor ('' for the first part), needles.
local key, cursor, found, kind = KEYS[1], ARGV[1], {}, call('TYPE', KEYS[1]).ok
if kind == 'string' then
  local at = tonumber(cursor) or 0
  add(found, call('GETRANGE', key, at, at + PART + AROUND))
  cursor = at + PART < call('STRLEN', key) and string.format('%.0f', at + PART) or ''
elseif kind == 'list' then
  local at = tonumber(cursor) or 0
  local page = call('LRANGE', key, at, at + 499)
  for _, value in ipairs(page) do add(found, value) end
  cursor = #page == 500 and string.format('%.0f', at + 500) or ''
elseif kind == 'stream' then
  local page = call('XRANGE', key, cursor == '' and '-' or '(' .. cursor, '+', 'COUNT', 500)
  for _, entry in ipairs(page) do
    for _, value in ipairs(entry[2]) do add(found, value) end
    cursor = entry[1]
  end
  if #page < 500 then cursor = '' end
elseif kind == 'hash' or kind == 'zset' or kind == 'set' then
  local command = ({hash = 'HSCAN', zset = 'ZSCAN', set = 'SSCAN'})[kind]
  local page = call(command, key, cursor == '' and '0' or cursor, 'COUNT', 500)
  for _, value in ipairs(page[2]) do add(found, value) end
  cursor = page[1] == '0' and '' or page[1]
else
  cursor = ''
end
return {cursor, unpack(found)}
