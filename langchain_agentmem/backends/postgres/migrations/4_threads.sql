All users of a thread are stored. A late clock never brings the expiry of a thread forward.

-- thread_users --
-- Create the table of all users of threads, with the time of each user's last write. `agentmem_threads.user_id` is the latest
-- user.
CREATE TABLE agentmem_thread_users (
    thread bigint NOT NULL REFERENCES agentmem_threads (id) ON DELETE CASCADE,
    user_id text NOT NULL,
    used_at double precision NOT NULL,
    PRIMARY KEY (thread, user_id)
) WITH (fillfactor = 70)

-- threads_of_user --
-- Index the threads of a user.
CREATE INDEX agentmem_threads_of_user ON agentmem_thread_users (user_id)

-- owners --
-- Add the known users of existing threads.
INSERT INTO agentmem_thread_users SELECT id, user_id, updated_at FROM agentmem_threads WHERE user_id <> ''

-- drop_threads_by_user --
-- Remove the index that `threads_of_user` replaces.
DROP INDEX agentmem_threads_by_user

-- add_users --
-- Add the users in the metadata of a thread that only LangGraph's own saver has written. Parameters: the thread's number, its
-- name.
CREATE FUNCTION agentmem_add_users(thread_ bigint, name_ text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO agentmem_thread_users
    SELECT thread_, saved.metadata ->> 'user_id', max(agentmem_stored_at(saved.type, saved.checkpoint))
    FROM checkpoints AS saved
    WHERE saved.thread_id = name_ AND octet_length(saved.metadata ->> 'user_id') BETWEEN 1 AND 1024
    GROUP BY 2;
    IF FOUND THEN
        UPDATE agentmem_threads SET user_id = (
            SELECT own.user_id FROM agentmem_thread_users AS own WHERE own.thread = thread_ ORDER BY own.used_at DESC LIMIT 1
        ) WHERE id = thread_ AND user_id = '';
    END IF;
END $$

-- use_thread --
-- Return the number of a thread, and note its use. Parameters: name, tenant, thread ID, user ID, `now_`, TTL, type and data of
-- the secret (NULL: none). A missing thread is created; an expired one is deleted and created again. A thread without secret
-- gets the given one. The result is NULL if the thread has another secret.
CREATE OR REPLACE FUNCTION agentmem_use_thread(
    name_ text, tenant_ text, thread_ text, user_ text, now_ double precision, ttl_ double precision,
    secret_type_ text, secret_ bytea
) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    found_ agentmem_threads;
BEGIN
    LOOP
        SELECT * INTO found_ FROM agentmem_threads WHERE name = name_ FOR UPDATE;
        IF FOUND AND found_.expires_at <= now_ THEN
            PERFORM agentmem_delete_thread(name_);
        ELSIF FOUND THEN
            EXIT;
        END IF;
        INSERT INTO agentmem_threads (
            name, tenant, thread_id, user_id, created_at, updated_at, ttl, expires_at, secret_type, secret, revision
        ) VALUES (
            name_, tenant_, thread_, user_, now_, now_, ttl_, now_ + ttl_, secret_type_, secret_, now_ * 1000000
        ) ON CONFLICT (name) DO NOTHING RETURNING * INTO found_;
        IF FOUND THEN
            PERFORM agentmem_add_users(found_.id, name_);
        END IF;
    END LOOP;
    IF secret_ IS NOT NULL AND found_.secret IS NULL THEN
        UPDATE agentmem_threads SET secret_type = secret_type_, secret = secret_ WHERE id = found_.id;
    ELSIF secret_ IS NOT NULL AND (found_.secret_type, found_.secret) <> (secret_type_, secret_) THEN
        RETURN NULL;
    END IF;
    UPDATE agentmem_threads SET
        user_id = CASE WHEN user_ = '' THEN user_id ELSE user_ END, updated_at = greatest(updated_at, now_),
        expires_at = CASE WHEN ttl IS NOT NULL THEN greatest(expires_at, now_ + ttl) END,
        revision = coalesce(revision + 1, now_ * 1000000)
    WHERE id = found_.id;
    IF user_ <> '' THEN
        INSERT INTO agentmem_thread_users AS own VALUES (found_.id, user_, now_)
        ON CONFLICT (thread, user_id) DO UPDATE SET used_at = greatest(own.used_at, excluded.used_at);
    END IF;
    RETURN found_.id;
END $$

-- has_secret --
-- Lock a thread, and return whether it has a secret and has not expired. Parameters: name, type and data of the secret, `now_`.
CREATE FUNCTION agentmem_has_secret(name_ text, secret_type_ text, secret_ bytea, now_ double precision)
RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM FROM agentmem_threads
    WHERE name = name_ AND secret_type = secret_type_ AND secret = secret_ AND {alive}
    FOR UPDATE;
    RETURN FOUND;
END $$

-- replace_secret --
-- Replace the secret of a thread, unless it has another one, and return true. Parameters: name, type and data of the secret, those
-- of the new one.
CREATE FUNCTION agentmem_replace_secret(
    name_ text, secret_type_ text, secret_ bytea, new_type_ text, new_ bytea
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE agentmem_threads SET secret_type = new_type_, secret = new_
    WHERE name = name_ AND secret_type = secret_type_ AND secret = secret_;
    RETURN true;
END $$

-- copy_thread --
-- Copy a thread, and return true. Return false, and copy nothing, if the target contains checkpoints or writes. Parameters: the
-- names of source and target, tenant and thread ID of the target, `now_`. A retried copy recognises the target of its first
-- attempt by `now_`, its creation time.
CREATE OR REPLACE FUNCTION agentmem_copy_thread(
    source_ text, target_ text, tenant_ text, thread_ text, now_ double precision
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
    from_ agentmem_threads;
    taken_ agentmem_threads;
    to_ bigint;
BEGIN
    SELECT * INTO from_ FROM agentmem_threads WHERE name = source_ FOR SHARE;
    IF from_.expires_at <= now_ THEN
        RETURN true;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = source_)
        AND NOT EXISTS (SELECT 1 FROM checkpoint_writes WHERE thread_id = source_) THEN
        RETURN true;
    END IF;
    SELECT * INTO taken_ FROM agentmem_threads WHERE name = target_ FOR UPDATE;
    IF taken_.created_at = now_ THEN
        RETURN true;
    END IF;
    IF {alive:taken_} AND (
        EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = target_)
        OR EXISTS (SELECT 1 FROM checkpoint_writes WHERE thread_id = target_)
    ) THEN
        RETURN false;
    END IF;
    PERFORM agentmem_delete_thread(target_);
    INSERT INTO agentmem_threads (
        name, tenant, thread_id, user_id, created_at, updated_at, ttl, expires_at, secret_type, secret
    ) VALUES (
        target_, tenant_, thread_, coalesce(from_.user_id, ''), now_, now_, from_.ttl,
        CASE WHEN from_.ttl IS NOT NULL THEN greatest(from_.expires_at, now_ + from_.ttl) END, from_.secret_type, from_.secret
    ) RETURNING id INTO to_;
    INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
    SELECT target_, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
    FROM checkpoints WHERE thread_id = source_;
    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    SELECT target_, checkpoint_ns, channel, version, type, blob FROM checkpoint_blobs WHERE thread_id = source_;
    INSERT INTO checkpoint_writes
        (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
    SELECT target_, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob
    FROM checkpoint_writes WHERE thread_id = source_;
    IF from_.id IS NULL THEN
        PERFORM agentmem_add_users(to_, target_);
    ELSE
        INSERT INTO agentmem_thread_users
        SELECT to_, user_id, used_at FROM agentmem_thread_users WHERE thread = from_.id;
        INSERT INTO agentmem_channel_values
        SELECT to_, namespace, channel, version, kind, type, data, number, base_namespace, base_channel, base_version, head,
            tail, digest
        FROM agentmem_channel_values WHERE thread = from_.id;
        INSERT INTO agentmem_elements
        SELECT to_, reference, type, data FROM agentmem_elements WHERE thread = from_.id;
    END IF;
    RETURN true;
END $$

-- set_ttl --
-- Set the TTL of a thread, which counts from its last use, and return whether the thread exists. Parameters: name, tenant,
-- thread ID, TTL, `now_`.
CREATE OR REPLACE FUNCTION agentmem_set_ttl(
    name_ text, tenant_ text, thread_ text, ttl_ double precision, now_ double precision
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM agentmem_threads WHERE name = name_ AND expires_at <= now_) THEN
        RETURN false;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM agentmem_threads WHERE name = name_) THEN
        IF NOT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = name_) THEN
            RETURN false;
        END IF;
        PERFORM agentmem_use_thread(name_, tenant_, thread_, '', now_, NULL, NULL, NULL);
    END IF;
    UPDATE agentmem_threads
    SET ttl = ttl_, expires_at = greatest(now_, updated_at, expires_at - ttl) + ttl_ WHERE name = name_;
    RETURN true;
END $$
