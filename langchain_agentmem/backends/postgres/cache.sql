The statements of the cache table. `fragments.sql` explains the names in braces.

-- get --
-- Return living entries. Parameters: places, now.
SELECT place, type, data FROM {schema}agentmem_cache AS entry WHERE place = ANY (%(places)s::bytea[]) AND {alive:entry}

-- set --
-- Store entries, in the order of their places, so that no deadlock arises. Parameters: places, scopes, tenant, namespaces, keys,
-- types, data, now, TTLs in seconds (NULL: none).
INSERT INTO {schema}agentmem_cache (place, scope, tenant, namespace, key, type, data, stored_at, expires_at)
SELECT place, scope, %(tenant)s, namespace, key, type, data, %(now)s, %(now)s + ttl
FROM unnest(
    %(places)s::bytea[], %(scopes)s::bytea[], %(namespaces)b::text[], %(keys)b::text[], %(types)b::text[], %(data)s::bytea[],
    %(ttls)s::double precision[]
) AS added (place, scope, namespace, key, type, data, ttl)
ORDER BY place
ON CONFLICT (place) DO UPDATE SET
    type = excluded.type, data = excluded.data, stored_at = excluded.stored_at, expires_at = excluded.expires_at

-- clear --
-- Delete entries of a tenant. They are locked in the order in which `set` locks them. Parameters: tenant, limit.
WITH chosen AS MATERIALIZED (
    SELECT place FROM {schema}agentmem_cache WHERE tenant = %(tenant)s LIMIT %(limit)s
), locked AS MATERIALIZED (
    SELECT entry.place FROM {schema}agentmem_cache AS entry JOIN chosen USING (place) ORDER BY entry.place FOR UPDATE OF entry
)
DELETE FROM {schema}agentmem_cache AS entry USING locked WHERE entry.place = locked.place

-- clear_namespaces --
-- Delete entries of some namespaces, as `clear` does. Parameters: scopes, limit.
WITH chosen AS MATERIALIZED (
    SELECT place FROM {schema}agentmem_cache WHERE scope = ANY (%(scopes)s::bytea[]) LIMIT %(limit)s
), locked AS MATERIALIZED (
    SELECT entry.place FROM {schema}agentmem_cache AS entry JOIN chosen USING (place) ORDER BY entry.place FOR UPDATE OF entry
)
DELETE FROM {schema}agentmem_cache AS entry USING locked WHERE entry.place = locked.place

-- count --
-- Count the living entries that were stored before a time. Parameters: tenant, before, now.
SELECT count(*) FROM {schema}agentmem_cache AS entry
WHERE tenant = %(tenant)s AND stored_at < %(before)s AND {alive:entry}

-- prune --
-- Delete entries that were stored before a time, except those that a writer has locked. Parameters: tenant, before, limit.
WITH old AS MATERIALIZED (
    SELECT place FROM {schema}agentmem_cache WHERE tenant = %s AND stored_at < %s LIMIT %s FOR UPDATE SKIP LOCKED
)
DELETE FROM {schema}agentmem_cache AS entry USING old WHERE entry.place = old.place

-- sweep --
-- Delete expired entries, except those that a writer has locked. Parameters: tenant, now, limit.
WITH expired AS MATERIALIZED (
    SELECT place FROM {schema}agentmem_cache WHERE tenant = %s AND expires_at <= %s LIMIT %s FOR UPDATE SKIP LOCKED
)
DELETE FROM {schema}agentmem_cache AS entry USING expired WHERE entry.place = expired.place
