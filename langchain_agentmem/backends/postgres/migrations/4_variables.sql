Variables for prompts. A variable is found by `place`, a digest of tenant, user, session and agent, and by its name.

-- variables --
-- Create the table of variables. `owner` is the digest of tenant and user, as in `agentmem_sessions`.
CREATE TABLE agentmem_variables (
    place bytea NOT NULL,
    name text NOT NULL,
    owner bytea NOT NULL,
    tenant text NOT NULL,
    user_id text NOT NULL,
    session bigint REFERENCES agentmem_sessions (id) ON DELETE CASCADE,
    agent text NOT NULL,
    value text NOT NULL,
    created_at double precision NOT NULL,
    updated_at double precision NOT NULL,
    expires_at double precision,
    PRIMARY KEY (place, name)
) WITH (fillfactor = 80)

-- variables_by_owner --
-- Index the variables outside of sessions by user.
CREATE INDEX agentmem_variables_by_owner ON agentmem_variables (owner) WHERE session IS NULL AND user_id <> ''

-- variables_by_session --
-- Index the variables of sessions.
CREATE INDEX agentmem_variables_by_session ON agentmem_variables (session) WHERE session IS NOT NULL

-- variables_by_expiry --
-- Index the variables that expire.
CREATE INDEX agentmem_variables_by_expiry ON agentmem_variables (tenant, expires_at) WHERE expires_at IS NOT NULL

-- replace_head --
-- Replace or delete the head of a scope; return false if it is not the expected one. Parameters: place, those of a head in the
-- statement `set`, now. If no head is expected and none is to be stored, the insertion waits for a transaction that stores one.
CREATE FUNCTION agentmem_replace_head(
    place_ bytea, head_ text, expected_ text, value_ text, ttl_ double precision, now_ double precision
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF value_ IS NULL AND expected_ IS NULL THEN
        INSERT INTO agentmem_variables AS known
            (place, name, owner, tenant, user_id, agent, value, created_at, updated_at, expires_at)
        VALUES (place_, head_, '', '', '', '', '', now_, now_, now_)
        ON CONFLICT (place, name) DO UPDATE SET value = '' WHERE known.expires_at <= now_;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
        DELETE FROM agentmem_variables WHERE place = place_ AND name = head_;
    ELSIF value_ IS NULL THEN
        DELETE FROM agentmem_variables WHERE place = place_ AND name = head_ AND value = expected_ AND {alive};
    ELSE
        UPDATE agentmem_variables
        SET value = value_, updated_at = greatest(updated_at, now_), expires_at = greatest(updated_at, now_) + ttl_
        WHERE place = place_ AND name = head_ AND value = expected_ AND {alive};
    END IF;
    RETURN FOUND;
END $$

-- set_variables --
-- Set variables of one scope; return false if the head is not the expected one. Parameters: those of the statement `set`. Every
-- transaction locks the session first, then the head, and then the variables by their names, so that no deadlock arises.
CREATE FUNCTION agentmem_set_variables(
    place_ bytea, session_place_ bytea, owner_ bytea, tenant_ text, user_ text, session_ text, agent_ text,
    names_ text[], values_ text[], ttls_ double precision[], now_ double precision,
    ttl_ double precision, sliding_ boolean,
    head_ text, expected_ text, value_ text, head_ttl_ double precision
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    used_ bigint;
BEGIN
    IF session_ IS NOT NULL THEN
        used_ := agentmem_use_session(session_place_, owner_, tenant_, user_, session_, now_, ttl_, sliding_);
    END IF;
    IF head_ IS NOT NULL AND expected_ IS NULL AND value_ IS NOT NULL THEN
        INSERT INTO agentmem_variables AS known
            (place, name, owner, tenant, user_id, session, agent, value, created_at, updated_at, expires_at)
        VALUES (place_, head_, owner_, tenant_, user_, used_, agent_, value_, now_, now_, now_ + head_ttl_)
        ON CONFLICT (place, name) DO UPDATE SET
            value = excluded.value, created_at = now_, updated_at = now_, expires_at = excluded.expires_at
        WHERE known.expires_at <= now_;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
    ELSIF head_ IS NOT NULL AND NOT agentmem_replace_head(place_, head_, expected_, value_, head_ttl_, now_) THEN
        RETURN false;
    END IF;
    INSERT INTO agentmem_variables AS known
        (place, name, owner, tenant, user_id, session, agent, value, created_at, updated_at, expires_at)
    SELECT place_, added.name, owner_, tenant_, user_, used_, agent_, added.value, now_, now_, now_ + added.ttl
    FROM unnest(names_, values_, ttls_) AS added (name, value, ttl) ORDER BY added.name
    ON CONFLICT (place, name) DO UPDATE SET
        value = excluded.value,
        created_at = CASE WHEN known.expires_at <= now_ THEN now_ ELSE known.created_at END,
        updated_at = greatest(known.updated_at, now_),
        expires_at = greatest(known.updated_at, now_) + (excluded.expires_at - now_);
    RETURN true;
END $$

-- read_variables --
-- Return the variables of several scopes. Parameters: those of the statement `read`.
CREATE FUNCTION agentmem_read_variables(places_ bytea[], names_ text[], now_ double precision, whole_session_ boolean)
RETURNS TABLE (
    place bytea, name text, value text, created_at double precision, updated_at double precision, expires_at double precision
) LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT variable.place, variable.name, variable.value, variable.created_at, variable.updated_at,
        least(variable.expires_at, session.expires_at)
    FROM agentmem_variables AS variable LEFT JOIN agentmem_sessions AS session ON session.id = variable.session
    WHERE variable.place = ANY (places_)
      AND (names_ IS NULL OR variable.name = ANY (names_) OR (whole_session_ AND variable.session IS NOT NULL))
      AND {alive:variable} AND {alive:session};
END $$

-- remove_variables --
-- Delete variables of one scope, and return the number of those that had not expired; NULL if the head is not the expected one.
-- Parameters: those of the statement `remove`.
CREATE FUNCTION agentmem_remove_variables(
    place_ bytea, session_place_ bytea, names_ text[], now_ double precision,
    head_ text, expected_ text, value_ text, head_ttl_ double precision
) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    session_ bigint;
    removed_ bigint;
BEGIN
    IF session_place_ IS NOT NULL THEN
        SELECT id INTO session_ FROM agentmem_sessions WHERE place = session_place_ AND {alive} FOR UPDATE;
        IF NOT FOUND THEN
            RETURN 0;
        END IF;
    END IF;
    IF head_ IS NOT NULL AND NOT agentmem_replace_head(place_, head_, expected_, value_, head_ttl_, now_) THEN
        RETURN NULL;
    END IF;
    WITH locked AS MATERIALIZED (
        SELECT name FROM agentmem_variables WHERE place = place_ AND (names_ IS NULL OR name = ANY (names_))
        ORDER BY name FOR UPDATE
    ), removed AS (
        DELETE FROM agentmem_variables AS known USING locked WHERE known.place = place_ AND known.name = locked.name
        RETURNING known.expires_at
    )
    SELECT count(*) INTO removed_ FROM removed WHERE {alive:removed};
    RETURN removed_;
END $$
