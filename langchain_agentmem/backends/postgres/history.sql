The statements of the message log. `fragments.sql` explains the names in braces.

-- append --
-- Add messages, and return the position of the first. Parameters: place (the digest of the session's key), owner (the digest of
-- tenant and user), tenant, user_id, session_id, titles, positions (of their messages), now, agent, keep, ttl, sliding, token;
-- the columns of the messages.
SELECT {schema}agentmem_append(
    %s, %s, %s, %s, %s, %s::bytea[], %s::bigint[], %s, %s, %s, %s, %s, %s,
    %b::text[], %b::text[], %s::boolean[], %s::double precision[], %b::text[], %b::text[], %b::bytea[],
    %b::bytea[], %b::bytea[], %b::bytea[]
)

-- reserve --
-- Add a session if it does not exist. Parameters: place, owner, tenant, user_id, session_id, created_at, now.
INSERT INTO {schema}agentmem_sessions (place, owner, tenant, user_id, session_id, created_at, updated_at)
VALUES (%(place)s, %(owner)s, %(tenant)s, %(user_id)s, %(session_id)s, %(created_at)s, %(now)s) ON CONFLICT (place) DO NOTHING

-- has_messages --
-- Lock a session; return a row if it has messages of another addition. Parameters: place, now, token (of the addition).
WITH found AS MATERIALIZED (
    SELECT id, message_count, expires_at FROM {schema}agentmem_sessions WHERE place = %(place)s FOR UPDATE
)
SELECT id FROM found WHERE message_count > 0 AND {alive:found} AND NOT EXISTS (
    SELECT 1 FROM {schema}agentmem_messages WHERE session = found.id AND token = %(token)s
)

-- restore --
-- Set the properties of a session. Parameters: place, title and metadata (NULL: unchanged), now.
UPDATE {schema}agentmem_sessions SET
    title_position = CASE WHEN %(title)s::bytea IS NULL THEN title_position END, title = coalesce(%(title)s, title),
    metadata = coalesce(%(metadata)s::text, metadata)
WHERE place = %(place)s AND {alive}

-- seal --
-- Set the head of a session after messages were added. Parameters: head, place, the next position, the former head (NULL: none).
UPDATE {schema}agentmem_sessions SET head = %b
WHERE place = %b AND next_position = %s AND head IS NOT DISTINCT FROM %b::bytea

-- is_repeated --
-- Return true if an earlier transaction has taken a token. Parameter: the token.
SELECT EXISTS (SELECT FROM {schema}agentmem_tokens WHERE token = %s AND stored_at < now())

-- head --
-- Return the position of a session's next message, and its head. Parameters: place, now.
SELECT next_position, head FROM {schema}agentmem_sessions WHERE place = %(place)s AND {alive}

-- swap_head --
-- Replace a session's head if it is `expected` (NULL: none) or the new one. Parameters: place, now, expected, head.
UPDATE {schema}agentmem_sessions SET head = %(head)b
WHERE place = %(place)s AND {alive} AND (head IS NOT DISTINCT FROM %(expected)b::bytea OR head = %(head)b)

-- window --
-- Return the newest messages, and the newest system message if that is older. Parameters: place, agent (NULL: all), limit, now.
SELECT * FROM {schema}agentmem_window(%s, %s, %s, %s)

-- page --
-- Return messages after a position, oldest first. Parameters: those of `living_session`, after, agent (NULL: all), limit.
SELECT {message} FROM {schema}agentmem_messages
WHERE session = {living_session} AND position > %(after)s AND (%(agent)s::text IS NULL OR agent = %(agent)s)
ORDER BY position LIMIT %(limit)s

-- changes --
-- Return the sessions that changed since a cursor, with messages that the reader does not know in packed columns: one row for some
-- thousand messages of a session. Every row begins with the cursor for the next call; with the number of sessions; and with the
-- IDs of all sessions (JSON), if some were deleted. Parameters: owner, place (NULL: all sessions), cursor (NULL: read everything), known
-- (the number of sessions that the reader knows), newest (the greatest of their numbers); places, editions and next positions of
-- some of them; vectors (whether to return them).
WITH present AS MATERIALIZED (
    SELECT session.* FROM {schema}agentmem_sessions AS session
    WHERE session.owner = %(owner)s AND (%(place)s::bytea IS NULL OR session.place = %(place)s)
), since AS MATERIALIZED (
    SELECT pg_snapshot_xmin(pg_current_snapshot()) AS following, CASE
        WHEN %(cursor)s::text::xid8 <= pg_snapshot_xmin(pg_current_snapshot()) THEN %(cursor)s::text::xid8
        ELSE '0' END AS cursor, pg_snapshot_xmax(pg_current_snapshot()) AS next
), changed AS MATERIALIZED (
    SELECT session.id, session.session_id, session.place, session.edition, session.next_position, session.expires_at,
        CASE WHEN known.edition::xid8 = session.edition AND known.position <= session.next_position THEN known.position
        ELSE 0 END AS first
    FROM present AS session CROSS JOIN since
    LEFT JOIN unnest(%(places)s::bytea[], %(editions)s::text[], %(positions)s::bigint[]) AS known (place, edition, position)
        ON known.place = session.place
    -- A dump that was restored contains IDs of another server's transactions.
    WHERE session.changed >= since.cursor
      AND (since.cursor = '0' OR session.changed < since.next OR session.changed = pg_current_xact_id_if_assigned())
)
SELECT since.following::text, total.number, CASE
        WHEN total.number <> %(known)s + (SELECT count(*) FROM changed WHERE id > %(newest)s)
        THEN (SELECT json_agg(session_id)::text FROM present) END,
    changed.id, changed.session_id, changed.place, changed.edition::text, changed.next_position, changed.expires_at, changed.first,
    packed.size, packed.positions, packed.times, packed.roles, packed.agents, packed.word_sizes, packed.words,
    packed.vector_sizes, packed.vectors, packed.types, packed.body_sizes, packed.bodies
FROM since CROSS JOIN (SELECT count(*) AS number FROM present) AS total
LEFT JOIN changed ON true
LEFT JOIN LATERAL generate_series(changed.first / 4096, (changed.next_position - 1) / 4096) AS part ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS size, string_agg(int8send(message.position), ''::bytea) AS positions,
        string_agg(float8send(message.created_at), ''::bytea) AS times, json_agg(message.role)::text AS roles,
        CASE WHEN count(message.agent) > 0 THEN json_agg(message.agent)::text END AS agents,
        string_agg(int4send(coalesce(octet_length(message.words), -1)), ''::bytea) AS word_sizes,
        string_agg(message.words, ''::bytea) AS words,
        CASE WHEN %(vectors)s THEN string_agg(int4send(coalesce(octet_length(message.vector), 0)), ''::bytea) END AS vector_sizes,
        CASE WHEN %(vectors)s THEN string_agg(message.vector, ''::bytea) END AS vectors,
        json_agg(message.type) FILTER (WHERE message.words IS NULL)::text AS types,
        string_agg(int4send(octet_length(message.body)), ''::bytea) FILTER (WHERE message.words IS NULL) AS body_sizes,
        string_agg(message.body, ''::bytea) FILTER (WHERE message.words IS NULL) AS bodies
    FROM {schema}agentmem_messages AS message
    WHERE message.session = changed.id AND message.position >= greatest(changed.first, part * 4096)
        AND message.position < (part + 1) * 4096
) AS packed ON true

-- rows --
-- Return the messages at some positions. Parameters: places (one for each position), positions, now.
SELECT session.session_id, {message:message}
FROM unnest(%(places)s::bytea[], %(positions)s::bigint[]) AS wanted (place, position)
JOIN {schema}agentmem_sessions AS session ON session.place = wanted.place
JOIN {schema}agentmem_messages AS message ON message.session = session.id AND message.position = wanted.position
WHERE {alive:session}

-- count --
-- Count a session's messages. Parameters: place, now.
SELECT message_count FROM {schema}agentmem_sessions WHERE place = %(place)s AND {alive}

-- count_of_agent --
-- Count an agent's messages. Parameters: those of `living_session`, agent.
SELECT count(*) FROM {schema}agentmem_messages WHERE session = {living_session} AND agent = %(agent)s

-- summary --
-- Return a summary and its revision. Parameters: those of `living_session`, agent (NULL: the summary of the history).
SELECT value, revision, covers FROM {schema}agentmem_summaries
WHERE session = {living_session} AND agent = coalesce(%(agent)s, '')

-- swap_summary --
-- Write a summary, and return whether the session exists and the stored revision was expected. Parameters: place, agent, value,
-- revision, covers, expected (NULL: no summary), now.
SELECT {schema}agentmem_swap_summary(%s, %s, %s, %s, %s, %s, %s)

-- forget --
-- Delete messages. Parameters: place, agent (NULL: all).
SELECT {schema}agentmem_forget_messages(%s, %s, false)

-- end --
-- Delete the variables of a session, and the messages and records that end with it; return the number of messages. Parameter:
-- place.
SELECT {schema}agentmem_end_all(%s)

-- remove --
-- Delete messages, and return their number; NULL if a message has no digest of its ID. Parameters: place, agent (NULL: all),
-- digests of IDs (NULL: any), before (NULL: any), the digest of the ID of the message before them (NULL: any), token, now.
SELECT {schema}agentmem_remove_messages(%s, %s, %s::bytea[], %s, %s, %s, %s)

-- replace --
-- Replace messages, and return their new rows; a row of NULLs if a message has no digest of its ID. Parameters: place, agent
-- (NULL: all), the digest of the ID, whether to keep time and metadata, role, created_at, metadata, type, body, words, vector,
-- title, token, now.
SELECT * FROM {schema}agentmem_replace_message(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)

-- identify --
-- Set the digests of the IDs of messages, unless they have one or changed. Parameters: positions, bodies, digests, place.
UPDATE {schema}agentmem_messages AS message SET id_digest = known.id_digest
FROM unnest(%s::bigint[], %s::bytea[], %s::bytea[]) AS known (position, body, id_digest)
WHERE message.session = (SELECT id FROM {schema}agentmem_sessions WHERE place = %s)
  AND message.position = known.position AND message.body = known.body AND message.id_digest IS NULL

-- sessions --
-- Return a user's sessions, most recently used first. Parameters: owner, limit, offset, now.
SELECT {listed_session} FROM {schema}agentmem_sessions
WHERE owner = %(owner)s AND {alive}
ORDER BY updated_at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s

-- sessions_of_all --
-- Same as `sessions`, for all users. Parameters: tenant, limit, offset, now.
SELECT {listed_session} FROM {schema}agentmem_sessions
WHERE tenant = %(tenant)s AND {alive}
ORDER BY updated_at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s

-- users --
-- Return the users that have sessions. Parameters: tenant, now.
SELECT DISTINCT user_id FROM {schema}agentmem_sessions WHERE tenant = %(tenant)s AND user_id <> '' AND {alive}

-- session_ids --
-- Return the IDs of a user's sessions, in order, expired or not. Parameters: owner, after (an ID), limit.
SELECT session_id FROM {schema}agentmem_sessions WHERE owner = %s AND session_id COLLATE "C" > %s
ORDER BY session_id COLLATE "C" LIMIT %s

-- rename --
-- Set the title, and replace the head if one is given. Parameters: place, title, now, expected (the former head; NULL: none), head
-- (NULL: it stays).
UPDATE {schema}agentmem_sessions
SET title = %(title)s, title_position = NULL, head = coalesce(%(head)b::bytea, head)
WHERE place = %(place)s AND {alive}
  AND (%(head)b::bytea IS NULL OR head IS NOT DISTINCT FROM %(expected)b::bytea OR head = %(head)b::bytea)

-- delete --
-- Delete a session with its messages; return true if it existed. Parameter: place.
SELECT {schema}agentmem_delete_session(%s)

-- sweep --
-- Delete expired sessions, except those that a writer has locked, and return their number. Parameters: tenant, now, limit.
WITH expired AS MATERIALIZED (
    SELECT id FROM {schema}agentmem_sessions WHERE tenant = %s AND expires_at <= %s LIMIT %s FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM {schema}agentmem_sessions WHERE id = ANY (ARRAY (SELECT id FROM expired)) RETURNING id
), emptied AS (
    DELETE FROM {schema}agentmem_messages WHERE session = ANY (ARRAY (SELECT id FROM expired))
)
SELECT count(*) FROM deleted

-- next_sessions --
-- Return the next session IDs. Parameters: tenant, the last ID, limit.
SELECT id FROM {schema}agentmem_sessions WHERE tenant = %s AND id > %s ORDER BY id LIMIT %s

-- unembed --
-- Delete the vectors of sessions. Parameter: their IDs.
WITH edited AS (
    UPDATE {schema}agentmem_sessions SET edition = pg_current_xact_id() WHERE id IN (
        SELECT id FROM {schema}agentmem_sessions WHERE id = ANY (%s::bigint[]) ORDER BY id FOR UPDATE
    ) RETURNING id
)
UPDATE {schema}agentmem_messages SET vector = NULL WHERE session IN (SELECT id FROM edited) AND vector IS NOT NULL

-- unembedded --
-- Return messages of all users without vectors of a size. Parameters: tenant, bytes (the size), session and position (of the
-- last message), limit, now.
SELECT message.session, session.user_id, session.session_id, {message:message}
FROM {schema}agentmem_messages AS message JOIN {schema}agentmem_sessions AS session ON session.id = message.session
WHERE session.tenant = %(tenant)s AND (message.session, message.position) > (%(session)s, %(position)s)
  AND (message.vector IS NULL OR octet_length(message.vector) <> %(bytes)s) AND {alive:session}
ORDER BY message.session, message.position LIMIT %(limit)s

-- embed --
-- Set the vectors of messages, unless another message has the position now. Parameters: places, positions, bodies, vectors.
WITH embedded AS (
    SELECT * FROM unnest(%s::bytea[], %s::bigint[], %s::bytea[], %s::bytea[]) AS embedded (place, position, body, vector)
), edited AS (
    UPDATE {schema}agentmem_sessions SET edition = pg_current_xact_id() WHERE id IN (
        SELECT id FROM {schema}agentmem_sessions WHERE place IN (SELECT place FROM embedded) ORDER BY id FOR UPDATE
    ) RETURNING id, place
)
UPDATE {schema}agentmem_messages AS message SET vector = embedded.vector
FROM embedded JOIN edited AS session ON session.place = embedded.place
WHERE message.session = session.id AND message.position = embedded.position AND message.body = embedded.body

-- set_words --
-- Set the words of messages, unless another message has the position now. Parameters: places, positions, bodies, words.
WITH analyzed AS (
    SELECT * FROM unnest(%s::bytea[], %s::bigint[], %s::bytea[], %s::bytea[]) AS analyzed (place, position, body, words)
), edited AS (
    UPDATE {schema}agentmem_sessions SET edition = pg_current_xact_id() WHERE id IN (
        SELECT id FROM {schema}agentmem_sessions WHERE place IN (SELECT place FROM analyzed) ORDER BY id FOR UPDATE
    ) RETURNING id, place
)
UPDATE {schema}agentmem_messages AS message SET words = analyzed.words
FROM analyzed JOIN edited AS session ON session.place = analyzed.place
WHERE message.session = session.id AND message.position = analyzed.position AND message.body = analyzed.body
