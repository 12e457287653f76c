By what a swap knows itself again when the connection was lost before its answer came.

-- item_tokens --
CREATE TABLE agentmem_item_tokens (
    prefix text NOT NULL,
    key text NOT NULL,
    token bigint NOT NULL,
    PRIMARY KEY (prefix, key),
    FOREIGN KEY (prefix, key) REFERENCES store (prefix, key) ON DELETE CASCADE
)

-- drop_swap_item --
DROP FUNCTION agentmem_swap_item(
    bigint, boolean, text[], text[], text[], double precision[], double precision, int[], text[], int[], text[], real[]
)

-- swap_item --
-- Store an item, or delete it (no value), if its revision is still the expected one (NULL: if there is none).
CREATE FUNCTION agentmem_swap_item(
    expected_ bigint, delete_ boolean, token_ bigint,
    prefixes_ text[], keys_ text[], values_ text[], ttls_ double precision[], now_ double precision,
    readers_ int[], texts_ text[], owners_ int[], fields_ text[], vectors_ real[]
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    current_ record;
BEGIN
    SELECT agentmem_revision(updated_at, value) AS revision, value, updated_at INTO current_
    FROM store WHERE prefix = prefixes_[1] AND key = keys_[1] AND (expires_at IS NULL OR expires_at > to_timestamp(now_))
    FOR UPDATE;
    IF FOUND AND current_.updated_at = to_timestamp(now_) AND EXISTS (
        SELECT 1 FROM agentmem_item_tokens WHERE prefix = prefixes_[1] AND key = keys_[1] AND token = token_
    ) THEN
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
    IF NOT delete_ THEN
        INSERT INTO agentmem_item_tokens VALUES (prefixes_[1], keys_[1], token_)
        ON CONFLICT (prefix, key) DO UPDATE SET token = excluded.token;
    END IF;
    RETURN true;
END $$
