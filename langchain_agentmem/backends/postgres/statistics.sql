The statements of the statistics. `fragments.sql` explains the names in braces. Parameters of all: tenant, now, hour, day and week
(the ends of these periods).

-- sessions --
-- Count sessions by expiry, and their messages.
SELECT {by_expiry}, coalesce(sum(message_count), 0)::bigint
FROM {schema}agentmem_sessions WHERE tenant = %(tenant)s AND {alive}

-- summaries --
-- Count summaries.
SELECT count(*)
FROM {schema}agentmem_summaries AS summary JOIN {schema}agentmem_sessions AS session ON session.id = summary.session
WHERE session.tenant = %(tenant)s AND {alive:session} AND summary.value <> ''

-- threads --
-- Count threads by expiry. The recursive part finds the threads that LangGraph's own saver wrote, which never expire and belong to
-- the default tenant: the primary key leads from one thread to the next.
WITH RECURSIVE hop (name) AS (
    (SELECT thread_id FROM {schema}checkpoints WHERE %(tenant)s = 'default' ORDER BY thread_id LIMIT 1)
    UNION ALL
    SELECT (SELECT thread_id FROM {schema}checkpoints WHERE thread_id > hop.name ORDER BY thread_id LIMIT 1)
    FROM hop WHERE hop.name IS NOT NULL
)
SELECT {by_expiry} FROM (
    SELECT expires_at FROM {schema}agentmem_threads WHERE tenant = %(tenant)s AND {alive}
    UNION ALL
    SELECT NULL FROM hop
    WHERE name IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {schema}agentmem_threads AS known WHERE known.name = hop.name)
) AS thread

-- checkpoints --
-- Count checkpoints.
SELECT count(*) FROM {schema}checkpoints AS saved {of_living_threads}

-- pending_writes --
-- Count pending writes.
SELECT count(*) FROM {schema}checkpoint_writes AS saved {of_living_threads}

-- variables --
-- Count variables by expiry: their own or that of their session.
SELECT {by_expiry} FROM (SELECT least(variable.expires_at, session.expires_at) AS expires_at {living_variables}) AS variable

-- cache_entries --
-- Count cache entries by expiry.
SELECT {by_expiry} FROM {schema}agentmem_cache WHERE tenant = %(tenant)s AND {alive}

-- records --
-- Count records.
SELECT count(*) {living_records}

-- items --
-- Count items by kind (an empty text for others) and by expiry. Further parameters: own, first, last, level (the number of the
-- prefix's first label that belongs to the namespace), user_root, shared_root, kinds, alias_kind, alias_field, omitted (a
-- second label; empty: none).
SELECT CASE
    WHEN root = %(shared_root)s THEN 'shared'
    WHEN starts_with(root, %(user_root)s) AND label = %(alias_kind)s AND is_alias THEN 'aliases'
    WHEN starts_with(root, %(user_root)s) AND label = ANY (%(kinds)s::text[]) THEN label
    ELSE ''
END AS kind, {by_expiry}
FROM (
    SELECT extract(epoch FROM expires_at)::double precision AS expires_at,
        split_part(prefix, '.', %(level)s::int) AS root, split_part(prefix, '.', %(level)s::int + 1) AS label,
        value ? %(alias_field)s AS is_alias
    FROM {schema}store WHERE {within} AND {item_alive}
) AS item
WHERE %(omitted)s = '' OR label <> %(omitted)s
GROUP BY kind

-- nested --
-- Count the different keys of an object in the items of one kind. Further parameters: own, first, last, level, user_root, nested_kind,
-- nested_field.
SELECT count(DISTINCT (item.prefix, nested.key))
FROM (
    SELECT prefix, (CASE WHEN value ? 'agentmem:json' THEN value ->> 'agentmem:json' ELSE value::text END)::json AS value
    FROM {schema}store
    WHERE {within} AND starts_with(split_part(prefix, '.', %(level)s::int), %(user_root)s)
      AND split_part(prefix, '.', %(level)s::int + 1) = %(nested_kind)s AND {item_alive}
) AS item CROSS JOIN LATERAL json_object_keys(
    CASE WHEN json_typeof(item.value -> %(nested_field)s) = 'object' THEN item.value -> %(nested_field)s ELSE '{}' END
) AS nested (key)

-- users --
-- Count users. Further parameters: own, first, last, level, user_root.
SELECT count(*) FROM (
    SELECT user_id FROM {schema}agentmem_sessions WHERE tenant = %(tenant)s AND user_id <> '' AND {alive}
    UNION
    SELECT one.user_id
    FROM {schema}agentmem_threads AS thread JOIN {schema}agentmem_thread_users AS one ON one.thread = thread.id
    WHERE thread.tenant = %(tenant)s AND {alive:thread}
    UNION
    SELECT saved.metadata ->> 'user_id' FROM {schema}checkpoints AS saved
    WHERE %(tenant)s = 'default' AND octet_length(saved.metadata ->> 'user_id') BETWEEN 1 AND 1024
      AND NOT EXISTS (SELECT 1 FROM {schema}agentmem_threads AS known WHERE known.name = saved.thread_id)
    UNION
    SELECT replace(replace(replace(substr(
        split_part(prefix, '.', %(level)s::int), length(%(user_root)s) + 1
    ), chr(26) || '2', chr(1114111)), chr(26) || '1', '.'), chr(26) || '0', chr(26))
    FROM {schema}store
    WHERE {within} AND starts_with(split_part(prefix, '.', %(level)s::int), %(user_root)s) AND {item_alive}
    UNION
    SELECT variable.user_id {living_variables} AND variable.user_id <> ''
    UNION
    SELECT record.user_id {living_records} AND record.user_id <> ''
) AS every

-- agents --
-- Count agents.
SELECT count(*) FROM (
    SELECT message.agent
    FROM {schema}agentmem_sessions AS session JOIN {schema}agentmem_messages AS message ON message.session = session.id
    WHERE session.tenant = %(tenant)s AND {alive:session} AND message.agent IS NOT NULL
    UNION
    SELECT variable.agent {living_variables} AND variable.agent <> ''
    UNION
    SELECT record.agent {living_records}
) AS every

-- bytes --
-- Return the sizes of our tables and LangGraph's, with their indexes. No parameters.
SELECT relname::text, pg_total_relation_size(oid) FROM pg_class
WHERE relkind = 'r' AND (starts_with(relname, 'agentmem_') OR relname IN (
    'checkpoints', 'checkpoint_blobs', 'checkpoint_writes', 'checkpoint_migrations', 'store', 'store_vectors', 'store_migrations',
    'vector_migrations'
))
  AND relnamespace = (
    SELECT own.relnamespace FROM pg_class AS own WHERE own.oid = (SELECT tableoid FROM {schema}agentmem_schema LIMIT 1)
)
ORDER BY relname
