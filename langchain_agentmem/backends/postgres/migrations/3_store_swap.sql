Several items change together, or none of them; and no two writers wait for each other in a circle.

-- drop_swap_item --
DROP FUNCTION agentmem_swap_item(
    bigint, boolean, bigint, text[], text[], text[], double precision[], double precision, int[], text[], int[], text[],
    real[]
)

-- swap_items --
-- Store and delete items, if all have still the revisions expected (NULL: there is none). What is neither kept nor stored is
-- deleted. All who do so take the items in the same order, so that none waits for another in a circle.
CREATE FUNCTION agentmem_swap_items(
    places_ text[], names_ text[], expected_ bigint[], kept_ boolean[], token_ bigint,
    prefixes_ text[], keys_ text[], values_ text[], ttls_ double precision[], now_ double precision,
    readers_ int[], texts_ text[], owners_ int[], fields_ text[], vectors_ real[]
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    item_ record;
    revision_ bigint;
BEGIN
    PERFORM set_config('agentmem.writing', 'on', true);
    FOR item_ IN
        SELECT swapped.prefix, swapped.key, swapped.expected, swapped.kept
        FROM unnest(places_, names_, expected_, kept_) AS swapped (prefix, key, expected, kept) ORDER BY 1, 2
    LOOP
        SELECT agentmem_revision(updated_at, value) INTO revision_ FROM store
        WHERE prefix = item_.prefix AND key = item_.key AND (expires_at IS NULL OR expires_at > to_timestamp(now_))
        FOR UPDATE;
        IF revision_ IS DISTINCT FROM item_.expected THEN
            RAISE EXCEPTION USING ERRCODE = 'AM001';
        END IF;
        IF item_.expected IS NULL THEN
            -- Two writers may both have found nothing: only one may go on.
            DELETE FROM store WHERE prefix = item_.prefix AND key = item_.key AND expires_at <= to_timestamp(now_);
            INSERT INTO store (prefix, key, value, created_at, updated_at)
            VALUES (item_.prefix, item_.key, '{}', to_timestamp(now_), to_timestamp(now_))
            ON CONFLICT (prefix, key) DO NOTHING;
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'AM001';
            END IF;
        END IF;
    END LOOP;
    DELETE FROM store AS item USING unnest(places_, names_, expected_, kept_) AS gone (prefix, key, expected, kept)
    WHERE item.prefix = gone.prefix AND item.key = gone.key AND (NOT gone.kept OR gone.expected IS NULL)
      AND NOT EXISTS (
        SELECT 1 FROM unnest(prefixes_, keys_) AS stored (prefix, key)
        WHERE stored.prefix = gone.prefix AND stored.key = gone.key
    );
    IF cardinality(keys_) > 0 THEN
        PERFORM agentmem_put_items(prefixes_, keys_, values_, ttls_, now_, readers_, texts_, owners_, fields_, vectors_);
        INSERT INTO agentmem_item_tokens SELECT stored.*, token_ FROM unnest(prefixes_, keys_) AS stored (prefix, key)
        ON CONFLICT (prefix, key) DO UPDATE SET token = excluded.token;
    END IF;
    PERFORM set_config('agentmem.writing', '', true);
    RETURN true;
EXCEPTION WHEN SQLSTATE 'AM001' THEN
    -- What was begun is undone. Or was it done before, by an attempt whose answer was lost with the connection?
    RETURN EXISTS (
        SELECT 1 FROM unnest(prefixes_, keys_) AS stored (prefix, key) JOIN agentmem_item_tokens AS known USING (prefix, key)
        WHERE known.token = token_
    );
END $$

-- lock_items --
-- Keep others from changing items until the transaction ends. Those that are to be stored or deleted are made now, empty,
-- where they are not there. Who changes items in several steps takes all of them first, in the order in which each step takes
-- its own: so none waits for another in a circle.
CREATE FUNCTION agentmem_lock_items(prefixes_ text[], keys_ text[], made_ boolean[], now_ double precision)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    item_ record;
BEGIN
    PERFORM set_config('agentmem.writing', 'on', true);
    FOR item_ IN
        SELECT locked.prefix, locked.key, bool_or(locked.made) AS made
        FROM unnest(prefixes_, keys_, made_) AS locked (prefix, key, made) GROUP BY 1, 2 ORDER BY 1, 2
    LOOP
        LOOP
            PERFORM 1 FROM store WHERE prefix = item_.prefix AND key = item_.key FOR UPDATE;
            EXIT WHEN FOUND OR NOT item_.made;
            INSERT INTO store (prefix, key, value, created_at, updated_at)
            VALUES (item_.prefix, item_.key, '{}', to_timestamp(now_), to_timestamp(now_))
            ON CONFLICT (prefix, key) DO NOTHING;
            EXIT WHEN FOUND;
        END LOOP;
    END LOOP;
    PERFORM set_config('agentmem.writing', '', true);
END $$

-- delete_items --
-- In the order in which all others take items.
CREATE OR REPLACE FUNCTION agentmem_delete_items(prefixes_ text[], keys_ text[])
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    WITH gone AS MATERIALIZED (
        SELECT item.prefix, item.key FROM store AS item
        WHERE (item.prefix, item.key) IN (SELECT one.prefix, one.key FROM unnest(prefixes_, keys_) AS one (prefix, key))
        ORDER BY item.prefix, item.key FOR UPDATE
    )
    DELETE FROM store AS item USING gone WHERE item.prefix = gone.prefix AND item.key = gone.key;
END $$
