The statements of the message log.

-- session --
-- Find a session, expired or not. Parameters: tenant, user_id, session_id.
SELECT id, next_position, updated_at, expires_at
FROM agentmem_sessions WHERE tenant = ? AND user_id = ? AND session_id = ?

-- head --
-- Return the position of a session's next message, and its head. Parameters: those of `living_session`.
SELECT next_position, head FROM agentmem_sessions WHERE id = {living_session}

-- swap_head --
-- Replace a session's head if it is `expected` (NULL: none) or the new one. Parameters: those of `living_session`, expected, head.
UPDATE agentmem_sessions SET head = :head WHERE id = {living_session} AND (head IS :expected OR head IS :head)

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
    (session, position, role, agent, ends_with_session, created_at, metadata, type, body, words, vector, id_digest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

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

-- versions --
-- Return the versions of a user's sessions. Parameters: tenant, user_id, session_id (NULL: all).
SELECT id, session_id, edition, next_position, expires_at FROM agentmem_sessions
WHERE tenant = :tenant AND user_id = :user_id AND (:session_id IS NULL OR session_id = :session_id)

-- fingerprint --
-- Return sums over the versions of a user's sessions. Editions are random, so different versions have different sums. Parameters:
-- those of `versions`.
SELECT count(*), sum(edition & 4294967295), sum(edition >> 32), sum(next_position), total(expires_at) FROM agentmem_sessions
WHERE tenant = :tenant AND user_id = :user_id AND (:session_id IS NULL OR session_id = :session_id)

-- entries --
-- Return messages as searches see them, with the ID of their session. Parameters: wanted (a JSON list: for each session its ID and
-- a position; earlier messages are left out), vectors (whether to return them). The order of the loops is that of the result.
SELECT message.session, message.position, message.role, message.agent, message.created_at, message.words,
    CASE WHEN :vectors THEN message.vector END,
    CASE WHEN message.words IS NULL THEN message.type END, CASE WHEN message.words IS NULL THEN message.body END
FROM json_each(:wanted) AS wanted CROSS JOIN agentmem_messages AS message
    ON message.session = json_extract(wanted.value, '$[0]') AND message.position >= json_extract(wanted.value, '$[1]')

-- rows --
-- Return the messages at some positions of a session. Parameters: those of `living_session`, positions (a JSON list).
SELECT position, role, agent, ends_with_session, created_at, metadata, message.type, body
FROM json_each(:positions) AS wanted CROSS JOIN agentmem_messages AS message ON message.position = wanted.value
WHERE message.session = {living_session}

-- summary --
-- Return a summary and its revision. Parameters: those of `living_session`, agent (NULL: the summary of the history).
SELECT value, revision, covers FROM agentmem_summaries WHERE session = {living_session} AND agent = coalesce(:agent, '')

-- swap_summary --
-- Write a summary if the session exists and the stored revision is `expected` (NULL: no summary). Parameters: tenant,
-- user_id, session_id, agent, value, revision, covers, expected, now.
INSERT INTO agentmem_summaries (session, agent, value, revision, covers)
SELECT id, coalesce(:agent, ''), :value, :revision, :covers FROM agentmem_sessions
WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id AND {alive}
  AND :expected IS (
    SELECT revision FROM agentmem_summaries WHERE session = agentmem_sessions.id AND agent = coalesce(:agent, '')
  )
ON CONFLICT (session, agent) DO UPDATE SET value = excluded.value, revision = excluded.revision, covers = excluded.covers

-- revise_summaries --
-- Change the revisions of summaries, and empty those that tell a changed message; one that is being written is one of them.
-- Parameters: session, agents (a JSON list), first (the position of the first changed message).
INSERT INTO agentmem_summaries (session, agent, value, revision)
SELECT :session, json_each.value, '', abs(random() % 9000000000000000) FROM json_each(:agents) WHERE true
ON CONFLICT (session, agent) DO UPDATE SET
    value = CASE WHEN covers <= :first THEN value ELSE '' END,
    covers = CASE WHEN covers <= :first THEN covers END,
    revision = excluded.revision

-- agents --
-- Return the agents that have messages or summaries. Parameter: session.
SELECT agent FROM agentmem_messages WHERE session = :session AND agent IS NOT NULL
UNION SELECT agent FROM agentmem_summaries WHERE session = :session

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

-- chosen --
-- Return the positions and agents of messages. Parameters: session; agent, ids (a JSON list of digests in hexadecimal), before,
-- after (a position), ending (1 for messages with the retention policy `session`), each NULL for any.
SELECT position, agent FROM agentmem_messages
WHERE session = :session AND (:agent IS NULL OR agent = :agent)
  AND (:ids IS NULL OR hex(id_digest) IN (SELECT value FROM json_each(:ids)))
  AND (:before IS NULL OR created_at < :before) AND (:after IS NULL OR position > :after)
  AND (:ending IS NULL OR ends_with_session = :ending)
ORDER BY position

-- delete_chosen --
-- Delete the messages at some positions. Parameters: session, positions (a JSON list).
DELETE FROM agentmem_messages WHERE session = ? AND position IN (SELECT value FROM json_each(?))

-- unidentified --
-- Find a message without the digest of its ID. Parameter: session.
SELECT 1 FROM agentmem_messages WHERE session = ? AND id_digest IS NULL LIMIT 1

-- identify --
-- Set the digest of a message's ID, unless it has one or the message changed. Parameters: id_digest, tenant, user_id,
-- session_id, position, body.
UPDATE agentmem_messages SET id_digest = ?
WHERE session = (SELECT id FROM agentmem_sessions WHERE tenant = ? AND user_id = ? AND session_id = ?)
  AND position = ? AND body = ? AND id_digest IS NULL

-- replace --
-- Replace the messages with an ID, and return their new rows. Parameters: session, agent (NULL: any), id_digest, role,
-- keeps_time, created_at, keeps_metadata, metadata, type, body, words, vector.
UPDATE agentmem_messages SET
    role = :role, type = :type, body = :body, words = :words, vector = :vector,
    created_at = CASE WHEN :keeps_time THEN created_at ELSE :created_at END,
    metadata = CASE WHEN :keeps_metadata THEN metadata ELSE :metadata END
WHERE session = :session AND id_digest = :id_digest AND (:agent IS NULL OR agent = :agent)
RETURNING {message}

-- retitle --
-- Set the title that a new message suggests, if the title was taken from a replaced message or there is none. Parameters:
-- session, title (NULL: none), positions (a JSON list).
UPDATE agentmem_sessions
SET title = :title, title_position = CASE WHEN :title IS NOT NULL THEN coalesce(title_position, json_extract(:positions, '$[0]')) END
WHERE id = :session AND (
    title_position IN (SELECT value FROM json_each(:positions)) OR (title IS NULL AND :title IS NOT NULL)
)

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
SET title = NULL, title_position = NULL, message_count = 0, next_position = 0, head = NULL, created_at = ?, updated_at = ?, expires_at = NULL
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

-- users --
-- Return the users that have sessions. Parameters: tenant, now.
SELECT DISTINCT user_id FROM agentmem_sessions WHERE tenant = :tenant AND user_id <> '' AND {alive}

-- session_ids --
-- Return the IDs of a user's sessions, in order, expired or not. Parameters: tenant, user_id, after (an ID), limit.
SELECT session_id FROM agentmem_sessions WHERE tenant = ? AND user_id = ? AND session_id > ? ORDER BY session_id LIMIT ?

-- rename --
-- Set the title, and replace the head if one is given. Parameters: those of `living_session`, title, expected (the former head; NULL:
-- none), head (NULL: it stays).
UPDATE agentmem_sessions SET title = :title, title_position = NULL, head = coalesce(:head, head)
WHERE id = {living_session} AND (:head IS NULL OR head IS :expected OR head IS :head)

-- restore_session --
-- Set the properties of a session. Parameters: those of `living_session`, title and metadata (NULL: unchanged).
UPDATE agentmem_sessions SET
    title_position = CASE WHEN :title IS NULL THEN title_position END, title = coalesce(:title, title),
    metadata = coalesce(:metadata, metadata)
WHERE id = {living_session}

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
