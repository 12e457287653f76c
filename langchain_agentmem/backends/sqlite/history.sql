The statements of the message log.

-- session --
-- Find a session, expired or not. Parameters: tenant, user_id, session_id.
SELECT id, next_position, updated_at, expires_at
FROM agentmem_sessions WHERE tenant = ? AND user_id = ? AND session_id = ?

-- add_session --
-- Add a session and return its ID. Parameters: the columns.
INSERT INTO agentmem_sessions
    (tenant, user_id, session_id, title, title_position, message_count, next_position, created_at, updated_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id

-- grow_session --
-- Count added messages, and set the title if there is none. Parameters: session, title, title_position, added, next
-- (position), now, expires_at.
UPDATE agentmem_sessions
SET title = coalesce(title, :title), title_position = CASE WHEN title IS NULL THEN :title_position ELSE title_position END,
    message_count = message_count + :added, next_position = :next, updated_at = :now, expires_at = :expires_at
WHERE id = :session

-- settle_title --
-- Delete a title whose message was deleted, and any title of an empty session. Parameter: session.
UPDATE agentmem_sessions SET title = NULL, title_position = NULL
WHERE id = :session AND title IS NOT NULL AND (message_count = 0 OR (title_position IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM agentmem_messages WHERE session = :session AND position = title_position
)))

-- take_title --
-- Set the title of an untitled session, if the message that it comes from is stored. Parameters: session, position, title.
UPDATE agentmem_sessions SET title = :title, title_position = :position
WHERE id = :session AND title IS NULL
  AND EXISTS (SELECT 1 FROM agentmem_messages WHERE session = :session AND position = :position)

-- add_message --
-- Add a message. Parameters: the columns.
INSERT INTO agentmem_messages
    (session, position, role, agent, ends_with_session, created_at, metadata, type, body, words, vector)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- oldest_of_newest --
-- Return the position of an agent's n-th newest message, and of its newest system message. Parameters: session, agent, n.
SELECT
    (SELECT position FROM agentmem_messages WHERE session = :session AND agent IS :agent
        ORDER BY position DESC LIMIT 1 OFFSET :n - 1),
    (SELECT max(position) FROM agentmem_messages WHERE session = :session AND agent IS :agent AND role = 'system')

-- trim --
-- Delete an agent's messages before a position, but for one. Parameters: session, agent, position, the position to keep.
DELETE FROM agentmem_messages WHERE session = ? AND agent IS ? AND position < ? AND position IS NOT ?

-- window --
-- Return the newest messages of a session, and its newest system message if that is older. Parameters: those of
-- `living_session`, limit.
WITH newest AS (
    SELECT {message} FROM agentmem_messages WHERE session = {living_session}
    ORDER BY position DESC LIMIT :limit
)
SELECT * FROM newest
UNION ALL
SELECT * FROM (
    SELECT {message} FROM agentmem_messages WHERE session = {living_session} AND role = 'system'
    ORDER BY position DESC LIMIT 1
) WHERE position < (SELECT min(position) FROM newest)

-- window_of_agent --
-- Same as `window`, for the messages of one agent. Parameters: those of `living_session`, agent, limit.
WITH newest AS (
    SELECT {message} FROM agentmem_messages WHERE session = {living_session} AND agent = :agent
    ORDER BY position DESC LIMIT :limit
)
SELECT * FROM newest
UNION ALL
SELECT * FROM (
    SELECT {message} FROM agentmem_messages WHERE session = {living_session} AND role = 'system' AND agent = :agent
    ORDER BY position DESC LIMIT 1
) WHERE position < (SELECT min(position) FROM newest)

-- page --
-- Return messages after a position, oldest first. Parameters: those of `living_session`, after, agent (NULL: all), limit.
SELECT {message} FROM agentmem_messages
WHERE session = {living_session} AND position > :after AND (:agent IS NULL OR agent = :agent)
ORDER BY position LIMIT :limit

-- index --
-- Return the search index of messages; a message without index, from an early version, comes with its body. Parameters:
-- tenant, user_id, session_id (NULL: all), agent (NULL: all), vectors (whether to return them), now.
SELECT session.session_id, message.position, message.role, message.created_at, message.words,
    CASE WHEN :vectors THEN message.vector END,
    CASE WHEN message.words IS NULL THEN message.type END, CASE WHEN message.words IS NULL THEN message.body END
FROM agentmem_sessions AS session CROSS JOIN agentmem_messages AS message ON message.session = session.id
WHERE session.tenant = :tenant AND session.user_id = :user_id
  AND (:session_id IS NULL OR session.session_id = :session_id) AND {alive:session}
  AND (:agent IS NULL OR message.agent = :agent)
ORDER BY session.id, message.position

-- rows --
-- Return the messages at some positions of a session. Parameters: those of `living_session`, positions (a JSON list).
SELECT position, role, agent, ends_with_session, created_at, metadata, message.type, body
FROM json_each(:positions) AS wanted CROSS JOIN agentmem_messages AS message ON message.position = wanted.value
WHERE message.session = {living_session}

-- summary --
-- Return a summary and its revision. Parameters: those of `living_session`, agent (NULL: the summary of the history).
SELECT value, revision FROM agentmem_summaries WHERE session = {living_session} AND agent = coalesce(:agent, '')

-- swap_summary --
-- Write a summary if the session exists and the stored revision is `expected` (NULL: no summary). Parameters: tenant,
-- user_id, session_id, agent, value, revision, expected, now.
INSERT INTO agentmem_summaries (session, agent, value, revision)
SELECT id, coalesce(:agent, ''), :value, :revision FROM agentmem_sessions
WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id AND {alive}
  AND :expected IS (
    SELECT revision FROM agentmem_summaries WHERE session = agentmem_sessions.id AND agent = coalesce(:agent, '')
  )
ON CONFLICT (session, agent) DO UPDATE SET value = excluded.value, revision = excluded.revision

-- empty_summaries --
-- Empty all summaries of a session, also one that is being written. Parameters: session, agent.
INSERT INTO agentmem_summaries (session, agent, value, revision)
SELECT :session, agent, '', abs(random() % 9000000000000000)
FROM (SELECT '' AS agent UNION SELECT coalesce(:agent, '') UNION SELECT agent FROM agentmem_summaries WHERE session = :session)
WHERE true
ON CONFLICT (session, agent) DO UPDATE SET value = excluded.value, revision = excluded.revision

-- count --
-- Count the messages of a session. Parameters: tenant, user_id, session_id, now.
SELECT message_count FROM agentmem_sessions
WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id AND {alive}

-- count_of_agent --
-- Count the messages of one agent. Parameters: those of `living_session`, agent.
SELECT count(*) FROM agentmem_messages WHERE session = {living_session} AND agent = :agent

-- delete_messages --
-- Delete all messages. Parameter: session.
DELETE FROM agentmem_messages WHERE session = ?

-- delete_messages_of_agent --
-- Delete the messages of one agent. Parameters: session, agent.
DELETE FROM agentmem_messages WHERE session = ? AND agent = ?

-- delete_messages_of_session --
-- Delete the messages with the retention policy `session`. Parameter: session.
DELETE FROM agentmem_messages WHERE session = ? AND ends_with_session

-- delete_records_of_session --
-- Delete the records with the retention policy `session`. Parameters: tenant, user_id, session_id.
DELETE FROM agentmem_records WHERE ends_with_session AND session = (
    SELECT id FROM agentmem_sessions WHERE tenant = ? AND user_id = ? AND session_id = ?
)

-- delete_variables_of_session --
-- Delete the variables of a session. Parameters: tenant, user_id, session_id.
DELETE FROM agentmem_variables WHERE session <> 0 AND session = (
    SELECT id FROM agentmem_sessions WHERE tenant = ? AND user_id = ? AND session_id = ?
)

-- shrink_session --
-- Subtract deleted messages from the count. Parameters: their number, session.
UPDATE agentmem_sessions SET message_count = message_count - ? WHERE id = ?

-- restart_session --
-- Make an expired session a new one. Parameters: created_at, updated_at, session.
UPDATE agentmem_sessions
SET title = NULL, title_position = NULL, message_count = 0, next_position = 0, created_at = ?, updated_at = ?, expires_at = NULL
WHERE id = ?

-- sessions --
-- Return a user's sessions, most recently used first. Parameters: tenant, user_id, limit, offset, now.
SELECT {listed_session} FROM agentmem_sessions
WHERE tenant = :tenant AND user_id = :user_id AND {alive}
ORDER BY updated_at DESC, id DESC LIMIT :limit OFFSET :offset

-- sessions_of_all --
-- Same as `sessions`, for all users. Parameters: tenant, limit, offset, now.
SELECT {listed_session} FROM agentmem_sessions
WHERE tenant = :tenant AND {alive}
ORDER BY updated_at DESC, id DESC LIMIT :limit OFFSET :offset

-- rename --
-- Set the title. Parameters: those of `living_session`, title.
UPDATE agentmem_sessions SET title = :title, title_position = NULL WHERE id = {living_session}

-- delete_session --
-- Delete a session without messages. Parameter: session.
DELETE FROM agentmem_sessions WHERE id = ?

-- expired --
-- Return the IDs of expired sessions. Parameters: tenant, now, limit.
SELECT id FROM agentmem_sessions WHERE tenant = ? AND expires_at <= ? LIMIT ?

-- next_sessions --
-- Return the next session IDs. The unary plus makes SQLite follow the primary key. Parameters: tenant, the last ID, limit.
SELECT id FROM agentmem_sessions WHERE +tenant = ? AND id > ? ORDER BY id LIMIT ?

-- unembed --
-- Delete the vectors of a session. Parameter: session.
UPDATE agentmem_messages SET vector = NULL WHERE session = ? AND vector IS NOT NULL

-- unembedded --
-- Return messages of all users without vectors of a size. Parameters: tenant, bytes (the size), after (the last ID), limit,
-- now.
SELECT message.id, session.user_id, session.session_id,
    position, role, agent, ends_with_session, message.created_at, message.metadata, message.type, body
FROM agentmem_messages AS message CROSS JOIN agentmem_sessions AS session ON session.id = message.session
WHERE message.id > :after AND (message.vector IS NULL OR length(message.vector) <> :bytes) AND session.tenant = :tenant
  AND {alive:session}
ORDER BY message.id LIMIT :limit

-- embed --
-- Set a message's vector, unless another message has its position now. Parameters: vector, tenant, user_id, session_id,
-- position, body.
UPDATE agentmem_messages SET vector = ?
WHERE session = (SELECT id FROM agentmem_sessions WHERE tenant = ? AND user_id = ? AND session_id = ?)
  AND position = ? AND body = ?

-- set_words --
-- Set a message's words, unless another message has its position now. Parameters: words, tenant, user_id, session_id, position,
-- body.
UPDATE agentmem_messages SET words = ?
WHERE session = (SELECT id FROM agentmem_sessions WHERE tenant = ? AND user_id = ? AND session_id = ?)
  AND position = ? AND body = ?
