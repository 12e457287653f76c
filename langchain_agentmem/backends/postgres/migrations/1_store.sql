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
DECLARE
    language_ regconfig := (SELECT language FROM agentmem_schema);
BEGIN
    IF length(text_) <= 50000 THEN
        RETURN QUERY SELECT 0, to_tsvector(language_, agentmem_plain(text_));
    ELSE
        RETURN QUERY SELECT place.at / 50000, to_tsvector(language_, agentmem_plain(substr(text_, place.at, 50000)))
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
    IF (SELECT indexed FROM agentmem_schema) THEN
        RETURN true;
    END IF;
    WITH chosen AS MATERIALIZED (
        SELECT item.prefix, item.key, item.value FROM store AS item
        WHERE NOT EXISTS (
            SELECT 1 FROM agentmem_item_texts AS known WHERE known.prefix = item.prefix AND known.key = item.key
        ) LIMIT limit_ FOR KEY SHARE SKIP LOCKED
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
CREATE FUNCTION agentmem_has_vectors() RETURNS boolean LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT to_regclass('store_vectors') IS NOT NULL
$$

-- put_items --
-- Store items; one that is there keeps its creation time, unless it had expired. `owners_` says which item each vector is
-- of, counted from 1.
CREATE FUNCTION agentmem_put_items(
    prefixes_ text[], keys_ text[], values_ text[], ttls_ double precision[], texts_ text[], now_ double precision,
    owners_ int[], fields_ text[], vectors_ text[]
) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    at_ timestamptz := to_timestamp(now_);
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
    SELECT added.prefix, added.key, words.part, words.words
    FROM unnest(prefixes_, keys_, texts_) AS added (prefix, key, text) CROSS JOIN LATERAL agentmem_words(added.text) AS words
    WHERE added.text IS NOT NULL;
    DELETE FROM agentmem_item_ttls AS stale USING unnest(prefixes_, keys_) AS added (prefix, key)
    WHERE stale.prefix = added.prefix AND stale.key = added.key;
    INSERT INTO agentmem_item_ttls
    SELECT added.prefix, added.key, added.ttl FROM unnest(prefixes_, keys_, ttls_) AS added (prefix, key, ttl)
    WHERE added.ttl IS NOT NULL;
    IF agentmem_has_vectors() THEN
        DELETE FROM store_vectors AS stale USING unnest(prefixes_, keys_) AS added (prefix, key)
        WHERE stale.prefix = added.prefix AND stale.key = added.key;
        INSERT INTO store_vectors (prefix, key, field_name, embedding, created_at, updated_at)
        SELECT prefixes_[added.owner], keys_[added.owner], added.field, added.vector::vector, at_, at_
        FROM unnest(owners_, fields_, vectors_) AS added (owner, field, vector);
    END IF;
    PERFORM set_config('agentmem.writing', '', true);
END $$

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
        item.xmin::text::bigint
    FROM unnest(prefixes_, keys_) AS wanted (prefix, key) CROSS JOIN LATERAL (
        SELECT *, stored.xmin FROM store AS stored
        WHERE stored.prefix = wanted.prefix AND stored.key = wanted.key LIMIT 1
    ) AS item
    WHERE item.expires_at IS NULL OR item.expires_at > to_timestamp(now_);
END $$

-- swap_item --
-- Store an item, or delete it (no value), if its revision is still the expected one (NULL: if there is none).
CREATE FUNCTION agentmem_swap_item(
    expected_ bigint, delete_ boolean,
    prefixes_ text[], keys_ text[], values_ text[], ttls_ double precision[], texts_ text[], now_ double precision,
    owners_ int[], fields_ text[], vectors_ text[]
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    current_ record;
BEGIN
    SELECT xmin::text::bigint AS revision, value, updated_at INTO current_
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
            prefixes_, keys_, values_, ttls_, texts_, now_, owners_, fields_, vectors_
        );
    ELSE
        PERFORM agentmem_put_items(
            prefixes_, keys_, values_, ttls_, texts_, now_, owners_, fields_, vectors_
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
-- What looks for any of some words; nothing in them is taken for an operator.
CREATE FUNCTION agentmem_query(terms_ text[]) RETURNS tsquery LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    language_ regconfig := (SELECT language FROM agentmem_schema);
    query_ tsquery;
    word_ tsquery;
    term_ text;
BEGIN
    FOREACH term_ IN ARRAY terms_ LOOP
        word_ := phraseto_tsquery(language_, agentmem_plain(term_));
        IF numnode(word_) > 0 THEN
            query_ := CASE WHEN query_ IS NULL THEN word_ ELSE query_ || word_ END;
        END IF;
    END LOOP;
    RETURN query_;
END $$

-- matching --
-- The items that match a query in words, the best `limit_` of them (NULL: all). `path_` is a condition on their values.
CREATE FUNCTION agentmem_matching(
    own_ text, first_ text, last_ text, query_ tsquery, path_ jsonpath, at_ timestamptz, limit_ bigint
) RETURNS TABLE (prefix text, key text, score double precision)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    IF query_ IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT found.prefix, found.key, sum(ts_rank(found.words, query_))::double precision AS score
    FROM agentmem_item_texts AS found JOIN store AS item USING (prefix, key)
    WHERE (found.prefix = own_ OR (found.prefix ~>=~ first_ AND found.prefix ~<~ last_)) AND found.words @@ query_
      AND (item.expires_at IS NULL OR item.expires_at > at_)
      AND (path_ IS NULL OR item.value @@ path_ OR item.value ? 'agentmem:json')
    GROUP BY found.prefix, found.key ORDER BY score DESC LIMIT limit_;
END $$

-- find --
-- The items that match a query by words or by vector, with both scores. Below a namespace of more than `exact_` items only
-- the best `depth_` by each are found, and `more` says whether there are others.
CREATE FUNCTION agentmem_find(
    own_ text, first_ text, last_ text, terms_ text[], vector_ text, path_ jsonpath, now_ double precision,
    depth_ bigint, exact_ bigint
) RETURNS TABLE (
    prefix text, key text, updated_at timestamptz, lexical double precision, dense double precision, more boolean
) LANGUAGE plpgsql SET search_path FROM CURRENT SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    at_ timestamptz := to_timestamp(now_);
    query_ tsquery := agentmem_query(terms_);
    limit_ bigint;
BEGIN
    IF (SELECT count(*) FROM (
        SELECT 1 FROM store AS item
        WHERE item.prefix = own_ OR (item.prefix ~>=~ first_ AND item.prefix ~<~ last_) LIMIT exact_ + 1
    ) AS counted) > exact_ THEN
        limit_ := depth_;
    END IF;
    IF vector_ IS NULL OR NOT agentmem_has_vectors() THEN
        RETURN QUERY
        SELECT item.prefix, item.key, item.updated_at, found.score, NULL::double precision, count(*) OVER () >= limit_
        FROM agentmem_matching(own_, first_, last_, query_, path_, at_, limit_) AS found JOIN store AS item USING (prefix, key);
        RETURN;
    END IF;
    RETURN QUERY
    WITH words AS MATERIALIZED (
        SELECT * FROM agentmem_matching(own_, first_, last_, query_, path_, at_, limit_)
    ), near AS MATERIALIZED (
        SELECT * FROM agentmem_similar(own_, first_, last_, vector_, path_, at_, limit_)
    )
    SELECT item.prefix, item.key, item.updated_at,
        CASE WHEN words.score IS NOT NULL OR limit_ IS NULL OR query_ IS NULL THEN words.score ELSE (
            SELECT sum(ts_rank(own.words, query_))::double precision FROM agentmem_item_texts AS own
            WHERE own.prefix = item.prefix AND own.key = item.key AND own.words @@ query_
        ) END,
        CASE WHEN near.score IS NOT NULL OR limit_ IS NULL THEN near.score
        ELSE agentmem_similarity(item.prefix, item.key, vector_) END,
        (SELECT count(*) FROM words) >= limit_ OR (SELECT count(*) FROM near) >= limit_
    FROM words FULL JOIN near USING (prefix, key) JOIN store AS item USING (prefix, key);
END $$

-- similar --
-- The items with the vectors most similar to another, the best `limit_` of them (NULL: all). The index of vectors is asked for
-- more and more until there are enough, since the namespace and the condition come after it; where it gives up, all are
-- compared.
CREATE FUNCTION agentmem_similar(
    own_ text, first_ text, last_ text, vector_ text, path_ jsonpath, at_ timestamptz, limit_ bigint
) RETURNS TABLE (prefix text, key text, score double precision)
LANGUAGE plpgsql SET search_path FROM CURRENT SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    prefixes_ text[];
    keys_ text[];
    distances_ double precision[];
BEGIN
    IF limit_ IS NOT NULL THEN
        PERFORM set_config('hnsw.iterative_scan', 'strict_order', true), set_config('ivfflat.iterative_scan', 'relaxed_order', true),
            set_config('hnsw.ef_search', least(1000, greatest(200, limit_))::text, true),
            set_config('ivfflat.probes', '10', true);
        SELECT array_agg(near.prefix), array_agg(near.key), array_agg(near.distance) INTO prefixes_, keys_, distances_
        FROM (
            SELECT stored.prefix, stored.key, stored.embedding <=> vector_::vector AS distance
            FROM store_vectors AS stored JOIN store AS item USING (prefix, key)
            WHERE (stored.prefix = own_ OR (stored.prefix ~>=~ first_ AND stored.prefix ~<~ last_))
              AND (item.expires_at IS NULL OR item.expires_at > at_)
              AND (path_ IS NULL OR item.value @@ path_ OR item.value ? 'agentmem:json')
            ORDER BY stored.embedding <=> vector_::vector LIMIT limit_
        ) AS near;
    END IF;
    IF cardinality(prefixes_) >= limit_ THEN
        RETURN QUERY SELECT near.prefix, near.key, max(1 - near.distance)
        FROM unnest(prefixes_, keys_, distances_) AS near (prefix, key, distance) GROUP BY near.prefix, near.key;
    ELSE
        RETURN QUERY
        SELECT stored.prefix, stored.key, max(1 - (stored.embedding <=> vector_::vector)) AS score
        FROM store_vectors AS stored JOIN store AS item USING (prefix, key)
        WHERE (stored.prefix = own_ OR (stored.prefix ~>=~ first_ AND stored.prefix ~<~ last_))
          AND (item.expires_at IS NULL OR item.expires_at > at_)
          AND (path_ IS NULL OR item.value @@ path_ OR item.value ? 'agentmem:json')
        GROUP BY stored.prefix, stored.key ORDER BY score DESC LIMIT limit_;
    END IF;
END $$

-- similarity --
CREATE FUNCTION agentmem_similarity(prefix_ text, key_ text, vector_ text) RETURNS double precision
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
BEGIN
    RETURN (
        SELECT max(1 - (stored.embedding <=> vector_::vector)) FROM store_vectors AS stored
        WHERE stored.prefix = prefix_ AND stored.key = key_
    );
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
