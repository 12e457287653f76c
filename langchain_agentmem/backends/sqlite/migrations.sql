What brings tables of an older version to a newer one; the names begin with the version that a statement leads to.

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
