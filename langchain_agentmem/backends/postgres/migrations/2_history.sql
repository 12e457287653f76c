What searches know of messages: their words, and their vectors.

-- words --
ALTER TABLE agentmem_messages ADD COLUMN words bytea, ADD COLUMN vector bytea

-- store_vectors_as_they_are --
-- Trying to compress them would be in vain.
ALTER TABLE agentmem_messages ALTER COLUMN vector SET STORAGE EXTERNAL

-- drop_append --
DROP FUNCTION agentmem_append(
    bytea, bytea, text, text, text, bytea, double precision, text, bigint, double precision, boolean, bigint,
    text[], text[], boolean[], double precision[], text[], text[], bytea[]
)

-- append --
-- Add messages to a session; returns the position of the first. An addition that is there already, since the connection
-- was lost before its answer came, is not made again.
CREATE FUNCTION agentmem_append(
    place_ bytea, owner_ bytea, tenant_ text, user_ text, session_ text, title_ bytea, now_ double precision,
    agent_ text, keep_ bigint, ttl_ double precision, sliding_ boolean, token_ bigint,
    roles_ text[], agents_ text[], ends_ boolean[], times_ double precision[], metadata_ text[], types_ text[], bodies_ bytea[],
    words_ bytea[], vectors_ bytea[]
) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    found_ agentmem_sessions;
    first_ bigint;
    added_ bigint := cardinality(bodies_);
    until_ double precision := now_ + ttl_;
BEGIN
    LOOP
        SELECT * INTO found_ FROM agentmem_sessions WHERE place = place_ FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO agentmem_sessions (place, owner, tenant, user_id, session_id, created_at, updated_at)
        VALUES (place_, owner_, tenant_, user_, session_, now_, now_) ON CONFLICT (place) DO NOTHING;
    END LOOP;
    IF found_.expires_at <= now_ THEN
        DELETE FROM agentmem_messages WHERE session = found_.id;
        found_.title := NULL;
        found_.message_count := 0;
        found_.next_position := 0;
        found_.created_at := now_;
        found_.expires_at := NULL;
    ELSE
        SELECT min(position) INTO first_ FROM agentmem_messages
        WHERE session = found_.id AND position >= found_.next_position - 64 - added_ AND token = token_;
        IF first_ IS NOT NULL THEN
            RETURN first_;
        END IF;
    END IF;
    IF until_ IS NULL OR (found_.expires_at IS NOT NULL AND NOT sliding_) THEN
        until_ := found_.expires_at;
    END IF;
    first_ := found_.next_position;
    UPDATE agentmem_sessions SET
        title = coalesce(found_.title, title_), message_count = found_.message_count + added_,
        next_position = first_ + added_, created_at = found_.created_at, updated_at = now_, expires_at = until_
    WHERE id = found_.id;
    INSERT INTO agentmem_messages (
        session, position, role, agent, ends_with_session, created_at, metadata, type, body, token, words, vector
    )
    SELECT found_.id, first_ + place - 1, role, agent, ends_with_session, created_at, metadata, type, body, token_, words, vector
    FROM unnest(roles_, agents_, ends_, times_, metadata_, types_, bodies_, words_, vectors_) WITH ORDINALITY
        AS added (role, agent, ends_with_session, created_at, metadata, type, body, words, vector, place);
    IF keep_ IS NOT NULL THEN
        PERFORM agentmem_trim(found_.id, agent_, keep_, first_ + added_);
    END IF;
    RETURN first_;
END $$
