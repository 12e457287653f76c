Items are found by namespace and key whatever Postgres has counted. If it analyzes a table during the first large write, it
expects no rows. It then finds an item by an index on namespaces alone, and reads every item of the namespace.

-- drop_prefixes --
-- Remove the indexes on namespaces alone.
DROP INDEX IF EXISTS store_prefix_idx, agentmem_item_texts_by_prefix

-- item_places --
-- Create the index that replaces LangGraph's. It has LangGraph's name, so that LangGraph's store does not create its own again.
CREATE INDEX store_prefix_idx ON store (prefix text_pattern_ops, key)

-- text_places --
-- Find the words of an item.
CREATE INDEX agentmem_item_texts_by_place ON agentmem_item_texts (prefix text_pattern_ops, key)

-- has_vectors --
-- Return whether vectors can be stored, and found by namespace.
CREATE OR REPLACE FUNCTION agentmem_has_vectors() RETURNS boolean LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT to_regclass('store_vectors') IS NOT NULL AND to_regclass('agentmem_store_vectors_by_place') IS NOT NULL
$$

-- vector_places --
-- Find the vectors of an item, if the table of vectors exists.
DO $$ BEGIN
    IF to_regclass('agentmem_store_vectors_by_prefix') IS NOT NULL THEN
        DROP INDEX agentmem_store_vectors_by_prefix;
        CREATE INDEX agentmem_store_vectors_by_place ON store_vectors (prefix text_pattern_ops, key);
    END IF;
END $$

-- make_vectors --
-- Create the table of vectors as LangGraph's own store creates it, when the first vector is stored. The kind 'flat' has no index.
CREATE OR REPLACE FUNCTION agentmem_make_vectors(dimensions_ int, type_ text, kind_ text, parameters_ text)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    home_ text;
    path_ text;
    function_ text;
BEGIN
    PERFORM pg_advisory_xact_lock(7018690069354931555);  -- "agentvec" in ASCII
    IF to_regnamespace('public') IS NOT NULL THEN
        -- Never in the schema of one memory: with that it would go, and all other vectors of the database with it.
        CREATE EXTENSION IF NOT EXISTS vector SCHEMA public;
    ELSE
        CREATE EXTENSION IF NOT EXISTS vector;
    END IF;
    SELECT extnamespace::regnamespace::text INTO home_ FROM pg_extension WHERE extname = 'vector';
    path_ := current_setting('search_path') || ', ' || home_;
    PERFORM set_config('search_path', path_, true);
    FOR function_ IN
        SELECT oid::regprocedure::text FROM pg_proc
        WHERE pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'agentmem_item_texts'::regclass)
          AND proname IN ('agentmem_put_items', 'agentmem_find', 'agentmem_changed_items')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %s', function_, path_);
    END LOOP;
    EXECUTE format(
        'CREATE TABLE IF NOT EXISTS store_vectors (
            prefix text NOT NULL,
            key text NOT NULL,
            field_name text NOT NULL,
            embedding %s(%s),
            created_at timestamptz DEFAULT current_timestamp,
            updated_at timestamptz DEFAULT current_timestamp,
            PRIMARY KEY (prefix, key, field_name),
            FOREIGN KEY (prefix, key) REFERENCES store (prefix, key) ON DELETE CASCADE
        )', type_, dimensions_
    );
    IF kind_ <> 'flat' THEN
        EXECUTE format(
            'CREATE INDEX IF NOT EXISTS store_vectors_embedding_idx ON store_vectors USING %s (embedding %s_cosine_ops) %s',
            kind_, type_, parameters_
        );
    END IF;
    CREATE INDEX IF NOT EXISTS agentmem_store_vectors_by_place ON store_vectors (prefix text_pattern_ops, key);
    CREATE TABLE IF NOT EXISTS vector_migrations (v integer PRIMARY KEY);
    INSERT INTO vector_migrations (v) VALUES (0), (1), (2) ON CONFLICT DO NOTHING;
    PERFORM agentmem_watch_vectors();
END $$

-- note_paths --
-- Note the paths of items that were put in the same transaction. Parameters: prefixes, keys, paths.
CREATE OR REPLACE FUNCTION agentmem_note_paths(prefixes_ text[], keys_ text[], paths_ text[])
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO agentmem_item_paths
    SELECT item.prefix, item.key, agentmem_revision(item.updated_at, item.value), noted.paths
    FROM unnest(prefixes_, keys_, paths_) AS noted (prefix, key, paths) CROSS JOIN LATERAL (
        SELECT * FROM store AS stored WHERE stored.prefix = noted.prefix AND stored.key = noted.key LIMIT 1
    ) AS item
    WHERE noted.paths IS NOT NULL
    ORDER BY item.prefix, item.key
    ON CONFLICT (prefix, key) DO UPDATE SET revision = excluded.revision, paths = excluded.paths;
END $$
