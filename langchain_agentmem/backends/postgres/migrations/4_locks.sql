Transactions lock items in one order: by prefix, then by key.

-- drop_lock_items --
-- Remove the function of version 3, which returns nothing.
DROP FUNCTION agentmem_lock_items(text[], text[], boolean[], double precision)

-- lock_items --
-- Lock items until the transaction ends, and return the locked items. Parameters: prefixes, keys, whether to create each item
-- if it is missing, `now_`. An item that is missing and not created stays unlocked, even if another transaction creates it
-- later.
CREATE FUNCTION agentmem_lock_items(prefixes_ text[], keys_ text[], made_ boolean[], now_ double precision)
RETURNS TABLE (prefix text, key text) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
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
        IF FOUND THEN
            RETURN QUERY SELECT item_.prefix, item_.key;
        END IF;
    END LOOP;
    PERFORM set_config('agentmem.writing', '', true);
END $$

-- touch_items --
-- Restart the TTL of items. Parameters: prefixes, keys, `now_`.
CREATE OR REPLACE FUNCTION agentmem_touch_items(prefixes_ text[], keys_ text[], now_ double precision)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM set_config('agentmem.writing', 'on', true);
    WITH used AS MATERIALIZED (
        SELECT item.prefix, item.key, found.ttl
        FROM agentmem_get_items(prefixes_, keys_, now_) AS found
            JOIN store AS item ON item.prefix = found.prefix AND item.key = found.key
        WHERE found.ttl IS NOT NULL ORDER BY item.prefix, item.key FOR UPDATE OF item
    )
    UPDATE store AS item SET expires_at = greatest(item.expires_at, to_timestamp(now_ + used.ttl))
    FROM used WHERE item.prefix = used.prefix AND item.key = used.key;
    PERFORM set_config('agentmem.writing', '', true);
END $$
