The records of agents. A record belongs to a session or to none, and a record of a session is deleted with it.

-- records --
-- Create the table. `owner` is the digest of tenant and user; `user_id` is '' for no user. The ID begins with the time.
CREATE TABLE agentmem_records (
    tenant text NOT NULL,
    id text COLLATE "C" NOT NULL,
    owner bytea NOT NULL,
    user_id text NOT NULL,
    session bigint REFERENCES agentmem_sessions (id) ON DELETE CASCADE,
    agent text NOT NULL,
    status text NOT NULL,
    started_at double precision,
    duration double precision,
    created_at double precision NOT NULL,
    record text NOT NULL,
    ends_with_session boolean NOT NULL,
    PRIMARY KEY (tenant, id)
)

-- records_by_owner --
-- Index the records of a user.
CREATE INDEX agentmem_records_by_owner ON agentmem_records (owner, id)

-- records_by_session --
-- Index the records of a session.
CREATE INDEX agentmem_records_by_session ON agentmem_records (session, id) WHERE session IS NOT NULL

-- use_session --
-- Note the use of a session, and return its ID. A session that does not exist or has expired is created. Parameters: place,
-- owner, tenant, user_id, session_id, `now_`, TTL (NULL: leave the expiry unchanged), whether the TTL is sliding.
CREATE FUNCTION agentmem_use_session(
    place_ bytea, owner_ bytea, tenant_ text, user_ text, session_ text, now_ double precision, ttl_ double precision,
    sliding_ boolean
) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    found_ agentmem_sessions;
BEGIN
    LOOP
        SELECT * INTO found_ FROM agentmem_sessions WHERE place = place_ FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO agentmem_sessions (place, owner, tenant, user_id, session_id, created_at, updated_at)
        VALUES (place_, owner_, tenant_, user_, session_, now_, now_) ON CONFLICT (place) DO NOTHING;
    END LOOP;
    IF found_.expires_at <= now_ THEN
        DELETE FROM agentmem_messages WHERE session = found_.id;
        UPDATE agentmem_sessions SET
            title = NULL, title_position = NULL, message_count = 0, next_position = 0, created_at = now_, updated_at = now_,
            expires_at = now_ + ttl_
        WHERE id = found_.id;
        RETURN found_.id;
    END IF;
    UPDATE agentmem_sessions SET
        updated_at = greatest(updated_at, now_),
        expires_at = CASE
            WHEN ttl_ IS NULL OR (expires_at IS NOT NULL AND NOT sliding_) THEN expires_at
            ELSE greatest(updated_at, now_) + ttl_ END
    WHERE id = found_.id;
    RETURN found_.id;
END $$

-- add_record --
-- Add a record, unless its ID is stored already. Parameters: those of `use_session` (`place_` is NULL for no session), the columns.
CREATE FUNCTION agentmem_add_record(
    place_ bytea, owner_ bytea, tenant_ text, user_ text, session_ text, now_ double precision, ttl_ double precision,
    sliding_ boolean, id_ text, agent_ text, status_ text, started_ double precision, duration_ double precision,
    created_ double precision, record_ text, ends_ boolean
) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    used_ bigint;
BEGIN
    IF place_ IS NOT NULL THEN
        used_ := agentmem_use_session(place_, owner_, tenant_, user_, session_, now_, ttl_, sliding_);
    END IF;
    INSERT INTO agentmem_records VALUES (
        tenant_, id_, owner_, user_, used_, agent_, status_, started_, duration_, created_, record_, ends_
    ) ON CONFLICT (tenant, id) DO NOTHING;
END $$
