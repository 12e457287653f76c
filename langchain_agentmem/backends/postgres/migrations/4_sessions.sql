A title is deleted together with the message that it was taken from. A late clock never brings an expiry forward.

-- title_position --
-- Add the position of the message that the title was taken from; NULL for a title that `rename` set.
ALTER TABLE agentmem_sessions ADD COLUMN title_position bigint

-- titles --
-- Assume that the first human message is the source of each title: older versions did not store whether `rename` set it.
UPDATE agentmem_sessions SET title_position = (
    SELECT min(position) FROM agentmem_messages WHERE session = agentmem_sessions.id AND role = 'human'
)
WHERE title IS NOT NULL

-- titles_of_deleted_messages --
-- Delete titles that may be the text of a deleted message: an earlier message of the session was deleted.
UPDATE agentmem_sessions SET title = NULL, title_position = NULL
WHERE title IS NOT NULL AND CASE WHEN title_position IS NULL THEN message_count < next_position ELSE title_position >= (
    SELECT count(*) FROM agentmem_messages WHERE session = agentmem_sessions.id AND position <= title_position
) END

-- settle_title --
-- Delete a title whose message was deleted, and any title of an empty session. Parameter: the session's ID.
CREATE FUNCTION agentmem_settle_title(session_ bigint) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE agentmem_sessions SET title = NULL, title_position = NULL
    WHERE id = session_ AND title IS NOT NULL AND (message_count = 0 OR (title_position IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM agentmem_messages WHERE session = session_ AND position = title_position
    )));
END $$

-- drop_append --
-- Remove the function of version 3, which takes one title.
DROP FUNCTION agentmem_append(
    bytea, bytea, text, text, text, bytea, double precision, text, bigint, double precision, boolean, bigint,
    text[], text[], boolean[], double precision[], text[], text[], bytea[], bytea[], bytea[]
)

-- append --
-- Add messages to a session, and return the position of the first. Parameters: those of the statement `append`. A session
-- without title gets the first of the titles whose message is stored; `positions_` are the positions of these messages among
-- the added ones. A retried addition recognises its token and adds nothing, even if its messages were deleted since.
CREATE FUNCTION agentmem_append(
    place_ bytea, owner_ bytea, tenant_ text, user_ text, session_ text, titles_ bytea[], positions_ bigint[],
    now_ double precision, agent_ text, keep_ bigint, ttl_ double precision, sliding_ boolean, token_ bigint,
    roles_ text[], agents_ text[], ends_ boolean[], times_ double precision[], metadata_ text[], types_ text[],
    bodies_ bytea[], words_ bytea[], vectors_ bytea[], ids_ bytea[]
) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    found_ agentmem_sessions;
    first_ bigint;
    added_ bigint := cardinality(bodies_);
    until_ double precision;
BEGIN
    IF NOT agentmem_take_token(token_) THEN
        SELECT * INTO found_ FROM agentmem_sessions WHERE place = place_;
        SELECT min(position) INTO first_ FROM agentmem_messages WHERE session = found_.id AND token = token_;
        RETURN coalesce(first_, found_.next_position, 0);
    END IF;
    LOOP
        SELECT * INTO found_ FROM agentmem_sessions WHERE place = place_ FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO agentmem_sessions (place, owner, tenant, user_id, session_id, created_at, updated_at)
        VALUES (place_, owner_, tenant_, user_, session_, now_, now_) ON CONFLICT (place) DO NOTHING;
    END LOOP;
    IF found_.expires_at <= now_ THEN
        DELETE FROM agentmem_messages WHERE session = found_.id;
        found_.title := NULL;
        found_.title_position := NULL;
        found_.message_count := 0;
        found_.next_position := 0;
        found_.created_at := now_;
        found_.updated_at := now_;
        found_.expires_at := NULL;
    END IF;
    now_ := greatest(now_, found_.updated_at);
    until_ := now_ + ttl_;
    IF until_ IS NULL OR (found_.expires_at IS NOT NULL AND NOT sliding_) THEN
        until_ := found_.expires_at;
    END IF;
    first_ := found_.next_position;
    IF found_.title IS NULL THEN
        found_.title := titles_[1];
        found_.title_position := first_ + positions_[1];
    END IF;
    UPDATE agentmem_sessions SET
        title = found_.title, title_position = found_.title_position, message_count = found_.message_count + added_,
        next_position = first_ + added_, created_at = found_.created_at, updated_at = now_, expires_at = until_
    WHERE id = found_.id;
    INSERT INTO agentmem_messages (
        session, position, role, agent, ends_with_session, created_at, metadata, type, body, token, words, vector, id_digest
    )
    SELECT found_.id, first_ + place - 1, role, agent, ends_with_session, created_at, metadata, type, body, token_, words, vector,
        id_digest
    FROM unnest(roles_, agents_, ends_, times_, metadata_, types_, bodies_, words_, vectors_, ids_) WITH ORDINALITY
        AS added (role, agent, ends_with_session, created_at, metadata, type, body, words, vector, id_digest, place);
    IF keep_ IS NOT NULL THEN
        PERFORM agentmem_trim(found_.id, agent_, keep_, first_ + added_), agentmem_settle_title(found_.id);
        FOR at_ IN 1 .. cardinality(titles_) LOOP
            UPDATE agentmem_sessions SET title = titles_[at_], title_position = first_ + positions_[at_]
            WHERE id = found_.id AND title IS NULL AND EXISTS (
                SELECT 1 FROM agentmem_messages WHERE session = found_.id AND position = first_ + positions_[at_]
            );
        END LOOP;
    END IF;
    RETURN first_;
END $$

-- window --
-- Return the newest messages of a session, and the newest system message if that is older. Parameters: the session's place, the
-- agent (NULL: all), limit (NULL: all), `now_`.
CREATE OR REPLACE FUNCTION agentmem_window(place_ bytea, agent_ text, limit_ bigint, now_ double precision)
RETURNS TABLE (
    "position" bigint, role text, agent text, ends_with_session boolean, created_at double precision, metadata text,
    type text, body bytea
) LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    session_ bigint;
    system_ bigint;
    oldest_ bigint;
BEGIN
    SELECT id INTO session_ FROM agentmem_sessions WHERE place = place_ AND {alive};
    IF session_ IS NULL THEN
        RETURN;
    END IF;
    -- Two statements, because each has an index of its own.
    IF agent_ IS NULL THEN
        RETURN QUERY SELECT {message:m} FROM agentmem_messages AS m WHERE m.session = session_
        ORDER BY m.position DESC LIMIT limit_;
    ELSE
        RETURN QUERY SELECT {message:m} FROM agentmem_messages AS m WHERE m.session = session_ AND m.agent = agent_
        ORDER BY m.position DESC LIMIT limit_;
    END IF;
    IF limit_ IS NULL OR NOT FOUND THEN
        RETURN;
    END IF;
    SELECT m.position INTO system_ FROM agentmem_messages AS m
    WHERE m.session = session_ AND m.role = 'system' AND (agent_ IS NULL OR m.agent = agent_)
    ORDER BY m.position DESC LIMIT 1;
    IF system_ IS NULL THEN
        RETURN;
    END IF;
    SELECT m.position INTO oldest_ FROM agentmem_messages AS m
    WHERE m.session = session_ AND (agent_ IS NULL OR m.agent = agent_)
    ORDER BY m.position DESC LIMIT 1 OFFSET limit_ - 1;
    RETURN QUERY SELECT {message:m} FROM agentmem_messages AS m
    WHERE m.session = session_ AND m.position = system_ AND m.position < oldest_;
END $$

-- forget_messages --
-- Delete messages of a session, empty its summaries, and return the number of messages. Parameters: the session's place, the
-- agent (NULL: all), whether to delete only messages that end with the session.
CREATE OR REPLACE FUNCTION agentmem_forget_messages(place_ bytea, agent_ text, ending_ boolean) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    session_ bigint;
    agents_ text[];
    removed_ bigint;
BEGIN
    SELECT id INTO session_ FROM agentmem_sessions WHERE place = place_ FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    IF ending_ THEN
        DELETE FROM agentmem_records WHERE session = session_ AND ends_with_session;
    END IF;
    WITH removed AS (
        DELETE FROM agentmem_messages
        WHERE session = session_ AND (agent_ IS NULL OR agent = agent_) AND (ends_with_session OR NOT ending_)
        RETURNING agent
    )
    SELECT count(*), array_agg(DISTINCT agent) INTO removed_, agents_ FROM removed;
    UPDATE agentmem_sessions SET message_count = message_count - removed_ WHERE id = session_;
    IF ending_ AND removed_ = 0 THEN
        RETURN 0;
    END IF;
    PERFORM agentmem_settle_title(session_), agentmem_revise_summaries(
        session_, agents_ || agent_ || ARRAY (SELECT agent FROM agentmem_summaries WHERE session = session_), -1
    );
    RETURN removed_;
END $$
