A search by vectors considers only the vectors in its own schema.

-- find --
-- Return the items that match a query by words or by vector, with both scores. The error AM001 means that the words of some
-- items are to be analysed first. Parameters: the prefix itself and the range
-- below it, the analysed words, the vector, a JSON path condition on the values, `now_`, `depth_`, `exact_`. Below a prefix of at most
-- `exact_` items, all items are compared. Below a larger one, the indexes find the best `depth_` items by words and by vector;
-- these are returned with their values, and `more` is true if there are further ones.
CREATE OR REPLACE FUNCTION agentmem_find(
    own_ text, first_ text, last_ text, terms_ text[], vector_ real[], path_ jsonpath, now_ double precision,
    depth_ bigint, exact_ bigint
) RETURNS TABLE (
    prefix text, key text, updated_at timestamptz, lexical double precision, dense double precision, more boolean,
    value text, created double precision, updated double precision, ttl double precision, revision bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    at_ timestamptz := to_timestamp(now_);
    query_ tsquery := agentmem_query(terms_);
    rare_ tsquery;
    places_ agentmem_place[];
    near_ agentmem_place[];
BEGIN
    IF query_ IS NOT NULL AND EXISTS (SELECT FROM agentmem_unanalyzed_items) THEN
        RAISE EXCEPTION 'the words of some items are not analysed yet' USING ERRCODE = 'AM001';
    END IF;
    IF to_regclass(quote_ident(current_schema()) || '.store_vectors') IS NULL THEN
        vector_ := NULL;
    END IF;
    -- Two counts, each with the index by prefix, stop at the bound. A caller that knows the result passes 0 as `exact_`.
    IF exact_ > 0 AND (SELECT count(*) FROM (SELECT 1 FROM store WHERE prefix = own_ LIMIT exact_ + 1) AS counted) + (
        SELECT count(*) FROM (SELECT 1 FROM store WHERE prefix ~>=~ first_ AND prefix ~<~ last_ LIMIT exact_ + 1) AS counted
    ) <= exact_ THEN
        RETURN QUERY
        SELECT item.prefix, item.key, item.updated_at, found.lexical, found.dense, false, NULL::text, NULL::double precision,
            NULL::double precision, NULL::double precision, NULL::bigint
        FROM agentmem_compare(own_, first_, last_, query_, vector_, path_) AS found JOIN store AS item USING (prefix, key)
        WHERE {item_alive:item};
        RETURN;
    END IF;
    IF vector_ IS NOT NULL THEN
        near_ := agentmem_near(own_, first_, last_, vector_, path_, depth_);
    END IF;
    IF query_ IS NOT NULL THEN
        rare_ := agentmem_rare(terms_);
    END IF;
    IF rare_ IS NOT NULL OR (query_ IS NOT NULL AND vector_ IS NULL) THEN
        -- If all words are common and there is no vector, some of the items with these words are ranked.
        places_ := agentmem_matching(own_, first_, last_, coalesce(rare_, query_), query_, path_, depth_);
    END IF;
    RETURN QUERY
    SELECT item.prefix, item.key, item.updated_at,
        CASE WHEN query_ IS NOT NULL THEN (
            SELECT sum(ts_rank(text.words, query_))::double precision FROM agentmem_item_texts AS text
            WHERE text.prefix = item.prefix AND text.key = item.key AND text.words @@ query_
        ) END,
        coalesce(found.score, alike.score),
        cardinality(places_) >= depth_ OR cardinality(near_) >= depth_,
        item.value::text, extract(epoch FROM item.created_at)::double precision,
        extract(epoch FROM item.updated_at)::double precision,
        CASE WHEN item.expires_at IS NOT NULL THEN coalesce(
            (SELECT own.ttl FROM agentmem_item_ttls AS own WHERE own.prefix = item.prefix AND own.key = item.key),
            item.ttl_minutes * 60.0
        ) END,
        agentmem_revision(item.updated_at, item.value)
    FROM (
        SELECT place.prefix, place.key, max(place.score) AS score FROM unnest(places_ || near_) AS place
        GROUP BY place.prefix, place.key
    ) AS found CROSS JOIN LATERAL (
        SELECT * FROM store AS stored WHERE stored.prefix = found.prefix AND stored.key = found.key LIMIT 1
    ) AS item LEFT JOIN agentmem_similarities(places_, near_, vector_) AS alike
        ON alike.prefix = item.prefix AND alike.key = item.key
    WHERE {item_alive:item};
END $$
