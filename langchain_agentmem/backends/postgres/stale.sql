The statements of rows that were not used for a long time. `fragments.sql` explains the names in braces.

-- sessions --
-- Return the sessions that were not used since a time and are not open, after the ID of the first column. Parameters: tenant, after (the last ID),
-- before, limit, now.
SELECT id, {listed_session} FROM {schema}agentmem_sessions
WHERE tenant = %(tenant)s AND id > %(after)s AND updated_at < %(before)s AND {alive} AND {not_open}
ORDER BY id LIMIT %(limit)s

-- lock_sessions --
-- Lock sessions that are not open, and return their IDs and places. Parameters: places, now.
SELECT id, place FROM {schema}agentmem_sessions
WHERE place = ANY (%(places)s::bytea[]) AND {alive} AND {not_open} ORDER BY id FOR UPDATE

-- locked_sessions --
-- Return sessions, after their IDs and the revisions of their summaries. Parameter: their IDs.
SELECT id, (SELECT revision FROM {schema}agentmem_summaries WHERE session = agentmem_sessions.id AND agent = ''), {listed_session}
FROM {schema}agentmem_sessions WHERE id = ANY (%s::bigint[])

-- delete_messages_of_sessions --
-- Delete the messages of sessions. Parameter: their IDs.
DELETE FROM {schema}agentmem_messages WHERE session = ANY (%s::bigint[])

-- delete_sessions --
-- Delete sessions without messages. Parameter: their IDs.
DELETE FROM {schema}agentmem_sessions WHERE id = ANY (%s::bigint[])

-- messages --
-- Return older messages in sessions that were used since, after the IDs and keys of the sessions. Parameters: tenant, session and
-- position (of the last message), before, every (true: in all sessions), limit, now.
SELECT message.session, session.user_id, session.session_id, {message:message}
FROM {schema}agentmem_messages AS message JOIN {schema}agentmem_sessions AS session ON session.id = message.session
WHERE session.tenant = %(tenant)s AND (message.session, message.position) > (%(session)s, %(position)s)
  AND message.created_at < %(before)s AND (%(every)s OR session.updated_at >= %(before)s) AND {alive:session}
ORDER BY message.session, message.position LIMIT %(limit)s

-- delete_messages --
-- Delete the messages that have not changed, and return their positions and agents. Parameters: session, positions, bodies.
DELETE FROM {schema}agentmem_messages AS message USING unnest(%s::bigint[], %s::bytea[]) AS known (position, body)
WHERE message.session = %s AND message.position = known.position AND message.body = known.body
RETURNING message.position, message.agent

-- settle_session --
-- Update a session after messages were deleted. Parameters: their number, session.
UPDATE {schema}agentmem_sessions SET message_count = message_count - %s WHERE id = %s

-- settle_title --
-- Update the title and the summaries of a session. Parameters: session (twice), agents, the first deleted position.
SELECT {schema}agentmem_settle_title(%s), {schema}agentmem_revise_summaries(%s, %s::text[], %s)

-- threads --
-- Return the threads that were not used since a time, after the ID of the first column. Parameters: those of `sessions`.
SELECT id, thread_id, user_id, (SELECT count(*) FROM {schema}checkpoints AS saved WHERE saved.thread_id = agentmem_threads.name),
    created_at, updated_at, expires_at,
    (SELECT jsonb_object_agg(own.user_id, own.used_at) FROM {schema}agentmem_thread_users AS own WHERE own.thread = id)
FROM {schema}agentmem_threads
WHERE tenant = %(tenant)s AND id > %(after)s AND updated_at < %(before)s AND {alive}
ORDER BY id LIMIT %(limit)s

-- lock_thread --
-- Lock a thread, and return the time of its last use. Parameter: name.
SELECT updated_at FROM {schema}agentmem_threads WHERE name = %s FOR UPDATE

-- start --
-- Return a time in the form of the continuation of `ItemTable.scan`. Parameter: the time.
SELECT to_timestamp(%s)::text

-- variables --
-- Return the variables of users that were not updated since a time. Parameters: tenant, place and name (of the last variable),
-- before, limit, now.
SELECT place, user_id, agent, name, value, created_at, updated_at, expires_at FROM {schema}agentmem_variables
WHERE tenant = %(tenant)s AND session IS NULL AND user_id <> '' AND updated_at < %(before)s AND {alive}
  AND (place, name COLLATE "C") > (%(place)s, %(name)s)
ORDER BY place, name COLLATE "C" LIMIT %(limit)s

-- delete_variables --
-- Delete the variables that were not updated, in the order in which `set` locks them. Parameters: places, names, times of the
-- last update.
WITH locked AS MATERIALIZED (
    SELECT variable.place, variable.name FROM {schema}agentmem_variables AS variable
        JOIN unnest(%s::bytea[], %s::text[], %s::double precision[]) AS known (place, name, updated_at)
        USING (place, name, updated_at)
    ORDER BY variable.place, variable.name FOR UPDATE OF variable
)
DELETE FROM {schema}agentmem_variables AS variable USING locked
WHERE variable.place = locked.place AND variable.name = locked.name

-- session_variables --
-- Return the variables of a session. Parameters: those of `living_session`.
SELECT agent, name, value, created_at, updated_at, expires_at FROM {schema}agentmem_variables
WHERE session = {living_session} AND {alive}
