Searches keep the words and vectors of items in memory, and read only what changed since the last search.

-- item_texts --
-- Add the numbers of the words in their order, as `pack_words` returns them, NULL for texts of an earlier version; and the
-- transaction that changed the words or the vectors last, NULL for none since the migration.
ALTER TABLE agentmem_item_texts ADD COLUMN numbers bytea, ADD COLUMN changed xid8

-- changed_default --
-- Note the transaction that adds words.
ALTER TABLE agentmem_item_texts ALTER COLUMN changed SET DEFAULT pg_current_xact_id()

-- changed_texts --
-- Find the changed words.
CREATE INDEX agentmem_changed_item_texts ON agentmem_item_texts (changed)

-- item_deletions --
-- Create the table of items that searches find no longer. It contains no name: only a digest of namespace and key.
CREATE TABLE agentmem_item_deletions (
    place bytea NOT NULL,
    changed xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT now()
)

-- changed_deletions --
-- Find the new notes of deletions.
CREATE INDEX agentmem_changed_item_deletions ON agentmem_item_deletions (changed)

-- old_deletions --
-- Find the notes that can be deleted.
CREATE INDEX agentmem_old_item_deletions ON agentmem_item_deletions (at)

-- note_deletions --
-- Note items that searches find no longer. Now and then, delete the notes of the day before. Parameters: prefixes, keys.
CREATE FUNCTION agentmem_note_deletions(prefixes_ text[], keys_ text[]) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO agentmem_item_deletions (place)
    SELECT substr(sha256(convert_to(length(gone.prefix) || ':' || gone.prefix || gone.key, 'UTF8')), 1, 8)
    FROM unnest(prefixes_, keys_) AS gone (prefix, key);
    IF random() < 0.01 THEN
        DELETE FROM agentmem_item_deletions WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM agentmem_item_deletions WHERE at < now() - interval '1 day' LIMIT 20000
            FOR UPDATE SKIP LOCKED
        ));
    END IF;
END $$

-- note_vectors --
-- Trigger: note the items whose vectors change alone, as when all vectors are computed again.
CREATE FUNCTION agentmem_note_vectors() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF current_setting('agentmem.writing', true) IS DISTINCT FROM 'on' THEN
        UPDATE agentmem_item_texts SET changed = pg_current_xact_id() WHERE ctid = ANY (ARRAY(
            SELECT noted.ctid FROM (SELECT DISTINCT prefix, key FROM vectors) AS one CROSS JOIN LATERAL (
                SELECT ctid, text.prefix, text.key FROM agentmem_item_texts AS text
                WHERE text.prefix = one.prefix AND text.key = one.key OFFSET 0
            ) AS noted ORDER BY noted.prefix, noted.key
        ));
    END IF;
    RETURN NULL;
END $$

-- watch_vectors --
-- Create the triggers on the table of vectors, if it exists and has none.
CREATE FUNCTION agentmem_watch_vectors() RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF to_regclass('store_vectors') IS NULL OR EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = to_regclass('store_vectors') AND tgname = 'agentmem_added_vectors'
    ) THEN
        RETURN;
    END IF;
    CREATE TRIGGER agentmem_added_vectors AFTER INSERT ON store_vectors
    REFERENCING NEW TABLE AS vectors FOR EACH STATEMENT EXECUTE FUNCTION agentmem_note_vectors();
    CREATE TRIGGER agentmem_changed_vectors AFTER UPDATE ON store_vectors
    REFERENCING NEW TABLE AS vectors FOR EACH STATEMENT EXECUTE FUNCTION agentmem_note_vectors();
    CREATE TRIGGER agentmem_deleted_vectors AFTER DELETE ON store_vectors
    REFERENCING OLD TABLE AS vectors FOR EACH STATEMENT EXECUTE FUNCTION agentmem_note_vectors();
END $$

-- watch_existing_vectors --
-- Create the triggers on an existing table.
SELECT agentmem_watch_vectors()

-- changed_items --
-- Return what changed in the words and vectors of the items below a prefix since a reader's last call. The first row has the
-- state that was read, NULL in a transaction with uncommitted changes; whether the following rows are all items (1), those
-- that changed (0), or none because there are too many items (2); the digests of items that are gone, perhaps of other
-- prefixes; and the prefixes and keys of the items that have expired, as JSON; their rows are returned too, because
-- LangGraph's store may restart a TTL. An ID that no transaction can have yet is one of another server, which a dump
-- restored: it is no change. The error AM001 means that the words of some items are to be analysed first. Parameters: the
-- prefix itself and the range below it; the state and the time of the last call (NULL: none); whether to return vectors, in
-- the format of `vector_send`; the number of items that are too many, plus one; `now_`.
CREATE FUNCTION agentmem_changed_items(
    own_ text, first_ text, last_ text, known_ text, read_at_ double precision, vectors_ boolean, most_ bigint,
    now_ double precision
) RETURNS TABLE (
    snapshot text, read_at double precision, state integer, gone bytea, expired text,
    prefix text, key text, updated_at double precision, numbers bytea, lexemes text, vectors bytea
) LANGUAGE plpgsql STABLE SET search_path FROM CURRENT SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    at_ timestamptz := to_timestamp(now_);
    old_ pg_snapshot := known_::pg_snapshot;
    current_ pg_snapshot := pg_current_snapshot();
    own_id_ xid8 := pg_current_xact_id_if_assigned();
    prefixes_ text[];
    keys_ text[];
BEGIN
    IF EXISTS (SELECT FROM agentmem_unanalyzed_items) THEN
        RAISE EXCEPTION 'the words of some items are not analysed yet' USING ERRCODE = 'AM001';
    END IF;
    IF to_regclass(quote_ident(current_schema()) || '.store_vectors') IS NULL THEN
        vectors_ := false;
    END IF;
    IF old_ IS NOT NULL THEN
        -- Notes of deletions are kept for a day. A database that was restored may have an earlier state than the reader.
        IF read_at_ > extract(epoch FROM now()) - 43200 AND pg_snapshot_xmax(current_) >= pg_snapshot_xmax(old_) THEN
            SELECT string_agg(deletion.place, ''::bytea) INTO gone FROM (
                SELECT place FROM agentmem_item_deletions
                WHERE changed >= pg_snapshot_xmin(old_) AND NOT pg_visible_in_snapshot(changed, old_)
                  AND (changed < pg_snapshot_xmax(current_) OR changed = own_id_) LIMIT 10001
            ) AS deletion;
        ELSE
            old_ := NULL;
        END IF;
        IF length(gone) > 80000 THEN
            old_ := NULL;
        END IF;
    END IF;
    SELECT json_agg(json_build_array(item.prefix, item.key))::text INTO expired FROM store AS item
    WHERE item.expires_at <= at_ AND (item.prefix = own_ OR (item.prefix ~>=~ first_ AND item.prefix ~<~ last_));
    snapshot := CASE WHEN own_id_ IS NULL THEN current_::text END;
    read_at := extract(epoch FROM now());
    IF old_ IS NULL THEN
        gone := NULL;
        state := CASE WHEN (
            SELECT count(*) FROM (
                SELECT FROM agentmem_item_texts AS text
                WHERE text.prefix = own_ OR (text.prefix ~>=~ first_ AND text.prefix ~<~ last_) LIMIT most_
            ) AS counted
        ) < most_ THEN 1 ELSE 2 END;
        RETURN NEXT;
        IF state = 2 THEN
            RETURN;
        END IF;
    ELSE
        state := 0;
        RETURN NEXT;
        SELECT array_agg(found.prefix), array_agg(found.key) INTO prefixes_, keys_ FROM (
            SELECT DISTINCT text.prefix, text.key FROM agentmem_item_texts AS text
            WHERE text.changed >= pg_snapshot_xmin(old_) AND NOT pg_visible_in_snapshot(text.changed, old_)
              AND (text.changed < pg_snapshot_xmax(current_) OR text.changed = own_id_)
              AND (text.prefix = own_ OR (text.prefix ~>=~ first_ AND text.prefix ~<~ last_))
        ) AS found;
        IF prefixes_ IS NULL THEN
            RETURN;
        END IF;
    END IF;
    snapshot := NULL;
    read_at := NULL;
    state := NULL;
    gone := NULL;
    expired := NULL;
    IF old_ IS NULL AND vectors_ THEN
        RETURN QUERY
        SELECT NULL::text, NULL::double precision, NULL::integer, NULL::bytea, NULL::text, item.prefix, item.key,
            extract(epoch FROM item.updated_at)::double precision, indexed.numbers, indexed.lexemes, near.vectors
        FROM (
            SELECT text.prefix, text.key, {indexed_words}
            FROM agentmem_item_texts AS text
            WHERE text.prefix = own_ OR (text.prefix ~>=~ first_ AND text.prefix ~<~ last_) GROUP BY text.prefix, text.key
        ) AS indexed JOIN store AS item USING (prefix, key) LEFT JOIN (
            SELECT stored.prefix, stored.key, {packed_vectors}
            FROM store_vectors AS stored
            WHERE stored.prefix = own_ OR (stored.prefix ~>=~ first_ AND stored.prefix ~<~ last_)
            GROUP BY stored.prefix, stored.key
        ) AS near USING (prefix, key);
    ELSIF old_ IS NULL THEN
        RETURN QUERY
        SELECT NULL::text, NULL::double precision, NULL::integer, NULL::bytea, NULL::text, item.prefix, item.key,
            extract(epoch FROM item.updated_at)::double precision, indexed.numbers, indexed.lexemes, NULL::bytea
        FROM (
            SELECT text.prefix, text.key, {indexed_words}
            FROM agentmem_item_texts AS text
            WHERE text.prefix = own_ OR (text.prefix ~>=~ first_ AND text.prefix ~<~ last_) GROUP BY text.prefix, text.key
        ) AS indexed JOIN store AS item USING (prefix, key);
    ELSIF vectors_ THEN
        RETURN QUERY
        SELECT NULL::text, NULL::double precision, NULL::integer, NULL::bytea, NULL::text, item.prefix, item.key,
            extract(epoch FROM item.updated_at)::double precision, indexed.numbers, indexed.lexemes, near.vectors
        FROM unnest(prefixes_, keys_) AS wanted (prefix, key) CROSS JOIN LATERAL (
            SELECT * FROM store AS stored WHERE stored.prefix = wanted.prefix AND stored.key = wanted.key LIMIT 1
        ) AS item CROSS JOIN LATERAL (
            SELECT {indexed_words}
            FROM agentmem_item_texts AS text WHERE text.prefix = wanted.prefix AND text.key = wanted.key
        ) AS indexed CROSS JOIN LATERAL (
            SELECT {packed_vectors}
            FROM store_vectors AS stored WHERE stored.prefix = wanted.prefix AND stored.key = wanted.key
        ) AS near;
    ELSE
        RETURN QUERY
        SELECT NULL::text, NULL::double precision, NULL::integer, NULL::bytea, NULL::text, item.prefix, item.key,
            extract(epoch FROM item.updated_at)::double precision, indexed.numbers, indexed.lexemes, NULL::bytea
        FROM unnest(prefixes_, keys_) AS wanted (prefix, key) CROSS JOIN LATERAL (
            SELECT * FROM store AS stored WHERE stored.prefix = wanted.prefix AND stored.key = wanted.key LIMIT 1
        ) AS item CROSS JOIN LATERAL (
            SELECT {indexed_words}
            FROM agentmem_item_texts AS text WHERE text.prefix = wanted.prefix AND text.key = wanted.key
        ) AS indexed;
    END IF;
END $$
