The statements of the checkpoint table. `fragments.sql` explains the names in braces. A `name` is the `thread_id` of LangGraph's
tables. A `use` is: name, tenant, thread_id, user_id, now, ttl.

-- secret --
-- Return the thread's secret; a thread without secret gets the proposal. Parameters: use; type and data of the proposal.
SELECT * FROM {schema}agentmem_secret(%s, %s, %s, %s, %s, %s, %s, %s)

-- put --
-- Store a checkpoint; return true if it was stored. Parameters: use; type and data of the secret; namespace, checkpoint_id,
-- parent_id, type, checkpoint, metadata; `added_values`.
SELECT {schema}agentmem_put(
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb,
    {added_values}
)

-- put_replacing --
-- Same as `put`, but replace the secret of the thread; return false if the thread has another secret, or none. Parameters: name,
-- type and data of the secret, now; those of `put`; name, type and data of the secret, those of the new one.
WITH shared AS MATERIALIZED (SELECT {schema}agentmem_has_secret(%s, %s, %s, %s) AS ok),
stored AS MATERIALIZED (
    SELECT CASE WHEN ok THEN {schema}agentmem_put(
        %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb,
        {added_values}
    ) ELSE false END AS ok FROM shared
)
SELECT CASE WHEN ok THEN {schema}agentmem_replace_secret(%s, %s, %s, %s, %s) ELSE false END FROM stored

-- put_writes_replacing --
-- Same as `put_writes`, but replace the secret of the thread, as in `put_replacing`.
WITH shared AS MATERIALIZED (SELECT {schema}agentmem_has_secret(%s, %s, %s, %s) AS ok),
stored AS MATERIALIZED (
    SELECT CASE WHEN ok THEN {schema}agentmem_put_writes(
        %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::int[], %b::text[], %b::text[], %s::bytea[],
        {added_values}
    ) ELSE false END AS ok FROM shared
)
SELECT CASE WHEN ok THEN {schema}agentmem_replace_secret(%s, %s, %s, %s, %s) ELSE false END FROM stored

-- replace_secret --
-- Replace the secret of a thread. Parameters: name, type and data of the secret, those of the new one.
SELECT {schema}agentmem_replace_secret(%s, %s, %s, %s, %s)

-- stored_secret --
-- Return the secret of a thread that has not expired. Parameters: name, now.
SELECT secret_type, secret FROM {schema}agentmem_threads WHERE name = %(name)s AND {alive}

-- lock_secret --
-- Same as `stored_secret`, and lock the thread until the transaction ends.
SELECT secret_type, secret FROM {schema}agentmem_threads WHERE name = %(name)s AND {alive} FOR UPDATE

-- put_plain --
-- Store a checkpoint so that `PostgresSaver` can read it. Parameters: use; namespace, checkpoint_id, parent_id, checkpoint,
-- metadata; the channels, versions, types and data of its values.
SELECT {schema}agentmem_put_plain(
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %b::text[], %b::text[], %b::text[], %s::bytea[]
)

-- put_writes --
-- Store pending writes; return true if they were stored. Parameters: use; type and data of the secret; namespace,
-- checkpoint_id, task_id, task_path; the indexes, channels, types and data of the writes; `added_values`.
SELECT {schema}agentmem_put_writes(
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::int[], %b::text[], %b::text[], %s::bytea[],
    {added_values}
)

-- get --
-- Return a checkpoint, then the rows of its writes and values as in `parts_of`. Parameters: name, namespace, checkpoint_id
-- (NULL: the latest), now, the values that the caller has (JSON lists of namespace, channel, version and digest).
SELECT * FROM {schema}agentmem_get(%s, %s, %s, %s, %b::text[])

-- parts_of --
-- Return the rows that rebuild values: elements, writes, values, and the thread's secret. Parameters: name, keys of values (a
-- JSON list); namespaces and IDs of checkpoints whose writes are returned, channels (NULL: all).
SELECT * FROM {schema}agentmem_parts_of(%s, %s::jsonb, %b::text[], %b::text[], %b::text[], '{}')

-- page --
-- Return checkpoints of one or all threads. A thread that only LangGraph's own saver wrote belongs to the default tenant.
-- Parameters: tenant, name, namespace, checkpoint_id, before, after_id, after_thread, after_namespace (NULL: all), limit, now.
SELECT coalesce(thread.thread_id, saved.thread_id), saved.checkpoint_ns, saved.checkpoint_id, saved.parent_checkpoint_id,
    saved.type, saved.checkpoint, saved.metadata, saved.stored, saved.sends
FROM {schema}agentmem_saved AS saved LEFT JOIN {schema}agentmem_threads AS thread ON thread.name = saved.thread_id
WHERE coalesce(thread.tenant, 'default') = %(tenant)s AND {alive:thread}
  AND (%(name)s::text IS NULL OR saved.thread_id = %(name)s)
  AND (%(namespace)s::text IS NULL OR saved.checkpoint_ns = %(namespace)s)
  AND (%(checkpoint_id)s::text IS NULL OR saved.checkpoint_id = %(checkpoint_id)s)
  AND (%(before)s::text IS NULL OR saved.checkpoint_id < %(before)s)
  AND (%(after_id)s::text IS NULL OR (saved.checkpoint_id, coalesce(thread.thread_id, saved.thread_id), saved.checkpoint_ns)
    < (%(after_id)s, %(after_thread)s, %(after_namespace)s))
ORDER BY saved.checkpoint_id DESC, coalesce(thread.thread_id, saved.thread_id) DESC, saved.checkpoint_ns DESC
LIMIT %(limit)s

-- page_of_namespace --
-- Same as `page`, for one namespace of one thread, with the primary key. Parameters: thread_id, name, namespace, below (NULL:
-- all), limit, now.
SELECT %(thread_id)s, saved.checkpoint_ns, saved.checkpoint_id, saved.parent_checkpoint_id, saved.type, saved.checkpoint,
    saved.metadata, saved.stored, saved.sends
FROM {schema}agentmem_saved AS saved
WHERE saved.thread_id = %(name)s AND saved.checkpoint_ns = %(namespace)s
  AND (%(below)s::text IS NULL OR saved.checkpoint_id < %(below)s)
  AND NOT EXISTS (SELECT 1 FROM {schema}agentmem_threads WHERE name = %(name)s AND expires_at <= %(now)s)
ORDER BY saved.checkpoint_id DESC LIMIT %(limit)s

-- ancestors --
-- Return a checkpoint, its parent, and so on. Parameters: name, namespace, checkpoint_id, limit, now.
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata, stored, sends
FROM {schema}agentmem_ancestors(%s, %s, %s, %s, %s)

-- entries --
-- Return all checkpoints of a thread, oldest first. Parameter: name.
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, metadata ->> 'run_id',
    {schema}agentmem_stored_at(type, checkpoint)
FROM {schema}checkpoints WHERE thread_id = %s ORDER BY checkpoint_id

-- lock --
-- Lock a thread until the transaction ends. Parameter: name.
SELECT 1 FROM {schema}agentmem_threads WHERE name = %s FOR UPDATE

-- exists --
-- Return a row if a checkpoint exists. Parameters: name, namespace, checkpoint_id.
SELECT 1 FROM {schema}checkpoints WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s

-- replace_blob --
-- Replace a value of `PostgresSaver`'s layout. Parameters: the new type and data; name, namespace, channel, version.
UPDATE {schema}checkpoint_blobs SET type = %s, blob = %s
WHERE thread_id = %s AND checkpoint_ns = %s AND channel = %s AND version = %s

-- replace_write --
-- Replace a pending write that is unchanged. Parameters: the new channel, type and data; name, namespace, checkpoint_id, task_id,
-- index; the former channel, type and data.
UPDATE {schema}checkpoint_writes SET channel = %s, type = %s, blob = %s
WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s AND task_id = %s AND idx = %s
  AND channel = %s AND type = %s AND blob = %s

-- delete_write --
-- Delete a pending write that is unchanged. Parameters: name, namespace, checkpoint_id, task_id, index, channel, type, data.
DELETE FROM {schema}checkpoint_writes
WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s AND task_id = %s AND idx = %s
  AND channel = %s AND type = %s AND blob = %s

-- threads_of_runs --
-- Return the IDs of the threads that contain checkpoints of runs. Parameters: run IDs, tenant.
SELECT DISTINCT coalesce(thread.thread_id, saved.thread_id)
FROM {schema}checkpoints AS saved LEFT JOIN {schema}agentmem_threads AS thread ON thread.name = saved.thread_id
WHERE saved.metadata ->> 'run_id' = ANY (%s) AND coalesce(thread.tenant, 'default') = %s

-- delete --
-- Delete checkpoints with their writes, and the values that no other checkpoint needs. A thread that only LangGraph's saver wrote has
-- no row to revise. Parameters: name, namespaces, checkpoint IDs, name.
WITH deleted AS MATERIALIZED (SELECT {schema}agentmem_delete(%s, %b::text[], %b::text[])),
    revised AS (UPDATE {schema}agentmem_threads SET revision = revision + 1 FROM deleted WHERE name = %s)
SELECT FROM deleted

-- delete_thread --
-- Delete a thread. Parameter: name.
SELECT {schema}agentmem_delete_thread(%s)

-- copy_thread --
-- Copy a thread, and return false if the target contains checkpoints or writes. Parameters: name of the source, name of the
-- target, tenant and thread_id of the target, now.
SELECT {schema}agentmem_copy_thread(%s, %s, %s, %s, %s)

-- copy_thread_replacing --
-- Same as `copy_thread`, but the target gets a secret of its own. Further parameters: name of the target, type and data of the
-- secret of the source, those of the secret of the target.
WITH copied AS MATERIALIZED (SELECT {schema}agentmem_copy_thread(%s, %s, %s, %s, %s) AS ok)
SELECT ok, CASE WHEN ok THEN {schema}agentmem_replace_secret(%s, %s, %s, %s, %s) END FROM copied

-- set_ttl --
-- Set the TTL of a thread; return true if the thread exists. Parameters: name, tenant, thread_id, ttl, now.
SELECT {schema}agentmem_set_ttl(%s, %s, %s, %s, %s)

-- threads --
-- Return threads, most recently used first. Parameters: tenant, user_id (NULL: all), of_nobody (whether to return only threads
-- without user), limit, offset, now. The recursive part finds the threads that LangGraph's own saver wrote: the primary key
-- leads from one thread to the next.
WITH RECURSIVE hop (name) AS (
    (SELECT thread_id FROM {schema}checkpoints ORDER BY thread_id LIMIT 1)
    UNION ALL
    SELECT (SELECT thread_id FROM {schema}checkpoints WHERE thread_id > hop.name ORDER BY thread_id LIMIT 1)
    FROM hop WHERE hop.name IS NOT NULL
), every AS (
    SELECT name, thread_id, user_id, created_at, updated_at, expires_at,
        (SELECT jsonb_object_agg(own.user_id, own.used_at) FROM {schema}agentmem_thread_users AS own WHERE own.thread = id) AS users
    FROM {schema}agentmem_threads
    WHERE tenant = %(tenant)s AND {alive} AND (
        %(user_id)s::text IS NULL OR id IN (SELECT thread FROM {schema}agentmem_thread_users WHERE user_id = %(user_id)s)
    )
    UNION ALL
    SELECT hop.name, hop.name, coalesce(
        (SELECT own.key FROM jsonb_each(named.users) AS own ORDER BY own.value DESC LIMIT 1), ''
    ), oldest.at, newest.at, NULL, named.users
    FROM hop CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(own.user_id, own.at) AS users
        FROM (
            SELECT metadata ->> 'user_id' AS user_id, max({schema}agentmem_stored_at(type, checkpoint)) AS at
            FROM {schema}checkpoints WHERE thread_id = hop.name AND metadata ->> 'user_id' <> '' GROUP BY 1
        ) AS own
    ) AS named CROSS JOIN LATERAL (
        SELECT {schema}agentmem_stored_at(type, checkpoint) AS at
        FROM {schema}checkpoints WHERE thread_id = hop.name ORDER BY checkpoint_id DESC LIMIT 1
    ) AS newest CROSS JOIN LATERAL (
        SELECT {schema}agentmem_stored_at(type, checkpoint) AS at
        FROM {schema}checkpoints WHERE thread_id = hop.name ORDER BY checkpoint_id LIMIT 1
    ) AS oldest
    WHERE %(tenant)s = 'default' AND NOT EXISTS (SELECT 1 FROM {schema}agentmem_threads WHERE name = hop.name)
      AND (%(user_id)s::text IS NULL OR named.users ? %(user_id)s)
)
SELECT thread_id, user_id, (SELECT count(*) FROM {schema}checkpoints AS saved WHERE saved.thread_id = every.name),
    created_at::double precision, updated_at::double precision, expires_at, users
FROM every
WHERE NOT %(of_nobody)s OR user_id = ''
ORDER BY updated_at DESC, name DESC LIMIT %(limit)s OFFSET %(offset)s

-- users --
-- Return the users of all threads. Parameters: tenant, now. The recursive part is the same as in `threads`.
WITH RECURSIVE hop (name) AS (
    (SELECT thread_id FROM {schema}checkpoints ORDER BY thread_id LIMIT 1)
    UNION ALL
    SELECT (SELECT thread_id FROM {schema}checkpoints WHERE thread_id > hop.name ORDER BY thread_id LIMIT 1)
    FROM hop WHERE hop.name IS NOT NULL
)
SELECT own.user_id
FROM {schema}agentmem_thread_users AS own JOIN {schema}agentmem_threads AS thread ON thread.id = own.thread
WHERE thread.tenant = %(tenant)s AND {alive:thread}
UNION
SELECT saved.metadata ->> 'user_id'
FROM hop JOIN {schema}checkpoints AS saved ON saved.thread_id = hop.name
WHERE %(tenant)s = 'default' AND octet_length(saved.metadata ->> 'user_id') BETWEEN 1 AND 1024
  AND NOT EXISTS (SELECT 1 FROM {schema}agentmem_threads WHERE name = hop.name)

-- users_of --
-- Return the users of a thread. Parameter: name.
SELECT own.user_id
FROM {schema}agentmem_thread_users AS own JOIN {schema}agentmem_threads AS thread ON thread.id = own.thread
WHERE thread.name = %(name)s
UNION
SELECT saved.metadata ->> 'user_id'
FROM {schema}checkpoints AS saved
WHERE saved.thread_id = %(name)s AND octet_length(saved.metadata ->> 'user_id') BETWEEN 1 AND 1024
  AND NOT EXISTS (SELECT 1 FROM {schema}agentmem_threads WHERE name = %(name)s)

-- delete_user --
-- Remove a user from a thread. Parameters: name, user_id.
DELETE FROM {schema}agentmem_thread_users AS own USING {schema}agentmem_threads AS thread
WHERE thread.name = %(name)s AND own.thread = thread.id AND own.user_id = %(user_id)s

-- set_last_user --
-- Make the other user that used a thread last its last user. Parameters: name, user_id (the former one).
UPDATE {schema}agentmem_threads SET user_id = coalesce((
    SELECT own.user_id FROM {schema}agentmem_thread_users AS own WHERE own.thread = agentmem_threads.id
    ORDER BY own.used_at DESC, own.user_id DESC LIMIT 1
), '')
WHERE name = %(name)s AND user_id = %(user_id)s

-- sweep --
-- Delete expired threads, except those that a writer has locked, and return their number. Parameters: tenant, now, limit.
SELECT {schema}agentmem_sweep_threads(%s, %s, %s)
