The statements of the openings of sessions.

-- state --
-- Return the state of a session that has not expired. Parameters: tenant, user_id, session_id, now.
SELECT id, updated_at, metadata, timeout, openings, ends, exceptions, head FROM agentmem_sessions
WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id AND {alive}

-- open --
-- Store an opening. Parameters: session, openings, timeout, check_at, ends, exceptions, metadata, head.
UPDATE agentmem_sessions
SET openings = :openings, timeout = :timeout, check_at = :check_at, ends = :ends, exceptions = :exceptions, metadata = :metadata,
    head = :head
WHERE id = :session

-- close --
-- Store the openings that are left. Parameters: openings, session.
UPDATE agentmem_sessions SET openings = ? WHERE id = ?

-- close_all --
-- End all openings. Parameter: session.
UPDATE agentmem_sessions SET openings = '[]', timeout = NULL, check_at = NULL WHERE id = ?

-- delete_variables --
-- Delete the variables that end with a session. Parameters: session, ends, exceptions.
DELETE FROM agentmem_variables
WHERE session <> 0 AND session = :session AND (agent IN (SELECT value FROM json_each(:exceptions))) <> :ends

-- delete_empty --
-- Delete a session without messages, records and variables. Parameter: session.
DELETE FROM agentmem_sessions WHERE id = :session AND message_count = 0
  AND NOT EXISTS (SELECT 1 FROM agentmem_records WHERE session = :session)
  AND NOT EXISTS (SELECT 1 FROM agentmem_variables WHERE session <> 0 AND session = :session)

-- change_ending --
-- Replace the ending. Parameters: those of `living_session`, ends, exceptions.
UPDATE agentmem_sessions SET ends = :ends, exceptions = :exceptions WHERE id = {living_session}

-- change_metadata --
-- Replace the metadata and the head. Parameters: those of `living_session`, metadata, head.
UPDATE agentmem_sessions SET metadata = :metadata, head = :head WHERE id = {living_session}

-- get --
-- Return a session. Parameters: those of `living_session`.
SELECT {listed_session} FROM agentmem_sessions WHERE id = {living_session}

-- agents --
-- Count the messages of each agent. Parameters: those of `living_session`.
SELECT agent, count(*) FROM agentmem_messages WHERE session = {living_session} GROUP BY agent ORDER BY min(position)

-- tally --
-- Count the records of each agent and status. Parameters: those of `living_session`.
SELECT agent, status, count(*) FROM agentmem_records WHERE session = {living_session}
GROUP BY agent, status ORDER BY min(id)

-- postpone --
-- Postpone the checks of sessions that were used since. Parameters: tenant, now.
UPDATE agentmem_sessions SET check_at = updated_at + timeout
WHERE tenant = :tenant AND check_at <= :now AND updated_at + timeout > :now

-- abandoned --
-- Return the sessions whose check is due. Parameters: tenant, now, limit.
SELECT user_id, session_id FROM agentmem_sessions WHERE tenant = :tenant AND check_at <= :now AND {alive} LIMIT :limit
