A late clock never brings the expiry of an item forward.

-- put_items --
-- Store items. Parameters: the columns, `now_`; the numbers of the items that the texts belong to (`readers_`, from 1), the
-- texts in the format of `tsvector`; the numbers of the items that the vectors belong to (`owners_`), the names of their fields, all vectors in one array.
-- An existing item keeps its creation time, unless it has expired. Its TTL counts at least from its last use, so a late clock
-- never brings the expiry forward, but a shorter TTL does.
CREATE OR REPLACE FUNCTION agentmem_put_items(
    prefixes_ text[], keys_ text[], values_ text[], ttls_ double precision[], now_ double precision,
    readers_ int[], texts_ text[], owners_ int[], fields_ text[], vectors_ real[]
) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    at_ timestamptz := to_timestamp(now_);
    size_ int;
BEGIN
    PERFORM set_config('agentmem.writing', 'on', true);
    INSERT INTO store (prefix, key, value, created_at, updated_at, expires_at, ttl_minutes)
    SELECT added.prefix, added.key, added.value::jsonb, at_, at_, to_timestamp(now_ + added.ttl), ceil(added.ttl / 60)::int
    FROM unnest(prefixes_, keys_, values_, ttls_) AS added (prefix, key, value, ttl)
    ORDER BY added.prefix, added.key
    ON CONFLICT (prefix, key) DO UPDATE SET
        value = excluded.value,
        created_at = CASE WHEN store.expires_at <= at_ THEN at_ ELSE store.created_at END,
        updated_at = at_, ttl_minutes = excluded.ttl_minutes,
        expires_at = CASE WHEN excluded.expires_at IS NOT NULL THEN excluded.expires_at + greatest(
            '0', store.updated_at - at_, store.expires_at - at_ - coalesce(
                (SELECT own.ttl FROM agentmem_item_ttls AS own WHERE own.prefix = store.prefix AND own.key = store.key),
                store.ttl_minutes * 60.0
            ) * interval '1 second'
        ) END;
    PERFORM agentmem_add_texts(prefixes_, keys_, readers_, texts_);
    DELETE FROM agentmem_item_ttls WHERE ctid = ANY (ARRAY(
        SELECT old.ctid FROM unnest(prefixes_, keys_) AS added (prefix, key) CROSS JOIN LATERAL (
            SELECT ctid FROM agentmem_item_ttls AS stored
            WHERE stored.prefix = added.prefix AND stored.key = added.key OFFSET 0
        ) AS old
    ));
    INSERT INTO agentmem_item_ttls
    SELECT added.prefix, added.key, added.ttl FROM unnest(prefixes_, keys_, ttls_) AS added (prefix, key, ttl)
    WHERE added.ttl IS NOT NULL;
    IF to_regclass(quote_ident(current_schema()) || '.store_vectors') IS NOT NULL THEN
        DELETE FROM store_vectors WHERE ctid = ANY (ARRAY(
            SELECT old.ctid FROM unnest(prefixes_, keys_) AS added (prefix, key) CROSS JOIN LATERAL (
                SELECT ctid FROM store_vectors AS stored
                WHERE stored.prefix = added.prefix AND stored.key = added.key OFFSET 0
            ) AS old
        ));
        size_ := cardinality(vectors_) / greatest(1, cardinality(owners_));
        INSERT INTO store_vectors (prefix, key, field_name, embedding, created_at, updated_at)
        SELECT prefixes_[added.owner], keys_[added.owner], added.field,
            vectors_[(added.place - 1) * size_ + 1 : added.place * size_]::vector, at_, at_
        FROM unnest(owners_, fields_) WITH ORDINALITY AS added (owner, field, place);
    END IF;
    PERFORM set_config('agentmem.writing', '', true);
END $$
