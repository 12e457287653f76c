The statements that read and restore whole rows. `fragments.sql` explains the names in braces.

-- sessions --
-- Return sessions. Parameters: places (the digests of their keys), now.
SELECT place, title, title_position, next_position, created_at, updated_at, expires_at, metadata, head
FROM {schema}agentmem_sessions WHERE place = ANY (%(places)s::bytea[]) AND {alive}

-- summaries --
-- Return the summaries of sessions that are not empty. Parameters: places.
SELECT session.place, summary.agent, summary.value, summary.revision, summary.covers
FROM {schema}agentmem_sessions AS session JOIN {schema}agentmem_summaries AS summary ON summary.session = session.id
WHERE session.place = ANY (%(places)s::bytea[]) AND summary.value <> ''

-- variables_of_sessions --
-- Return the variables of sessions. Parameters: places, now.
SELECT session.place, variable.agent, variable.name, variable.value, variable.created_at, variable.updated_at,
    variable.expires_at
FROM {schema}agentmem_sessions AS session JOIN {schema}agentmem_variables AS variable ON variable.session = session.id
WHERE session.place = ANY (%(places)s::bytea[]) AND {alive:variable}
ORDER BY variable.agent COLLATE "C", variable.name COLLATE "C"

-- messages --
-- Return messages after a position, with their vectors. Parameters: those of `living_session`, after, limit.
SELECT vector, {message} FROM {schema}agentmem_messages
WHERE session = {living_session} AND position > %(after)s ORDER BY position LIMIT %(limit)s

-- delete_expired --
-- Delete sessions that have expired. Parameters: places, now.
SELECT {schema}agentmem_delete_session(place) FROM {schema}agentmem_sessions
WHERE place = ANY (%(places)s::bytea[]) AND expires_at <= %(now)s

-- add_sessions --
-- Add sessions without messages, unless they exist. Return the places and IDs of those that were added. Parameters: tenant; the
-- other columns.
INSERT INTO {schema}agentmem_sessions
    (place, owner, tenant, user_id, session_id, title, title_position, next_position, created_at, updated_at, expires_at, metadata, head)
SELECT added.place, added.owner, %(tenant)s, added.user_id, added.id, added.title, added.title_position, added.following,
    added.created, added.updated, added.expires, added.metadata, added.head
FROM unnest(
    %(places)s::bytea[], %(owners)s::bytea[], %(users)b::text[], %(ids)b::text[], %(titles)s::bytea[],
    %(title_positions)s::bigint[], %(following)s::bigint[], %(created)s::double precision[], %(updated)s::double precision[],
    %(expires)s::double precision[], %(metadata)b::text[], %(heads)b::bytea[]
) AS added (place, owner, user_id, id, title, title_position, following, created, updated, expires, metadata, head)
ORDER BY added.place ON CONFLICT (place) DO NOTHING RETURNING place, id

-- add_summaries --
-- Add summaries. Parameters: sessions, agents, values, covers.
INSERT INTO {schema}agentmem_summaries (session, agent, value, revision, covers)
SELECT added.session, added.agent, added.value, (random() * 9e15)::bigint, added.covers
FROM unnest(%s::bigint[], %b::text[], %b::text[], %s::bigint[]) AS added (session, agent, value, covers)

-- add_variables --
-- Add variables, unless they exist and have not expired. Parameters: tenant; places, names, owners, user IDs, sessions (NULL:
-- none), agents, values, times of creation, update and expiry; now.
INSERT INTO {schema}agentmem_variables AS known
    (tenant, place, name, owner, user_id, session, agent, value, created_at, updated_at, expires_at)
SELECT %s, added.*
FROM unnest(
    %s::bytea[], %b::text[], %s::bytea[], %b::text[], %s::bigint[], %b::text[], %b::text[], %s::double precision[],
    %s::double precision[], %s::double precision[]
) AS added (place, name, owner, user_id, session, agent, value, created, updated, expires)
ORDER BY added.place, added.name
ON CONFLICT (place, name) DO UPDATE SET
    session = excluded.session, value = excluded.value, created_at = excluded.created_at, updated_at = excluded.updated_at,
    expires_at = excluded.expires_at
WHERE known.expires_at <= %s

-- add_messages --
-- Add messages to sessions, unless their positions are taken. Return the number of added messages of each session. Parameters:
-- wanted (the places of the sessions), following (for each session, the position after its last message), now; places (of each
-- message's session), the columns of the messages.
WITH session AS MATERIALIZED (
    SELECT id, place FROM {schema}agentmem_sessions WHERE place = ANY (%(wanted)s::bytea[]) AND {alive} ORDER BY id FOR UPDATE
), added AS (
    INSERT INTO {schema}agentmem_messages (
        session, position, role, agent, ends_with_session, created_at, metadata, type, body, token, words, vector, id_digest
    )
    SELECT session.id, added.position, added.role, added.agent, added.ends, added.at, added.metadata, added.type, added.body, 0,
        added.words, added.vector, added.digest
    FROM unnest(
        %(places)s::bytea[], %(positions)s::bigint[], %(roles)b::text[], %(agents)b::text[], %(ends)s::boolean[],
        %(times)s::double precision[], %(metadata)b::text[], %(types)b::text[], %(bodies)b::bytea[], %(words)b::bytea[],
        %(vectors)b::bytea[], %(digests)b::bytea[]
    ) AS added (place, position, role, agent, ends, at, metadata, type, body, words, vector, digest)
    JOIN session ON session.place = added.place
    ON CONFLICT (session, position) DO NOTHING RETURNING session
), counted AS (
    SELECT session.id, max(wanted.following) AS following, count(added.session) AS number
    FROM session
    JOIN unnest(%(wanted)s::bytea[], %(following)s::bigint[]) AS wanted (place, following) ON wanted.place = session.place
    LEFT JOIN added ON added.session = session.id
    GROUP BY session.id
)
UPDATE {schema}agentmem_sessions AS own SET
    message_count = message_count + counted.number, next_position = greatest(next_position, counted.following),
    edition = pg_current_xact_id()
FROM counted WHERE own.id = counted.id
RETURNING counted.number

-- add_records --
-- Add records whose sessions exist, unless they are stored. Parameters: tenant; IDs, owners, user IDs, places (NULL: no session),
-- agents, statuses, starts, durations, times of creation, records, whether each ends with its session; now.
INSERT INTO {schema}agentmem_records
    (tenant, id, owner, user_id, session, agent, status, started_at, duration, created_at, record, ends_with_session)
SELECT %(tenant)s, added.id, added.owner, added.user_id, session.id, added.agent, added.status, added.started, added.duration,
    added.created, added.record, added.ends
FROM unnest(
    %(ids)s::text[], %(owners)s::bytea[], %(users)s::text[], %(places)s::bytea[], %(agents)s::text[], %(statuses)s::text[],
    %(starts)s::double precision[], %(durations)s::double precision[], %(created)s::double precision[], %(records)s::text[],
    %(ends)s::boolean[]
) AS added (id, owner, user_id, place, agent, status, started, duration, created, record, ends)
LEFT JOIN {schema}agentmem_sessions AS session
    ON session.place = added.place AND {alive:session}
WHERE added.place IS NULL OR session.id IS NOT NULL
ON CONFLICT (tenant, id) DO NOTHING

-- variables --
-- Return the variables of an owner outside of sessions. Parameters: owner, tenant, now.
SELECT agent, name, value, created_at, updated_at, expires_at FROM {schema}agentmem_variables
WHERE owner = %(owner)s AND tenant = %(tenant)s AND session IS NULL AND {alive}
ORDER BY agent COLLATE "C", name COLLATE "C"

-- item_keys --
-- Return the keys of the items of a namespace, in order. Parameters: prefix, key (of the last item), limit, now.
SELECT key FROM {schema}store WHERE prefix = %(prefix)s AND key COLLATE "C" > %(key)s AND {item_alive}
ORDER BY key COLLATE "C" LIMIT %(limit)s

-- items --
-- Return items with their expiry and their paths. Parameters: prefixes, keys, now.
SELECT extract(epoch FROM stored.expires_at)::double precision, item.*, noted.paths
FROM {schema}agentmem_get_items(%b::text[], %b::text[], %s) AS item
JOIN {schema}store AS stored ON stored.prefix = item.prefix AND stored.key = item.key
LEFT JOIN {schema}agentmem_item_paths AS noted
    ON noted.prefix = item.prefix AND noted.key = item.key AND noted.revision = item.revision

-- vectors --
-- Return the vectors of items. Parameters: prefixes, keys.
SELECT stored.prefix, stored.key, stored.embedding::real[]
FROM {schema}store_vectors AS stored
JOIN unnest(%b::text[], %b::text[]) AS wanted (prefix, key) ON wanted.prefix = stored.prefix AND wanted.key = stored.key

-- write --
-- Tell the triggers whether this package writes. Parameter: 'on' or ''.
SELECT set_config('agentmem.writing', %s, true)

-- add_items --
-- Add items, unless they exist and have not expired. Return those that were added. Parameters: prefixes, keys, values (JSON), times
-- of creation, update and expiry, TTLs; now.
INSERT INTO {schema}store AS known (prefix, key, value, created_at, updated_at, expires_at, ttl_minutes)
SELECT added.prefix, added.key, added.value::jsonb, to_timestamp(added.created), to_timestamp(added.updated),
    to_timestamp(added.expires), ceil(added.ttl / 60)::int
FROM unnest(
    %b::text[], %b::text[], %b::text[], %s::double precision[], %s::double precision[], %s::double precision[],
    %s::double precision[]
) AS added (prefix, key, value, created, updated, expires, ttl)
ORDER BY added.prefix, added.key
ON CONFLICT (prefix, key) DO UPDATE SET
    value = excluded.value, created_at = excluded.created_at, updated_at = excluded.updated_at,
    expires_at = excluded.expires_at, ttl_minutes = excluded.ttl_minutes
WHERE known.expires_at <= to_timestamp(%s)
RETURNING prefix, key

-- delete_ttls --
-- Delete the TTLs of items. Parameters: prefixes, keys.
DELETE FROM {schema}agentmem_item_ttls AS stale USING unnest(%b::text[], %b::text[]) AS added (prefix, key)
WHERE stale.prefix = added.prefix AND stale.key = added.key

-- add_ttls --
-- Add the TTLs of items. Parameters: prefixes, keys, TTLs.
INSERT INTO {schema}agentmem_item_ttls (prefix, key, ttl)
SELECT added.prefix, added.key, added.ttl FROM unnest(%b::text[], %b::text[], %s::double precision[]) AS added (prefix, key, ttl)
WHERE added.ttl IS NOT NULL

-- note_paths --
-- Store the paths of items. Parameters: prefixes, keys, paths.
SELECT {schema}agentmem_note_paths(%b::text[], %b::text[], %b::text[])

-- add_texts --
-- Store the words of items. Parameters: prefixes, keys; the numbers of the items that the texts belong to (from 1), the texts.
SELECT {schema}agentmem_add_texts(%b::text[], %b::text[], %s::int[], %b::text[])

-- delete_vectors --
-- Delete the vectors of items. Parameters: prefixes, keys.
DELETE FROM {schema}store_vectors AS stale USING unnest(%b::text[], %b::text[]) AS added (prefix, key)
WHERE stale.prefix = added.prefix AND stale.key = added.key

-- add_vector --
-- Add a vector. Parameters: prefix, key, the name of its field, the vector.
INSERT INTO {schema}store_vectors (prefix, key, field_name, embedding, created_at, updated_at)
VALUES (%s, %s, %s, %s::real[], now(), now())

-- thread_ids --
-- Return the IDs of threads, in order. Parameters: tenant, after, limit, now. The recursive part is the same as in the statement
-- `threads` of the checkpoint table.
WITH RECURSIVE hop (name) AS (
    (SELECT thread_id FROM {schema}checkpoints WHERE %(tenant)s = 'default' ORDER BY thread_id LIMIT 1)
    UNION ALL
    SELECT (SELECT thread_id FROM {schema}checkpoints WHERE thread_id > hop.name ORDER BY thread_id LIMIT 1)
    FROM hop WHERE hop.name IS NOT NULL
), every (thread_id) AS (
    SELECT thread_id FROM {schema}agentmem_threads WHERE tenant = %(tenant)s AND {alive}
    UNION ALL
    SELECT name FROM hop
    WHERE name IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {schema}agentmem_threads AS known WHERE known.name = hop.name)
)
SELECT thread_id FROM every WHERE thread_id COLLATE "C" > %(after)s ORDER BY thread_id COLLATE "C" LIMIT %(limit)s

-- threads --
-- Return threads. A thread without a row was written by LangGraph's own saver. Parameters: names, now.
SELECT wanted.name, coalesce(thread.user_id, ''),
    CASE WHEN thread.id IS NULL THEN (
        SELECT jsonb_object_agg(own.user_id, own.at) FROM (
            SELECT metadata ->> 'user_id' AS user_id, max({schema}agentmem_stored_at(type, checkpoint)) AS at
            FROM {schema}checkpoints WHERE thread_id = wanted.name AND metadata ->> 'user_id' <> '' GROUP BY 1
        ) AS own
    ) ELSE (
        SELECT jsonb_object_agg(own.user_id, own.used_at) FROM {schema}agentmem_thread_users AS own WHERE own.thread = thread.id
    ) END,
    coalesce(thread.created_at, saved.first), coalesce(thread.updated_at, saved.last), thread.ttl, thread.expires_at,
    thread.secret_type, thread.secret
FROM unnest(%(names)s::text[]) AS wanted (name)
LEFT JOIN {schema}agentmem_threads AS thread ON thread.name = wanted.name
LEFT JOIN LATERAL (
    SELECT min({schema}agentmem_stored_at(type, checkpoint)) AS first, max({schema}agentmem_stored_at(type, checkpoint)) AS last
    FROM {schema}checkpoints WHERE thread_id = wanted.name AND thread.id IS NULL
) AS saved ON true
WHERE (thread.id IS NOT NULL OR saved.first IS NOT NULL) AND {alive:thread}

-- elements --
-- Return elements of a thread, in order. Parameters: name, reference (the last one), limit.
SELECT reference, type, data FROM {schema}agentmem_elements
WHERE thread = (SELECT id FROM {schema}agentmem_threads WHERE name = %s) AND reference > %s ORDER BY reference LIMIT %s

-- values --
-- Return values of a thread, in order, including those that LangGraph's own saver wrote. Parameters: name; namespace, channel and
-- version (of the last one), limit.
SELECT * FROM (
    SELECT namespace, channel, version, kind, type, data, number, base_namespace, base_channel, base_version, head, tail, digest
    FROM {schema}agentmem_channel_values WHERE thread = (SELECT id FROM {schema}agentmem_threads WHERE name = %(name)s)
    UNION ALL
    SELECT checkpoint_ns, channel, version, 'plain', type, coalesce(blob, ''), 1, NULL, NULL, NULL, 0, 0, ''
    FROM {schema}checkpoint_blobs WHERE thread_id = %(name)s AND type <> 'empty'
) AS every
WHERE (namespace COLLATE "C", channel COLLATE "C", version COLLATE "C") > (%(namespace)s, %(channel)s, %(version)s)
ORDER BY namespace COLLATE "C", channel COLLATE "C", version COLLATE "C" LIMIT %(limit)s

-- checkpoints --
-- Return checkpoints of a thread, in order. Parameters: name; namespace and checkpoint_id (of the last one), limit.
SELECT saved.metadata ->> 'run_id', {schema}agentmem_stored_at(saved.type, saved.checkpoint), saved.checkpoint_ns,
    saved.checkpoint_id, saved.parent_checkpoint_id, saved.type, saved.checkpoint, saved.metadata, saved.stored, saved.sends
FROM {schema}agentmem_saved AS saved
WHERE saved.thread_id = %s AND (saved.checkpoint_ns COLLATE "C", saved.checkpoint_id COLLATE "C") > (%s, %s)
ORDER BY saved.checkpoint_ns COLLATE "C", saved.checkpoint_id COLLATE "C" LIMIT %s

-- writes --
-- Return pending writes of a thread, in order. Parameters: name; namespace, checkpoint_id, task_id and index (of the last one),
-- limit.
SELECT checkpoint_ns, checkpoint_id, task_id, idx, task_path, channel, type, blob FROM {schema}checkpoint_writes
WHERE thread_id = %s
  AND (checkpoint_ns COLLATE "C", checkpoint_id COLLATE "C", task_id COLLATE "C", idx) > (%s, %s, %s, %s)
ORDER BY checkpoint_ns COLLATE "C", checkpoint_id COLLATE "C", task_id COLLATE "C", idx LIMIT %s

-- delete_expired_threads --
-- Delete threads that have expired. Parameters: names, now.
SELECT {schema}agentmem_delete_thread(name) FROM {schema}agentmem_threads
WHERE name = ANY (%(names)b::text[]) AND expires_at <= %(now)s

-- add_threads --
-- Add threads, unless they exist. Return the names and IDs of those that were added. Parameters: tenant; the other columns.
INSERT INTO {schema}agentmem_threads
    (name, tenant, thread_id, user_id, created_at, updated_at, ttl, expires_at, secret_type, secret)
SELECT added.name, %(tenant)s, added.id, added.user_id, added.created, added.updated, added.ttl, added.expires, added.type,
    added.secret
FROM unnest(
    %(names)b::text[], %(ids)b::text[], %(users)b::text[], %(created)s::double precision[], %(updated)s::double precision[],
    %(ttls)s::double precision[], %(expires)s::double precision[], %(types)b::text[], %(secrets)s::bytea[]
) AS added (name, id, user_id, created, updated, ttl, expires, type, secret)
WHERE NOT EXISTS (SELECT 1 FROM {schema}checkpoints WHERE thread_id = added.name)
ORDER BY added.name ON CONFLICT (name) DO NOTHING RETURNING name, id

-- add_users --
-- Add users of threads. Parameters: threads, user IDs, times.
INSERT INTO {schema}agentmem_thread_users (thread, user_id, used_at)
SELECT added.* FROM unnest(%s::bigint[], %b::text[], %s::double precision[]) AS added

-- thread_numbers --
-- Return the names and IDs of threads. Parameter: names.
SELECT name, id FROM {schema}agentmem_threads WHERE name = ANY (%b::text[])

-- add_values --
-- Add values of threads, unless they are stored. Parameters: threads, and the other columns.
INSERT INTO {schema}agentmem_channel_values (
    thread, namespace, channel, version, kind, type, data, number, base_namespace, base_channel, base_version, head, tail, digest
)
SELECT added.* FROM unnest(
    %s::bigint[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bytea[], %s::bigint[], %b::text[], %b::text[],
    %b::text[], %s::bigint[], %s::bigint[], %b::text[]
) AS added
ON CONFLICT DO NOTHING

-- add_elements --
-- Add elements of threads, unless they are stored. Parameters: threads, references, types, data.
INSERT INTO {schema}agentmem_elements (thread, reference, type, data)
SELECT added.* FROM unnest(%s::bigint[], %s::bytea[], %b::text[], %b::bytea[]) AS added (thread, reference, type, data)
ORDER BY added.thread, added.reference ON CONFLICT (thread, reference) DO NOTHING

-- add_checkpoints --
-- Add compact checkpoints, unless they are stored. Parameters: the columns.
INSERT INTO {schema}checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
SELECT added.thread, added.namespace, added.id, added.parent, 'agentmem', added.checkpoint::jsonb, added.metadata::jsonb
FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[])
    AS added (thread, namespace, id, parent, checkpoint, metadata)
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO NOTHING

-- add_writes --
-- Add pending writes, unless they are stored. Parameters: the columns.
INSERT INTO {schema}checkpoint_writes
    (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, task_path, channel, type, blob)
SELECT added.* FROM unnest(
    %b::text[], %b::text[], %b::text[], %b::text[], %s::int[], %b::text[], %b::text[], %b::text[], %b::bytea[]
) AS added
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO NOTHING
