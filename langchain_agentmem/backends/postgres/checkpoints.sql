The statements of the checkpoint table; `{schema}` is the schema of the tables, with its dot.

-- secret --
SELECT * FROM {schema}agentmem_secret(%s, %s, %s, %s, %s, %s, %s, %s)

-- put --
SELECT {schema}agentmem_put(
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb,
    %s::jsonb, %s::jsonb, %s::bytea[], %s::bytea[], %b::text[], %s::bytea[]
)

-- put_plain --
SELECT {schema}agentmem_put_plain(
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %b::text[], %b::text[], %b::text[], %s::bytea[]
)

-- put_writes --
SELECT {schema}agentmem_put_writes(
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::int[], %b::text[], %b::text[], %s::bytea[],
    %s::jsonb, %s::jsonb, %s::bytea[], %s::bytea[], %b::text[], %s::bytea[]
)

-- get --
SELECT * FROM {schema}agentmem_get(%s, %s, %s, %s)

-- parts_of --
SELECT * FROM {schema}agentmem_parts_of(%s, %s::jsonb, %b::text[], %b::text[], %b::text[])

-- page --
-- Threads that we have never written to are LangGraph's, and belong to the default tenant.
SELECT coalesce(thread.thread_id, saved.thread_id), saved.checkpoint_ns, saved.checkpoint_id, saved.parent_checkpoint_id,
    saved.type, saved.checkpoint, saved.metadata, saved.stored, saved.sends
FROM {schema}agentmem_saved AS saved LEFT JOIN {schema}agentmem_threads AS thread ON thread.name = saved.thread_id
WHERE coalesce(thread.tenant, 'default') = %(tenant)s AND (thread.expires_at IS NULL OR thread.expires_at > %(now)s)
  AND (%(name)s::text IS NULL OR saved.thread_id = %(name)s)
  AND (%(namespace)s::text IS NULL OR saved.checkpoint_ns = %(namespace)s)
  AND (%(checkpoint_id)s::text IS NULL OR saved.checkpoint_id = %(checkpoint_id)s)
  AND (%(before)s::text IS NULL OR saved.checkpoint_id < %(before)s)
  AND (%(after_id)s::text IS NULL OR (saved.checkpoint_id, coalesce(thread.thread_id, saved.thread_id), saved.checkpoint_ns)
    < (%(after_id)s, %(after_thread)s, %(after_namespace)s))
ORDER BY saved.checkpoint_id DESC, coalesce(thread.thread_id, saved.thread_id) DESC, saved.checkpoint_ns DESC
LIMIT %(limit)s

-- page_of_namespace --
-- The same for one namespace of one thread, on the primary key.
SELECT %(thread_id)s, saved.checkpoint_ns, saved.checkpoint_id, saved.parent_checkpoint_id, saved.type, saved.checkpoint,
    saved.metadata, saved.stored, saved.sends
FROM {schema}agentmem_saved AS saved
WHERE saved.thread_id = %(name)s AND saved.checkpoint_ns = %(namespace)s
  AND (%(below)s::text IS NULL OR saved.checkpoint_id < %(below)s)
  AND NOT EXISTS (SELECT 1 FROM {schema}agentmem_threads WHERE name = %(name)s AND expires_at <= %(now)s)
ORDER BY saved.checkpoint_id DESC LIMIT %(limit)s

-- ancestors --
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata, stored, sends
FROM {schema}agentmem_ancestors(%s, %s, %s, %s, %s)

-- entries --
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, metadata ->> 'run_id',
    {schema}agentmem_stored_at(type, checkpoint)
FROM {schema}checkpoints WHERE thread_id = %s ORDER BY checkpoint_id

-- lock --
SELECT 1 FROM {schema}agentmem_threads WHERE name = %s FOR UPDATE

-- threads_of_runs --
SELECT DISTINCT coalesce(thread.thread_id, saved.thread_id)
FROM {schema}checkpoints AS saved LEFT JOIN {schema}agentmem_threads AS thread ON thread.name = saved.thread_id
WHERE saved.metadata ->> 'run_id' = ANY (%s) AND coalesce(thread.tenant, 'default') = %s

-- delete --
SELECT {schema}agentmem_delete(%s, %b::text[], %b::text[])

-- delete_thread --
SELECT {schema}agentmem_delete_thread(%s)

-- copy_thread --
SELECT {schema}agentmem_copy_thread(%s, %s, %s, %s, %s)

-- set_ttl --
SELECT {schema}agentmem_set_ttl(%s, %s, %s, %s, %s)

-- threads --
-- The threads of a tenant, of one user (`user_id`), or of no user (`of_nobody`), the most recently used first. The recursive
-- part finds the threads that LangGraph's own saver wrote, by hops from one thread to the next on the primary key.
WITH RECURSIVE hop (name) AS (
    (SELECT thread_id FROM {schema}checkpoints ORDER BY thread_id LIMIT 1)
    UNION ALL
    SELECT (SELECT thread_id FROM {schema}checkpoints WHERE thread_id > hop.name ORDER BY thread_id LIMIT 1)
    FROM hop WHERE hop.name IS NOT NULL
), every AS (
    SELECT name, thread_id, user_id, created_at, updated_at, expires_at,
        (SELECT jsonb_object_agg(own.user_id, own.used_at) FROM {schema}agentmem_thread_users AS own WHERE own.thread = id) AS users
    FROM {schema}agentmem_threads
    WHERE tenant = %(tenant)s AND (expires_at IS NULL OR expires_at > %(now)s) AND (
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

-- sweep --
SELECT {schema}agentmem_sweep_threads(%s, %s, %s)
