Scripts of records. A record is a member of a sorted set with the score 0, so the set is sorted by the IDs of the records.
Each user (and nobody) has an index in one slot:

  records            A sorted set: the records without a session, and references to the others, which are in the slots of their
                     sessions.
  session:<digest>   A set: the IDs of the references to one session's records.

A member is the ID (36 characters), one character for its kind, the agent and the status (framed), and the rest. The kinds are
- (a record), e (a record that ends with its session) and s (a reference; the rest is the ID of the session).

-- shared --
local ID, IN_PAGE, MOST_SCANNED = 36, 100, 5000

-- Remove the member with an ID. Return the number of removed members.
local function remove(index, id)
  return call('ZREMRANGEBYLEX', index, '[' .. id, '(' .. id .. '\255')
end

-- Return true if a member is of an agent and has a status ('*' for any, or = and the name).
local function matches(member, agent, status)
  local length = struct.unpack('>I', member, ID + 2)
  local at = ID + 6 + length
  if agent ~= '*' and agent ~= '=' .. string.sub(member, ID + 6, at - 1) then return false end
  return status == '*' or status == '=' .. string.sub(member, at + 4, at + 3 + struct.unpack('>I', member, at))
end

-- refer --
-- Add a record without a session, or a reference to a record of a session.
-- KEYS: the index; for a reference, the session's set.
-- ARGV: the member.
remove(KEYS[1], string.sub(ARGV[1], 1, ID)) -- a repeated one under another data key has other bytes
call('ZADD', KEYS[1], 0, ARGV[1])
if KEYS[2] then call('SADD', KEYS[2], string.sub(ARGV[1], 1, ID)) end

-- find --
-- Return members between two bounds, and first the bound to continue from ('' if the range was read to its end).
-- KEYS: an index, or the records of a session and its hash.
-- ARGV: now, the first and the last bound in the syntax of ZRANGEBYLEX, 1 for descending order, agent and status (see
--   `matches`), maximum number of members.
if KEYS[2] and not is_alive(call('HGET', KEYS[2], 'expires'), tonumber(ARGV[1])) then return {''} end
local command, behind = 'ZRANGEBYLEX', '\255'
if ARGV[4] == '1' then command, behind = 'ZREVRANGEBYLEX', '' end
local bound, limit, found, scanned = ARGV[2], tonumber(ARGV[7]), {}, 0
while true do
  local page = call(command, KEYS[1], bound, ARGV[3], 'LIMIT', 0, IN_PAGE)
  for _, member in ipairs(page) do
    if #found == limit then return {bound, unpack(found)} end
    bound = '(' .. string.sub(member, 1, ID) .. behind
    if matches(member, ARGV[5], ARGV[6]) then found[#found + 1] = member end
  end
  scanned = scanned + #page
  if #page < IN_PAGE then return {'', unpack(found)} end
  if #found == limit or scanned >= MOST_SCANNED then return {bound, unpack(found)} end
end

-- rows --
-- Return the records with some IDs, as far as they exist.
-- KEYS: the records of a session, its hash.
-- ARGV: now, IDs.
local found = {}
if not is_alive(call('HGET', KEYS[2], 'expires'), tonumber(ARGV[1])) then return found end
for at = 2, ARGC do
  found[#found + 1] = call('ZRANGEBYLEX', KEYS[1], '[' .. ARGV[at], '(' .. ARGV[at] .. '\255', 'LIMIT', 0, 1)[1]
end
return found

-- count --
-- Return the number of members.
-- KEYS: the index.
-- ARGV: none.
return call('ZCARD', KEYS[1])

-- delete --
-- Remove members. Return their number, and the number of members that remain.
-- KEYS: an index, or the records of a session; for references, the session's set.
-- ARGV: IDs.
local removed = 0
for at = 1, ARGC do
  removed = removed + remove(KEYS[1], ARGV[at])
  if KEYS[2] then call('SREM', KEYS[2], ARGV[at]) end
end
return {removed, call('ZCARD', KEYS[1])}

-- forget_session --
-- Remove the references to the records of a session. Return the number of members that remain.
-- KEYS: the index, the session's set.
-- ARGV: none.
local ids
repeat
  ids = call('SPOP', KEYS[2], 500)
  for _, id in ipairs(ids) do remove(KEYS[1], id) end
until #ids == 0
return call('ZCARD', KEYS[1])

-- tally --
-- Count records without a session. Return the bound to continue from ('' after the last), the number of records, and their agents.
-- KEYS: the index.
-- ARGV: the first bound in the syntax of ZRANGEBYLEX.
local bound, scanned, count, agents, seen = ARGV[1], 0, 0, {}, {}
while scanned < MOST_SCANNED do
  local page = call('ZRANGEBYLEX', KEYS[1], bound, '+', 'LIMIT', 0, IN_PAGE)
  for _, member in ipairs(page) do
    bound = '(' .. member
    if string.sub(member, ID + 1, ID + 1) ~= 's' then
      count = count + 1
      local agent = string.sub(member, ID + 6, ID + 5 + struct.unpack('>I', member, ID + 2))
      if not seen[agent] then
        seen[agent] = true
        agents[#agents + 1] = agent
      end
    end
  end
  scanned = scanned + #page
  if #page < IN_PAGE then return {'', count, agents} end
end
return {bound, count, agents}
