The statements of the message log.

-- session --
SELECT id, next_position, updated_at, expires_at
FROM agentmem_sessions WHERE tenant = ? AND user_id = ? AND session_id = ?

-- add_session --
INSERT INTO agentmem_sessions
    (tenant, user_id, session_id, title, title_position, message_count, next_position, created_at, updated_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id

-- grow_session --
UPDATE agentmem_sessions
SET title = coalesce(title, :title), title_position = CASE WHEN title IS NULL THEN :title_position ELSE title_position END,
    message_count = message_count + :added, next_position = :next, updated_at = :now, expires_at = :expires_at
WHERE id = :session

-- settle_title --
-- A title goes with the message that it was taken from, and any title with the last message.
UPDATE agentmem_sessions SET title = NULL, title_position = NULL
WHERE id = :session AND title IS NOT NULL AND (message_count = 0 OR (title_position IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM agentmem_messages WHERE session = :session AND position = title_position
)))

-- take_title --
UPDATE agentmem_sessions SET title = :title, title_position = :position
WHERE id = :session AND title IS NULL
  AND EXISTS (SELECT 1 FROM agentmem_messages WHERE session = :session AND position = :position)

-- add_message --
INSERT INTO agentmem_messages
    (session, position, role, agent, ends_with_session, created_at, metadata, type, body, words, vector)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- oldest_of_newest --
-- The position of an agent's n-th newest message in a session, and that of its newest system message.
SELECT
    (SELECT position FROM agentmem_messages WHERE session = :session AND agent IS :agent
        ORDER BY position DESC LIMIT 1 OFFSET :n - 1),
    (SELECT max(position) FROM agentmem_messages WHERE session = :session AND agent IS :agent AND role = 'system')

-- trim --
DELETE FROM agentmem_messages WHERE session = ? AND agent IS ? AND position < ? AND position IS NOT ?

-- window --
-- The newest messages of a session, and the newest system message if it lies before them.
WITH session (id) AS (
    SELECT id FROM agentmem_sessions
    WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id
      AND (expires_at IS NULL OR expires_at > :now)
), newest AS (
    SELECT position, role, agent, ends_with_session, created_at, metadata, type, body
    FROM agentmem_messages WHERE session = (SELECT id FROM session)
    ORDER BY position DESC LIMIT :limit
)
SELECT * FROM newest
UNION ALL
SELECT * FROM (
    SELECT position, role, agent, ends_with_session, created_at, metadata, type, body
    FROM agentmem_messages WHERE session = (SELECT id FROM session) AND role = 'system'
    ORDER BY position DESC LIMIT 1
) WHERE position < (SELECT min(position) FROM newest)

-- window_of_agent --
-- The same for the messages of one agent.
WITH session (id) AS (
    SELECT id FROM agentmem_sessions
    WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id
      AND (expires_at IS NULL OR expires_at > :now)
), newest AS (
    SELECT position, role, agent, ends_with_session, created_at, metadata, type, body
    FROM agentmem_messages WHERE session = (SELECT id FROM session) AND agent = :agent
    ORDER BY position DESC LIMIT :limit
)
SELECT * FROM newest
UNION ALL
SELECT * FROM (
    SELECT position, role, agent, ends_with_session, created_at, metadata, type, body
    FROM agentmem_messages WHERE session = (SELECT id FROM session) AND role = 'system' AND agent = :agent
    ORDER BY position DESC LIMIT 1
) WHERE position < (SELECT min(position) FROM newest)

-- page --
SELECT position, role, agent, ends_with_session, created_at, metadata, type, body
FROM agentmem_messages
WHERE session = (
    SELECT id FROM agentmem_sessions
    WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id
      AND (expires_at IS NULL OR expires_at > :now)
) AND position > :after AND (:agent IS NULL OR agent = :agent)
ORDER BY position LIMIT :limit

-- index --
-- What searches know of messages; a message from before there were searches with its body.
SELECT session.session_id, message.position, message.role, message.created_at, message.words,
    CASE WHEN :vectors THEN message.vector END,
    CASE WHEN message.words IS NULL THEN message.type END, CASE WHEN message.words IS NULL THEN message.body END
FROM agentmem_sessions AS session CROSS JOIN agentmem_messages AS message ON message.session = session.id
WHERE session.tenant = :tenant AND session.user_id = :user_id
  AND (:session_id IS NULL OR session.session_id = :session_id)
  AND (session.expires_at IS NULL OR session.expires_at > :now)
  AND (:agent IS NULL OR message.agent = :agent)
ORDER BY session.id, message.position

-- rows --
SELECT position, role, agent, ends_with_session, created_at, metadata, message.type, body
FROM json_each(:positions) AS wanted CROSS JOIN agentmem_messages AS message ON message.position = wanted.value
WHERE message.session = (
    SELECT id FROM agentmem_sessions
    WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id
      AND (expires_at IS NULL OR expires_at > :now)
)

-- summary --
SELECT summary.value, summary.revision
FROM agentmem_sessions AS session JOIN agentmem_summaries AS summary ON summary.session = session.id
WHERE session.tenant = :tenant AND session.user_id = :user_id AND session.session_id = :session_id
  AND (session.expires_at IS NULL OR session.expires_at > :now) AND summary.agent = coalesce(:agent, '')

-- swap_summary --
-- Writes nothing when the session is not there, or the summary is not the one that is expected.
INSERT INTO agentmem_summaries (session, agent, value, revision)
SELECT id, coalesce(:agent, ''), :value, :revision FROM agentmem_sessions
WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id AND (expires_at IS NULL OR expires_at > :now)
  AND :expected IS (
    SELECT revision FROM agentmem_summaries WHERE session = agentmem_sessions.id AND agent = coalesce(:agent, '')
  )
ON CONFLICT (session, agent) DO UPDATE SET value = excluded.value, revision = excluded.revision

-- empty_summaries --
INSERT INTO agentmem_summaries (session, agent, value, revision)
SELECT :session, agent, '', abs(random() % 9000000000000000)
FROM (SELECT '' AS agent UNION SELECT coalesce(:agent, '') UNION SELECT agent FROM agentmem_summaries WHERE session = :session)
WHERE true
ON CONFLICT (session, agent) DO UPDATE SET value = excluded.value, revision = excluded.revision

-- count --
SELECT message_count FROM agentmem_sessions
WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id
  AND (expires_at IS NULL OR expires_at > :now)

-- count_of_agent --
SELECT count(*) FROM agentmem_messages
WHERE session = (
    SELECT id FROM agentmem_sessions
    WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id
      AND (expires_at IS NULL OR expires_at > :now)
) AND agent = :agent

-- delete_messages --
DELETE FROM agentmem_messages WHERE session = ?

-- delete_messages_of_agent --
DELETE FROM agentmem_messages WHERE session = ? AND agent = ?

-- delete_messages_of_session --
DELETE FROM agentmem_messages WHERE session = ? AND ends_with_session

-- shrink_session --
UPDATE agentmem_sessions SET message_count = message_count - ? WHERE id = ?

-- restart_session --
-- An expired session that is used again is a new one.
UPDATE agentmem_sessions
SET title = NULL, title_position = NULL, message_count = 0, next_position = 0, created_at = ?, updated_at = ?, expires_at = NULL
WHERE id = ?

-- sessions --
-- The sessions of a user, each with the summary of its history and that of messages passed as a list.
SELECT user_id, session_id, title, message_count, created_at, updated_at, expires_at,
    (SELECT value FROM agentmem_summaries WHERE session = agentmem_sessions.id AND agent = ''),
    (SELECT value FROM agentmem_summaries WHERE session = agentmem_sessions.id AND agent = char(31) || 'list')
FROM agentmem_sessions
WHERE tenant = ? AND user_id = ? AND (expires_at IS NULL OR expires_at > ?)
ORDER BY updated_at DESC, id DESC LIMIT ? OFFSET ?

-- sessions_of_all --
-- Same as `sessions`, for all users of a tenant.
SELECT user_id, session_id, title, message_count, created_at, updated_at, expires_at,
    (SELECT value FROM agentmem_summaries WHERE session = agentmem_sessions.id AND agent = ''),
    (SELECT value FROM agentmem_summaries WHERE session = agentmem_sessions.id AND agent = char(31) || 'list')
FROM agentmem_sessions
WHERE tenant = ? AND (expires_at IS NULL OR expires_at > ?)
ORDER BY updated_at DESC, id DESC LIMIT ? OFFSET ?

-- rename --
UPDATE agentmem_sessions SET title = ?, title_position = NULL
WHERE tenant = ? AND user_id = ? AND session_id = ? AND (expires_at IS NULL OR expires_at > ?)

-- delete_session --
DELETE FROM agentmem_sessions WHERE id = ?

-- expired --
SELECT id FROM agentmem_sessions WHERE tenant = ? AND expires_at <= ? LIMIT ?

-- next_sessions --
-- The unary plus keeps SQLite on the order of the ids.
SELECT id FROM agentmem_sessions WHERE +tenant = ? AND id > ? ORDER BY id LIMIT ?

-- unembed --
UPDATE agentmem_messages SET vector = NULL WHERE session = ? AND vector IS NOT NULL

-- unembedded --
-- Messages without vectors of so many bytes, of all users.
SELECT message.id, session.user_id, session.session_id,
    position, role, agent, ends_with_session, message.created_at, metadata, message.type, body
FROM agentmem_messages AS message CROSS JOIN agentmem_sessions AS session ON session.id = message.session
WHERE message.id > :after AND (message.vector IS NULL OR length(message.vector) <> :bytes) AND session.tenant = :tenant
  AND (session.expires_at IS NULL OR session.expires_at > :now)
ORDER BY message.id LIMIT :limit

-- embed --
-- A message never changes, but another may have taken its place.
UPDATE agentmem_messages SET vector = ?
WHERE session = (SELECT id FROM agentmem_sessions WHERE tenant = ? AND user_id = ? AND session_id = ?)
  AND position = ? AND body = ?
