What checkpoints need beside LangGraph's tables `checkpoints`, `checkpoint_blobs` and `checkpoint_writes`.

A row of `checkpoints` whose type is 'agentmem' is a compact one: `checkpoint` holds its document (packed, and encrypted if
there is a key), `values` the versions of the channels whose values are stored apart, and a `v` that is no number, so that
LangGraph's own saver, which could not read it, says so. Rows of any other type are LangGraph's, as its saver wrote them.

-- threads --
-- `name` is what LangGraph's tables know the thread by.
CREATE TABLE agentmem_threads (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    tenant text NOT NULL,
    thread_id text NOT NULL,
    user_id text NOT NULL DEFAULT '',
    created_at double precision NOT NULL,
    updated_at double precision NOT NULL,
    ttl double precision,
    expires_at double precision,
    secret_type text,
    secret bytea
) WITH (fillfactor = 70)

-- threads_by_user --
CREATE INDEX agentmem_threads_by_user ON agentmem_threads (tenant, user_id)

-- threads_by_expiry --
CREATE INDEX agentmem_threads_by_expiry ON agentmem_threads (tenant, expires_at) WHERE expires_at IS NOT NULL

-- checkpoints_by_run --
CREATE INDEX agentmem_checkpoints_by_run ON checkpoints ((metadata ->> 'run_id')) WHERE metadata ->> 'run_id' IS NOT NULL

-- channel_values --
CREATE TABLE agentmem_channel_values (
    thread bigint NOT NULL,
    namespace text NOT NULL,
    channel text NOT NULL,
    version text NOT NULL,
    kind text NOT NULL,
    type text NOT NULL,
    data bytea NOT NULL,
    number bigint NOT NULL,
    base_namespace text,
    base_channel text,
    base_version text,
    head bigint NOT NULL,
    tail bigint NOT NULL,
    digest text NOT NULL,
    PRIMARY KEY (thread, namespace, channel, version)
)

-- elements --
CREATE TABLE agentmem_elements (
    thread bigint NOT NULL,
    reference bytea NOT NULL,
    type text NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (thread, reference)
)

-- saved --
-- Every checkpoint, whoever wrote it: which channels have a value that is stored apart, at which version; and, for rows from
-- before version 4 of LangGraph's format, the tasks that its parent has sent.
CREATE VIEW agentmem_saved AS
SELECT
    saved.thread_id, saved.checkpoint_ns, saved.checkpoint_id, saved.parent_checkpoint_id, saved.type, saved.checkpoint,
    saved.metadata,
    CASE WHEN saved.type = 'agentmem' THEN saved.checkpoint -> 'values' ELSE (
        SELECT jsonb_object_agg(version.key, version.value)
        FROM jsonb_each_text(saved.checkpoint -> 'channel_versions') AS version
        WHERE EXISTS (
            SELECT 1 FROM checkpoint_blobs AS blob
            WHERE blob.thread_id = saved.thread_id AND blob.checkpoint_ns = saved.checkpoint_ns
              AND blob.channel = version.key AND blob.version = version.value AND blob.type <> 'empty'
        )
    ) END AS stored,
    CASE WHEN saved.type = 'agentmem' OR saved.parent_checkpoint_id IS NULL THEN NULL
    WHEN (saved.checkpoint ->> 'v')::int < 4 THEN (
        SELECT jsonb_agg(jsonb_build_array(sent.type, encode(sent.blob, 'base64'))
            ORDER BY sent.task_path COLLATE "C", sent.task_id COLLATE "C", sent.idx)
        FROM checkpoint_writes AS sent
        WHERE sent.thread_id = saved.thread_id AND sent.checkpoint_ns = saved.checkpoint_ns
          AND sent.checkpoint_id = saved.parent_checkpoint_id AND sent.channel = '__pregel_tasks'
    ) END AS sends
FROM checkpoints AS saved

-- stored_at --
-- When a checkpoint was stored, in seconds since 1970; 0 when a row of another writer does not say.
CREATE FUNCTION agentmem_stored_at(type_ text, checkpoint_ jsonb) RETURNS double precision LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN type_ = 'agentmem' THEN (checkpoint_ ->> 'at')::double precision
        WHEN checkpoint_ ->> 'ts' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d'
            THEN extract(epoch FROM (checkpoint_ ->> 'ts')::timestamptz)::double precision
        ELSE 0
    END
$$

-- use_thread --
-- The number of a thread, which is made if need be, and anew if it had expired. A secret that the writer knows must be the
-- thread's, or becomes it: NULL says that the thread has another.
CREATE FUNCTION agentmem_use_thread(
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
            name, tenant, thread_id, user_id, created_at, updated_at, ttl, expires_at, secret_type, secret
        ) VALUES (name_, tenant_, thread_, user_, now_, now_, ttl_, now_ + ttl_, secret_type_, secret_)
        ON CONFLICT (name) DO NOTHING;
    END LOOP;
    IF secret_ IS NOT NULL AND found_.secret IS NULL THEN
        UPDATE agentmem_threads SET secret_type = secret_type_, secret = secret_ WHERE id = found_.id;
    ELSIF secret_ IS NOT NULL AND (found_.secret_type, found_.secret) <> (secret_type_, secret_) THEN
        RETURN NULL;
    END IF;
    UPDATE agentmem_threads SET
        user_id = CASE WHEN user_ = '' THEN user_id ELSE user_ END, updated_at = now_, expires_at = now_ + ttl
    WHERE id = found_.id;
    RETURN found_.id;
END $$

-- secret --
-- A thread's secret; the proposal becomes it when the thread has none.
CREATE FUNCTION agentmem_secret(
    name_ text, tenant_ text, thread_ text, user_ text, now_ double precision, ttl_ double precision,
    secret_type_ text, secret_ bytea
) RETURNS TABLE (type text, secret bytea) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    id_ bigint;
BEGIN
    id_ := agentmem_use_thread(name_, tenant_, thread_, user_, now_, ttl_, NULL, NULL);
    UPDATE agentmem_threads SET secret_type = secret_type_, secret = secret_
    WHERE id = id_ AND agentmem_threads.secret IS NULL;
    RETURN QUERY SELECT thread.secret_type, thread.secret FROM agentmem_threads AS thread WHERE id = id_;
END $$

-- present --
-- Whether all of these values are stored: arrays of namespace, channel, version and digest (empty: any).
CREATE FUNCTION agentmem_present(thread_ bigint, name_ text, wanted_ jsonb)
RETURNS boolean LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
BEGIN
    RETURN NOT EXISTS (
        SELECT 1 FROM jsonb_array_elements(wanted_) AS wanted
        WHERE NOT EXISTS (
            SELECT 1 FROM agentmem_channel_values AS stored
            WHERE stored.thread = thread_ AND stored.namespace = wanted ->> 0 AND stored.channel = wanted ->> 1
              AND stored.version = wanted ->> 2 AND wanted ->> 3 IN ('', stored.digest)
        ) AND NOT (wanted ->> 3 = '' AND EXISTS (
            SELECT 1 FROM checkpoint_blobs AS blob
            WHERE blob.thread_id = name_ AND blob.checkpoint_ns = wanted ->> 0 AND blob.channel = wanted ->> 1
              AND blob.version = wanted ->> 2
        ))
    );
END $$

-- add_values --
CREATE FUNCTION agentmem_add_values(
    thread_ bigint, values_ jsonb, data_ bytea[], references_ bytea[], types_ text[], elements_ bytea[]
) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO agentmem_channel_values
    SELECT thread_, added ->> 0, added ->> 1, added ->> 2, added ->> 3, added ->> 4, data_[place], (added ->> 5)::bigint,
        added ->> 6, added ->> 7, added ->> 8, (added ->> 9)::bigint, (added ->> 10)::bigint, added ->> 11
    FROM jsonb_array_elements(values_) WITH ORDINALITY AS added (added, place);
    IF cardinality(references_) > 0 THEN
        INSERT INTO agentmem_elements
        SELECT thread_, added.reference, added.type, added.data
        FROM unnest(references_, types_, elements_) AS added (reference, type, data)
        ORDER BY added.reference  -- two writers of the same elements must not wait for each other
        ON CONFLICT (thread, reference) DO NOTHING;
    END IF;
END $$

-- put --
-- Store a checkpoint; false, and nothing is stored, when it builds on something that is not there or a new value is there.
CREATE FUNCTION agentmem_put(
    name_ text, tenant_ text, thread_ text, user_ text, now_ double precision, ttl_ double precision,
    secret_type_ text, secret_ bytea,
    namespace_ text, id_ text, parent_ text, type_ text, checkpoint_ jsonb, metadata_ jsonb,
    requires_ jsonb, values_ jsonb, data_ bytea[], references_ bytea[], types_ text[], elements_ bytea[]
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    number_ bigint := agentmem_use_thread(name_, tenant_, thread_, user_, now_, ttl_, secret_type_, secret_);
BEGIN
    IF number_ IS NULL OR (requires_ <> '[]' AND NOT agentmem_present(number_, name_, requires_)) THEN
        RETURN false;
    END IF;
    IF values_ <> '[]' AND EXISTS (
        SELECT 1 FROM jsonb_array_elements(values_) AS added
        WHERE EXISTS (
            SELECT 1 FROM agentmem_channel_values AS stored
            WHERE stored.thread = number_ AND stored.namespace = added ->> 0 AND stored.channel = added ->> 1
              AND stored.version = added ->> 2
        ) OR EXISTS (
            SELECT 1 FROM checkpoint_blobs AS blob
            WHERE blob.thread_id = name_ AND blob.checkpoint_ns = added ->> 0 AND blob.channel = added ->> 1
              AND blob.version = added ->> 2
        )
    ) THEN
        RETURN false;
    END IF;
    INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
    VALUES (name_, namespace_, id_, parent_, type_, checkpoint_, metadata_)
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE SET
        parent_checkpoint_id = parent_, type = type_, checkpoint = checkpoint_, metadata = metadata_;
    IF values_ <> '[]' OR cardinality(references_) > 0 THEN
        PERFORM agentmem_add_values(number_, values_, data_, references_, types_, elements_);
    END IF;
    RETURN true;
END $$

-- put_plain --
-- Store a checkpoint as LangGraph's own saver does: its values in `checkpoint_blobs`.
CREATE FUNCTION agentmem_put_plain(
    name_ text, tenant_ text, thread_ text, user_ text, now_ double precision, ttl_ double precision,
    namespace_ text, id_ text, parent_ text, checkpoint_ jsonb, metadata_ jsonb,
    channels_ text[], versions_ text[], types_ text[], blobs_ bytea[]
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM agentmem_use_thread(name_, tenant_, thread_, user_, now_, ttl_, NULL, NULL);
    INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
    VALUES (name_, namespace_, id_, parent_, checkpoint_, metadata_)
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE SET
        parent_checkpoint_id = parent_, type = NULL, checkpoint = checkpoint_, metadata = metadata_;
    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    SELECT name_, namespace_, added.channel, added.version, added.type, added.blob
    FROM unnest(channels_, versions_, types_, blobs_) AS added (channel, version, type, blob)
    ON CONFLICT (thread_id, checkpoint_ns, channel, version) DO NOTHING;
    RETURN true;
END $$

-- put_writes --
-- Store pending writes: one with a negative index replaces what is there, another leaves it.
CREATE FUNCTION agentmem_put_writes(
    name_ text, tenant_ text, thread_ text, user_ text, now_ double precision, ttl_ double precision,
    secret_type_ text, secret_ bytea,
    namespace_ text, id_ text, task_ text, path_ text, indexes_ int[], channels_ text[], kinds_ text[], blobs_ bytea[],
    requires_ jsonb, values_ jsonb, data_ bytea[], references_ bytea[], types_ text[], elements_ bytea[]
) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    number_ bigint := agentmem_use_thread(name_, tenant_, thread_, user_, now_, ttl_, secret_type_, secret_);
BEGIN
    IF number_ IS NULL OR (requires_ <> '[]' AND NOT agentmem_present(number_, name_, requires_)) THEN
        RETURN false;
    END IF;
    INSERT INTO checkpoint_writes
        (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
    SELECT name_, namespace_, id_, task_, path_, added.idx, added.channel, added.type, added.blob
    FROM unnest(indexes_, channels_, kinds_, blobs_) AS added (idx, channel, type, blob)
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO UPDATE SET
        task_path = excluded.task_path, channel = excluded.channel, type = excluded.type, blob = excluded.blob
    WHERE excluded.idx < 0;
    IF values_ <> '[]' OR cardinality(references_) > 0 THEN
        PERFORM agentmem_add_values(number_, values_, data_, references_, types_, elements_);
    END IF;
    RETURN true;
END $$

-- parts --
-- What it takes to rebuild values: their rows and all that those are spliced from, the elements behind them and behind some
-- other runs of references, and the values that LangGraph's own saver wrote. Rows are looked up one by one on their keys:
-- a join would be planned from estimates, which are worst for the few long threads that matter.
CREATE FUNCTION agentmem_parts(thread_ bigint, name_ text, keys_ jsonb, runs_ bytea[])
RETURNS TABLE (part text, fields jsonb, type text, data bytea, reference bytea)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE needed (namespace, channel, version) AS (
        SELECT wanted ->> 0, wanted ->> 1, wanted ->> 2 FROM jsonb_array_elements(keys_) AS wanted
        UNION
        SELECT base.* FROM needed CROSS JOIN LATERAL (
            SELECT stored.base_namespace, stored.base_channel, stored.base_version
            FROM agentmem_channel_values AS stored
            WHERE stored.thread = thread_ AND stored.namespace = needed.namespace
              AND stored.channel = needed.channel AND stored.version = needed.version
            LIMIT 1
        ) AS base
        WHERE base.base_version IS NOT NULL
    ), chain AS MATERIALIZED (
        SELECT stored.* FROM needed CROSS JOIN LATERAL (
            SELECT * FROM agentmem_channel_values AS stored
            WHERE stored.thread = thread_ AND stored.namespace = needed.namespace
              AND stored.channel = needed.channel AND stored.version = needed.version
            LIMIT 1
        ) AS stored
    ), held AS MATERIALIZED (
        SELECT DISTINCT substr(run.data, place.at, 16) AS reference
        FROM (
            SELECT chain.data FROM chain WHERE chain.kind <> 'plain' UNION ALL SELECT unnest(runs_)
        ) AS run (data) CROSS JOIN LATERAL generate_series(1, length(run.data), 16) AS place (at)
    )
    SELECT 'value', jsonb_build_array(
        chain.namespace, chain.channel, chain.version, chain.kind, chain.number, chain.base_namespace, chain.base_channel,
        chain.base_version, chain.head, chain.tail, chain.digest
    ), chain.type, chain.data, NULL::bytea
    FROM chain
    UNION ALL
    SELECT 'blob', jsonb_build_array(needed.namespace, needed.channel, needed.version), blob.type, blob.blob, NULL
    FROM needed CROSS JOIN LATERAL (
        SELECT * FROM checkpoint_blobs AS blob
        WHERE blob.thread_id = name_ AND blob.checkpoint_ns = needed.namespace
          AND blob.channel = needed.channel AND blob.version = needed.version
        LIMIT 1
    ) AS blob
    UNION ALL
    SELECT 'element', NULL, element.type, element.data, held.reference
    FROM held CROSS JOIN LATERAL (
        SELECT * FROM agentmem_elements AS element
        WHERE element.thread = thread_ AND element.reference = held.reference LIMIT 1
    ) AS element;
END $$

-- writes --
-- The pending writes of checkpoints, to some channels (NULL: all).
CREATE FUNCTION agentmem_writes(name_ text, namespaces_ text[], ids_ text[], channels_ text[])
RETURNS TABLE (part text, fields jsonb, type text, data bytea, reference bytea)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'write'::text, jsonb_build_array(
        wanted.namespace, wanted.id, pending.task_id, pending.idx, pending.task_path, pending.channel
    ), pending.type, pending.blob, NULL::bytea
    FROM unnest(namespaces_, ids_) AS wanted (namespace, id) CROSS JOIN LATERAL (
        SELECT * FROM checkpoint_writes AS pending
        WHERE pending.thread_id = name_ AND pending.checkpoint_ns = wanted.namespace AND pending.checkpoint_id = wanted.id
          AND (channels_ IS NULL OR pending.channel = ANY (channels_))
        OFFSET 0
    ) AS pending;
END $$

-- parts_of --
-- Checkpoints' pending writes, and what it takes to rebuild these and some values, and the thread's secret.
CREATE FUNCTION agentmem_parts_of(
    name_ text, keys_ jsonb, namespaces_ text[], ids_ text[], channels_ text[]
) RETURNS TABLE (part text, fields jsonb, type text, data bytea, reference bytea)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    thread_ agentmem_threads;
    runs_ bytea[];
    more_ jsonb;
BEGIN
    SELECT * INTO thread_ FROM agentmem_threads WHERE name = name_;
    IF thread_.secret IS NOT NULL THEN
        RETURN QUERY SELECT 'secret'::text, NULL::jsonb, thread_.secret_type, thread_.secret, NULL::bytea;
    END IF;
    RETURN QUERY SELECT * FROM agentmem_writes(name_, namespaces_, ids_, channels_);
    IF FOUND THEN
        SELECT array_agg(pending.data) FILTER (WHERE pending.type NOT LIKE 'agentmem:value:%'),
            jsonb_agg(jsonb_build_array(pending.fields -> 0, pending.fields -> 5, substr(pending.type, 16)))
                FILTER (WHERE pending.type LIKE 'agentmem:value:%')
        INTO runs_, more_
        FROM agentmem_writes(name_, namespaces_, ids_, channels_) AS pending WHERE pending.type LIKE 'agentmem:%';
    END IF;
    RETURN QUERY SELECT * FROM agentmem_parts(thread_.id, name_, keys_ || coalesce(more_, '[]'), coalesce(runs_, '{}'));
END $$

-- get --
-- A checkpoint, or the latest of a namespace, with all that it takes to rebuild it.
CREATE FUNCTION agentmem_get(name_ text, namespace_ text, id_ text, now_ double precision)
RETURNS TABLE (part text, fields jsonb, type text, data bytea, reference bytea)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    saved_ agentmem_saved;
BEGIN
    IF EXISTS (SELECT 1 FROM agentmem_threads WHERE name = name_ AND expires_at <= now_) THEN
        RETURN;
    END IF;
    IF id_ IS NULL THEN
        SELECT * INTO saved_ FROM agentmem_saved WHERE thread_id = name_ AND checkpoint_ns = namespace_
        ORDER BY checkpoint_id DESC LIMIT 1;
    ELSE
        SELECT * INTO saved_ FROM agentmem_saved
        WHERE thread_id = name_ AND checkpoint_ns = namespace_ AND checkpoint_id = id_;
    END IF;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT 'checkpoint'::text, jsonb_build_array(
        saved_.checkpoint_ns, saved_.checkpoint_id, saved_.parent_checkpoint_id, saved_.type, saved_.checkpoint,
        saved_.metadata, saved_.stored, saved_.sends
    ), NULL::text, NULL::bytea, NULL::bytea;
    RETURN QUERY SELECT * FROM agentmem_parts_of(name_, (
        SELECT coalesce(jsonb_agg(jsonb_build_array(namespace_, stored.key, stored.value)), '[]')
        FROM jsonb_each_text(saved_.stored) AS stored
    ), ARRAY[namespace_], ARRAY[saved_.checkpoint_id], NULL);
END $$

-- ancestors --
CREATE FUNCTION agentmem_ancestors(name_ text, namespace_ text, id_ text, limit_ bigint, now_ double precision)
RETURNS SETOF agentmem_saved LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    saved_ agentmem_saved;
BEGIN
    IF EXISTS (SELECT 1 FROM agentmem_threads WHERE name = name_ AND expires_at <= now_) THEN
        RETURN;
    END IF;
    WHILE limit_ > 0 LOOP
        SELECT * INTO saved_ FROM agentmem_saved
        WHERE thread_id = name_ AND checkpoint_ns = namespace_ AND checkpoint_id = id_;
        EXIT WHEN NOT FOUND;
        RETURN NEXT saved_;
        id_ := saved_.parent_checkpoint_id;
        limit_ := limit_ - 1;
    END LOOP;
END $$

-- used --
-- The values that a thread's checkpoints and pending writes name.
CREATE FUNCTION agentmem_used(name_ text)
RETURNS TABLE (namespace text, channel text, version text) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    RETURN QUERY
    SELECT saved.checkpoint_ns, used.key, used.value
    FROM checkpoints AS saved CROSS JOIN LATERAL jsonb_each_text(
        CASE WHEN saved.type = 'agentmem' THEN saved.checkpoint -> 'values' ELSE saved.checkpoint -> 'channel_versions' END
    ) AS used
    WHERE saved.thread_id = name_
    UNION
    SELECT pending.checkpoint_ns, pending.channel, substr(pending.type, 16)
    FROM checkpoint_writes AS pending
    WHERE pending.thread_id = name_ AND pending.type LIKE 'agentmem:value:%';
END $$

-- delete --
-- Delete checkpoints with their writes, then the values that no checkpoint or write needs, then the elements that none holds.
CREATE FUNCTION agentmem_delete(name_ text, namespaces_ text[], ids_ text[])
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off SET enable_nestloop = off AS $$
DECLARE
    thread_ bigint;
BEGIN
    SELECT id INTO thread_ FROM agentmem_threads WHERE name = name_ FOR UPDATE;
    DELETE FROM checkpoints AS saved USING unnest(namespaces_, ids_) AS doomed (namespace, id)
    WHERE saved.thread_id = name_ AND saved.checkpoint_ns = doomed.namespace AND saved.checkpoint_id = doomed.id;
    DELETE FROM checkpoint_writes AS pending USING unnest(namespaces_, ids_) AS doomed (namespace, id)
    WHERE pending.thread_id = name_ AND pending.checkpoint_ns = doomed.namespace AND pending.checkpoint_id = doomed.id;
    UPDATE checkpoints AS child SET parent_checkpoint_id = NULL
    WHERE child.thread_id = name_ AND child.parent_checkpoint_id = ANY (ids_) AND NOT EXISTS (
        SELECT 1 FROM checkpoints AS parent
        WHERE parent.thread_id = name_ AND parent.checkpoint_ns = child.checkpoint_ns
          AND parent.checkpoint_id = child.parent_checkpoint_id
    );
    WITH used AS MATERIALIZED (SELECT * FROM agentmem_used(name_))
    DELETE FROM checkpoint_blobs AS blob
    WHERE blob.thread_id = name_ AND NOT EXISTS (
        SELECT 1 FROM used
        WHERE used.namespace = blob.checkpoint_ns AND used.channel = blob.channel AND used.version = blob.version
    );
    WITH RECURSIVE needed (namespace, channel, version) AS (
        SELECT * FROM agentmem_used(name_)
        UNION
        SELECT base.* FROM needed CROSS JOIN LATERAL (
            SELECT stored.base_namespace, stored.base_channel, stored.base_version
            FROM agentmem_channel_values AS stored
            WHERE stored.thread = thread_ AND stored.namespace = needed.namespace
              AND stored.channel = needed.channel AND stored.version = needed.version
            LIMIT 1
        ) AS base
        WHERE base.base_version IS NOT NULL
    )
    DELETE FROM agentmem_channel_values AS stored
    WHERE stored.thread = thread_ AND NOT EXISTS (
        SELECT 1 FROM needed
        WHERE needed.namespace = stored.namespace AND needed.channel = stored.channel AND needed.version = stored.version
    );
    WITH held AS MATERIALIZED (
        SELECT DISTINCT substr(run.data, place.at, 16) AS reference
        FROM (
            SELECT stored.data FROM agentmem_channel_values AS stored WHERE stored.thread = thread_ AND stored.kind <> 'plain'
            UNION ALL
            SELECT pending.blob FROM checkpoint_writes AS pending
            WHERE pending.thread_id = name_ AND pending.type LIKE 'agentmem:%' AND pending.type NOT LIKE 'agentmem:value:%'
        ) AS run (data) CROSS JOIN LATERAL generate_series(1, length(run.data), 16) AS place (at)
    )
    DELETE FROM agentmem_elements AS element
    WHERE element.thread = thread_ AND NOT EXISTS (SELECT 1 FROM held WHERE held.reference = element.reference);
END $$

-- delete_thread --
CREATE FUNCTION agentmem_delete_thread(name_ text)
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
    thread_ bigint;
BEGIN
    SELECT id INTO thread_ FROM agentmem_threads WHERE name = name_ FOR UPDATE;
    DELETE FROM checkpoints WHERE thread_id = name_;
    DELETE FROM checkpoint_blobs WHERE thread_id = name_;
    DELETE FROM checkpoint_writes WHERE thread_id = name_;
    IF thread_ IS NOT NULL THEN
        DELETE FROM agentmem_channel_values WHERE thread = thread_;
        DELETE FROM agentmem_elements WHERE thread = thread_;
        DELETE FROM agentmem_threads WHERE id = thread_;
    END IF;
END $$

-- copy_thread --
-- Copy a thread; false, and nothing is copied, when the target holds checkpoints or writes. A copy of the same moment, whose
-- answer was lost with the connection, is not made again.
CREATE FUNCTION agentmem_copy_thread(
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
    IF (taken_.expires_at IS NULL OR taken_.expires_at > now_) AND (
        EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = target_)
        OR EXISTS (SELECT 1 FROM checkpoint_writes WHERE thread_id = target_)
    ) THEN
        RETURN false;
    END IF;
    PERFORM agentmem_delete_thread(target_);
    INSERT INTO agentmem_threads (
        name, tenant, thread_id, user_id, created_at, updated_at, ttl, expires_at, secret_type, secret
    ) VALUES (
        target_, tenant_, thread_, coalesce(from_.user_id, ''), now_, now_, from_.ttl, now_ + from_.ttl, from_.secret_type,
        from_.secret
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
    IF from_.id IS NOT NULL THEN
        INSERT INTO agentmem_channel_values
        SELECT to_, namespace, channel, version, kind, type, data, number, base_namespace, base_channel, base_version, head,
            tail, digest
        FROM agentmem_channel_values WHERE thread = from_.id;
        INSERT INTO agentmem_elements
        SELECT to_, reference, type, data FROM agentmem_elements WHERE thread = from_.id;
    END IF;
    RETURN true;
END $$

-- sweep_threads --
-- Delete expired threads, but for those that a writer is using.
CREATE FUNCTION agentmem_sweep_threads(tenant_ text, now_ double precision, limit_ bigint)
RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    name_ text;
    deleted_ bigint := 0;
BEGIN
    FOR name_ IN
        SELECT name FROM agentmem_threads WHERE tenant = tenant_ AND expires_at <= now_
        LIMIT limit_ FOR UPDATE SKIP LOCKED
    LOOP
        PERFORM agentmem_delete_thread(name_);
        deleted_ := deleted_ + 1;
    END LOOP;
    RETURN deleted_;
END $$

-- set_ttl --
-- Set after how long without use a thread expires; false when there is no such thread.
CREATE FUNCTION agentmem_set_ttl(
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
    UPDATE agentmem_threads SET ttl = ttl_, expires_at = now_ + ttl_ WHERE name = name_;
    RETURN true;
END $$
