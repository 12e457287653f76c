The message log. Times are seconds since 1970 in UTC; user_id is '' for no user, since ids are never empty.
A session is found by `place`, a digest of tenant, user and session (three ids of 1 kB are too long for an index), and the
sessions of a user by `owner`, a digest of tenant and user.

-- sessions --
CREATE TABLE agentmem_sessions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    place bytea NOT NULL UNIQUE,
    owner bytea NOT NULL,
    tenant text NOT NULL,
    user_id text NOT NULL,
    session_id text NOT NULL,
    title bytea,
    message_count bigint NOT NULL DEFAULT 0,
    next_position bigint NOT NULL DEFAULT 0,
    created_at double precision NOT NULL,
    updated_at double precision NOT NULL,
    expires_at double precision
) WITH (fillfactor = 80)

-- sessions_by_owner --
-- Not by age as well: a row that is updated in no indexed column is updated in place.
CREATE INDEX agentmem_sessions_by_owner ON agentmem_sessions (owner)

-- sessions_by_expiry --
CREATE INDEX agentmem_sessions_by_expiry ON agentmem_sessions (tenant, expires_at) WHERE expires_at IS NOT NULL

-- messages --
CREATE TABLE agentmem_messages (
    session bigint NOT NULL,
    position bigint NOT NULL,
    role text NOT NULL,
    agent text,
    ends_with_session boolean NOT NULL,
    created_at double precision NOT NULL,
    metadata text,
    type text NOT NULL,
    body bytea NOT NULL,
    token bigint NOT NULL,
    PRIMARY KEY (session, position)
)

-- messages_by_agent --
CREATE INDEX agentmem_messages_by_agent ON agentmem_messages (session, agent, position) WHERE agent IS NOT NULL

-- system_messages --
CREATE INDEX agentmem_system_messages ON agentmem_messages (session, position) WHERE role = 'system'

-- append --
-- Add messages to a session; returns the position of the first. An addition that is there already, since the connection
-- was lost before its answer came, is not made again.
CREATE FUNCTION agentmem_append(
    place_ bytea, owner_ bytea, tenant_ text, user_ text, session_ text, title_ bytea, now_ double precision,
    agent_ text, keep_ bigint, ttl_ double precision, sliding_ boolean, token_ bigint,
    roles_ text[], agents_ text[], ends_ boolean[], times_ double precision[], metadata_ text[], types_ text[], bodies_ bytea[]
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
        session, position, role, agent, ends_with_session, created_at, metadata, type, body, token
    )
    SELECT found_.id, first_ + place - 1, role, agent, ends_with_session, created_at, metadata, type, body, token_
    FROM unnest(roles_, agents_, ends_, times_, metadata_, types_, bodies_) WITH ORDINALITY
        AS added (role, agent, ends_with_session, created_at, metadata, type, body, place);
    IF keep_ IS NOT NULL THEN
        PERFORM agentmem_trim(found_.id, agent_, keep_, first_ + added_);
    END IF;
    RETURN first_;
END $$

-- trim --
-- Delete all but an agent's newest messages; the newest system message is spared, and counts among them.
CREATE FUNCTION agentmem_trim(session_ bigint, agent_ text, keep_ bigint, end_ bigint)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    oldest_ bigint;
    system_ bigint;
    trimmed_ bigint;
BEGIN
    SELECT position INTO oldest_ FROM agentmem_messages
    WHERE session = session_ AND agent IS NOT DISTINCT FROM agent_ ORDER BY position DESC LIMIT 1 OFFSET keep_ - 1;
    IF oldest_ IS NULL THEN
        RETURN;
    END IF;
    SELECT max(position) INTO system_ FROM agentmem_messages
    WHERE session = session_ AND agent IS NOT DISTINCT FROM agent_ AND role = 'system';
    IF system_ < oldest_ THEN
        oldest_ := end_;
        IF keep_ > 1 THEN
            SELECT position INTO oldest_ FROM agentmem_messages
            WHERE session = session_ AND agent IS NOT DISTINCT FROM agent_ ORDER BY position DESC LIMIT 1 OFFSET keep_ - 2;
        END IF;
    END IF;
    DELETE FROM agentmem_messages
    WHERE session = session_ AND agent IS NOT DISTINCT FROM agent_
      AND position < oldest_ AND position IS DISTINCT FROM system_;
    GET DIAGNOSTICS trimmed_ = ROW_COUNT;
    UPDATE agentmem_sessions SET message_count = message_count - trimmed_ WHERE id = session_;
END $$

-- window --
-- The newest messages of a session (of one agent, or all), and the newest system message if it lies before them.
CREATE FUNCTION agentmem_window(place_ bytea, agent_ text, limit_ bigint, now_ double precision)
RETURNS TABLE (
    "position" bigint, role text, agent text, ends_with_session boolean, created_at double precision, metadata text,
    type text, body bytea
) LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    session_ bigint;
    oldest_ bigint;
BEGIN
    SELECT id INTO session_ FROM agentmem_sessions WHERE place = place_ AND (expires_at IS NULL OR expires_at > now_);
    IF session_ IS NULL THEN
        RETURN;
    END IF;
    IF agent_ IS NULL THEN
        RETURN QUERY SELECT m.position, m.role, m.agent, m.ends_with_session, m.created_at, m.metadata, m.type, m.body
        FROM agentmem_messages AS m WHERE m.session = session_ ORDER BY m.position DESC LIMIT limit_;
    ELSE
        RETURN QUERY SELECT m.position, m.role, m.agent, m.ends_with_session, m.created_at, m.metadata, m.type, m.body
        FROM agentmem_messages AS m WHERE m.session = session_ AND m.agent = agent_ ORDER BY m.position DESC LIMIT limit_;
    END IF;
    IF limit_ IS NULL OR NOT FOUND THEN
        RETURN;
    END IF;
    IF agent_ IS NULL THEN
        SELECT m.position INTO oldest_ FROM agentmem_messages AS m WHERE m.session = session_
        ORDER BY m.position DESC LIMIT 1 OFFSET limit_ - 1;
    ELSE
        SELECT m.position INTO oldest_ FROM agentmem_messages AS m WHERE m.session = session_ AND m.agent = agent_
        ORDER BY m.position DESC LIMIT 1 OFFSET limit_ - 1;
    END IF;
    RETURN QUERY SELECT m.position, m.role, m.agent, m.ends_with_session, m.created_at, m.metadata, m.type, m.body
    FROM agentmem_messages AS m
    WHERE m.session = session_ AND m.role = 'system' AND (agent_ IS NULL OR m.agent = agent_)
      AND m.position = (
          SELECT s.position FROM agentmem_messages AS s
          WHERE s.session = session_ AND s.role = 'system' AND (agent_ IS NULL OR s.agent = agent_)
          ORDER BY s.position DESC LIMIT 1
      )
      AND m.position < oldest_;
END $$

-- delete_session --
-- Delete a session with its messages, also those of an addition that was being made; returns whether there was one.
CREATE FUNCTION agentmem_delete_session(place_ bytea)
RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    session_ bigint;
BEGIN
    SELECT id INTO session_ FROM agentmem_sessions WHERE place = place_ FOR UPDATE;
    DELETE FROM agentmem_messages WHERE session = session_;
    DELETE FROM agentmem_sessions WHERE id = session_;
    RETURN session_ IS NOT NULL;
END $$
