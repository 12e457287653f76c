The openings of sessions. A session is ended when its last opening is closed, or when its timeout is over.

-- openings --
-- Add the state of openings: their tokens; the seconds without use after which the session is ended, and the time of the next check
-- (NULL: never); the `Ending` of the session.
ALTER TABLE agentmem_sessions
    ADD COLUMN metadata text, ADD COLUMN timeout double precision, ADD COLUMN check_at double precision,
    ADD COLUMN openings bigint[] NOT NULL DEFAULT '{}', ADD COLUMN ends boolean NOT NULL DEFAULT false,
    ADD COLUMN exceptions text[] NOT NULL DEFAULT '{}'

-- head --
-- Add the head of a session: bytes that describe the messages of an encrypted one.
ALTER TABLE agentmem_sessions ADD COLUMN head bytea

-- sessions_by_check --
-- Index the open sessions by their next check. A message changes neither column, so its session is updated in place.
CREATE INDEX agentmem_sessions_by_check ON agentmem_sessions (tenant, check_at) WHERE check_at IS NOT NULL

-- restart --
-- Delete what belongs to a session that has expired and is used again as a new one.
CREATE OR REPLACE FUNCTION agentmem_restart_summaries() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM agentmem_summaries WHERE session = OLD.id;
    DELETE FROM agentmem_records WHERE session = OLD.id;
    DELETE FROM agentmem_variables WHERE session = OLD.id;
    UPDATE agentmem_sessions
    SET metadata = NULL, timeout = NULL, check_at = NULL, openings = '{}', ends = false, exceptions = '{}', head = NULL
    WHERE id = OLD.id AND (metadata IS NOT NULL OR openings <> '{}' OR ends OR head IS NOT NULL);
    RETURN NULL;
END $$

-- end_all --
-- Delete the variables of a session, and the messages and records that end with it; return the number of messages. Parameter: place.
CREATE FUNCTION agentmem_end_all(place_ bytea) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    session_ bigint;
BEGIN
    SELECT id INTO session_ FROM agentmem_sessions WHERE place = place_ FOR UPDATE;
    DELETE FROM agentmem_variables WHERE session = session_;
    RETURN agentmem_forget_messages(place_, NULL, true);
END $$

-- end_session --
-- End a session that the transaction has locked: close its openings, and delete what its `Ending` says. Parameters: its row.
CREATE FUNCTION agentmem_end_session(found_ agentmem_sessions) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM agentmem_forget_messages(found_.place, NULL, true);
    DELETE FROM agentmem_variables
    WHERE session = found_.id AND (agent = ANY (found_.exceptions)) <> found_.ends;
    UPDATE agentmem_sessions SET openings = '{}', timeout = NULL, check_at = NULL WHERE id = found_.id;
    IF found_.ends THEN
        DELETE FROM agentmem_sessions WHERE id = found_.id AND message_count = 0
            AND NOT EXISTS (SELECT 1 FROM agentmem_records WHERE session = found_.id)
            AND NOT EXISTS (SELECT 1 FROM agentmem_variables WHERE session = found_.id);
    END IF;
END $$

-- open_session --
-- Open a session, and set variables of it. Return its metadata, its head, and false if a head changed, so that it was not opened.
-- Parameters: those of the statement `open`. An open session keeps the longer timeout. An opening that was withdrawn before it arrived changes nothing: see `agentmem_close_session`.
CREATE FUNCTION agentmem_open_session(
    place_ bytea, owner_ bytea, tenant_ text, user_ text, session_ text, now_ double precision, ttl_ double precision,
    sliding_ boolean, token_ bigint, timeout_ double precision, metadata_ text, ends_ boolean, exceptions_ text[],
    scope_ bytea, names_ text[], values_ text[], ttls_ double precision[],
    head_ text, expected_ text, value_ text, head_ttl_ double precision,
    former_ bytea, new_ bytea, OUT stored_ text, OUT session_head_ bytea, OUT is_done_ boolean
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    found_ agentmem_sessions;
BEGIN
    is_done_ := true;
    IF NOT agentmem_take_token(token_) AND EXISTS (SELECT FROM agentmem_tokens WHERE token = token_ AND result = 0) THEN
        RETURN;
    END IF;
    SELECT * INTO found_ FROM agentmem_sessions WHERE place = place_ AND {alive} FOR UPDATE;
    IF found_.updated_at + found_.timeout <= now_ THEN
        PERFORM agentmem_end_session(found_);
    END IF;
    PERFORM agentmem_use_session(place_, owner_, tenant_, user_, session_, now_, ttl_, sliding_);
    IF new_ IS NOT NULL THEN
        SELECT head IS NOT DISTINCT FROM former_ OR head = new_ INTO is_done_ FROM agentmem_sessions WHERE place = place_;
    END IF;
    IF is_done_ AND cardinality(names_) > 0 THEN
        is_done_ := agentmem_set_variables(
            scope_, place_, owner_, tenant_, user_, session_, '', names_, values_, ttls_, now_, NULL, true,
            head_, expected_, value_, head_ttl_
        );
    END IF;
    IF NOT is_done_ THEN
        RETURN;
    END IF;
    UPDATE agentmem_sessions SET
        openings = CASE WHEN token_ = ANY (openings) THEN openings ELSE openings || token_ END,
        timeout = CASE
            WHEN openings = '{}' THEN timeout_
            WHEN timeout IS NOT NULL AND timeout_ IS NOT NULL THEN greatest(timeout, timeout_) END,
        check_at = updated_at + CASE
            WHEN openings = '{}' THEN timeout_
            WHEN timeout IS NOT NULL AND timeout_ IS NOT NULL THEN greatest(timeout, timeout_) END,
        metadata = coalesce(metadata_, metadata), ends = ends_, exceptions = exceptions_, head = coalesce(new_, head)
    WHERE place = place_ RETURNING metadata, head INTO stored_, session_head_;
END $$

-- close_session --
-- Close an opening. If it was the last one, end the session and return true. Parameters: place, token, `now_`; ends and exceptions
-- of a session without openings. If ends is NULL, the call that opens the session was interrupted. The token, with the result 0,
-- refuses that opening if it arrives later; if it is being stored, the insertion of the token waits for its end.
CREATE FUNCTION agentmem_close_session(
    place_ bytea, token_ bigint, now_ double precision, ends_ boolean, exceptions_ text[]
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    found_ agentmem_sessions;
BEGIN
    IF ends_ IS NULL THEN
        INSERT INTO agentmem_tokens (token, result) VALUES (token_, 0) ON CONFLICT (token) DO NOTHING;
        IF FOUND THEN
            RETURN false;
        END IF;
    END IF;
    SELECT * INTO found_ FROM agentmem_sessions WHERE place = place_ AND {alive} FOR UPDATE;
    IF NOT FOUND OR (ends_ IS NULL AND token_ <> ALL (found_.openings)) THEN
        RETURN false;
    END IF;
    IF array_remove(found_.openings, token_) <> '{}' THEN
        UPDATE agentmem_sessions SET openings = array_remove(openings, token_) WHERE id = found_.id;
        RETURN false;
    END IF;
    IF found_.openings = '{}' THEN
        found_.ends := ends_;
        found_.exceptions := exceptions_;
    END IF;
    PERFORM agentmem_end_session(found_);
    RETURN true;
END $$

-- end_abandoned --
-- End sessions whose timeout is over, except those that a writer has locked, and return their number. Parameters: tenant, `now_`,
-- limit.
CREATE FUNCTION agentmem_end_abandoned(tenant_ text, now_ double precision, limit_ bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    found_ agentmem_sessions;
    ended_ bigint := 0;
BEGIN
    FOR found_ IN
        SELECT * FROM agentmem_sessions WHERE tenant = tenant_ AND check_at <= now_ AND {alive}
        FOR UPDATE SKIP LOCKED
    LOOP
        IF found_.updated_at + found_.timeout > now_ THEN
            UPDATE agentmem_sessions SET check_at = updated_at + timeout WHERE id = found_.id;
        ELSE
            EXIT WHEN ended_ = limit_;
            PERFORM agentmem_end_session(found_);
            ended_ := ended_ + 1;
        END IF;
    END LOOP;
    RETURN ended_;
END $$
