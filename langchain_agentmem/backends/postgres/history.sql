The statements of the message log; `{schema}` is the schema of the tables, with its dot.

-- append --
SELECT {schema}agentmem_append(
    %s, %s, %s, %s, %s, %s::bytea[], %s::bigint[], %s, %s, %s, %s, %s, %s,
    %b::text[], %b::text[], %s::boolean[], %s::double precision[], %b::text[], %b::text[], %s::bytea[],
    %s::bytea[], %s::bytea[]
)

-- window --
SELECT * FROM {schema}agentmem_window(%s, %s, %s, %s)

-- page --
SELECT position, role, agent, ends_with_session, created_at, metadata, type, body
FROM {schema}agentmem_messages
WHERE session = (
    SELECT id FROM {schema}agentmem_sessions
    WHERE place = %(place)s AND (expires_at IS NULL OR expires_at > %(now)s)
) AND position > %(after)s AND (%(agent)s::text IS NULL OR agent = %(agent)s)
ORDER BY position LIMIT %(limit)s

-- index --
-- What searches know of messages; a message from before there were searches with its body.
SELECT session.session_id, message.position, message.role, message.created_at, message.words,
    CASE WHEN %(vectors)s THEN message.vector END,
    CASE WHEN message.words IS NULL THEN message.type END, CASE WHEN message.words IS NULL THEN message.body END
FROM {schema}agentmem_sessions AS session JOIN {schema}agentmem_messages AS message ON message.session = session.id
WHERE session.owner = %(owner)s AND (%(place)s::bytea IS NULL OR session.place = %(place)s)
  AND (session.expires_at IS NULL OR session.expires_at > %(now)s)
  AND (%(agent)s::text IS NULL OR message.agent = %(agent)s)
ORDER BY session.id, message.position

-- rows --
SELECT session.session_id, message.position, message.role, message.agent, message.ends_with_session, message.created_at,
    message.metadata, message.type, message.body
FROM unnest(%(places)s::bytea[], %(positions)s::bigint[]) AS wanted (place, position)
JOIN {schema}agentmem_sessions AS session ON session.place = wanted.place
JOIN {schema}agentmem_messages AS message ON message.session = session.id AND message.position = wanted.position
WHERE session.expires_at IS NULL OR session.expires_at > %(now)s

-- count --
SELECT message_count FROM {schema}agentmem_sessions
WHERE place = %(place)s AND (expires_at IS NULL OR expires_at > %(now)s)

-- count_of_agent --
SELECT count(*) FROM {schema}agentmem_messages
WHERE session = (
    SELECT id FROM {schema}agentmem_sessions
    WHERE place = %(place)s AND (expires_at IS NULL OR expires_at > %(now)s)
) AND agent = %(agent)s

-- summary --
SELECT summary.value, summary.revision
FROM {schema}agentmem_sessions AS session JOIN {schema}agentmem_summaries AS summary ON summary.session = session.id
WHERE session.place = %(place)s AND (session.expires_at IS NULL OR session.expires_at > %(now)s)
  AND summary.agent = coalesce(%(agent)s, '')

-- swap_summary --
SELECT {schema}agentmem_swap_summary(%s, %s, %s, %s, %s, %s)

-- forget --
SELECT {schema}agentmem_forget_messages(%s, %s, %s)

-- sessions --
-- The sessions of a user, each with the summary of its history and that of messages passed as a list.
SELECT user_id, session_id, title, message_count, created_at, updated_at, expires_at,
    (SELECT value FROM {schema}agentmem_summaries WHERE session = agentmem_sessions.id AND agent = ''),
    (SELECT value FROM {schema}agentmem_summaries WHERE session = agentmem_sessions.id AND agent = chr(31) || 'list')
FROM {schema}agentmem_sessions
WHERE owner = %s AND (expires_at IS NULL OR expires_at > %s)
ORDER BY updated_at DESC, id DESC LIMIT %s OFFSET %s

-- sessions_of_all --
-- Same as `sessions`, for all users of a tenant.
SELECT user_id, session_id, title, message_count, created_at, updated_at, expires_at,
    (SELECT value FROM {schema}agentmem_summaries WHERE session = agentmem_sessions.id AND agent = ''),
    (SELECT value FROM {schema}agentmem_summaries WHERE session = agentmem_sessions.id AND agent = chr(31) || 'list')
FROM {schema}agentmem_sessions
WHERE tenant = %s AND (expires_at IS NULL OR expires_at > %s)
ORDER BY updated_at DESC, id DESC LIMIT %s OFFSET %s

-- rename --
UPDATE {schema}agentmem_sessions SET title = %s, title_position = NULL WHERE place = %s AND (expires_at IS NULL OR expires_at > %s)

-- delete --
SELECT {schema}agentmem_delete_session(%s)

-- sweep --
-- Sessions that a writer is using are left for the next time.
WITH expired AS MATERIALIZED (
    SELECT id FROM {schema}agentmem_sessions WHERE tenant = %s AND expires_at <= %s LIMIT %s FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM {schema}agentmem_sessions WHERE id = ANY (ARRAY (SELECT id FROM expired)) RETURNING id
), emptied AS (
    DELETE FROM {schema}agentmem_messages WHERE session = ANY (ARRAY (SELECT id FROM expired))
)
SELECT count(*) FROM deleted

-- next_sessions --
SELECT id FROM {schema}agentmem_sessions WHERE tenant = %s AND id > %s ORDER BY id LIMIT %s

-- unembed --
UPDATE {schema}agentmem_messages SET vector = NULL WHERE session = ANY (%s::bigint[]) AND vector IS NOT NULL

-- unembedded --
-- Messages without vectors of so many bytes, of all users.
SELECT message.session, session.user_id, session.session_id, message.position, message.role, message.agent,
    message.ends_with_session, message.created_at, message.metadata, message.type, message.body
FROM {schema}agentmem_messages AS message JOIN {schema}agentmem_sessions AS session ON session.id = message.session
WHERE session.tenant = %(tenant)s AND (message.session, message.position) > (%(session)s, %(position)s)
  AND (message.vector IS NULL OR octet_length(message.vector) <> %(bytes)s) AND (session.expires_at IS NULL OR session.expires_at > %(now)s)
ORDER BY message.session, message.position LIMIT %(limit)s

-- embed --
-- A message never changes, but another may have taken its place.
UPDATE {schema}agentmem_messages AS message SET vector = embedded.vector
FROM unnest(%s::bytea[], %s::bigint[], %s::bytea[], %s::bytea[]) AS embedded (place, position, body, vector)
    JOIN {schema}agentmem_sessions AS session ON session.place = embedded.place
WHERE message.session = session.id AND message.position = embedded.position AND message.body = embedded.body
