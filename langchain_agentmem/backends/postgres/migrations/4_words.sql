Full-text search uses words that the client has analysed, and no text search configuration of the server.

-- unanalyzed_items --
-- Create the table of items whose words are to be analysed: those that LangGraph's own store wrote since the last search. Their
-- text has no words until then.
CREATE TABLE agentmem_unanalyzed_items (
    prefix text NOT NULL,
    key text NOT NULL,
    PRIMARY KEY (prefix, key)
)

-- follow_store --
-- Trigger: note the items that LangGraph's own store wrote.
CREATE OR REPLACE FUNCTION agentmem_follow_store() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM agentmem_item_texts AS stale USING former WHERE stale.prefix = former.prefix AND stale.key = former.key;
        DELETE FROM agentmem_item_ttls AS stale USING former WHERE stale.prefix = former.prefix AND stale.key = former.key;
        DELETE FROM agentmem_unanalyzed_items AS stale USING former
        WHERE stale.prefix = former.prefix AND stale.key = former.key;
        PERFORM agentmem_note_deletions(array_agg(prefix), array_agg(key)) FROM former HAVING count(*) > 0;
    ELSIF current_setting('agentmem.writing', true) = 'on' THEN
        RETURN NULL;
    ELSIF TG_OP = 'UPDATE' THEN
        DELETE FROM agentmem_item_texts AS stale USING changed, former
        WHERE changed.prefix = former.prefix AND changed.key = former.key AND changed.value <> former.value
          AND stale.prefix = changed.prefix AND stale.key = changed.key;
        DELETE FROM agentmem_item_ttls AS stale USING changed, former
        WHERE changed.prefix = former.prefix AND changed.key = former.key
          AND changed.updated_at <> former.updated_at
          AND stale.prefix = changed.prefix AND stale.key = changed.key;
        INSERT INTO agentmem_item_texts
        SELECT changed.prefix, changed.key, 0, '' FROM changed JOIN former USING (prefix, key)
        WHERE changed.value <> former.value ON CONFLICT DO NOTHING;
        INSERT INTO agentmem_unanalyzed_items
        SELECT changed.prefix, changed.key FROM changed JOIN former USING (prefix, key)
        WHERE changed.value <> former.value ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO agentmem_item_texts SELECT changed.prefix, changed.key, 0, '' FROM changed ON CONFLICT DO NOTHING;
        INSERT INTO agentmem_unanalyzed_items SELECT changed.prefix, changed.key FROM changed ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$

-- add_texts --
-- Store the words of items. Parameters: prefixes, keys; the numbers of the items that the texts belong to (from 1), the texts: the
-- words in the format of `tsvector`, a newline, and the numbers of the words in hexadecimal digits. An item without a text is not searched.
CREATE FUNCTION agentmem_add_texts(prefixes_ text[], keys_ text[], readers_ int[], texts_ text[])
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    gone_prefixes_ text[];
    gone_keys_ text[];
BEGIN
    WITH deleted AS (
        DELETE FROM agentmem_item_texts WHERE ctid = ANY (ARRAY(
            SELECT old.ctid FROM unnest(prefixes_, keys_) AS added (prefix, key) CROSS JOIN LATERAL (
                SELECT ctid FROM agentmem_item_texts AS stored
                WHERE stored.prefix = added.prefix AND stored.key = added.key OFFSET 0
            ) AS old
        )) RETURNING prefix, key
    )
    SELECT array_agg(gone.prefix), array_agg(gone.key) INTO gone_prefixes_, gone_keys_ FROM (
        SELECT prefix, key FROM deleted EXCEPT SELECT prefixes_[read.reader], keys_[read.reader] FROM unnest(readers_) AS read (reader)
    ) AS gone;
    IF gone_prefixes_ IS NOT NULL THEN
        PERFORM agentmem_note_deletions(gone_prefixes_, gone_keys_);
    END IF;
    DELETE FROM agentmem_unanalyzed_items WHERE ctid = ANY (ARRAY(
        SELECT old.ctid FROM unnest(prefixes_, keys_) AS added (prefix, key) CROSS JOIN LATERAL (
            SELECT ctid FROM agentmem_unanalyzed_items AS stored
            WHERE stored.prefix = added.prefix AND stored.key = added.key OFFSET 0
        ) AS old
    ));
    INSERT INTO agentmem_item_texts (prefix, key, part, words, numbers)
    SELECT prefixes_[added.reader], keys_[added.reader],
        row_number() OVER (PARTITION BY added.reader ORDER BY added.place), split_part(added.text, E'\n', 1)::tsvector,
        decode(split_part(added.text, E'\n', 2), 'hex')
    FROM unnest(readers_, texts_) WITH ORDINALITY AS added (reader, text, place)
    -- Two transactions may analyse the same item.
    ON CONFLICT (prefix, key, part) DO UPDATE SET
        words = excluded.words, numbers = excluded.numbers, changed = excluded.changed;
END $$

-- lock_unanalyzed --
-- Lock some of the items whose words are to be analysed, and return them. One transaction at a time does so.
CREATE FUNCTION agentmem_lock_unanalyzed(limit_ bigint) RETURNS TABLE (prefix text, key text, value text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    prefixes_ text[];
    keys_ text[];
BEGIN
    PERFORM pg_advisory_xact_lock(7018690069354081892);  -- "agentind" in ASCII
    SELECT array_agg(locked.prefix), array_agg(locked.key) INTO prefixes_, keys_ FROM (
        SELECT item.prefix, item.key FROM store AS item JOIN agentmem_unanalyzed_items AS noted USING (prefix, key)
        ORDER BY item.prefix, item.key LIMIT limit_ FOR SHARE OF item
    ) AS locked;
    -- Another writer may have stored and analysed an item while this transaction waited for the lock.
    RETURN QUERY
    SELECT item.prefix, item.key, item.value::text FROM unnest(prefixes_, keys_) AS locked (prefix, key)
        JOIN agentmem_unanalyzed_items AS noted USING (prefix, key) JOIN store AS item USING (prefix, key);
END $$

-- indexed_items --
-- Return a tenant's searchable items after one, with the paths of their fields where its last put named them. Parameters: the
-- range of the tenant's prefixes, prefix and key of the last item, limit, `now_`.
CREATE FUNCTION agentmem_indexed_items(
    first_ text, last_ text, prefix_ text, key_ text, limit_ bigint, now_ double precision
) RETURNS TABLE (
    prefix text, key text, value text, created_at double precision, updated_at double precision, ttl double precision,
    revision bigint, paths text
) LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    at_ timestamptz := to_timestamp(now_);
    prefixes_ text[];
    keys_ text[];
BEGIN
    SELECT array_agg(found.prefix), array_agg(found.key) INTO prefixes_, keys_ FROM (
        SELECT item.prefix, item.key FROM store AS item
        WHERE item.prefix ~>=~ first_ AND item.prefix ~<~ last_ AND (item.prefix, item.key) > (prefix_, key_)
          AND {item_alive:item}
          AND EXISTS (SELECT FROM agentmem_item_texts AS text WHERE text.prefix = item.prefix AND text.key = item.key)
        ORDER BY item.prefix, item.key LIMIT limit_
    ) AS found;
    RETURN QUERY
    SELECT item.prefix, item.key, item.value, item.created_at, item.updated_at, item.ttl, item.revision, noted.paths
    FROM agentmem_get_items(prefixes_, keys_, now_) AS item LEFT JOIN agentmem_item_paths AS noted
        ON noted.prefix = item.prefix AND noted.key = item.key AND noted.revision = item.revision
    ORDER BY item.prefix, item.key;
END $$

-- query --
-- Return a query for any of some analysed words. Nothing in them is an operator.
CREATE OR REPLACE FUNCTION agentmem_query(terms_ text[]) RETURNS tsquery LANGUAGE sql IMMUTABLE AS $$
    SELECT string_agg('''' || replace(replace(word, '\', '\\'), '''', '''''') || '''', ' | ')::tsquery
    FROM unnest(terms_) AS word
$$

-- rare --
-- Return a query for those of some words that few texts contain, according to the statistics of the table. Searching for the
-- others costs much and says little. NULL if there are none.
CREATE OR REPLACE FUNCTION agentmem_rare(terms_ text[]) RETURNS tsquery LANGUAGE plpgsql STABLE AS $$
DECLARE
    table_ pg_class;
    common_ text[];
BEGIN
    SELECT * INTO table_ FROM pg_class WHERE oid = 'agentmem_item_texts'::regclass;
    SELECT array_agg(known.word) INTO common_
    FROM pg_stats AS statistics CROSS JOIN LATERAL unnest(
        statistics.most_common_elems::text::text[], statistics.most_common_elem_freqs
    ) AS known (word, frequency)
    WHERE statistics.schemaname = (SELECT nspname FROM pg_namespace WHERE oid = table_.relnamespace)
      AND statistics.tablename = table_.relname
      AND statistics.attname = 'words' AND known.frequency * table_.reltuples > 500;
    RETURN agentmem_query(ARRAY (
        SELECT word FROM unnest(terms_) AS word WHERE common_ IS NULL OR word <> ALL (common_)
    ));
END $$

-- drop_index_items --
-- Drop the function that indexed the items of LangGraph's own store at the first use.
DROP FUNCTION agentmem_index_items(integer)

-- drop_words --
-- Drop the analysis on the server.
DROP FUNCTION agentmem_words(text)

-- drop_plain --
-- Same as `drop_words`: without accents and punctuation.
DROP FUNCTION agentmem_plain(text)

-- drop_all_words --
-- Same as `drop_words`: the texts in a value.
DROP FUNCTION agentmem_all_words(jsonb)

-- drop_configuration --
-- Drop the text search configuration of earlier versions.
DROP TEXT SEARCH CONFIGURATION IF EXISTS agentmem_words

-- drop_dictionary --
-- Drop the dictionary of that configuration.
DROP TEXT SEARCH DICTIONARY IF EXISTS agentmem_stem

-- note_items --
-- Note the items that were in LangGraph's table before these tables.
WITH added AS (
    INSERT INTO agentmem_item_texts
    SELECT item.prefix, item.key, 0, '' FROM store AS item
    WHERE NOT coalesce((SELECT indexed FROM agentmem_schema), false) AND NOT EXISTS (
        SELECT FROM agentmem_item_texts AS known WHERE known.prefix = item.prefix AND known.key = item.key
    ) RETURNING prefix, key
)
INSERT INTO agentmem_unanalyzed_items SELECT prefix, key FROM added

-- drop_indexed --
-- Drop the column that `drop_index_items` needed.
ALTER TABLE agentmem_schema DROP COLUMN indexed
