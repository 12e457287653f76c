What the store needs beside LangGraph's table `store`: words to search by, and times to live that are no whole minutes.

LangGraph's own store may write to the table at the same time. A trigger keeps our tables in step with what it writes; what
we write ourselves it leaves alone, because we know more of it (which fields are searched).

-- item_texts --
-- What full-text search finds an item by. A text too long for one tsvector has several rows.
CREATE TABLE agentmem_item_texts (
    prefix text NOT NULL,
    key text NOT NULL,
    part integer NOT NULL,
    words tsvector NOT NULL,
    PRIMARY KEY (prefix, key, part)
)

-- item_words --
CREATE INDEX agentmem_item_words ON agentmem_item_texts USING gin (words)

-- item_texts_by_prefix --
CREATE INDEX agentmem_item_texts_by_prefix ON agentmem_item_texts (prefix text_pattern_ops)

-- item_ttls --
-- The seconds after which items expire that have a time to live.
CREATE TABLE agentmem_item_ttls (
    prefix text NOT NULL,
    key text NOT NULL,
    ttl double precision NOT NULL,
    PRIMARY KEY (prefix, key)
)

-- place --
-- Which item, and how similar it is, where that is known.
CREATE TYPE agentmem_place AS (prefix text, key text, score double precision)

-- items_by_age --
CREATE INDEX agentmem_items_by_age ON store (updated_at)

-- plain --
-- A text without accents and punctuation, so that every word of it is found by itself.
CREATE FUNCTION agentmem_plain(text_ text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(
        regexp_replace(normalize(text_, NFKD), '[\u0300-\u036f]', '', 'g'),
        '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b1\u2000-\u206f\u3000-\u303f]+', ' ', 'g'
    )
$$

-- words --
-- What a text is found by, 50,000 characters a row.
CREATE FUNCTION agentmem_words(text_ text) RETURNS TABLE (part integer, words tsvector)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
BEGIN
    IF length(text_) <= 50000 THEN
        RETURN QUERY SELECT 0, to_tsvector('agentmem_words', agentmem_plain(text_));
    ELSE
        RETURN QUERY SELECT place.at / 50000, to_tsvector('agentmem_words', agentmem_plain(substr(text_, place.at, 50000)))
        FROM generate_series(1, length(text_), 50000) AS place (at);
    END IF;
END $$

-- all_words --
-- All that a value says: its keys and what they hold.
CREATE FUNCTION agentmem_all_words(value_ jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT concat_ws(' ',
        (SELECT string_agg(inner_ #>> '{}', ' ') FROM jsonb_path_query(value_, 'strict $.**') AS inner_
            WHERE jsonb_typeof(inner_) NOT IN ('object', 'array')),
        (SELECT string_agg(key_ #>> '{}', ' ')
            FROM jsonb_path_query(value_, 'strict $.** ? (@.type() == "object").keyvalue().key') AS key_)
    )
$$

-- follow_store --
CREATE FUNCTION agentmem_follow_store() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM agentmem_item_texts AS stale USING former WHERE stale.prefix = former.prefix AND stale.key = former.key;
        DELETE FROM agentmem_item_ttls AS stale USING former WHERE stale.prefix = former.prefix AND stale.key = former.key;
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
        SELECT changed.prefix, changed.key, words.part, words.words
        FROM changed JOIN former USING (prefix, key) CROSS JOIN LATERAL agentmem_words(agentmem_all_words(changed.value)) AS words
        WHERE changed.value <> former.value
        ON CONFLICT (prefix, key, part) DO UPDATE SET words = excluded.words;
    ELSE
        INSERT INTO agentmem_item_texts
        SELECT changed.prefix, changed.key, words.part, words.words
        FROM changed CROSS JOIN LATERAL agentmem_words(agentmem_all_words(changed.value)) AS words
        ON CONFLICT (prefix, key, part) DO UPDATE SET words = excluded.words;
    END IF;
    RETURN NULL;
END $$

-- follow_inserts --
CREATE TRIGGER agentmem_follow_inserts AFTER INSERT ON store
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION agentmem_follow_store()

-- follow_updates --
CREATE TRIGGER agentmem_follow_updates AFTER UPDATE ON store
REFERENCING NEW TABLE AS changed OLD TABLE AS former FOR EACH STATEMENT EXECUTE FUNCTION agentmem_follow_store()

-- follow_deletes --
CREATE TRIGGER agentmem_follow_deletes AFTER DELETE ON store
REFERENCING OLD TABLE AS former FOR EACH STATEMENT EXECUTE FUNCTION agentmem_follow_store()

-- index_items --
-- Index some of the items that were there before these tables; returns whether those were the last.
CREATE FUNCTION agentmem_index_items(limit_ integer) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    count_ integer;
BEGIN
    PERFORM pg_advisory_xact_lock(7018690069354081892);  -- "agentind" in ASCII: one at a time
    IF (SELECT indexed FROM agentmem_schema) THEN
        RETURN true;
    END IF;
    WITH chosen AS MATERIALIZED (
        SELECT item.prefix, item.key, item.value FROM store AS item
        WHERE NOT EXISTS (
            SELECT 1 FROM agentmem_item_texts AS known WHERE known.prefix = item.prefix AND known.key = item.key
        ) LIMIT limit_ FOR KEY SHARE
    ), added AS (
        INSERT INTO agentmem_item_texts
        SELECT chosen.prefix, chosen.key, words.part, words.words
        FROM chosen CROSS JOIN LATERAL agentmem_words(agentmem_all_words(chosen.value)) AS words
        ON CONFLICT (prefix, key, part) DO NOTHING
    )
    SELECT count(*) INTO count_ FROM chosen;
    IF count_ = 0 THEN
        UPDATE agentmem_schema SET indexed = true;
    END IF;
    RETURN count_ = 0;
END $$

-- has_vectors --
-- Whether vectors can be stored, and found by namespace.
CREATE FUNCTION agentmem_has_vectors() RETURNS boolean LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT to_regclass('store_vectors') IS NOT NULL AND to_regclass('agentmem_store_vectors_by_prefix') IS NOT NULL
$$

-- make_vectors --
-- Make the table of vectors as LangGraph's own store makes it, by whoever stores the first one. No index for the kind 'flat'.
CREATE FUNCTION agentmem_make_vectors(dimensions_ int, type_ text, kind_ text, parameters_ text)
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
          AND proname IN ('agentmem_put_items', 'agentmem_find')
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
    CREATE INDEX IF NOT EXISTS agentmem_store_vectors_by_prefix ON store_vectors (prefix text_pattern_ops);
    CREATE TABLE IF NOT EXISTS vector_migrations (v integer PRIMARY KEY);
    INSERT INTO vector_migrations (v) VALUES (0), (1), (2) ON CONFLICT DO NOTHING;
END $$

-- put_items --
-- Store items; one that is there keeps its creation time, unless it had expired. `readers_` says which item each text is of,
-- `owners_` which each vector is of, counted from 1; the vectors, all of one length, lie one after the other.
CREATE FUNCTION agentmem_put_items(
    prefixes_ text[], keys_ text[], values_ text[], ttls_ double precision[], now_ double precision,
    readers_ int[], texts_ text[], owners_ int[], fields_ text[], vectors_ real[]
) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    at_ timestamptz := to_timestamp(now_);
    size_ int;
BEGIN
    PERFORM set_config('agentmem.writing', 'on', true);
    INSERT INTO store (prefix, key, value, created_at, updated_at, expires_at, ttl_minutes)
    SELECT added.prefix, added.key, added.value::jsonb, at_, at_, to_timestamp(now_ + added.ttl), ceil(added.ttl / 60)::int
    FROM unnest(prefixes_, keys_, values_, ttls_) AS added (prefix, key, value, ttl)
    ORDER BY added.prefix, added.key
    ON CONFLICT (prefix, key) DO UPDATE SET
        value = excluded.value,
        created_at = CASE WHEN store.expires_at <= at_ THEN at_ ELSE store.created_at END,
        updated_at = at_, expires_at = excluded.expires_at, ttl_minutes = excluded.ttl_minutes;
    DELETE FROM agentmem_item_texts AS stale USING unnest(prefixes_, keys_) AS added (prefix, key)
    WHERE stale.prefix = added.prefix AND stale.key = added.key;
    INSERT INTO agentmem_item_texts
    SELECT prefixes_[added.reader], keys_[added.reader],
        row_number() OVER (PARTITION BY added.reader ORDER BY added.place), words.words
    FROM unnest(readers_, texts_) WITH ORDINALITY AS added (reader, text, place)
        CROSS JOIN LATERAL agentmem_words(added.text) AS words;
    DELETE FROM agentmem_item_ttls AS stale USING unnest(prefixes_, keys_) AS added (prefix, key)
    WHERE stale.prefix = added.prefix AND stale.key = added.key;
    INSERT INTO agentmem_item_ttls
    SELECT added.prefix, added.key, added.ttl FROM unnest(prefixes_, keys_, ttls_) AS added (prefix, key, ttl)
    WHERE added.ttl IS NOT NULL;
    IF to_regclass('store_vectors') IS NOT NULL THEN
        DELETE FROM store_vectors AS stale USING unnest(prefixes_, keys_) AS added (prefix, key)
        WHERE stale.prefix = added.prefix AND stale.key = added.key;
        size_ := cardinality(vectors_) / greatest(1, cardinality(owners_));
        INSERT INTO store_vectors (prefix, key, field_name, embedding, created_at, updated_at)
        SELECT prefixes_[added.owner], keys_[added.owner], added.field,
            vectors_[(added.place - 1) * size_ + 1 : added.place * size_]::vector, at_, at_
        FROM unnest(owners_, fields_) WITH ORDINALITY AS added (owner, field, place);
    END IF;
    PERFORM set_config('agentmem.writing', '', true);
END $$

-- revision --
-- Another number after every change, whoever makes it.
CREATE FUNCTION agentmem_revision(updated_at_ timestamptz, value_ jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_hash_extended(value_, (extract(epoch FROM updated_at_) * 1000000)::bigint)
$$

-- get_items --
CREATE FUNCTION agentmem_get_items(prefixes_ text[], keys_ text[], now_ double precision)
RETURNS TABLE (
    prefix text, key text, value text, created_at double precision, updated_at double precision, ttl double precision,
    revision bigint
) LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT item.prefix, item.key, item.value::text, extract(epoch FROM item.created_at)::double precision,
        extract(epoch FROM item.updated_at)::double precision,
        CASE WHEN item.expires_at IS NOT NULL THEN coalesce(
            (SELECT own.ttl FROM agentmem_item_ttls AS own WHERE own.prefix = item.prefix AND own.key = item.key),
            item.ttl_minutes * 60.0
        ) END,
        agentmem_revision(item.updated_at, item.value)
    FROM unnest(prefixes_, keys_) AS wanted (prefix, key) CROSS JOIN LATERAL (
        SELECT * FROM store AS stored
        WHERE stored.prefix = wanted.prefix AND stored.key = wanted.key LIMIT 1
    ) AS item
    WHERE item.expires_at IS NULL OR item.expires_at > to_timestamp(now_);
END $$

-- swap_item --
-- Store an item, or delete it (no value), if its revision is still the expected one (NULL: if there is none).
CREATE FUNCTION agentmem_swap_item(
    expected_ bigint, delete_ boolean,
    prefixes_ text[], keys_ text[], values_ text[], ttls_ double precision[], now_ double precision,
    readers_ int[], texts_ text[], owners_ int[], fields_ text[], vectors_ real[]
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    current_ record;
BEGIN
    SELECT agentmem_revision(updated_at, value) AS revision, value, updated_at INTO current_
    FROM store WHERE prefix = prefixes_[1] AND key = keys_[1] AND (expires_at IS NULL OR expires_at > to_timestamp(now_))
    FOR UPDATE;
    IF FOUND AND current_.updated_at = to_timestamp(now_) AND NOT delete_ AND current_.value = values_[1]::jsonb
        AND current_.revision IS DISTINCT FROM expected_ THEN
        RETURN true;  -- it was stored already, and the answer was lost with the connection
    END IF;
    IF current_.revision IS DISTINCT FROM expected_ THEN
        RETURN false;
    END IF;
    IF delete_ THEN
        DELETE FROM store WHERE prefix = prefixes_[1] AND key = keys_[1];
    ELSIF expected_ IS NULL THEN
        -- Two writers may both have found nothing: only one may store.
        DELETE FROM store WHERE prefix = prefixes_[1] AND key = keys_[1] AND expires_at <= to_timestamp(now_);
        PERFORM set_config('agentmem.writing', 'on', true);
        INSERT INTO store (prefix, key, value, created_at, updated_at)
        VALUES (prefixes_[1], keys_[1], '{}', to_timestamp(now_), to_timestamp(now_)) ON CONFLICT (prefix, key) DO NOTHING;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
        PERFORM agentmem_put_items(
            prefixes_, keys_, values_, ttls_, now_, readers_, texts_, owners_, fields_, vectors_
        );
    ELSE
        PERFORM agentmem_put_items(
            prefixes_, keys_, values_, ttls_, now_, readers_, texts_, owners_, fields_, vectors_
        );
    END IF;
    RETURN true;
END $$

-- touch_items --
-- Start the time to live of items anew.
CREATE FUNCTION agentmem_touch_items(prefixes_ text[], keys_ text[], now_ double precision)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM set_config('agentmem.writing', 'on', true);
    WITH used AS MATERIALIZED (
        SELECT item.prefix, item.key, item.ttl FROM agentmem_get_items(prefixes_, keys_, now_) AS item
        WHERE item.ttl IS NOT NULL ORDER BY item.prefix, item.key
    )
    UPDATE store AS item SET expires_at = to_timestamp(now_ + used.ttl)
    FROM used WHERE item.prefix = used.prefix AND item.key = used.key;
    PERFORM set_config('agentmem.writing', '', true);
END $$

-- delete_items --
CREATE FUNCTION agentmem_delete_items(prefixes_ text[], keys_ text[])
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM store AS item USING (
        SELECT DISTINCT gone.prefix, gone.key FROM unnest(prefixes_, keys_) AS gone (prefix, key) ORDER BY 1, 2
    ) AS gone
    WHERE item.prefix = gone.prefix AND item.key = gone.key;
END $$

-- namespaces --
-- The namespaces that hold items: `own_`, and those from `first_` on to before `last_`, in the order of their bytes.
CREATE FUNCTION agentmem_namespaces(first_ text, last_ text, own_ text, now_ double precision)
RETURNS SETOF text LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    at_ timestamptz := to_timestamp(now_);
    namespace_ text;
BEGIN
    -- Hops from one namespace to the next on the index, however many items each holds.
    IF own_ IS NOT NULL AND EXISTS (
        SELECT 1 FROM store WHERE prefix = own_ AND (expires_at IS NULL OR expires_at > at_)
    ) THEN
        RETURN NEXT own_;
    END IF;
    SELECT prefix INTO namespace_ FROM store WHERE prefix ~>=~ first_ AND prefix ~<~ last_ ORDER BY prefix USING ~<~ LIMIT 1;
    WHILE namespace_ IS NOT NULL LOOP
        IF EXISTS (SELECT 1 FROM store WHERE prefix = namespace_ AND (expires_at IS NULL OR expires_at > at_)) THEN
            RETURN NEXT namespace_;
        END IF;
        SELECT prefix INTO namespace_ FROM store WHERE prefix ~>~ namespace_ AND prefix ~<~ last_
        ORDER BY prefix USING ~<~ LIMIT 1;
    END LOOP;
END $$

-- query --
-- What looks for any of some words; nothing in them is taken for an operator. (This and what follows is called by
-- agentmem_find, which has set the search path.)
CREATE FUNCTION agentmem_query(terms_ text[]) RETURNS tsquery LANGUAGE plpgsql STABLE AS $$
DECLARE
    query_ tsquery;
    word_ tsquery;
    term_ text;
BEGIN
    FOREACH term_ IN ARRAY terms_ LOOP
        word_ := phraseto_tsquery('agentmem_words', agentmem_plain(term_));
        IF numnode(word_) > 0 THEN
            query_ := CASE WHEN query_ IS NULL THEN word_ ELSE query_ || word_ END;
        END IF;
    END LOOP;
    RETURN query_;
END $$

-- rare --
-- What looks for those words of a query that few texts hold, as far as the statistics of the table tell: looking for the others
-- costs much and says little. NULL when there are none.
CREATE FUNCTION agentmem_rare(terms_ text[]) RETURNS tsquery LANGUAGE plpgsql STABLE AS $$
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
    IF common_ IS NULL THEN
        RETURN agentmem_query(terms_);
    END IF;
    RETURN agentmem_query(ARRAY (
        SELECT term FROM unnest(terms_) AS term
        WHERE NOT tsvector_to_array(to_tsvector('agentmem_words', agentmem_plain(term))) <@ common_
    ));
END $$

-- compare --
-- All items of a small namespace that match a query by words or by vector, with both scores.
CREATE FUNCTION agentmem_compare(
    own_ text, first_ text, last_ text, query_ tsquery, vector_ real[], path_ jsonpath
) RETURNS TABLE (prefix text, key text, lexical double precision, dense double precision)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    IF vector_ IS NULL THEN
        RETURN QUERY
        SELECT text.prefix, text.key, sum(ts_rank(text.words, query_))::double precision, NULL::double precision
        FROM agentmem_item_texts AS text
        WHERE (text.prefix = own_ OR (text.prefix ~>=~ first_ AND text.prefix ~<~ last_)) AND text.words @@ query_
        GROUP BY text.prefix, text.key;
        RETURN;
    END IF;
    RETURN QUERY
    WITH words AS MATERIALIZED (
        SELECT text.prefix, text.key, sum(ts_rank(text.words, query_))::double precision AS score
        FROM agentmem_item_texts AS text
        WHERE (text.prefix = own_ OR (text.prefix ~>=~ first_ AND text.prefix ~<~ last_)) AND text.words @@ query_
        GROUP BY text.prefix, text.key
    ), near AS MATERIALIZED (
        SELECT stored.prefix, stored.key, max(1 - (stored.embedding <=> vector_::vector)) AS score
        FROM store_vectors AS stored
        WHERE stored.prefix = own_ OR (stored.prefix ~>=~ first_ AND stored.prefix ~<~ last_)
        GROUP BY stored.prefix, stored.key
    )
    SELECT prefix, key, words.score, near.score FROM words FULL JOIN near USING (prefix, key);
END $$

-- matching --
-- The best by all the words of a query among items that hold those looked for.
CREATE FUNCTION agentmem_matching(
    own_ text, first_ text, last_ text, wanted_ tsquery, query_ tsquery, path_ jsonpath, limit_ bigint
) RETURNS agentmem_place[]
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    RETURN ARRAY (
        SELECT (held.prefix, held.key, NULL)::agentmem_place
        FROM (
            SELECT text.prefix, text.key, text.words FROM agentmem_item_texts AS text
            WHERE (text.prefix = own_ OR (text.prefix ~>=~ first_ AND text.prefix ~<~ last_)) AND text.words @@ wanted_
              AND (path_ IS NULL OR EXISTS (
                SELECT 1 FROM store AS item WHERE item.prefix = text.prefix AND item.key = text.key
                  AND (item.value @@ path_ OR item.value ? 'agentmem:json')
            ))
            LIMIT 20 * limit_
        ) AS held ORDER BY ts_rank(held.words, query_) DESC LIMIT limit_
    );
END $$

-- near --
-- The items with the vectors most similar to another. The index of vectors is asked for more and more until there are enough,
-- since the namespace and the condition come after it; where it gives up, all are compared.
CREATE FUNCTION agentmem_near(own_ text, first_ text, last_ text, vector_ real[], path_ jsonpath, limit_ bigint)
RETURNS agentmem_place[] LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    near_ agentmem_place[];
BEGIN
    PERFORM set_config('hnsw.iterative_scan', 'strict_order', true), set_config('ivfflat.iterative_scan', 'relaxed_order', true),
        set_config('hnsw.ef_search', least(1000, greatest(100, limit_))::text, true),
        set_config('ivfflat.probes', '20', true);
    SELECT array_agg((near.prefix, near.key, 1 - near.distance)::agentmem_place) INTO near_
    FROM (
        SELECT stored.prefix, stored.key, stored.embedding <=> vector_::vector AS distance FROM store_vectors AS stored
        WHERE (stored.prefix = own_ OR (stored.prefix ~>=~ first_ AND stored.prefix ~<~ last_))
          AND (path_ IS NULL OR EXISTS (
            SELECT 1 FROM store AS item WHERE item.prefix = stored.prefix AND item.key = stored.key
              AND (item.value @@ path_ OR item.value ? 'agentmem:json')
        ))
        ORDER BY stored.embedding <=> vector_::vector LIMIT limit_
    ) AS near;
    IF cardinality(near_) >= limit_ THEN
        RETURN near_;
    END IF;
    SELECT array_agg((near.prefix, near.key, 1 - near.distance)::agentmem_place) INTO near_
    FROM (
        SELECT every.prefix, every.key, every.distance
        FROM (
            SELECT stored.prefix, stored.key, stored.embedding <=> vector_::vector AS distance FROM store_vectors AS stored
            WHERE (stored.prefix = own_ OR (stored.prefix ~>=~ first_ AND stored.prefix ~<~ last_))
              AND (path_ IS NULL OR EXISTS (
                SELECT 1 FROM store AS item WHERE item.prefix = stored.prefix AND item.key = stored.key
                  AND (item.value @@ path_ OR item.value ? 'agentmem:json')
            ))
            OFFSET 0
        ) AS every ORDER BY every.distance LIMIT limit_
    ) AS near;
    RETURN near_;
END $$

-- similarities --
-- How similar some items are to a vector, but for those of which it is known; none without a vector.
CREATE FUNCTION agentmem_similarities(places_ agentmem_place[], known_ agentmem_place[], vector_ real[])
RETURNS TABLE (prefix text, key text, score double precision)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    IF vector_ IS NOT NULL THEN
        RETURN QUERY
        SELECT found.prefix, found.key, alike.score
        FROM (
            SELECT place.prefix, place.key FROM unnest(places_) AS place
            EXCEPT SELECT place.prefix, place.key FROM unnest(known_) AS place
        ) AS found CROSS JOIN LATERAL (
            SELECT max(1 - (stored.embedding <=> vector_::vector)) AS score FROM store_vectors AS stored
            WHERE stored.prefix = found.prefix AND stored.key = found.key
        ) AS alike;
    END IF;
END $$

-- sweep_items --
-- Delete expired items, but for those that a writer is using.
CREATE FUNCTION agentmem_sweep_items(own_ text, first_ text, last_ text, now_ double precision, limit_ bigint)
RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    deleted_ bigint;
BEGIN
    WITH expired AS MATERIALIZED (
        SELECT prefix, key FROM store
        WHERE expires_at <= to_timestamp(now_) AND (prefix = own_ OR (prefix ~>=~ first_ AND prefix ~<~ last_))
        LIMIT limit_ FOR UPDATE SKIP LOCKED
    )
    DELETE FROM store AS item USING expired WHERE item.prefix = expired.prefix AND item.key = expired.key;
    GET DIAGNOSTICS deleted_ = ROW_COUNT;
    RETURN deleted_;
END $$
