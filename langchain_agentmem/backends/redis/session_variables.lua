The scripts that set variables of sessions. Their KEYS are those of a session; see history.lua.

-- set_variables --
-- Set variables of a session, which is a use of the session. Return 0, and set none, if the head changed.
-- KEYS: the keys of the session.
-- ARGV: now, identity, ttl of the session ('' to leave its expiry unchanged), 1 if this ttl is sliding, agent, those of `swap_head`;
--   then for each variable: name, JSON text, ttl ('' for none).
use_session(tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1')
local is_done = swap_head(VARIABLES, ARGV[5], tonumber(ARGV[1]), 6)
if is_done then write_variables(VARIABLES, ARGV[5], tonumber(ARGV[1]), 10) end
keep_expiry()
return is_done and 1 or 0

-- open --
-- Open the session, and set variables of it. An open session keeps the longer timeout. Return the metadata and the head. An opening that was
-- withdrawn before it arrived changes nothing. Return -1, and open nothing, if a head changed.
-- KEYS: the keys of the session.
-- ARGV: now, identity, ttl ('' to leave the expiry unchanged), 1 if the ttl is sliding, token, timeout ('' for none), metadata (''
--   to leave them unchanged), ends, exceptions (framed); those of `replace_head`; agent, head and variables as for
--   `set_variables`.
if result_by_token(TOKENS, ARGV[5]) == 'withdrawn' then return false end
local now, timeout = tonumber(ARGV[1]), tonumber(ARGV[6])
if session_is_alive(now) and time_of_end() <= now then end_session() end
use_session(now, ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1')
if not may_replace_head(10) or not may_swap_head(VARIABLES, ARGV[13], now, 14) then
  keep_expiry()
  return -1
end
local state = call('HMGET', SESSION, 'openings', 'timeout')
local openings = state[1] or ''
if openings ~= '' then
  timeout = timeout and state[2] and math.max(timeout, tonumber(state[2]))
end
if not string.find(' ' .. openings .. ' ', ' ' .. ARGV[5] .. ' ', 1, true) then
  openings = openings == '' and ARGV[5] or openings .. ' ' .. ARGV[5]
end
call('HSET', SESSION, 'openings', openings, 'ends', ARGV[8], 'exceptions', ARGV[9])
if timeout then call('HSET', SESSION, 'timeout', string.format('%.17g', timeout)) else call('HDEL', SESSION, 'timeout') end
replace_head(10)
if ARGV[7] ~= '' then call('HSET', SESSION, 'metadata', ARGV[7]) end
swap_head(VARIABLES, ARGV[13], now, 14)
write_variables(VARIABLES, ARGV[13], now, 18)
keep_expiry()
return call('HMGET', SESSION, 'metadata', 'head')
