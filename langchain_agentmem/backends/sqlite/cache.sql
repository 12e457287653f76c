The statements of the cache table. A namespace is a JSON list of its labels.

-- get --
-- Return living entries with the numbers of their keys in a list. Parameters: tenant, keys (a JSON list of pairs of a namespace
-- and a key), now.
SELECT wanted.key, entry.type, entry.data
FROM json_each(:keys) AS wanted CROSS JOIN agentmem_cache AS entry
WHERE entry.tenant = :tenant AND entry.namespace = json_extract(wanted.value, '$[0]') AND entry.key = json_extract(wanted.value, '$[1]') AND {alive:entry}

-- replace --
-- Delete an entry before it is stored again. Parameters: tenant, keys (as in `get`).
DELETE FROM agentmem_cache WHERE id IN (
    SELECT entry.id
    FROM json_each(:keys) AS wanted CROSS JOIN agentmem_cache AS entry
    WHERE entry.tenant = :tenant AND entry.namespace = json_extract(wanted.value, '$[0]') AND entry.key = json_extract(wanted.value, '$[1]')
)

-- set --
-- Store an entry. Parameters: tenant, namespace, key, type, data, now, expiry.
INSERT INTO agentmem_cache (tenant, namespace, key, type, data, stored_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)

-- clear --
-- Delete the entries of a tenant. Parameters: tenant, limit.
DELETE FROM agentmem_cache WHERE id IN (SELECT id FROM agentmem_cache WHERE tenant = ? LIMIT ?)

-- clear_namespaces --
-- Delete the entries of some namespaces. Parameters: tenant, namespaces (a JSON list), limit.
DELETE FROM agentmem_cache WHERE id IN (
    SELECT id FROM agentmem_cache WHERE tenant = ? AND namespace IN (SELECT value FROM json_each(?)) LIMIT ?
)

-- count --
-- Count the living entries that were stored before a time. Parameters: tenant, before, now.
SELECT count(*) FROM agentmem_cache WHERE tenant = :tenant AND stored_at < :before AND {alive}

-- prune --
-- Delete entries that were stored before a time. Parameters: tenant, before, limit.
DELETE FROM agentmem_cache WHERE id IN (SELECT id FROM agentmem_cache WHERE tenant = ? AND stored_at < ? LIMIT ?)

-- sweep --
-- Delete expired entries. Parameters: tenant, now, limit.
DELETE FROM agentmem_cache WHERE id IN (SELECT id FROM agentmem_cache WHERE tenant = ? AND expires_at <= ? LIMIT ?)
