The statements of rows that were not used for a long time.

-- sessions --
-- Return the sessions that were not used since a time and are not open, after the ID of the first column. Parameters: tenant, after (the last ID),
-- before, limit, now. The unary plus makes SQLite follow the primary key.
SELECT id, {listed_session} FROM agentmem_sessions
WHERE +tenant = :tenant AND id > :after AND updated_at < :before AND {alive} AND {not_open}
ORDER BY id LIMIT :limit

-- session --
-- Return a session, after its ID, true if it is not open, and the revision of its summary. Parameters: those of `living_session`.
SELECT id, {not_open}, (SELECT revision FROM agentmem_summaries WHERE session = agentmem_sessions.id AND agent = ''), {listed_session}
FROM agentmem_sessions WHERE id = {living_session}

-- messages --
-- Return older messages in sessions that were used since, after the message's ID and the session's key. Parameters: tenant, after
-- (the last ID), before, every (true: in all sessions), limit, now.
SELECT message.id, session.user_id, session.session_id,
    position, role, agent, ends_with_session, message.created_at, message.metadata, message.type, body
FROM agentmem_messages AS message CROSS JOIN agentmem_sessions AS session ON session.id = message.session
WHERE message.id > :after AND message.created_at < :before AND session.tenant = :tenant
  AND (:every OR session.updated_at >= :before) AND {alive:session}
ORDER BY message.id LIMIT :limit

-- unchanged --
-- Return the agent of a message if the message has not changed. Parameters: session, position, body.
SELECT agent FROM agentmem_messages WHERE session = ? AND position = ? AND body = ?

-- delete_message --
-- Delete a message. Parameters: session, position.
DELETE FROM agentmem_messages WHERE session = ? AND position = ?

-- threads --
-- Return the threads that were not used since a time. Parameters: those of `sessions`.
SELECT {listed_thread} FROM agentmem_threads
WHERE +tenant = :tenant AND id > :after AND updated_at < :before AND {alive}
ORDER BY id LIMIT :limit

-- used --
-- Return the time of a thread's last use. Parameters: tenant, thread_id.
SELECT updated_at FROM agentmem_threads WHERE tenant = ? AND thread_id = ?

-- variables --
-- Return the variables of users that were not updated since a time, after the ID of the first column. Parameters: those of
-- `sessions`.
SELECT id, user_id, agent, name, value, created_at, updated_at, expires_at FROM agentmem_variables
WHERE +tenant = :tenant AND id > :after AND session = 0 AND user_id <> '' AND updated_at < :before AND {alive}
ORDER BY id LIMIT :limit

-- delete_variable --
-- Delete a variable of a user, unless it was updated. Parameters: tenant, user_id, agent, name, updated_at.
DELETE FROM agentmem_variables
WHERE tenant = ? AND user_id = ? AND session = 0 AND agent = ? AND name = ? AND updated_at = ?

-- session_variables --
-- Return the variables of a session. Parameters: those of `living_session`.
SELECT agent, name, value, created_at, updated_at, expires_at FROM agentmem_variables
WHERE session <> 0 AND session = {living_session} AND {alive}
