The tables. Times are seconds since 1970 in UTC; user_id is '' for no user, since ids are never empty.

-- schema --
-- The version of these tables and the language that texts are searched in, one row.
CREATE TABLE agentmem_schema (version INTEGER NOT NULL, language TEXT NOT NULL DEFAULT 'english')

-- sessions --
-- `title_position` is that of the message that the title was taken from; NULL for a title that was set by `rename`. `openings` is
-- a JSON list of tokens. If the session is open and has a timeout, its last use is checked at `check_at`. `ends` and `exceptions`
-- (a JSON list of agents) are the `Ending`. `head` describes the messages of an encrypted session. `edition` is a random number
-- that changes with each change of messages that is not an addition at the end.
CREATE TABLE agentmem_sessions (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    title TEXT,
    title_position INTEGER,
    message_count INTEGER NOT NULL DEFAULT 0,
    next_position INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    expires_at REAL,
    metadata TEXT,
    timeout REAL,
    check_at REAL,
    openings TEXT NOT NULL DEFAULT '[]',
    ends INTEGER NOT NULL DEFAULT 0,
    exceptions TEXT NOT NULL DEFAULT '[]',
    head BLOB,
    edition INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, user_id, session_id)
)

-- sessions_by_age --
CREATE INDEX agentmem_sessions_by_age ON agentmem_sessions (tenant, user_id, updated_at)

-- sessions_by_expiry --
CREATE INDEX agentmem_sessions_by_expiry ON agentmem_sessions (tenant, expires_at) WHERE expires_at IS NOT NULL

-- sessions_by_check --
CREATE INDEX agentmem_sessions_by_check ON agentmem_sessions (tenant, check_at) WHERE check_at IS NOT NULL

-- openings_restart --
CREATE TRIGGER agentmem_openings_restart AFTER UPDATE OF created_at ON agentmem_sessions
WHEN old.created_at <> new.created_at BEGIN
    UPDATE agentmem_sessions
    SET metadata = NULL, timeout = NULL, check_at = NULL, openings = '[]', ends = 0, exceptions = '[]', head = NULL
    WHERE id = old.id;
END

-- editions_begin --
-- A session that has the ID of a deleted one is another edition.
CREATE TRIGGER agentmem_editions_begin AFTER INSERT ON agentmem_sessions BEGIN
    UPDATE agentmem_sessions SET edition = abs(random() % 9000000000000000) WHERE id = new.id;
END

-- editions_shrink --
-- Messages were deleted, or added before the end.
CREATE TRIGGER agentmem_editions_shrink AFTER UPDATE OF message_count, created_at ON agentmem_sessions
WHEN new.created_at <> old.created_at OR new.message_count - old.message_count <> new.next_position - old.next_position BEGIN
    UPDATE agentmem_sessions SET edition = abs(random() % 9000000000000000) WHERE id = new.id;
END

-- messages --
CREATE TABLE agentmem_messages (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    position INTEGER NOT NULL,
    role TEXT NOT NULL,
    agent TEXT,
    ends_with_session INTEGER NOT NULL,
    created_at REAL NOT NULL,
    metadata TEXT,
    type TEXT NOT NULL,
    body BLOB NOT NULL,
    words BLOB,
    vector BLOB,
    id_digest BLOB,
    UNIQUE (session, position)
)

-- editions_change --
-- Messages got other words or vectors, or were replaced.
CREATE TRIGGER agentmem_editions_change AFTER UPDATE OF words, vector ON agentmem_messages BEGIN
    UPDATE agentmem_sessions SET edition = abs(random() % 9000000000000000) WHERE id = new.session;
END

-- unidentified_messages --
-- Messages without the digest of their ID, from earlier versions.
CREATE INDEX agentmem_unidentified_messages ON agentmem_messages (session) WHERE id_digest IS NULL

-- messages_by_agent --
CREATE INDEX agentmem_messages_by_agent ON agentmem_messages (session, agent, position) WHERE agent IS NOT NULL

-- system_messages --
CREATE INDEX agentmem_system_messages ON agentmem_messages (session, position) WHERE role = 'system'

-- summaries --
-- `covers` is the position after the last message that a summary tells; NULL if it may tell any message.
CREATE TABLE agentmem_summaries (
    session INTEGER NOT NULL,
    agent TEXT NOT NULL,
    value TEXT NOT NULL,
    revision INTEGER NOT NULL,
    covers INTEGER,
    PRIMARY KEY (session, agent)
) WITHOUT ROWID

-- summaries_end --
CREATE TRIGGER agentmem_summaries_end AFTER DELETE ON agentmem_sessions BEGIN
    DELETE FROM agentmem_summaries WHERE session = old.id;
END

-- summaries_restart --
-- An expired session that is used again is a new one.
CREATE TRIGGER agentmem_summaries_restart AFTER UPDATE OF created_at ON agentmem_sessions
WHEN old.created_at <> new.created_at BEGIN
    DELETE FROM agentmem_summaries WHERE session = old.id;
END

-- records --
-- `session` is NULL for a record without a session. The ID begins with the time.
CREATE TABLE agentmem_records (
    id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    session INTEGER,
    agent TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at REAL,
    duration REAL,
    created_at REAL NOT NULL,
    record TEXT NOT NULL,
    ends_with_session INTEGER NOT NULL,
    UNIQUE (tenant, id)
)

-- records_by_user --
CREATE INDEX agentmem_records_by_user ON agentmem_records (tenant, user_id, id)

-- records_by_session --
CREATE INDEX agentmem_records_by_session ON agentmem_records (session, id) WHERE session IS NOT NULL

-- records_end --
CREATE TRIGGER agentmem_records_end AFTER DELETE ON agentmem_sessions BEGIN
    DELETE FROM agentmem_records WHERE session = old.id;
END

-- records_restart --
CREATE TRIGGER agentmem_records_restart AFTER UPDATE OF created_at ON agentmem_sessions
WHEN old.created_at <> new.created_at BEGIN
    DELETE FROM agentmem_records WHERE session = old.id;
END

-- variables --
-- Variables for prompts. `session` is 0 outside of sessions, and `agent` is '' for all agents.
CREATE TABLE agentmem_variables (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    session INTEGER NOT NULL,
    agent TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    expires_at REAL,
    UNIQUE (tenant, user_id, session, agent, name)
)

-- variables_by_session --
CREATE INDEX agentmem_variables_by_session ON agentmem_variables (session) WHERE session <> 0

-- variables_by_expiry --
CREATE INDEX agentmem_variables_by_expiry ON agentmem_variables (tenant, expires_at) WHERE expires_at IS NOT NULL

-- variables_end --
CREATE TRIGGER agentmem_variables_end AFTER DELETE ON agentmem_sessions BEGIN
    DELETE FROM agentmem_variables WHERE session = old.id AND session <> 0;
END

-- variables_restart --
-- An expired session that is used again is a new one.
CREATE TRIGGER agentmem_variables_restart AFTER UPDATE OF created_at ON agentmem_sessions
WHEN old.created_at <> new.created_at BEGIN
    DELETE FROM agentmem_variables WHERE session = old.id AND session <> 0;
END

-- cache --
-- The results of graph nodes and tasks. A namespace is a JSON list of its labels.
CREATE TABLE agentmem_cache (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    type TEXT NOT NULL,
    data BLOB NOT NULL,
    stored_at REAL NOT NULL,
    expires_at REAL,
    UNIQUE (tenant, namespace, key)
)

-- cache_by_age --
CREATE INDEX agentmem_cache_by_age ON agentmem_cache (tenant, stored_at)

-- cache_by_expiry --
CREATE INDEX agentmem_cache_by_expiry ON agentmem_cache (tenant, expires_at) WHERE expires_at IS NOT NULL

-- items --
-- A namespace is its labels in UTF-8, each followed by a zero byte, which no label holds.
CREATE TABLE agentmem_items (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    namespace BLOB NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    ttl REAL,
    expires_at REAL,
    revision INTEGER NOT NULL,
    paths TEXT,
    UNIQUE (tenant, namespace, key)
)

-- items_by_age --
CREATE INDEX agentmem_items_by_age ON agentmem_items (tenant, updated_at, id)

-- items_by_namespace --
-- A listing sorts and skips items without reading them.
CREATE INDEX agentmem_items_by_namespace ON agentmem_items (tenant, namespace, updated_at, expires_at)

-- items_by_expiry --
CREATE INDEX agentmem_items_by_expiry ON agentmem_items (tenant, expires_at) WHERE expires_at IS NOT NULL

-- item_words --
-- The words that a search finds an item by, as numbers; see `langchain_agentmem.text.words`.
CREATE TABLE agentmem_item_words (
    item INTEGER PRIMARY KEY,
    words BLOB NOT NULL
)

-- item_vectors --
CREATE TABLE agentmem_item_vectors (
    id INTEGER PRIMARY KEY,
    item INTEGER NOT NULL,
    vector BLOB NOT NULL
)

-- item_vectors_by_item --
CREATE INDEX agentmem_item_vectors_by_item ON agentmem_item_vectors (item)

-- item_changes --
-- The IDs of changed and deleted items, the newest last. A process reads here what changed since its last search. The mark
-- distinguishes a change from another one of the same number, which was rolled back or is not in a restored file.
CREATE TABLE agentmem_item_changes (
    change INTEGER PRIMARY KEY,
    item INTEGER NOT NULL,
    mark INTEGER NOT NULL DEFAULT (random())
)

-- item_added --
CREATE TRIGGER agentmem_item_added AFTER INSERT ON agentmem_items BEGIN
    INSERT INTO agentmem_item_changes (item) VALUES (new.id);
END

-- item_changed --
CREATE TRIGGER agentmem_item_changed AFTER UPDATE OF updated_at, expires_at, revision ON agentmem_items BEGIN
    INSERT INTO agentmem_item_changes (item) VALUES (new.id);
END

-- item_deleted --
CREATE TRIGGER agentmem_item_deleted AFTER DELETE ON agentmem_items BEGIN
    INSERT INTO agentmem_item_changes (item) VALUES (old.id);
END

-- item_changes_end --
-- A process that has read none of the last changes reads all items again.
CREATE TRIGGER agentmem_item_changes_end AFTER INSERT ON agentmem_item_changes WHEN new.change % 1000 = 0 BEGIN
    DELETE FROM agentmem_item_changes WHERE change <= new.change - 20000;
END

-- threads --
CREATE TABLE agentmem_threads (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    user_id TEXT NOT NULL DEFAULT '',
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    ttl REAL,
    expires_at REAL,
    secret_type TEXT,
    secret BLOB,
    revision INTEGER,
    UNIQUE (tenant, thread_id)
)

-- threads_by_age --
CREATE INDEX agentmem_threads_by_age ON agentmem_threads (tenant, updated_at)

-- threads_by_expiry --
CREATE INDEX agentmem_threads_by_expiry ON agentmem_threads (tenant, expires_at) WHERE expires_at IS NOT NULL

-- thread_users --
-- Every user of a thread, with the time of the user's last write to it; `agentmem_threads.user_id` is the last of them.
CREATE TABLE agentmem_thread_users (
    thread INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    used_at REAL NOT NULL,
    PRIMARY KEY (thread, user_id)
) WITHOUT ROWID

-- threads_by_user --
CREATE INDEX agentmem_threads_by_user ON agentmem_thread_users (user_id)

-- thread_users_end --
CREATE TRIGGER agentmem_thread_users_end AFTER DELETE ON agentmem_threads BEGIN
    DELETE FROM agentmem_thread_users WHERE thread = old.id;
END

-- checkpoints --
CREATE TABLE agentmem_checkpoints (
    thread INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    parent_id TEXT,
    run_id TEXT,
    created_at REAL NOT NULL,
    type TEXT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (thread, namespace, checkpoint_id)
) WITHOUT ROWID

-- checkpoints_by_run --
CREATE INDEX agentmem_checkpoints_by_run ON agentmem_checkpoints (run_id) WHERE run_id IS NOT NULL

-- channel_values --
CREATE TABLE agentmem_channel_values (
    thread INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    channel TEXT NOT NULL,
    version TEXT NOT NULL,
    kind TEXT NOT NULL,
    type TEXT NOT NULL,
    data BLOB NOT NULL,
    number INTEGER NOT NULL,
    base_namespace TEXT,
    base_channel TEXT,
    base_version TEXT,
    head INTEGER NOT NULL,
    tail INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (thread, namespace, channel, version)
) WITHOUT ROWID

-- elements --
CREATE TABLE agentmem_elements (
    id INTEGER PRIMARY KEY,
    thread INTEGER NOT NULL,
    reference BLOB NOT NULL,
    type TEXT NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (thread, reference)
)

-- writes --
CREATE TABLE agentmem_writes (
    thread INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    write_index INTEGER NOT NULL,
    task_path TEXT NOT NULL,
    channel TEXT NOT NULL,
    kind TEXT NOT NULL,
    type TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (thread, namespace, checkpoint_id, task_id, write_index)
) WITHOUT ROWID
