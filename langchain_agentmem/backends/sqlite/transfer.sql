The statements that read and restore whole rows.

-- session --
-- Return a session. Parameters: tenant, user_id, session_id, now.
SELECT id, title, title_position, next_position, created_at, updated_at, expires_at, metadata, head
FROM agentmem_sessions WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id AND {alive}

-- summaries --
-- Return the summaries of a session that are not empty. Parameter: session.
SELECT agent, value, revision, covers FROM agentmem_summaries WHERE session = ? AND value <> '' ORDER BY agent

-- variables_of_session --
-- Return the variables of a session. Parameters: session, now.
SELECT agent, name, value, created_at, updated_at, expires_at FROM agentmem_variables
WHERE session = :session AND session <> 0 AND {alive} ORDER BY agent, name

-- messages --
-- Return messages after a position, with their vectors. Parameters: those of `living_session`, after, limit.
SELECT vector, {message} FROM agentmem_messages
WHERE session = {living_session} AND position > :after ORDER BY position LIMIT :limit

-- add_session --
-- Add a session without messages, unless it exists. Return its ID. Parameters: the columns.
INSERT INTO agentmem_sessions
    (tenant, user_id, session_id, title, title_position, message_count, next_position, created_at, updated_at, expires_at, metadata, head)
VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, user_id, session_id) DO NOTHING RETURNING id

-- add_summary --
-- Add a summary. Parameters: session, agent, value, covers.
INSERT INTO agentmem_summaries (session, agent, value, revision, covers)
VALUES (?, ?, ?, abs(random() % 9000000000000000), ?)

-- add_message --
-- Add a message, unless its position is taken. Parameters: the columns.
INSERT INTO agentmem_messages
    (session, position, role, agent, ends_with_session, created_at, metadata, type, body, words, vector, id_digest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session, position) DO NOTHING

-- count --
-- Count added messages of a session, which may precede others. Parameters: session, added, next (the position after the last one).
UPDATE agentmem_sessions SET message_count = message_count + :added, next_position = max(next_position, :next),
    edition = abs(random() % 9000000000000000)
WHERE id = :session

-- variables --
-- Return the variables outside of sessions. Parameters: tenant, user_id, now.
SELECT agent, name, value, created_at, updated_at, expires_at FROM agentmem_variables
WHERE tenant = :tenant AND user_id = :user_id AND session = 0 AND {alive} ORDER BY agent, name

-- add_variable --
-- Add a variable, unless it exists and has not expired. Parameters: tenant, user_id, session, agent, name, value, created_at,
-- updated_at, expires_at, now.
INSERT INTO agentmem_variables (tenant, user_id, session, agent, name, value, created_at, updated_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, user_id, session, agent, name) DO UPDATE SET
    value = excluded.value, created_at = excluded.created_at, updated_at = excluded.updated_at,
    expires_at = excluded.expires_at
WHERE agentmem_variables.expires_at <= ?

-- item_keys --
-- Return the keys of the items of a root, in order. Parameters: tenant, first and last (the namespaces), namespace and key (of
-- the last item), limit, now.
SELECT namespace, key FROM agentmem_items
WHERE tenant = :tenant AND namespace >= :first AND namespace < :last AND (namespace, key) > (:namespace, :key) AND {alive}
ORDER BY namespace, key LIMIT :limit

-- item --
-- Return an item with its expiry. Parameters: tenant, namespace, key, now.
SELECT expires_at, {item}, paths FROM agentmem_items
WHERE tenant = :tenant AND namespace = :namespace AND key = :key AND {alive}

-- vectors --
-- Return the vectors of an item. Parameter: the item's ID.
SELECT vector FROM agentmem_item_vectors WHERE item = ? ORDER BY vector

-- add_item --
-- Add an item, unless it exists. Return its ID. Parameters: the columns.
INSERT INTO agentmem_items (tenant, namespace, key, value, created_at, updated_at, ttl, expires_at, revision, paths)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, namespace, key) DO NOTHING RETURNING id

-- thread_ids --
-- Return the IDs of threads, in order. Parameters: tenant, after, limit, now.
SELECT thread_id FROM agentmem_threads WHERE tenant = :tenant AND thread_id > :after AND {alive}
ORDER BY thread_id LIMIT :limit

-- thread --
-- Return a thread. Parameters: tenant, thread_id, now.
SELECT id, user_id, created_at, updated_at, ttl, expires_at, secret_type, secret FROM agentmem_threads
WHERE tenant = :tenant AND thread_id = :thread_id AND {alive}

-- users --
-- Return the users of a thread. Parameter: thread.
SELECT user_id, used_at FROM agentmem_thread_users WHERE thread = ? ORDER BY user_id

-- elements --
-- Return elements of a thread, in order. Parameters: tenant, thread_id, reference (the last one), limit.
SELECT reference, type, data FROM agentmem_elements
WHERE thread = (SELECT id FROM agentmem_threads WHERE tenant = ? AND thread_id = ?) AND reference > ?
ORDER BY reference LIMIT ?

-- values --
-- Return values of a thread, in order. Parameters: tenant, thread_id, namespace, channel and version (of the last one), limit.
SELECT namespace, channel, version, kind, type, data, number, base_namespace, base_channel, base_version, head, tail, digest
FROM agentmem_channel_values
WHERE thread = (SELECT id FROM agentmem_threads WHERE tenant = ? AND thread_id = ?) AND (namespace, channel, version) > (?, ?, ?)
ORDER BY namespace, channel, version LIMIT ?

-- checkpoints --
-- Return checkpoints of a thread, in order. Parameters: tenant, thread_id, namespace and checkpoint_id (of the last one), limit.
SELECT run_id, created_at, {checkpoint} FROM agentmem_checkpoints
WHERE thread = (SELECT id FROM agentmem_threads WHERE tenant = ? AND thread_id = ?) AND (namespace, checkpoint_id) > (?, ?)
ORDER BY namespace, checkpoint_id LIMIT ?

-- writes --
-- Return pending writes of a thread, in order. Parameters: tenant, thread_id, namespace, checkpoint_id, task_id and write_index
-- (of the last one), limit.
SELECT namespace, checkpoint_id, task_id, write_index, task_path, channel, kind, type, data FROM agentmem_writes
WHERE thread = (SELECT id FROM agentmem_threads WHERE tenant = ? AND thread_id = ?)
  AND (namespace, checkpoint_id, task_id, write_index) > (?, ?, ?, ?)
ORDER BY namespace, checkpoint_id, task_id, write_index LIMIT ?

-- add_thread --
-- Add a thread, unless it exists. Return its ID. Parameters: the columns.
INSERT INTO agentmem_threads
    (tenant, thread_id, user_id, created_at, updated_at, ttl, expires_at, secret_type, secret)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, thread_id) DO NOTHING RETURNING id

-- add_user --
-- Add a user of a thread. Parameters: thread, user_id, used_at.
INSERT INTO agentmem_thread_users (thread, user_id, used_at) VALUES (?, ?, ?)

-- add_checkpoint --
-- Add a checkpoint, unless it is stored. Parameters: the columns.
INSERT OR IGNORE INTO agentmem_checkpoints
    (thread, namespace, checkpoint_id, parent_id, run_id, created_at, type, document)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- add_write --
-- Add a pending write, unless it is stored. Parameters: the columns.
INSERT OR IGNORE INTO agentmem_writes
    (thread, namespace, checkpoint_id, task_id, write_index, task_path, channel, kind, type, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
