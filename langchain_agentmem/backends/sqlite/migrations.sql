Statements that migrate tables to a newer version. Each name begins with the version that the statement migrates to.

-- v2_words --
ALTER TABLE agentmem_messages ADD COLUMN words BLOB

-- v2_vector --
ALTER TABLE agentmem_messages ADD COLUMN vector BLOB

-- v2_language --
ALTER TABLE agentmem_schema ADD COLUMN language TEXT NOT NULL DEFAULT 'english'

-- v3_summaries --
CREATE TABLE agentmem_summaries (
    session INTEGER NOT NULL,
    agent TEXT NOT NULL,
    value TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (session, agent)
) WITHOUT ROWID

-- v3_summaries_end --
CREATE TRIGGER agentmem_summaries_end AFTER DELETE ON agentmem_sessions BEGIN
    DELETE FROM agentmem_summaries WHERE session = old.id;
END

-- v3_summaries_restart --
CREATE TRIGGER agentmem_summaries_restart AFTER UPDATE OF created_at ON agentmem_sessions
WHEN old.created_at <> new.created_at BEGIN
    DELETE FROM agentmem_summaries WHERE session = old.id;
END

-- v3_paths --
ALTER TABLE agentmem_items ADD COLUMN paths TEXT

-- v4_title_position --
ALTER TABLE agentmem_sessions ADD COLUMN title_position INTEGER

-- v4_titles --
-- Whether a title was set by `rename` was not noted: it counts as that of the first human message.
UPDATE agentmem_sessions SET title_position = (
    SELECT min(position) FROM agentmem_messages WHERE session = agentmem_sessions.id AND role = 'human'
)
WHERE title IS NOT NULL

-- v4_titles_of_deleted_messages --
-- Where messages before that one were deleted, the title may be the text of one of them.
UPDATE agentmem_sessions SET title = NULL, title_position = NULL
WHERE title IS NOT NULL AND CASE WHEN title_position IS NULL THEN message_count < next_position ELSE title_position >= (
    SELECT count(*) FROM agentmem_messages WHERE session = agentmem_sessions.id AND position <= title_position
) END

-- v4_thread_users --
CREATE TABLE agentmem_thread_users (
    thread INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    used_at REAL NOT NULL,
    PRIMARY KEY (thread, user_id)
) WITHOUT ROWID

-- v4_threads_by_user --
CREATE INDEX agentmem_threads_by_user ON agentmem_thread_users (user_id)

-- v4_thread_users_end --
CREATE TRIGGER agentmem_thread_users_end AFTER DELETE ON agentmem_threads BEGIN
    DELETE FROM agentmem_thread_users WHERE thread = old.id;
END

-- v4_owners --
INSERT INTO agentmem_thread_users SELECT id, user_id, updated_at FROM agentmem_threads WHERE user_id <> ''

-- v4_records --
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

-- v4_records_by_user --
CREATE INDEX agentmem_records_by_user ON agentmem_records (tenant, user_id, id)

-- v4_records_by_session --
CREATE INDEX agentmem_records_by_session ON agentmem_records (session, id) WHERE session IS NOT NULL

-- v4_records_end --
CREATE TRIGGER agentmem_records_end AFTER DELETE ON agentmem_sessions BEGIN
    DELETE FROM agentmem_records WHERE session = old.id;
END

-- v4_records_restart --
CREATE TRIGGER agentmem_records_restart AFTER UPDATE OF created_at ON agentmem_sessions
WHEN old.created_at <> new.created_at BEGIN
    DELETE FROM agentmem_records WHERE session = old.id;
END

-- v4_variables --
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

-- v4_variables_by_session --
CREATE INDEX agentmem_variables_by_session ON agentmem_variables (session) WHERE session <> 0

-- v4_variables_by_expiry --
CREATE INDEX agentmem_variables_by_expiry ON agentmem_variables (tenant, expires_at) WHERE expires_at IS NOT NULL

-- v4_variables_end --
CREATE TRIGGER agentmem_variables_end AFTER DELETE ON agentmem_sessions BEGIN
    DELETE FROM agentmem_variables WHERE session = old.id AND session <> 0;
END

-- v4_variables_restart --
-- An expired session that is used again is a new one.
CREATE TRIGGER agentmem_variables_restart AFTER UPDATE OF created_at ON agentmem_sessions
WHEN old.created_at <> new.created_at BEGIN
    DELETE FROM agentmem_variables WHERE session = old.id AND session <> 0;
END

-- v4_metadata --
ALTER TABLE agentmem_sessions ADD COLUMN metadata TEXT

-- v4_timeout --
ALTER TABLE agentmem_sessions ADD COLUMN timeout REAL

-- v4_check_at --
ALTER TABLE agentmem_sessions ADD COLUMN check_at REAL

-- v4_openings --
ALTER TABLE agentmem_sessions ADD COLUMN openings TEXT NOT NULL DEFAULT '[]'

-- v4_ends --
ALTER TABLE agentmem_sessions ADD COLUMN ends INTEGER NOT NULL DEFAULT 0

-- v4_exceptions --
ALTER TABLE agentmem_sessions ADD COLUMN exceptions TEXT NOT NULL DEFAULT '[]'

-- v4_head --
ALTER TABLE agentmem_sessions ADD COLUMN head BLOB

-- v4_sessions_by_check --
CREATE INDEX agentmem_sessions_by_check ON agentmem_sessions (tenant, check_at) WHERE check_at IS NOT NULL

-- v4_openings_restart --
CREATE TRIGGER agentmem_openings_restart AFTER UPDATE OF created_at ON agentmem_sessions
WHEN old.created_at <> new.created_at BEGIN
    UPDATE agentmem_sessions
    SET metadata = NULL, timeout = NULL, check_at = NULL, openings = '[]', ends = 0, exceptions = '[]', head = NULL
    WHERE id = old.id;
END

-- v4_id_digest --
ALTER TABLE agentmem_messages ADD COLUMN id_digest BLOB

-- v4_unidentified_messages --
CREATE INDEX agentmem_unidentified_messages ON agentmem_messages (session) WHERE id_digest IS NULL

-- v4_covers --
ALTER TABLE agentmem_summaries ADD COLUMN covers INTEGER

-- v4_revision --
ALTER TABLE agentmem_threads ADD COLUMN revision INTEGER

-- v4_cache --
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

-- v4_cache_by_age --
CREATE INDEX agentmem_cache_by_age ON agentmem_cache (tenant, stored_at)

-- v4_cache_by_expiry --
CREATE INDEX agentmem_cache_by_expiry ON agentmem_cache (tenant, expires_at) WHERE expires_at IS NOT NULL

-- v4_items_by_namespace --
CREATE INDEX agentmem_items_by_namespace ON agentmem_items (tenant, namespace, updated_at, expires_at)

-- v4_edition --
ALTER TABLE agentmem_sessions ADD COLUMN edition INTEGER NOT NULL DEFAULT 0

-- v4_editions_begin --
-- A session that has the ID of a deleted one is another edition.
CREATE TRIGGER agentmem_editions_begin AFTER INSERT ON agentmem_sessions BEGIN
    UPDATE agentmem_sessions SET edition = abs(random() % 9000000000000000) WHERE id = new.id;
END

-- v4_editions_shrink --
-- Messages were deleted, or added before the end.
CREATE TRIGGER agentmem_editions_shrink AFTER UPDATE OF message_count, created_at ON agentmem_sessions
WHEN new.created_at <> old.created_at OR new.message_count - old.message_count <> new.next_position - old.next_position BEGIN
    UPDATE agentmem_sessions SET edition = abs(random() % 9000000000000000) WHERE id = new.id;
END

-- v4_editions_change --
-- Messages got other words or vectors, or were replaced.
CREATE TRIGGER agentmem_editions_change AFTER UPDATE OF words, vector ON agentmem_messages BEGIN
    UPDATE agentmem_sessions SET edition = abs(random() % 9000000000000000) WHERE id = new.session;
END

-- v4_item_words --
CREATE TABLE agentmem_item_words (
    item INTEGER PRIMARY KEY,
    words BLOB NOT NULL
)

-- v4_item_changes --
CREATE TABLE agentmem_item_changes (
    change INTEGER PRIMARY KEY,
    item INTEGER NOT NULL,
    mark INTEGER NOT NULL DEFAULT (random())
)

-- v4_item_added --
CREATE TRIGGER agentmem_item_added AFTER INSERT ON agentmem_items BEGIN
    INSERT INTO agentmem_item_changes (item) VALUES (new.id);
END

-- v4_item_changed --
CREATE TRIGGER agentmem_item_changed AFTER UPDATE OF updated_at, expires_at, revision ON agentmem_items BEGIN
    INSERT INTO agentmem_item_changes (item) VALUES (new.id);
END

-- v4_item_deleted --
CREATE TRIGGER agentmem_item_deleted AFTER DELETE ON agentmem_items BEGIN
    INSERT INTO agentmem_item_changes (item) VALUES (old.id);
END

-- v4_item_changes_end --
CREATE TRIGGER agentmem_item_changes_end AFTER INSERT ON agentmem_item_changes WHEN new.change % 1000 = 0 BEGIN
    DELETE FROM agentmem_item_changes WHERE change <= new.change - 20000;
END
