The statements of the message log; `{schema}` is the schema of the tables, with its dot.

-- append --
SELECT {schema}agentmem_append(
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,
    %b::text[], %b::text[], %s::boolean[], %s::double precision[], %b::text[], %b::text[], %s::bytea[]
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

-- count --
SELECT message_count FROM {schema}agentmem_sessions
WHERE place = %(place)s AND (expires_at IS NULL OR expires_at > %(now)s)

-- count_of_agent --
SELECT count(*) FROM {schema}agentmem_messages
WHERE session = (
    SELECT id FROM {schema}agentmem_sessions
    WHERE place = %(place)s AND (expires_at IS NULL OR expires_at > %(now)s)
) AND agent = %(agent)s

-- clear --
WITH removed AS (
    DELETE FROM {schema}agentmem_messages
    WHERE session = (SELECT id FROM {schema}agentmem_sessions WHERE place = %(place)s FOR UPDATE)
      AND (%(agent)s::text IS NULL OR agent = %(agent)s)
    RETURNING 1
)
UPDATE {schema}agentmem_sessions SET message_count = message_count - (SELECT count(*) FROM removed)
WHERE place = %(place)s

-- end --
WITH removed AS (
    DELETE FROM {schema}agentmem_messages
    WHERE session = (SELECT id FROM {schema}agentmem_sessions WHERE place = %(place)s FOR UPDATE) AND ends_with_session
    RETURNING 1
), counted AS (
    UPDATE {schema}agentmem_sessions SET message_count = message_count - (SELECT count(*) FROM removed)
    WHERE place = %(place)s
)
SELECT count(*) FROM removed

-- sessions --
SELECT session_id, title, message_count, created_at, updated_at, expires_at
FROM {schema}agentmem_sessions
WHERE owner = %s AND (expires_at IS NULL OR expires_at > %s)
ORDER BY updated_at DESC, id DESC LIMIT %s OFFSET %s

-- rename --
UPDATE {schema}agentmem_sessions SET title = %s WHERE place = %s AND (expires_at IS NULL OR expires_at > %s)

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
