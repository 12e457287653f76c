The statements of the item table; `{schema}` is the schema of the tables, with its dot.

-- get --
SELECT * FROM {schema}agentmem_get_items(%b::text[], %b::text[], %s)

-- get_with_paths --
SELECT item.*, noted.paths
FROM {schema}agentmem_get_items(%b::text[], %b::text[], %s) AS item LEFT JOIN {schema}agentmem_item_paths AS noted
    ON noted.prefix = item.prefix AND noted.key = item.key AND noted.revision = item.revision

-- put --
SELECT {schema}agentmem_put_items(
    %b::text[], %b::text[], %b::text[], %s::double precision[], %s,
    %s::int[], %b::text[], %s::int[], %b::text[], %s::real[]
)

-- put_with_paths --
-- The same, where puts say which fields are searched.
WITH stored AS MATERIALIZED (
    SELECT {schema}agentmem_put_items(
        %b::text[], %b::text[], %b::text[], %s::double precision[], %s,
        %s::int[], %b::text[], %s::int[], %b::text[], %s::real[]
    )
)
SELECT {schema}agentmem_note_paths(%b::text[], %b::text[], %b::text[]) FROM stored

-- swap --
SELECT {schema}agentmem_swap_items(
    %b::text[], %b::text[], %s::bigint[], %s::boolean[], %s,
    %b::text[], %b::text[], %b::text[], %s::double precision[], %s,
    %s::int[], %b::text[], %s::int[], %b::text[], %s::real[]
)

-- swap_with_paths --
WITH swapped AS MATERIALIZED (
    SELECT {schema}agentmem_swap_items(
        %b::text[], %b::text[], %s::bigint[], %s::boolean[], %s,
        %b::text[], %b::text[], %b::text[], %s::double precision[], %s,
        %s::int[], %b::text[], %s::int[], %b::text[], %s::real[]
    ) AS done
)
SELECT done, CASE WHEN done AND NOT EXISTS (SELECT 1 FROM {schema}agentmem_tokens WHERE token = %s)
    THEN {schema}agentmem_note_paths(%b::text[], %b::text[], %b::text[]) END FROM swapped

-- lock --
SELECT * FROM {schema}agentmem_lock_items(%b::text[], %b::text[], %s::boolean[], %s)

-- delete --
SELECT {schema}agentmem_delete_items(%b::text[], %b::text[])

-- touch --
SELECT {schema}agentmem_touch_items(%b::text[], %b::text[], %s)

-- scan --
SELECT item.prefix, item.key, item.value::text, extract(epoch FROM item.created_at)::double precision,
    extract(epoch FROM item.updated_at)::double precision,
    CASE WHEN item.expires_at IS NOT NULL THEN coalesce(own.ttl, item.ttl_minutes * 60.0) END,
    {schema}agentmem_revision(item.updated_at, item.value), item.updated_at::text
FROM {schema}store AS item LEFT JOIN {schema}agentmem_item_ttls AS own USING (prefix, key)
WHERE (item.prefix = %(own)s OR (item.prefix ~>=~ %(first)s AND item.prefix ~<~ %(last)s))
  AND (item.expires_at IS NULL OR item.expires_at > to_timestamp(%(now)s))
  AND (%(path)s::jsonpath IS NULL OR item.value @@ %(path)s::jsonpath OR item.value ? 'agentmem:json')
  AND (%(at)s::timestamptz IS NULL OR (item.updated_at, item.prefix COLLATE "C", item.key COLLATE "C")
    < (%(at)s::timestamptz, %(prefix)s, %(key)s))
ORDER BY item.updated_at DESC, item.prefix COLLATE "C" DESC, item.key COLLATE "C" DESC LIMIT %(limit)s

-- find --
SELECT * FROM {schema}agentmem_find(%s, %s, %s, %b::text[], %s::real[], %s::jsonpath, %s, %s, %s)

-- namespaces --
SELECT * FROM {schema}agentmem_namespaces(%s, %s, %s, %s)

-- sweep --
SELECT {schema}agentmem_sweep_items(%s, %s, %s, %s, %s)

-- has_vectors --
SELECT {schema}agentmem_has_vectors()

-- make_vectors --
SELECT {schema}agentmem_make_vectors(%s, %s, %s, %s)

-- dimensions --
SELECT {schema}agentmem_dimensions()

-- dimensions_of_others --
SELECT {schema}agentmem_dimensions_of_others(%s, %s)

-- unembed --
SELECT {schema}agentmem_unembed_items(%s, %s, %s)

-- resize --
SELECT {schema}agentmem_resize_vectors(%s, %s, %s, %s, %s, %s)

-- unembedded --
SELECT * FROM {schema}agentmem_unembedded_items(%s, %s, %b, %b, %s, %s)

-- embed --
SELECT {schema}agentmem_embed_items(%b::text[], %b::text[], %s::bigint[], %s::int[], %b::text[], %s::real[])
