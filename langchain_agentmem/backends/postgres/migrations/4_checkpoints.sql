A reader names the values that it has, and their elements are not read again. Functions read rows one by one on their keys: a join
would be planned from estimates, which are worst for the few long threads that matter.

-- revision --
-- Count the writes to a thread.
ALTER TABLE agentmem_threads ADD COLUMN revision bigint

-- drop_get --
-- Remove the function that `get` replaces.
DROP FUNCTION agentmem_get(text, text, text, double precision)

-- drop_parts_of --
-- Remove the function that `parts_of` replaces.
DROP FUNCTION agentmem_parts_of(text, jsonb, text[], text[], text[])

-- drop_writes --
-- Remove a function that `parts_of` contains now.
DROP FUNCTION agentmem_writes(text, text[], text[], text[])

-- drop_parts --
-- Remove the function that `parts` replaces.
DROP FUNCTION agentmem_parts(bigint, text, jsonb, bytea[])

-- parts --
-- Return the rows of values and of all values that they are spliced from, the elements of these and of some runs of references, and
-- the values of `PostgresSaver`. Parameters: the number and the name of the thread, keys of values (a JSON list), runs of
-- references, values that the caller has (JSON lists of namespace, channel, version and digest), whose bases and elements are
-- omitted. A row `elements` holds many small elements: their types and lengths, all their data, and all their references.
CREATE FUNCTION agentmem_parts(thread_ bigint, name_ text, keys_ jsonb, runs_ bytea[], known_ text[])
RETURNS TABLE (part text, fields jsonb, type text, data bytea, reference bytea)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    key_ record;
    found_ agentmem_channel_values;
    depth_ int;
BEGIN
    FOR key_ IN
        SELECT wanted ->> 0 AS namespace, wanted ->> 1 AS channel, wanted ->> 2 AS version
        FROM jsonb_array_elements(keys_) AS wanted
    LOOP
        SELECT * INTO found_ FROM agentmem_channel_values AS stored
        WHERE stored.thread = thread_ AND stored.namespace = key_.namespace AND stored.channel = key_.channel
          AND stored.version = key_.version;
        IF NOT FOUND THEN
            RETURN QUERY SELECT 'blob'::text, jsonb_build_array(key_.namespace, key_.channel, key_.version), blob.type,
                blob.blob, NULL::bytea
            FROM checkpoint_blobs AS blob
            WHERE blob.thread_id = name_ AND blob.checkpoint_ns = key_.namespace AND blob.channel = key_.channel
              AND blob.version = key_.version;
            CONTINUE;
        END IF;
        depth_ := 64;  -- a version of a channel is read from at most one row for each bit of its number
        WHILE FOUND AND depth_ > 0 LOOP
            RETURN QUERY SELECT 'value'::text, jsonb_build_array(
                found_.namespace, found_.channel, found_.version, found_.kind, found_.number, found_.base_namespace,
                found_.base_channel, found_.base_version, found_.head, found_.tail, found_.digest
            ), found_.type, found_.data, NULL::bytea;
            EXIT WHEN found_.kind = 'plain' OR jsonb_build_array(
                found_.namespace, found_.channel, found_.version, found_.digest
            )::text = ANY (known_);
            runs_ := runs_ || found_.data;
            EXIT WHEN found_.base_version IS NULL;
            SELECT * INTO found_ FROM agentmem_channel_values AS stored
            WHERE stored.thread = thread_ AND stored.namespace = found_.base_namespace
              AND stored.channel = found_.base_channel AND stored.version = found_.base_version;
            depth_ := depth_ - 1;
        END LOOP;
    END LOOP;
    IF cardinality(runs_) > 0 THEN
        RETURN QUERY WITH found AS MATERIALIZED (
            SELECT held.reference, element.type, element.data, length(element.data) <= 65536 AS is_small,
                row_number() OVER () / 4096 AS part
            FROM (
                SELECT DISTINCT substr(run.data, place.at, 16) AS reference
                FROM unnest(runs_) AS run (data) CROSS JOIN LATERAL generate_series(1, length(run.data), 16) AS place (at)
            ) AS held CROSS JOIN LATERAL (
                SELECT * FROM agentmem_elements AS element
                WHERE element.thread = thread_ AND element.reference = held.reference LIMIT 1
            ) AS element
        )
        SELECT 'elements'::text, jsonb_build_array(jsonb_agg(found.type), jsonb_agg(length(found.data))), NULL::text,
            string_agg(found.data, ''::bytea), string_agg(found.reference, ''::bytea)
        FROM found WHERE found.is_small GROUP BY found.part
        UNION ALL
        SELECT 'element', NULL, found.type, found.data, found.reference FROM found WHERE NOT found.is_small;
    END IF;
END $$

-- parts_of --
-- Return the pending writes of checkpoints, the rows that rebuild these and some values, and the secret of the thread. Parameters: the
-- name of the thread, keys of values, namespaces and IDs of checkpoints, channels of writes (NULL: all), values that the caller has.
CREATE FUNCTION agentmem_parts_of(
    name_ text, keys_ jsonb, namespaces_ text[], ids_ text[], channels_ text[], known_ text[]
) RETURNS TABLE (part text, fields jsonb, type text, data bytea, reference bytea)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    thread_ agentmem_threads;
    pending_ checkpoint_writes;
    runs_ bytea[] := '{}';
BEGIN
    SELECT * INTO thread_ FROM agentmem_threads WHERE name = name_;
    IF thread_.secret IS NOT NULL THEN
        RETURN QUERY SELECT 'secret'::text, NULL::jsonb, thread_.secret_type, thread_.secret, NULL::bytea;
    END IF;
    FOR pending_ IN
        SELECT pending.* FROM unnest(namespaces_, ids_) AS wanted (namespace, id) CROSS JOIN LATERAL (
            SELECT * FROM checkpoint_writes AS pending
            WHERE pending.thread_id = name_ AND pending.checkpoint_ns = wanted.namespace
              AND pending.checkpoint_id = wanted.id AND (channels_ IS NULL OR pending.channel = ANY (channels_))
            OFFSET 0
        ) AS pending
    LOOP
        part := 'write';
        fields := jsonb_build_array(
            pending_.checkpoint_ns, pending_.checkpoint_id, pending_.task_id, pending_.idx, pending_.task_path,
            pending_.channel
        );
        type := pending_.type;
        data := pending_.blob;
        RETURN NEXT;
        IF pending_.type LIKE 'agentmem:value:%' THEN
            keys_ := keys_ || jsonb_build_array(jsonb_build_array(
                pending_.checkpoint_ns, pending_.channel, substr(pending_.type, 16)
            ));
        ELSIF pending_.type LIKE 'agentmem:%' THEN
            runs_ := runs_ || pending_.blob;
        END IF;
    END LOOP;
    RETURN QUERY SELECT * FROM agentmem_parts(thread_.id, name_, keys_, runs_, known_);
END $$

-- get --
-- Return a checkpoint, and the rows that rebuild it. Parameters: the name of the thread, namespace, checkpoint ID (NULL: the latest),
-- `now_`, values that the caller has.
CREATE FUNCTION agentmem_get(name_ text, namespace_ text, id_ text, now_ double precision, known_ text[])
RETURNS TABLE (part text, fields jsonb, type text, data bytea, reference bytea)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    saved_ agentmem_saved;
    thread_ agentmem_threads;
BEGIN
    SELECT * INTO thread_ FROM agentmem_threads WHERE name = name_;
    IF thread_.expires_at <= now_ THEN
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
        saved_.metadata, saved_.stored, saved_.sends, thread_.revision
    ), NULL::text, NULL::bytea, NULL::bytea;
    RETURN QUERY SELECT * FROM agentmem_parts_of(name_, (
        SELECT coalesce(jsonb_agg(jsonb_build_array(namespace_, stored.key, stored.value)), '[]')
        FROM jsonb_each_text(saved_.stored) AS stored
    ), ARRAY[namespace_], ARRAY[saved_.checkpoint_id], NULL, known_);
END $$

-- ancestors --
-- Return a checkpoint, its parent, and so on. Parameters: the name of the thread, namespace, checkpoint ID, the maximum number of
-- checkpoints, `now_`.
CREATE OR REPLACE FUNCTION agentmem_ancestors(
    name_ text, namespace_ text, id_ text, limit_ bigint, now_ double precision
) RETURNS SETOF agentmem_saved LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM agentmem_threads WHERE name = name_ AND expires_at <= now_) THEN
        RETURN;
    END IF;
    RETURN QUERY WITH RECURSIVE line (id, generation) AS (
        SELECT id_, 1
        UNION ALL
        SELECT parent.id, line.generation + 1 FROM line CROSS JOIN LATERAL (
            SELECT saved.parent_checkpoint_id AS id FROM checkpoints AS saved
            WHERE saved.thread_id = name_ AND saved.checkpoint_ns = namespace_ AND saved.checkpoint_id = line.id
            LIMIT 1
        ) AS parent
        WHERE parent.id IS NOT NULL AND line.generation < limit_
    )
    SELECT found.* FROM line CROSS JOIN LATERAL (
        SELECT * FROM agentmem_saved AS saved
        WHERE saved.thread_id = name_ AND saved.checkpoint_ns = namespace_ AND saved.checkpoint_id = line.id
        LIMIT 1
    ) AS found
    WHERE limit_ > 0 ORDER BY line.generation;
END $$
