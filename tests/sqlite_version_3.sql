-- The tables of version 3 of the layout.

-- The version of these tables and the language that texts are searched in, one row.
CREATE TABLE agentmem_schema (version INTEGER NOT NULL, language TEXT NOT NULL DEFAULT 'english');

CREATE TABLE agentmem_sessions (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    title TEXT,
    message_count INTEGER NOT NULL DEFAULT 0,
    next_position INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    expires_at REAL,
    UNIQUE (tenant, user_id, session_id)
);

CREATE INDEX agentmem_sessions_by_age ON agentmem_sessions (tenant, user_id, updated_at);

CREATE INDEX agentmem_sessions_by_expiry ON agentmem_sessions (tenant, expires_at) WHERE expires_at IS NOT NULL;

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
    UNIQUE (session, position)
);

CREATE INDEX agentmem_messages_by_agent ON agentmem_messages (session, agent, position) WHERE agent IS NOT NULL;

CREATE INDEX agentmem_system_messages ON agentmem_messages (session, position) WHERE role = 'system';

CREATE TABLE agentmem_summaries (
    session INTEGER NOT NULL,
    agent TEXT NOT NULL,
    value TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (session, agent)
) WITHOUT ROWID;

CREATE TRIGGER agentmem_summaries_end AFTER DELETE ON agentmem_sessions BEGIN
    DELETE FROM agentmem_summaries WHERE session = old.id;
END;

-- An expired session that is used again is a new one.
CREATE TRIGGER agentmem_summaries_restart AFTER UPDATE OF created_at ON agentmem_sessions
WHEN old.created_at <> new.created_at BEGIN
    DELETE FROM agentmem_summaries WHERE session = old.id;
END;

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
);

CREATE INDEX agentmem_items_by_age ON agentmem_items (tenant, updated_at, id);

CREATE INDEX agentmem_items_by_expiry ON agentmem_items (tenant, expires_at) WHERE expires_at IS NOT NULL;

-- What full-text search finds an item by; its rowid is the item's id.
CREATE VIRTUAL TABLE agentmem_item_texts USING fts5(text, tokenize = 'porter unicode61 remove_diacritics 2');

CREATE TABLE agentmem_item_vectors (
    id INTEGER PRIMARY KEY,
    item INTEGER NOT NULL,
    vector BLOB NOT NULL
);

CREATE INDEX agentmem_item_vectors_by_item ON agentmem_item_vectors (item);

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
    UNIQUE (tenant, thread_id)
);

CREATE INDEX agentmem_threads_by_age ON agentmem_threads (tenant, updated_at);

CREATE INDEX agentmem_threads_by_expiry ON agentmem_threads (tenant, expires_at) WHERE expires_at IS NOT NULL;

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
) WITHOUT ROWID;

CREATE INDEX agentmem_checkpoints_by_run ON agentmem_checkpoints (run_id) WHERE run_id IS NOT NULL;

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
) WITHOUT ROWID;

CREATE TABLE agentmem_elements (
    id INTEGER PRIMARY KEY,
    thread INTEGER NOT NULL,
    reference BLOB NOT NULL,
    type TEXT NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (thread, reference)
);

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
) WITHOUT ROWID;
