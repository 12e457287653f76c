Single messages are deleted and replaced by their IDs.

-- id_digest --
-- Add the digest of a message's ID; NULL for a message of an earlier version.
ALTER TABLE agentmem_messages ADD COLUMN id_digest bytea

-- unidentified --
-- Index the messages without a digest.
CREATE INDEX agentmem_unidentified_messages ON agentmem_messages (session) WHERE id_digest IS NULL

-- covers --
-- Add the position after the last message that a summary tells; NULL if it may tell any message.
ALTER TABLE agentmem_summaries ADD COLUMN covers bigint

-- revise_summaries --
-- Change the revisions of summaries, and empty those that tell a changed message; one that is being written is one of them.
-- Parameters: the session's ID, agents, the position of the first changed message.
CREATE FUNCTION agentmem_revise_summaries(session_ bigint, agents_ text[], first_ bigint) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO agentmem_summaries AS summary (session, agent, value, revision)
    SELECT session_, changed.agent, '', (random() * 9e15)::bigint
    FROM (SELECT DISTINCT coalesce(agent, '') FROM unnest(agents_ || ARRAY['', chr(31) || 'list']) AS agent) AS changed (agent)
    ON CONFLICT (session, agent) DO UPDATE SET
        value = CASE WHEN summary.covers <= first_ THEN summary.value ELSE '' END,
        covers = CASE WHEN summary.covers <= first_ THEN summary.covers END,
        revision = excluded.revision;
END $$

-- remove_messages --
-- Delete messages of a session, and return their number; -1 if no message has the ID `after_`. Parameters: the session's place,
-- agent (NULL: all), digests of IDs (NULL: any), the time that messages are older than (NULL: any), the digest of the ID of the
-- message that they follow (NULL: any), token, `now_`. Return NULL if IDs are given and a message has no digest.
CREATE FUNCTION agentmem_remove_messages(
    place_ bytea, agent_ text, ids_ bytea[], before_ double precision, after_ bytea, token_ bigint, now_ double precision
) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    session_ bigint;
    last_ bigint;
    first_ bigint;
    agents_ text[];
    removed_ bigint;
BEGIN
    IF NOT agentmem_take_token(token_) THEN
        RETURN (SELECT result FROM agentmem_tokens WHERE token = token_);
    END IF;
    SELECT id INTO session_ FROM agentmem_sessions WHERE place = place_ AND {alive} FOR UPDATE;
    IF before_ IS NULL AND EXISTS (SELECT FROM agentmem_messages WHERE session = session_ AND id_digest IS NULL) THEN
        DELETE FROM agentmem_tokens WHERE token = token_;
        RETURN NULL;
    END IF;
    IF after_ IS NOT NULL THEN
        SELECT max(position) INTO last_ FROM agentmem_messages
        WHERE session = session_ AND id_digest = after_ AND (agent_ IS NULL OR agent = agent_);
    END IF;
    IF after_ IS NOT NULL AND last_ IS NULL THEN
        removed_ := -1;
    ELSE
        WITH removed AS (
            DELETE FROM agentmem_messages
            WHERE session = session_ AND (agent_ IS NULL OR agent = agent_) AND (ids_ IS NULL OR id_digest = ANY (ids_))
              AND (before_ IS NULL OR created_at < before_) AND (last_ IS NULL OR position > last_)
            RETURNING position, agent
        )
        SELECT count(*), min(position), array_agg(DISTINCT agent) INTO removed_, first_, agents_ FROM removed;
    END IF;
    IF removed_ > 0 THEN
        UPDATE agentmem_sessions SET message_count = message_count - removed_ WHERE id = session_;
        PERFORM agentmem_settle_title(session_), agentmem_revise_summaries(session_, agents_, first_);
    END IF;
    UPDATE agentmem_tokens SET result = removed_ WHERE token = token_;
    RETURN removed_;
END $$

-- replace_message --
-- Replace the messages with an ID, and return their new rows. Parameters: the session's place, agent (NULL: all), the digest of
-- the ID, whether to keep the time, whether to keep the metadata, the columns of the new message, the title that it suggests
-- (NULL: none), token, `now_`. Return a row of NULLs if a message of the session has no digest.
CREATE FUNCTION agentmem_replace_message(
    place_ bytea, agent_ text, id_ bytea, keeps_time_ boolean, keeps_metadata_ boolean, role_ text,
    time_ double precision, metadata_ text, type_ text, body_ bytea, words_ bytea, vector_ bytea, title_ bytea, token_ bigint,
    now_ double precision
) RETURNS TABLE (
    "position" bigint, role text, agent text, ends_with_session boolean, created_at double precision, metadata text,
    type text, body bytea
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    is_new_ boolean := agentmem_take_token(token_);
    session_ bigint;
    agents_ text[];
    positions_ bigint[];
BEGIN
    SELECT id INTO session_ FROM agentmem_sessions WHERE place = place_ AND {alive} FOR UPDATE;
    IF EXISTS (SELECT FROM agentmem_messages WHERE session = session_ AND id_digest IS NULL) THEN
        DELETE FROM agentmem_tokens WHERE token = token_;
        RETURN NEXT;
        RETURN;
    END IF;
    IF is_new_ THEN
        WITH replaced AS (
            UPDATE agentmem_messages AS message SET
                role = role_, type = type_, body = body_, words = words_, vector = vector_,
                created_at = CASE WHEN keeps_time_ THEN message.created_at ELSE time_ END,
                metadata = CASE WHEN keeps_metadata_ THEN message.metadata ELSE metadata_ END
            WHERE session = session_ AND id_digest = id_ AND (agent_ IS NULL OR message.agent = agent_)
            RETURNING message.position, message.agent
        )
        SELECT array_agg(replaced.position ORDER BY replaced.position), array_agg(DISTINCT replaced.agent)
        INTO positions_, agents_ FROM replaced;
        IF positions_ IS NOT NULL THEN
            UPDATE agentmem_sessions SET
                title = title_,
                title_position = CASE WHEN title_ IS NOT NULL THEN coalesce(title_position, positions_[1]) END
            WHERE id = session_ AND (title_position = ANY (positions_) OR (title IS NULL AND title_ IS NOT NULL));
            UPDATE agentmem_sessions SET edition = pg_current_xact_id() WHERE id = session_;
            PERFORM agentmem_revise_summaries(session_, agents_, positions_[1]);
        END IF;
    END IF;
    RETURN QUERY
    SELECT message.position, message.role, message.agent, message.ends_with_session, message.created_at, message.metadata,
        message.type, message.body
    FROM agentmem_messages AS message
    WHERE message.session = session_ AND message.id_digest = id_ AND (agent_ IS NULL OR message.agent = agent_)
    ORDER BY message.position;
END $$
