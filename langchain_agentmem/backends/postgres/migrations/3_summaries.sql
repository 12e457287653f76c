The running summaries of sessions' messages.

-- summaries --
CREATE TABLE agentmem_summaries (
    session bigint NOT NULL REFERENCES agentmem_sessions (id) ON DELETE CASCADE,
    agent text NOT NULL,
    value text NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (session, agent)
)

-- restart --
-- An expired session that is used again is a new one.
CREATE FUNCTION agentmem_restart_summaries() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM agentmem_summaries WHERE session = OLD.id;
    RETURN NULL;
END $$

-- restart_trigger --
CREATE TRIGGER agentmem_restart_summaries AFTER UPDATE ON agentmem_sessions FOR EACH ROW
WHEN (OLD.created_at IS DISTINCT FROM NEW.created_at) EXECUTE FUNCTION agentmem_restart_summaries()

-- swap_summary --
-- Write a summary if its revision is still the expected one (NULL: if there is none). A write that is there already, since the
-- connection was lost before its answer came, is not made again.
CREATE FUNCTION agentmem_swap_summary(
    place_ bytea, agent_ text, value_ text, revision_ bigint, expected_ bigint, now_ double precision
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    session_ bigint;
    current_ bigint;
BEGIN
    SELECT id INTO session_ FROM agentmem_sessions WHERE place = place_ AND (expires_at IS NULL OR expires_at > now_)
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT revision INTO current_ FROM agentmem_summaries WHERE session = session_ AND agent = agent_;
    IF current_ = revision_ THEN
        RETURN true;
    END IF;
    IF current_ IS DISTINCT FROM expected_ THEN
        RETURN false;
    END IF;
    INSERT INTO agentmem_summaries VALUES (session_, agent_, value_, revision_)
    ON CONFLICT (session, agent) DO UPDATE SET value = excluded.value, revision = excluded.revision;
    RETURN true;
END $$

-- forget_messages --
-- Delete messages of a session (of one agent, or all; or those that end with it), and empty its summaries; returns how many.
CREATE FUNCTION agentmem_forget_messages(place_ bytea, agent_ text, ending_ boolean) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    session_ bigint;
    removed_ bigint;
BEGIN
    SELECT id INTO session_ FROM agentmem_sessions WHERE place = place_ FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    DELETE FROM agentmem_messages
    WHERE session = session_ AND (agent_ IS NULL OR agent = agent_) AND (ends_with_session OR NOT ending_);
    GET DIAGNOSTICS removed_ = ROW_COUNT;
    UPDATE agentmem_sessions SET message_count = message_count - removed_ WHERE id = session_;
    IF ending_ AND removed_ = 0 THEN
        RETURN 0;
    END IF;
    INSERT INTO agentmem_summaries (session, agent, value, revision)
    SELECT session_, every.agent, '', (random() * 9e15)::bigint
    FROM (
        SELECT '' AS agent UNION SELECT coalesce(agent_, '')
        UNION SELECT known.agent FROM agentmem_summaries AS known WHERE known.session = session_
    ) AS every
    ON CONFLICT (session, agent) DO UPDATE SET value = excluded.value, revision = excluded.revision;
    RETURN removed_;
END $$
