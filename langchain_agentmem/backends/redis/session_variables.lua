The script that sets variables of sessions. Its KEYS are those of a session; see history.lua.

-- set_variables --
-- Set variables of a session, which is a use of the session.
-- KEYS: the keys of the session.
-- ARGV: now, identity, ttl of the session ('' to leave its expiry unchanged), 1 if this ttl is sliding, agent; then for each
--   variable: name, JSON text, ttl ('' for none).
use_session(tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1')
write_variables(VARIABLES, ARGV[5], tonumber(ARGV[1]), 6)
keep_expiry()
