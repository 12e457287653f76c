The statements of the statistics. Parameters of all: tenant, now, hour, day and week (the ends of these periods).

-- sessions --
-- Count sessions by expiry, and their messages.
SELECT {by_expiry}, CAST(total(message_count) AS INTEGER) FROM agentmem_sessions WHERE tenant = :tenant AND {alive}

-- summaries --
-- Count summaries.
SELECT count(*) FROM agentmem_summaries AS summary JOIN agentmem_sessions AS session ON session.id = summary.session
WHERE session.tenant = :tenant AND {alive:session} AND summary.value <> ''

-- threads --
-- Count threads by expiry.
SELECT {by_expiry} FROM agentmem_threads WHERE tenant = :tenant AND {alive}

-- checkpoints --
-- Count checkpoints.
SELECT count(*) FROM agentmem_threads AS thread CROSS JOIN agentmem_checkpoints AS saved ON saved.thread = thread.id
WHERE thread.tenant = :tenant AND {alive:thread}

-- pending_writes --
-- Count pending writes.
SELECT count(*) FROM agentmem_threads AS thread CROSS JOIN agentmem_writes AS saved ON saved.thread = thread.id
WHERE thread.tenant = :tenant AND {alive:thread}

-- variables --
-- Count variables by expiry: their own or that of their session.
SELECT {by_expiry} FROM (
    SELECT min(coalesce(variable.expires_at, session.expires_at), coalesce(session.expires_at, variable.expires_at)) AS expires_at
    {living_variables}
)

-- cache_entries --
-- Count cache entries by expiry.
SELECT {by_expiry} FROM agentmem_cache WHERE tenant = :tenant AND {alive}

-- records --
-- Count records.
SELECT count(*) {living_records}

-- items --
-- Count items by kind (an empty text for others) and by expiry. Further parameters: user_root, shared_root, kinds (a JSON list),
-- alias_kind, alias_field, omitted (a second label; empty: none).
SELECT CASE
    WHEN root = :shared_root THEN 'shared'
    WHEN substr(root, 1, length(:user_root)) = :user_root AND label = :alias_kind
        AND substr(value, 1, length(:alias_field) + 3) = '{"' || :alias_field || '"' THEN 'aliases'
    WHEN substr(root, 1, length(:user_root)) = :user_root AND label IN (SELECT value FROM json_each(:kinds)) THEN label
    ELSE ''
END AS kind, {by_expiry}
FROM (
    SELECT value, expires_at, {root} AS root, {second_label} AS label FROM agentmem_items WHERE tenant = :tenant AND {alive}
)
WHERE :omitted = '' OR label IS NOT :omitted
GROUP BY kind

-- nested --
-- Count the different keys of an object in the items of one kind. Further parameters: user_root, nested_kind, nested_field.
SELECT count(*) FROM (
    SELECT DISTINCT namespace, nested.key
    FROM (
        SELECT namespace, CASE WHEN json_valid(value) THEN value ELSE '{}' END AS value FROM agentmem_items
        WHERE tenant = :tenant AND substr({root}, 1, length(:user_root)) = :user_root
          AND {second_label} = :nested_kind AND {alive}
    ) AS item, json_each(item.value, '$.' || json_quote(:nested_field)) AS nested
)

-- users --
-- Count users. Further parameter: user_root.
SELECT count(*) FROM (
    SELECT user_id FROM agentmem_sessions WHERE tenant = :tenant AND user_id <> '' AND {alive}
    UNION
    SELECT one.user_id FROM agentmem_threads AS thread JOIN agentmem_thread_users AS one ON one.thread = thread.id
    WHERE thread.tenant = :tenant AND {alive:thread}
    UNION
    SELECT substr({root}, length(:user_root) + 1) FROM agentmem_items
    WHERE tenant = :tenant AND substr({root}, 1, length(:user_root)) = :user_root AND {alive}
    UNION
    SELECT variable.user_id {living_variables} AND variable.user_id <> ''
    UNION
    SELECT record.user_id {living_records} AND record.user_id <> ''
)

-- agents --
-- Count agents.
SELECT count(*) FROM (
    SELECT message.agent
    FROM agentmem_sessions AS session CROSS JOIN agentmem_messages AS message ON message.session = session.id
    WHERE session.tenant = :tenant AND {alive:session} AND message.agent IS NOT NULL
    UNION
    SELECT variable.agent {living_variables} AND variable.agent <> ''
    UNION
    SELECT record.agent {living_records}
)

-- bytes --
-- Return the size of the database. No parameters.
SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()
