The statements of the checkpoint table.

-- thread --
-- Find a thread, expired or not. Parameters: tenant, thread_id.
SELECT id, revision, expires_at, secret_type, secret FROM agentmem_threads WHERE tenant = ? AND thread_id = ?

-- new_thread --
-- Add a thread, and return its ID, and the type and data of its secret. Parameters: tenant, thread_id, user_id ('': none), now,
-- ttl.
INSERT INTO agentmem_threads (tenant, thread_id, user_id, created_at, updated_at, ttl, expires_at, revision)
VALUES (:tenant, :thread_id, :user_id, :now, :now, :ttl, :now + :ttl, CAST(:now * 1000000 AS INTEGER))
RETURNING id, secret_type, secret

-- use_thread --
-- Note the use of a thread that has not expired, and return the same as `new_thread`. A TTL stays until it is set again. A clock
-- that is behind never moves the expiry backwards. The revision of a thread that was created again never repeats. Parameters:
-- tenant, thread_id, user_id ('': keep the last one), now.
UPDATE agentmem_threads SET
    user_id = CASE WHEN :user_id = '' THEN user_id ELSE :user_id END,
    updated_at = max(updated_at, :now),
    expires_at = max(:now + ttl, coalesce(expires_at, :now + ttl)),
    revision = coalesce(revision + 1, CAST(:now * 1000000 AS INTEGER))
WHERE tenant = :tenant AND thread_id = :thread_id AND {alive}
RETURNING id, secret_type, secret

-- count_write --
-- Increase the revision of a thread. Parameter: thread.
UPDATE agentmem_threads SET revision = revision + 1 WHERE id = ?

-- use_by_user --
-- Note that a user has used a thread. Parameters: thread, user_id, now.
INSERT INTO agentmem_thread_users (thread, user_id, used_at) VALUES (:thread, :user_id, :now)
ON CONFLICT (thread, user_id) DO UPDATE SET used_at = max(used_at, :now)

-- secret --
-- Return the secret of a thread. Parameter: thread.
SELECT secret_type, secret FROM agentmem_threads WHERE id = ? AND secret IS NOT NULL

-- set_secret --
-- Set the secret of a thread. Parameters: its type, the secret, thread.
UPDATE agentmem_threads SET secret_type = ?, secret = ? WHERE id = ?

-- set_ttl --
-- Set the TTL of a thread; it counts from the thread's last known use. Parameters: tenant, thread_id, ttl, now.
UPDATE agentmem_threads SET ttl = :ttl, expires_at = max(:now, updated_at, coalesce(expires_at - ttl, updated_at)) + :ttl
WHERE tenant = :tenant AND thread_id = :thread_id AND {alive}

-- digest --
-- Return the key and the digest of a channel value. Parameters: thread, namespace, channel, version.
SELECT namespace, channel, version, digest FROM agentmem_channel_values WHERE thread = ? AND namespace = ? AND channel = ? AND version = ?

-- add_checkpoint --
-- Add or replace a checkpoint. Parameters: the columns.
INSERT OR REPLACE INTO agentmem_checkpoints
    (thread, namespace, checkpoint_id, parent_id, run_id, created_at, type, document)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- add_value --
-- Add a channel value; a version never changes. Parameters: the columns.
INSERT OR IGNORE INTO agentmem_channel_values
    (thread, namespace, channel, version, kind, type, data, number, base_namespace, base_channel, base_version, head, tail,
    digest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- add_element --
-- Add an element unless it is stored. Parameters: the columns.
INSERT OR IGNORE INTO agentmem_elements (thread, reference, type, data) VALUES (?, ?, ?, ?)

-- add_write --
-- Add a pending write. A repeated write is ignored, except to LangGraph's own channels (a negative index). Parameters: the
-- columns.
INSERT INTO agentmem_writes
    (thread, namespace, checkpoint_id, task_id, write_index, task_path, channel, kind, type, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (thread, namespace, checkpoint_id, task_id, write_index) DO UPDATE SET
    task_path = excluded.task_path, channel = excluded.channel, kind = excluded.kind,
    type = excluded.type, data = excluded.data
WHERE excluded.write_index < 0

-- replace_write --
-- Replace a pending write that is unchanged. Parameters: the new channel, kind, type and data; thread, namespace, checkpoint_id,
-- task_id, write_index; the former channel, kind, type and data.
UPDATE agentmem_writes SET channel = ?, kind = ?, type = ?, data = ?
WHERE thread = ? AND namespace = ? AND checkpoint_id = ? AND task_id = ? AND write_index = ?
  AND channel = ? AND kind = ? AND type = ? AND data = ?

-- delete_write --
-- Delete a pending write that is unchanged. Parameters: thread, namespace, checkpoint_id, task_id, write_index, channel, kind,
-- type, data.
DELETE FROM agentmem_writes
WHERE thread = ? AND namespace = ? AND checkpoint_id = ? AND task_id = ? AND write_index = ?
  AND channel = ? AND kind = ? AND type = ? AND data = ?

-- latest --
-- Return the latest checkpoint of a namespace. Parameters: thread, namespace.
SELECT {checkpoint}
FROM agentmem_checkpoints
WHERE thread = ? AND namespace = ? ORDER BY checkpoint_id DESC LIMIT 1

-- checkpoint --
-- Return a checkpoint. Parameters: thread, namespace, checkpoint_id.
SELECT {checkpoint}
FROM agentmem_checkpoints
WHERE thread = ? AND namespace = ? AND checkpoint_id = ?

-- writes --
-- Return the pending writes of a checkpoint. Parameters: thread, namespace, checkpoint_id.
SELECT task_id, write_index, task_path, channel, kind, type, data
FROM agentmem_writes
WHERE thread = ? AND namespace = ? AND checkpoint_id = ?
ORDER BY task_path, task_id, write_index

-- value --
-- Return a channel value. Parameters: thread, namespace, channel, version.
SELECT namespace, channel, version, kind, type, data, number, base_namespace, base_channel, base_version, head, tail, digest
FROM agentmem_channel_values WHERE thread = ? AND namespace = ? AND channel = ? AND version = ?

-- elements --
-- Return the elements of a run of references, 16 bytes each. Parameters: thread, references.
WITH RECURSIVE place (at) AS (
    SELECT 1 WHERE length(:references) > 0
    UNION ALL
    SELECT at + 16 FROM place WHERE at + 16 <= length(:references)
)
SELECT element.reference, element.type, element.data
FROM place CROSS JOIN agentmem_elements AS element
    ON element.thread = :thread AND element.reference = substr(:references, place.at, 16)

-- page --
-- Return checkpoints, newest first. Parameters: tenant, thread_id, namespace, checkpoint_id, before (each NULL: all),
-- after_id, after_thread and after_namespace (of the last checkpoint; NULL: none), limit, now.
SELECT thread.thread_id, saved.namespace, saved.checkpoint_id, saved.parent_id, saved.type, saved.document
FROM agentmem_threads AS thread CROSS JOIN agentmem_checkpoints AS saved ON saved.thread = thread.id
WHERE thread.tenant = :tenant AND (:thread_id IS NULL OR thread.thread_id = :thread_id)
  AND {alive:thread}
  AND (:namespace IS NULL OR saved.namespace = :namespace)
  AND (:checkpoint_id IS NULL OR saved.checkpoint_id = :checkpoint_id)
  AND (:before IS NULL OR saved.checkpoint_id < :before)
  AND (:after_id IS NULL
    OR (saved.checkpoint_id, thread.thread_id, saved.namespace) < (:after_id, :after_thread, :after_namespace))
ORDER BY saved.checkpoint_id DESC, thread.thread_id DESC, saved.namespace DESC
LIMIT :limit

-- page_of_namespace --
-- Same as `page`, for one namespace of one thread, on the primary key. Parameters: tenant, thread_id, namespace, below (a
-- checkpoint ID), limit, now.
SELECT :thread_id, namespace, checkpoint_id, parent_id, type, document
FROM agentmem_checkpoints
WHERE thread = (
    SELECT id FROM agentmem_threads
    WHERE tenant = :tenant AND thread_id = :thread_id AND {alive}
) AND namespace = :namespace AND checkpoint_id < :below
ORDER BY checkpoint_id DESC LIMIT :limit

-- ancestors --
-- Return a checkpoint and its ancestors, newest first. Parameters: thread, namespace, checkpoint_id, limit.
WITH RECURSIVE line (checkpoint_id, parent_id, type, document, generation) AS (
    SELECT checkpoint_id, parent_id, type, document, 0 FROM agentmem_checkpoints
    WHERE thread = :thread AND namespace = :namespace AND checkpoint_id = :checkpoint_id
    UNION ALL
    SELECT saved.checkpoint_id, saved.parent_id, saved.type, saved.document, line.generation + 1
    FROM line CROSS JOIN agentmem_checkpoints AS saved
        ON saved.thread = :thread AND saved.namespace = :namespace AND saved.checkpoint_id = line.parent_id
    WHERE line.generation + 1 < :limit
)
SELECT :namespace, checkpoint_id, parent_id, type, document FROM line ORDER BY generation

-- entries --
-- Return the IDs, parents, runs and times of all checkpoints of a thread. Parameter: thread.
SELECT namespace, checkpoint_id, parent_id, run_id, created_at
FROM agentmem_checkpoints WHERE thread = ? ORDER BY checkpoint_id

-- threads_of_runs --
-- Return the threads that have a checkpoint of some runs. Parameters: a JSON list of run IDs, tenant.
SELECT DISTINCT thread.thread_id
FROM json_each(?) AS wanted
CROSS JOIN agentmem_checkpoints AS saved ON saved.run_id = wanted.value
JOIN agentmem_threads AS thread ON thread.id = saved.thread
WHERE thread.tenant = ?

-- delete_checkpoint --
-- Delete a checkpoint. Parameters: thread, namespace, checkpoint_id.
DELETE FROM agentmem_checkpoints WHERE thread = ? AND namespace = ? AND checkpoint_id = ?

-- delete_writes --
-- Delete the pending writes of a checkpoint. Parameters: thread, namespace, checkpoint_id.
DELETE FROM agentmem_writes WHERE thread = ? AND namespace = ? AND checkpoint_id = ?

-- orphan --
-- Remove the parent IDs of checkpoints whose parent is deleted. Parameter: thread.
UPDATE agentmem_checkpoints SET parent_id = NULL
WHERE thread = :thread AND parent_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM agentmem_checkpoints AS parent
    WHERE parent.thread = :thread AND parent.namespace = agentmem_checkpoints.namespace
      AND parent.checkpoint_id = agentmem_checkpoints.parent_id
)

-- documents --
-- Return all checkpoints of a thread. Parameter: thread.
SELECT {checkpoint} FROM agentmem_checkpoints WHERE thread = ?

-- value_links --
-- Return all channel values of a thread, and the value that each is spliced from. Parameter: thread.
SELECT namespace, channel, version, base_namespace, base_channel, base_version
FROM agentmem_channel_values WHERE thread = ?

-- delete_value --
-- Delete a channel value. Parameters: thread, namespace, channel, version.
DELETE FROM agentmem_channel_values WHERE thread = ? AND namespace = ? AND channel = ? AND version = ?

-- runs_of_references --
-- Return every run of references in a thread. Parameter: thread.
SELECT data FROM agentmem_channel_values WHERE thread = :thread AND kind <> 'plain'
UNION ALL
SELECT data FROM agentmem_writes WHERE thread = :thread AND kind NOT IN ('plain', 'value')

-- values_of_writes --
-- Return the channel values that pending writes refer to. Parameter: thread.
SELECT namespace, channel, type FROM agentmem_writes WHERE thread = ? AND kind = 'value'

-- references --
-- Return the references of all elements of a thread. Parameter: thread.
SELECT reference FROM agentmem_elements WHERE thread = ?

-- delete_element --
-- Delete an element. Parameters: thread, reference.
DELETE FROM agentmem_elements WHERE thread = ? AND reference = ?

-- delete_thread --
-- Delete a thread. Parameter: thread.
DELETE FROM agentmem_threads WHERE id = ?

-- delete_checkpoints_of_thread --
-- Delete all checkpoints of a thread. Parameter: thread.
DELETE FROM agentmem_checkpoints WHERE thread = ?

-- delete_values_of_thread --
-- Delete all channel values of a thread. Parameter: thread.
DELETE FROM agentmem_channel_values WHERE thread = ?

-- delete_elements_of_thread --
-- Delete all elements of a thread. Parameter: thread.
DELETE FROM agentmem_elements WHERE thread = ?

-- delete_writes_of_thread --
-- Delete all pending writes of a thread. Parameter: thread.
DELETE FROM agentmem_writes WHERE thread = ?

-- in_use --
-- Return whether a thread has checkpoints or pending writes. Parameter: thread.
SELECT EXISTS (SELECT 1 FROM agentmem_checkpoints WHERE thread = :thread)
    OR EXISTS (SELECT 1 FROM agentmem_writes WHERE thread = :thread)

-- copy_thread --
-- Copy a thread's row and return the new ID. Parameters: source, tenant, thread_id (of the copy), now.
INSERT INTO agentmem_threads (tenant, thread_id, user_id, created_at, updated_at, ttl, expires_at, secret_type, secret)
SELECT :tenant, :thread_id, user_id, :now, :now, ttl, max(:now + ttl, coalesce(expires_at, :now + ttl)), secret_type, secret
FROM agentmem_threads WHERE id = :source
RETURNING id

-- copy_users --
-- Copy the users of a thread. Parameters: source, target.
INSERT INTO agentmem_thread_users (thread, user_id, used_at)
SELECT :target, user_id, used_at FROM agentmem_thread_users WHERE thread = :source

-- copy_checkpoints --
-- Copy the checkpoints of a thread. Parameters: source, target.
INSERT INTO agentmem_checkpoints (thread, namespace, checkpoint_id, parent_id, run_id, created_at, type, document)
SELECT :target, namespace, checkpoint_id, parent_id, run_id, created_at, type, document
FROM agentmem_checkpoints WHERE thread = :source

-- copy_values --
-- Copy the channel values of a thread. Parameters: source, target.
INSERT INTO agentmem_channel_values
    (thread, namespace, channel, version, kind, type, data, number, base_namespace, base_channel, base_version, head, tail,
    digest)
SELECT :target, namespace, channel, version, kind, type, data, number, base_namespace, base_channel, base_version, head, tail,
    digest
FROM agentmem_channel_values WHERE thread = :source

-- copy_elements --
-- Copy the elements of a thread. Parameters: source, target.
INSERT INTO agentmem_elements (thread, reference, type, data)
SELECT :target, reference, type, data FROM agentmem_elements WHERE thread = :source ORDER BY id

-- copy_writes --
-- Copy the pending writes of a thread. Parameters: source, target.
INSERT INTO agentmem_writes
    (thread, namespace, checkpoint_id, task_id, write_index, task_path, channel, kind, type, data)
SELECT :target, namespace, checkpoint_id, task_id, write_index, task_path, channel, kind, type, data
FROM agentmem_writes WHERE thread = :source

-- threads --
-- Return the threads of a tenant, most recently used first. Parameters: tenant, limit, offset, now.
SELECT {listed_thread}
FROM agentmem_threads
WHERE tenant = :tenant AND {alive}
ORDER BY updated_at DESC, id DESC LIMIT :limit OFFSET :offset

-- threads_of_nobody --
-- Same as `threads`, for threads without a user. Parameters: tenant, limit, offset, now.
SELECT {listed_thread}
FROM agentmem_threads
WHERE tenant = :tenant AND user_id = '' AND {alive}
ORDER BY updated_at DESC, id DESC LIMIT :limit OFFSET :offset

-- threads_of_user --
-- Same as `threads`, for threads that a user has used. Parameters: tenant, user_id, limit, offset, now.
SELECT {listed_thread}
FROM agentmem_thread_users AS own CROSS JOIN agentmem_threads ON agentmem_threads.id = own.thread
WHERE own.user_id = :user_id AND tenant = :tenant AND {alive}
ORDER BY updated_at DESC, id DESC LIMIT :limit OFFSET :offset

-- users --
-- Return the users of a thread, and the time of each one's last turn. Parameter: thread.
SELECT user_id, used_at FROM agentmem_thread_users WHERE thread = ? ORDER BY used_at, user_id

-- all_users --
-- Return the users of all threads. Parameters: tenant, now.
SELECT DISTINCT own.user_id
FROM agentmem_threads CROSS JOIN agentmem_thread_users AS own ON own.thread = agentmem_threads.id
WHERE tenant = :tenant AND {alive}

-- delete_user --
-- Remove a user from a thread. Parameters: thread, user_id.
DELETE FROM agentmem_thread_users WHERE thread = ? AND user_id = ?

-- set_last_user --
-- Make the other user that used a thread last its last user. Parameters: thread, user_id (the former one).
UPDATE agentmem_threads SET user_id = coalesce(
    (SELECT user_id FROM agentmem_thread_users WHERE thread = :thread ORDER BY used_at DESC, user_id DESC LIMIT 1), ''
)
WHERE id = :thread AND user_id = :user_id

-- expired --
-- Return the IDs of expired threads. Parameters: tenant, now, limit.
SELECT id FROM agentmem_threads WHERE tenant = ? AND expires_at <= ? LIMIT ?
