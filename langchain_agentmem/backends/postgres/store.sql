The statements of the item table. `fragments.sql` explains the names in braces. A `prefix` is an encoded namespace. `own`, `first`
and `last` are the prefix itself and the range of the prefixes below it.

-- get --
-- Return items. Parameters: prefixes, keys, now.
SELECT * FROM {schema}agentmem_get_items(%b::text[], %b::text[], %s)

-- get_with_paths --
-- Same as `get`, with the paths of the indexed fields.
SELECT item.*, noted.paths
FROM {schema}agentmem_get_items(%b::text[], %b::text[], %s) AS item LEFT JOIN {schema}agentmem_item_paths AS noted
    ON noted.prefix = item.prefix AND noted.key = item.key AND noted.revision = item.revision

-- put --
-- Store items. Parameters: `put_arguments`.
SELECT {schema}agentmem_put_items({put_arguments})

-- put_with_paths --
-- Same as `put`, with paths of indexed fields. Further parameters: prefixes, keys, paths.
WITH stored AS MATERIALIZED (SELECT {schema}agentmem_put_items({put_arguments}))
SELECT {schema}agentmem_note_paths(%b::text[], %b::text[], %b::text[]) FROM stored

-- swap --
-- Store and delete items, and return whether all had the expected revisions. Parameters: prefixes, keys, expected revisions
-- (NULL: no item), whether to keep each unchanged, token; `put_arguments`.
SELECT {schema}agentmem_swap_items(%b::text[], %b::text[], %s::bigint[], %s::boolean[], %s, {put_arguments})

-- swap_with_more --
-- Same as `swap`, with paths of indexed fields, and with kept items whose TTL restarts. A retried swap whose first attempt was
-- stored notes no paths: other writers may have changed the items since. Further parameters: token, prefixes, keys, paths; prefixes
-- and keys of the kept items, now.
WITH swapped AS MATERIALIZED (
    SELECT {schema}agentmem_swap_items(%b::text[], %b::text[], %s::bigint[], %s::boolean[], %s, {put_arguments}) AS done
)
SELECT done, CASE WHEN done AND NOT EXISTS (SELECT 1 FROM {schema}agentmem_tokens WHERE token = %s)
    THEN {schema}agentmem_note_paths(%b::text[], %b::text[], %b::text[]) END,
    CASE WHEN done THEN {schema}agentmem_touch_items(%b::text[], %b::text[], %s) END FROM swapped

-- lock --
-- Lock items until the transaction ends, and return those that are locked. Parameters: prefixes, keys, whether to create each
-- if it is missing, now.
SELECT * FROM {schema}agentmem_lock_items(%b::text[], %b::text[], %s::boolean[], %s)

-- delete --
-- Delete items. Parameters: prefixes, keys.
SELECT {schema}agentmem_delete_items(%b::text[], %b::text[])

-- touch --
-- Restart the TTL of items. Parameters: prefixes, keys, now.
SELECT {schema}agentmem_touch_items(%b::text[], %b::text[], %s)

-- scan --
-- Return items, most recently updated first. The inner statement sorts and skips; the outer one computes what is returned.
-- Parameters: own, first, last, path (a JSON path condition; NULL: none), limit, offset, now; at, prefix and key (of the last item;
-- NULL: none); those of the condition on indexed fields. A value that Postgres' JSON would alter is never excluded by a condition.
SELECT item.prefix, item.key, item.value::text, extract(epoch FROM item.created_at)::double precision,
    extract(epoch FROM item.updated_at)::double precision,
    CASE WHEN item.expires_at IS NOT NULL THEN coalesce(own.ttl, item.ttl_minutes * 60.0) END,
    {schema}agentmem_revision(item.updated_at, item.value), item.updated_at::text
FROM (
    SELECT item.* FROM {schema}store AS item
    WHERE (item.prefix = %(own)s OR (item.prefix ~>=~ %(first)s AND item.prefix ~<~ %(last)s)) AND {item_alive:item}
      AND (%(path)s::jsonpath IS NULL OR item.value @@ %(path)s::jsonpath OR item.value ? 'agentmem:json'){condition}
      AND (%(at)s::timestamptz IS NULL OR (item.updated_at, item.prefix COLLATE "C", item.key COLLATE "C")
        < (%(at)s::timestamptz, %(prefix)s, %(key)s))
    ORDER BY item.updated_at DESC, item.prefix COLLATE "C" DESC, item.key COLLATE "C" DESC
    LIMIT %(limit)s OFFSET %(offset)s
) AS item
LEFT JOIN {schema}agentmem_item_ttls AS own USING (prefix, key)
ORDER BY item.updated_at DESC, item.prefix COLLATE "C" DESC, item.key COLLATE "C" DESC

-- find --
-- Return the items that match a query, with their scores. Parameters: own, first, last, terms, vector, path, now, depth, exact
-- (the number of items up to which all are compared).
SELECT * FROM {schema}agentmem_find(%s, %s, %s, %b::text[], %s::real[], %s::jsonpath, %s, %s, %s)

-- changed_items --
-- Return what changed in the items below a prefix. Parameters: own, first, last, the state and the time of the last call (NULL: none),
-- whether to return vectors, the number of items that are too many, now.
SELECT * FROM {schema}agentmem_changed_items(%s, %s, %s, %s, %s, %s, %s, %s)

-- lock_unanalyzed --
-- Lock items whose words are to be analysed, and return them with their values. Parameter: limit.
SELECT * FROM {schema}agentmem_lock_unanalyzed(%s)

-- add_texts --
-- Store the words of items. Parameters: prefixes, keys; the numbers of the items that the texts belong to (from 1), the texts.
SELECT {schema}agentmem_add_texts(%b::text[], %b::text[], %s::int[], %b::text[])

-- namespaces --
-- Return the prefixes that contain items. Parameters: first, last, own, now.
SELECT * FROM {schema}agentmem_namespaces(%s, %s, %s, %s)

-- roots --
-- Return the first labels of the prefixes that contain items. Parameters: part (the number of that label), first, last, own, now.
SELECT DISTINCT split_part(namespace, '.', %s) FROM {schema}agentmem_namespaces(%s, %s, %s, %s) AS found (namespace)

-- sweep --
-- Delete expired items, except those that a writer has locked, and return their number. Parameters: own, first, last, now,
-- limit.
SELECT {schema}agentmem_sweep_items(%s, %s, %s, %s, %s)

-- has_vectors --
-- Return true if the table of vectors exists.
SELECT {schema}agentmem_has_vectors()

-- make_vectors --
-- Create the table of vectors and its index. Parameters: dimensions, type, kind of index, options of the index.
SELECT {schema}agentmem_make_vectors(%s, %s, %s, %s)

-- dimensions --
-- Return the dimensions of the vectors; NULL if the table does not exist or any dimensions fit.
SELECT {schema}agentmem_dimensions()

-- dimensions_of_others --
-- Same as `dimensions`, NULL if only this tenant has vectors. Parameters: first, last (of the tenant).
SELECT {schema}agentmem_dimensions_of_others(%s, %s)

-- unembed --
-- Delete vectors, and return their number. Parameters: first, last, limit.
SELECT {schema}agentmem_unembed_items(%s, %s, %s)

-- resize --
-- Change the dimensions of the table of vectors. Parameters: first, last, then those of `make_vectors`.
SELECT {schema}agentmem_resize_vectors(%s, %s, %s, %s, %s, %s)

-- unembedded --
-- Return searchable items without vectors, with the paths of their fields. Parameters: first, last, prefix and key (of the last
-- item), limit, now.
SELECT * FROM {schema}agentmem_unembedded_items(%s, %s, %b, %b, %s, %s)

-- indexed --
-- Return searchable items, with the paths of their fields. Parameters: those of `unembedded`.
SELECT * FROM {schema}agentmem_indexed_items(%s, %s, %b, %b, %s, %s)

-- lock_unchanged --
-- Lock searchable items that have the revisions, and return them. Parameters: prefixes, keys, revisions.
SELECT item.prefix, item.key
FROM {schema}store AS item
    JOIN unnest(%b::text[], %b::text[], %s::bigint[]) AS known (prefix, key, revision)
    ON known.prefix = item.prefix AND known.key = item.key
WHERE {schema}agentmem_revision(item.updated_at, item.value) = known.revision AND EXISTS (
    SELECT FROM {schema}agentmem_item_texts AS text WHERE text.prefix = item.prefix AND text.key = item.key
)
ORDER BY item.prefix, item.key FOR SHARE OF item

-- embed --
-- Store the vectors of items that have the revisions, and return the number of items. Parameters: prefixes, keys, revisions;
-- the last three of `put_arguments`.
SELECT {schema}agentmem_embed_items(%b::text[], %b::text[], %s::bigint[], %s::int[], %b::text[], %s::real[])
