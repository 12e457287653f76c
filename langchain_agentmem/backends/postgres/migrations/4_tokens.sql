Idempotency tokens: a change that is retried after a lost connection recognises its own write.

-- tokens --
-- Create the table of tokens, with the results of some changes. A token is kept for ten minutes, because retries end with the
-- time limit of the operation.
CREATE TABLE agentmem_tokens (
    token bigint PRIMARY KEY,
    stored_at timestamptz NOT NULL DEFAULT now(),
    result bigint
)

-- stored_at --
-- Index the tokens by age.
CREATE INDEX agentmem_tokens_stored_at ON agentmem_tokens (stored_at)

-- take_token --
-- Store a token, and return false if it is stored already. Wait for an attempt with the same token that still runs. Tokens are
-- random: one call of 16 also deletes old tokens.
CREATE FUNCTION agentmem_take_token(token_ bigint) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF token_ % 16 = 0 THEN
        DELETE FROM agentmem_tokens WHERE token = ANY (ARRAY (
            SELECT token FROM agentmem_tokens WHERE stored_at < now() - interval '10 minutes'
            ORDER BY stored_at LIMIT 64 FOR UPDATE SKIP LOCKED
        ));
    END IF;
    INSERT INTO agentmem_tokens (token) VALUES (token_) ON CONFLICT (token) DO NOTHING;
    RETURN FOUND;
END $$

-- swap_items --
-- Store and delete items, and return whether all had the expected revisions (NULL: no item). Parameters: prefixes, keys,
-- expected revisions, whether to keep each unchanged, token; then those of `put_items`. An item that is neither kept nor stored
-- is deleted. Every transaction locks items in the same order, so that no deadlock arises. A retried swap recognises its token
-- and changes nothing.
CREATE OR REPLACE FUNCTION agentmem_swap_items(
    places_ text[], names_ text[], expected_ bigint[], kept_ boolean[], token_ bigint,
    prefixes_ text[], keys_ text[], values_ text[], ttls_ double precision[], now_ double precision,
    readers_ int[], texts_ text[], owners_ int[], fields_ text[], vectors_ real[]
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    at_ timestamptz := to_timestamp(now_);
    item_ record;
    revision_ bigint;
BEGIN
    IF NOT agentmem_take_token(token_) THEN
        RETURN true;
    END IF;
    PERFORM set_config('agentmem.writing', 'on', true);
    FOR item_ IN
        SELECT swapped.prefix, swapped.key, swapped.expected, swapped.kept
        FROM unnest(places_, names_, expected_, kept_) AS swapped (prefix, key, expected, kept) ORDER BY 1, 2
    LOOP
        SELECT agentmem_revision(updated_at, value) INTO revision_ FROM store
        WHERE prefix = item_.prefix AND key = item_.key AND {item_alive}
        FOR UPDATE;
        IF revision_ IS DISTINCT FROM item_.expected THEN
            RAISE EXCEPTION USING ERRCODE = 'AM001';
        END IF;
        IF item_.expected IS NULL THEN
            -- If two writers find no item, only one of them continues.
            DELETE FROM store WHERE prefix = item_.prefix AND key = item_.key AND expires_at <= at_;
            INSERT INTO store (prefix, key, value, created_at, updated_at)
            VALUES (item_.prefix, item_.key, '{}', at_, at_)
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
    END IF;
    PERFORM set_config('agentmem.writing', '', true);
    RETURN true;
EXCEPTION WHEN SQLSTATE 'AM001' THEN
    RETURN false;  -- all changes are rolled back, including the token
END $$

-- drop_swap_summary --
-- Remove the function of version 3, which does not know the messages that a summary covers.
DROP FUNCTION agentmem_swap_summary(bytea, text, text, bigint, bigint, double precision)

-- swap_summary --
-- Write a summary if the session exists and the stored revision is `expected_` (NULL: no summary), and return whether it was
-- written. Parameters: the session's place, agent, value, revision, covers, `expected_`, `now_`. The revision is the idempotency
-- token.
CREATE FUNCTION agentmem_swap_summary(
    place_ bytea, agent_ text, value_ text, revision_ bigint, covers_ bigint, expected_ bigint, now_ double precision
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    session_ bigint;
    current_ bigint;
BEGIN
    SELECT id INTO session_ FROM agentmem_sessions WHERE place = place_ AND {alive}
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF NOT agentmem_take_token(revision_) THEN
        RETURN true;
    END IF;
    SELECT revision INTO current_ FROM agentmem_summaries WHERE session = session_ AND agent = agent_;
    IF current_ IS DISTINCT FROM expected_ THEN
        DELETE FROM agentmem_tokens WHERE token = revision_;
        RETURN false;
    END IF;
    INSERT INTO agentmem_summaries (session, agent, value, revision, covers)
    VALUES (session_, agent_, value_, revision_, covers_)
    ON CONFLICT (session, agent) DO UPDATE SET
        value = excluded.value, revision = excluded.revision, covers = excluded.covers;
    RETURN true;
END $$

-- sweep_items --
-- Delete old tokens, and expired items except those that a writer has locked, and return the number of items. Parameters: the
-- range of the tenant's prefixes, `now_`, limit.
CREATE OR REPLACE FUNCTION agentmem_sweep_items(own_ text, first_ text, last_ text, now_ double precision, limit_ bigint)
RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    deleted_ bigint;
BEGIN
    DELETE FROM agentmem_tokens WHERE stored_at < now() - interval '10 minutes';
    WITH expired AS MATERIALIZED (
        SELECT prefix, key FROM store
        WHERE expires_at <= to_timestamp(now_) AND (prefix = own_ OR (prefix ~>=~ first_ AND prefix ~<~ last_))
        LIMIT limit_ FOR UPDATE SKIP LOCKED
    )
    DELETE FROM store AS item USING expired WHERE item.prefix = expired.prefix AND item.key = expired.key;
    GET DIAGNOSTICS deleted_ = ROW_COUNT;
    RETURN deleted_;
END $$

-- drop_item_tokens --
-- Remove the table that `agentmem_tokens` replaces. It lost an item's token with the item's next version.
DROP TABLE agentmem_item_tokens
