The statements of the item table.

-- get --
-- Return an item. Parameters: tenant, namespace, key, now.
SELECT {item}, paths
FROM agentmem_items
WHERE tenant = :tenant AND namespace = :namespace AND key = :key AND {alive}

-- put --
-- Add or replace an item. Parameters: the columns, now. A replaced item keeps its creation time, unless it had expired. Its
-- TTL counts from its last use at least, so a clock that is behind never moves an expiry backwards. The revision of a
-- replacing item is odd.
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
-- Delete an item. Parameter: its ID.
DELETE FROM agentmem_items WHERE id = ?

-- find --
-- Return the ID of an item, expired or not. Parameters: tenant, namespace, key.
SELECT id FROM agentmem_items WHERE tenant = ? AND namespace = ? AND key = ?

-- set_words --
-- Store the words of an item. Parameters: the item's ID, its words.
INSERT INTO agentmem_item_words (item, words) VALUES (?, ?) ON CONFLICT (item) DO UPDATE SET words = excluded.words

-- replace_words --
-- Replace the words of an item that has some. Parameters: its words, its ID.
UPDATE agentmem_item_words SET words = ? WHERE item = ?

-- delete_words --
-- Delete the words of an item. Parameter: the item's ID.
DELETE FROM agentmem_item_words WHERE item = ?

-- note_change --
-- Note that the words or the vectors of an item changed. Parameter: the item's ID.
INSERT INTO agentmem_item_changes (item) VALUES (?)

-- add_vector --
-- Add a vector. Parameters: the item's ID, the vector.
INSERT INTO agentmem_item_vectors (item, vector) VALUES (?, ?)

-- delete_vectors --
-- Delete an item's vectors. Parameter: the item's ID.
DELETE FROM agentmem_item_vectors WHERE item = ?

-- touch --
-- Restart the TTL of an item. Parameters: now, tenant, namespace, key.
UPDATE agentmem_items SET expires_at = max(expires_at, ? + ttl)
WHERE tenant = ? AND namespace = ? AND key = ? AND ttl IS NOT NULL

-- scan --
-- Return all items of a tenant, most recently updated first. The inner statement reads only the index, unless there is a
-- condition. Parameters: tenant, updated_at and id (of the last item), limit, offset, now, and those of the condition.
SELECT {item:item}
FROM (
    SELECT id AS found FROM agentmem_items
    WHERE tenant = :tenant AND (updated_at, id) < (:updated_at, :id) AND {alive}{condition}
    ORDER BY updated_at DESC, id DESC LIMIT :limit OFFSET :offset
)
CROSS JOIN agentmem_items AS item ON item.id = found
ORDER BY item.updated_at DESC, item.id DESC

-- scan_below --
-- Same as `scan`, below a namespace. The unary plus makes SQLite use the index by namespace. Parameters: those of `scan`,
-- first and last (the namespaces).
SELECT {item:item}
FROM (
    SELECT id AS found FROM agentmem_items
    WHERE tenant = :tenant AND namespace >= :first AND namespace < :last
      AND (+updated_at, id) < (:updated_at, :id) AND {alive}{condition}
    ORDER BY +updated_at DESC, id DESC LIMIT :limit OFFSET :offset
)
CROSS JOIN agentmem_items AS item ON item.id = found
ORDER BY item.updated_at DESC, item.id DESC

-- words --
-- Return the words of the items below a namespace. Parameters: tenant, first and last (the namespaces), now.
SELECT item.updated_at, item.namespace, item.key, item.id, indexed.words
FROM agentmem_items AS item
CROSS JOIN agentmem_item_words AS indexed ON indexed.item = item.id
WHERE item.tenant = :tenant AND item.namespace >= :first AND item.namespace < :last
  AND {alive:item}

-- vectors --
-- Return the vectors below a namespace. Parameters: tenant, first and last (the namespaces), now.
SELECT item.updated_at, item.namespace, item.key, item.id, vector.vector
FROM agentmem_items AS item
CROSS JOIN agentmem_item_vectors AS vector ON vector.item = item.id
WHERE item.tenant = :tenant AND item.namespace >= :first AND item.namespace < :last
  AND {alive:item}

-- newest_change --
-- Return the number and the mark of the newest noted change, the number of the oldest one, and the mark of a change (NULL: it is
-- not noted). Parameter: the number of this change.
SELECT change, mark, (SELECT min(change) FROM agentmem_item_changes), (SELECT mark FROM agentmem_item_changes WHERE change = ?)
FROM agentmem_item_changes ORDER BY change DESC LIMIT 1

-- texts --
-- Return the search entries of the items below a namespace. Parameters: tenant, first and last (the namespaces), now.
SELECT {text:item}
FROM agentmem_items AS item CROSS JOIN agentmem_item_words AS indexed ON indexed.item = item.id
WHERE item.tenant = :tenant AND item.namespace >= :first AND item.namespace < :last AND {alive:item}

-- vectors_of_texts --
-- Return the vectors of these items, those of an item in order.
SELECT vector.item, vector.vector
FROM agentmem_items AS item CROSS JOIN agentmem_item_vectors AS vector ON vector.item = item.id
WHERE item.tenant = :tenant AND item.namespace >= :first AND item.namespace < :last AND {alive:item}
ORDER BY vector.item, vector.id

-- changed --
-- Return the IDs of the items that changed after a change. Parameter: its number.
SELECT DISTINCT item FROM agentmem_item_changes WHERE change > ?

-- changed_texts --
-- Same as `texts`, for some items. Further parameter: ids (a JSON list).
SELECT {text:item}
FROM json_each(:ids) AS wanted
CROSS JOIN agentmem_items AS item ON item.id = wanted.value
CROSS JOIN agentmem_item_words AS indexed ON indexed.item = item.id
WHERE item.tenant = :tenant AND item.namespace >= :first AND item.namespace < :last AND {alive:item}

-- vectors_of_changed_texts --
-- Return the vectors of items. Parameter: a JSON list of IDs.
SELECT vector.item, vector.vector
FROM json_each(:ids) AS wanted CROSS JOIN agentmem_item_vectors AS vector ON vector.item = wanted.value
ORDER BY vector.item, vector.id

-- rows --
-- Return items by ID, with their tenants. Parameter: a JSON list of IDs.
SELECT {item:item}, item.tenant
FROM json_each(?) AS wanted CROSS JOIN agentmem_items AS item ON item.id = wanted.value

-- namespaces --
-- Return the namespaces in a range: the index leads from one to the next, however many items each has. Parameters: tenant,
-- first and last (the namespaces), now.
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
    WHERE item.tenant = :tenant AND item.namespace = hop.namespace AND {alive:item}
)

-- roots --
-- Return the first labels of the namespaces with items. Parameters: tenant, now.
SELECT DISTINCT substr(namespace, 1, instr(namespace, x'00') - 1) FROM agentmem_items WHERE tenant = :tenant AND {alive}

-- expired --
-- Return the IDs of expired items. Parameters: tenant, now, limit.
SELECT id FROM agentmem_items WHERE tenant = ? AND expires_at <= ? LIMIT ?

-- next_items --
-- Return the next item IDs. The unary plus makes SQLite follow the primary key, instead of sorting all items for each page.
-- Parameters: tenant, the last ID, limit.
SELECT id FROM agentmem_items WHERE +tenant = ? AND id > ? ORDER BY id LIMIT ?

-- unembedded --
-- Return searchable items without vectors of a size. Parameters: tenant, bytes (the size), after (the last ID), limit, now.
SELECT {item}, paths
FROM agentmem_items AS item
WHERE +tenant = :tenant AND id > :after AND {alive}
  AND EXISTS (SELECT 1 FROM agentmem_item_words AS indexed WHERE indexed.item = item.id)
  AND NOT EXISTS (SELECT 1 FROM agentmem_item_vectors AS vector WHERE vector.item = item.id AND length(vector.vector) = :bytes)
ORDER BY id LIMIT :limit

-- find_unchanged --
-- Return the ID of an item that has a revision. Parameters: tenant, namespace, key, revision.
SELECT id FROM agentmem_items WHERE tenant = ? AND namespace = ? AND key = ? AND revision = ?
