What `reindex` needs: which fields of an item are embedded, where its put said so, and vectors that are made anew.

-- item_paths --
-- A JSON list of paths. It counts as long as the item has the revision that it was written with.
CREATE TABLE agentmem_item_paths (
    prefix text NOT NULL,
    key text NOT NULL,
    revision bigint NOT NULL,
    paths text NOT NULL,
    PRIMARY KEY (prefix, key),
    FOREIGN KEY (prefix, key) REFERENCES store (prefix, key) ON DELETE CASCADE
)

-- note_paths --
-- Note the paths of items that were put in the same transaction.
CREATE FUNCTION agentmem_note_paths(prefixes_ text[], keys_ text[], paths_ text[])
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO agentmem_item_paths
    SELECT item.prefix, item.key, agentmem_revision(item.updated_at, item.value), noted.paths
    FROM unnest(prefixes_, keys_, paths_) AS noted (prefix, key, paths) JOIN store AS item USING (prefix, key)
    WHERE noted.paths IS NOT NULL
    ORDER BY item.prefix, item.key
    ON CONFLICT (prefix, key) DO UPDATE SET revision = excluded.revision, paths = excluded.paths;
END $$

-- dimensions --
-- How many dimensions vectors must have; NULL while there is no table of vectors, or any will do.
CREATE FUNCTION agentmem_dimensions() RETURNS integer LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT nullif(atttypmod, -1) FROM pg_attribute
    WHERE attrelid = to_regclass('store_vectors') AND attname = 'embedding'
$$

-- dimensions_of_others --
-- How many dimensions the vectors have that lie outside of a tenant's namespaces; NULL when there are none.
CREATE FUNCTION agentmem_dimensions_of_others(first_ text, last_ text)
RETURNS integer LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
BEGIN
    IF to_regclass('store_vectors') IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM 1 FROM store_vectors WHERE prefix ~<~ first_ OR prefix ~>=~ last_ LIMIT 1;
    RETURN CASE WHEN FOUND THEN agentmem_dimensions() END;
END $$

-- unembed_items --
-- Delete some of a tenant's vectors; returns how many.
CREATE FUNCTION agentmem_unembed_items(first_ text, last_ text, limit_ bigint)
RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    deleted_ bigint := 0;
BEGIN
    IF to_regclass('store_vectors') IS NOT NULL THEN
        DELETE FROM store_vectors WHERE ctid = ANY (ARRAY (
            SELECT ctid FROM store_vectors WHERE prefix ~>=~ first_ AND prefix ~<~ last_ LIMIT limit_
        ));
        GET DIAGNOSTICS deleted_ = ROW_COUNT;
    END IF;
    RETURN deleted_;
END $$

-- resize_vectors --
-- Make the table of vectors ready for those of so many dimensions, if there is one. It must be empty but for the tenant's.
CREATE FUNCTION agentmem_resize_vectors(
    first_ text, last_ text, dimensions_ int, type_ text, kind_ text, parameters_ text
) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    home_ text;
BEGIN
    IF coalesce(agentmem_dimensions(), dimensions_) = dimensions_ THEN
        RETURN;
    END IF;
    LOCK TABLE store_vectors IN ACCESS EXCLUSIVE MODE;
    DELETE FROM store_vectors WHERE prefix ~>=~ first_ AND prefix ~<~ last_;
    SELECT extnamespace::regnamespace::text INTO home_ FROM pg_extension WHERE extname = 'vector';
    DROP INDEX IF EXISTS store_vectors_embedding_idx;
    EXECUTE format('ALTER TABLE store_vectors ALTER COLUMN embedding TYPE %s.%I(%s)', home_, type_, dimensions_);
    PERFORM agentmem_make_vectors(dimensions_, type_, kind_, parameters_);
END $$

-- unembedded_items --
-- Items that are searched and have no vectors, and the paths of what is embedded of them, where they are known.
CREATE FUNCTION agentmem_unembedded_items(
    first_ text, last_ text, prefix_ text, key_ text, limit_ bigint, now_ double precision
) RETURNS TABLE (
    prefix text, key text, value text, created_at double precision, updated_at double precision, ttl double precision,
    revision bigint, paths text
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    prefixes_ text[];
    keys_ text[];
BEGIN
    IF to_regclass('store_vectors') IS NULL THEN
        SELECT array_agg(found.prefix), array_agg(found.key) INTO prefixes_, keys_ FROM (
            SELECT item.prefix, item.key FROM store AS item
            WHERE item.prefix ~>=~ first_ AND item.prefix ~<~ last_ AND (item.prefix, item.key) > (prefix_, key_)
              AND (item.expires_at IS NULL OR item.expires_at > to_timestamp(now_))
              AND EXISTS (SELECT 1 FROM agentmem_item_texts AS text WHERE text.prefix = item.prefix AND text.key = item.key)
            ORDER BY item.prefix, item.key LIMIT limit_
        ) AS found;
    ELSE
        SELECT array_agg(found.prefix), array_agg(found.key) INTO prefixes_, keys_ FROM (
            SELECT item.prefix, item.key FROM store AS item
            WHERE item.prefix ~>=~ first_ AND item.prefix ~<~ last_ AND (item.prefix, item.key) > (prefix_, key_)
              AND (item.expires_at IS NULL OR item.expires_at > to_timestamp(now_))
              AND EXISTS (SELECT 1 FROM agentmem_item_texts AS text WHERE text.prefix = item.prefix AND text.key = item.key)
              AND NOT EXISTS (SELECT 1 FROM store_vectors AS known WHERE known.prefix = item.prefix AND known.key = item.key)
            ORDER BY item.prefix, item.key LIMIT limit_
        ) AS found;
    END IF;
    RETURN QUERY
    SELECT item.prefix, item.key, item.value, item.created_at, item.updated_at, item.ttl, item.revision, noted.paths
    FROM agentmem_get_items(prefixes_, keys_, now_) AS item LEFT JOIN agentmem_item_paths AS noted
        ON noted.prefix = item.prefix AND noted.key = item.key AND noted.revision = item.revision
    ORDER BY item.prefix, item.key;
END $$

-- embed_items --
-- Give items vectors, those that have the expected revisions; returns how many. `owners_` says which item each vector is of,
-- counted from 1; the vectors, all of one length, lie one after the other.
CREATE FUNCTION agentmem_embed_items(
    prefixes_ text[], keys_ text[], revisions_ bigint[], owners_ int[], fields_ text[], vectors_ real[]
) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    unchanged_ int[];
    size_ int := cardinality(vectors_) / greatest(1, cardinality(owners_));
BEGIN
    SELECT array_agg(locked.place) INTO unchanged_ FROM (
        SELECT known.place::int FROM unnest(prefixes_, keys_, revisions_) WITH ORDINALITY AS known (prefix, key, revision, place)
        JOIN store AS item ON item.prefix = known.prefix AND item.key = known.key
        WHERE agentmem_revision(item.updated_at, item.value) = known.revision
        ORDER BY item.prefix, item.key FOR UPDATE OF item
    ) AS locked;
    DELETE FROM store_vectors AS stale USING unnest(prefixes_, keys_) WITH ORDINALITY AS known (prefix, key, place)
    WHERE known.place = ANY (unchanged_) AND stale.prefix = known.prefix AND stale.key = known.key;
    INSERT INTO store_vectors (prefix, key, field_name, embedding, created_at, updated_at)
    SELECT prefixes_[added.owner], keys_[added.owner], added.field,
        vectors_[(added.place - 1) * size_ + 1 : added.place * size_], now(), now()
    FROM unnest(owners_, fields_) WITH ORDINALITY AS added (owner, field, place)
    WHERE added.owner = ANY (unchanged_);
    RETURN coalesce(cardinality(unchanged_), 0);
END $$
