What brings tables of an older version to a newer one; the names begin with the version that a statement leads to.

-- v2_words --
ALTER TABLE agentmem_messages ADD COLUMN words BLOB

-- v2_vector --
ALTER TABLE agentmem_messages ADD COLUMN vector BLOB

-- v2_language --
ALTER TABLE agentmem_schema ADD COLUMN language TEXT NOT NULL DEFAULT 'english'

-- v3_paths --
ALTER TABLE agentmem_items ADD COLUMN paths TEXT
