The statements of the item table.

-- get --
SELECT id, namespace, key, value, created_at, updated_at, ttl, revision, paths
FROM agentmem_items
WHERE tenant = ? AND namespace = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)

-- put --
-- An item that is there keeps its creation time, unless it had expired. Its time to live counts from its last use at least:
-- a clock that is late never brings an expiry forward, a shorter time to live does. The revision of one that was replaced is odd.
INSERT INTO agentmem_items (tenant, namespace, key, value, created_at, updated_at, ttl, expires_at, revision, paths)
VALUES (:tenant, :namespace, :key, :value, :now, :now, :ttl, :expires_at, :revision, :paths)
ON CONFLICT (tenant, namespace, key) DO UPDATE SET
    value = excluded.value,
    created_at = CASE WHEN agentmem_items.expires_at <= :now THEN :now ELSE agentmem_items.created_at END,
    updated_at = :now,
    ttl = excluded.ttl,
    expires_at = max(
        :now, agentmem_items.updated_at, coalesce(agentmem_items.expires_at - agentmem_items.ttl, :now)
    ) + excluded.ttl,
    revision = excluded.revision | 1,
    paths = excluded.paths
RETURNING id, revision & 1

-- delete --
DELETE FROM agentmem_items WHERE id = ?

-- find --
SELECT id FROM agentmem_items WHERE tenant = ? AND namespace = ? AND key = ?

-- add_text --
INSERT INTO agentmem_item_texts (rowid, text) VALUES (?, ?)

-- delete_text --
DELETE FROM agentmem_item_texts WHERE rowid = ?

-- add_vector --
INSERT INTO agentmem_item_vectors (item, vector) VALUES (?, ?)

-- delete_vectors --
DELETE FROM agentmem_item_vectors WHERE item = ?

-- touch --
UPDATE agentmem_items SET expires_at = max(expires_at, ? + ttl)
WHERE tenant = ? AND namespace = ? AND key = ? AND ttl IS NOT NULL

-- scan --
-- All items of a tenant, most recently updated first.
SELECT id, namespace, key, value, created_at, updated_at, ttl, revision
FROM agentmem_items
WHERE tenant = :tenant AND (updated_at, id) < (:updated_at, :id) AND (expires_at IS NULL OR expires_at > :now)
ORDER BY updated_at DESC, id DESC LIMIT :limit

-- scan_below --
-- The same below a namespace: the unary plus keeps SQLite on the index by namespace.
SELECT id, namespace, key, value, created_at, updated_at, ttl, revision
FROM agentmem_items
WHERE tenant = :tenant AND namespace >= :first AND namespace < :last
  AND (+updated_at, id) < (:updated_at, :id) AND (expires_at IS NULL OR expires_at > :now)
ORDER BY +updated_at DESC, id DESC LIMIT :limit

-- match --
SELECT item.updated_at, item.namespace, item.key, item.id, -bm25(agentmem_item_texts)
FROM agentmem_item_texts
CROSS JOIN agentmem_items AS item ON item.id = agentmem_item_texts.rowid
WHERE agentmem_item_texts MATCH :terms
  AND item.tenant = :tenant AND item.namespace >= :first AND item.namespace < :last
  AND (item.expires_at IS NULL OR item.expires_at > :now)

-- vectors --
SELECT item.updated_at, item.namespace, item.key, item.id, vector.vector
FROM agentmem_items AS item
CROSS JOIN agentmem_item_vectors AS vector ON vector.item = item.id
WHERE item.tenant = :tenant AND item.namespace >= :first AND item.namespace < :last
  AND (item.expires_at IS NULL OR item.expires_at > :now)

-- rows --
SELECT item.id, item.namespace, item.key, item.value, item.created_at, item.updated_at, item.ttl, item.revision
FROM json_each(?) AS wanted CROSS JOIN agentmem_items AS item ON item.id = wanted.value

-- namespaces --
-- Hops from one namespace to the next on the index, however many items each holds.
WITH RECURSIVE hop (namespace) AS (
    SELECT min(namespace) FROM agentmem_items
    WHERE tenant = :tenant AND namespace >= :first AND namespace < :last
    UNION ALL
    SELECT (
        SELECT min(namespace) FROM agentmem_items
        WHERE tenant = :tenant AND namespace > hop.namespace AND namespace < :last
    ) FROM hop WHERE hop.namespace IS NOT NULL
)
SELECT namespace FROM hop
WHERE namespace IS NOT NULL AND EXISTS (
    SELECT 1 FROM agentmem_items AS item
    WHERE item.tenant = :tenant AND item.namespace = hop.namespace AND (item.expires_at IS NULL OR item.expires_at > :now)
)

-- expired --
SELECT id FROM agentmem_items WHERE tenant = ? AND expires_at <= ? LIMIT ?

-- next_items --
-- The unary plus keeps SQLite on the order of the ids: else it sorts all items of the tenant for each page.
SELECT id FROM agentmem_items WHERE +tenant = ? AND id > ? ORDER BY id LIMIT ?

-- unembedded --
-- Items that are searched and have no vectors of so many bytes.
SELECT id, namespace, key, value, created_at, updated_at, ttl, revision, paths
FROM agentmem_items AS item
WHERE +tenant = :tenant AND id > :after AND (expires_at IS NULL OR expires_at > :now)
  AND EXISTS (SELECT 1 FROM agentmem_item_texts AS text WHERE text.rowid = item.id)
  AND NOT EXISTS (SELECT 1 FROM agentmem_item_vectors AS vector WHERE vector.item = item.id AND length(vector.vector) = :bytes)
ORDER BY id LIMIT :limit

-- find_unchanged --
SELECT id FROM agentmem_items WHERE tenant = ? AND namespace = ? AND key = ? AND revision = ?
