The statements of key rotation.

-- columns --
-- Return the columns with texts or bytes of all tables of a schema (NULL: the first one of the search path): table, column, type,
-- and the number of the table's blocks. Parameter: schema.
SELECT class.relname::text, own.attname::text, own.atttypid::regtype::text,
    pg_relation_size(class.oid) / current_setting('block_size')::bigint
FROM pg_class AS class JOIN pg_attribute AS own ON own.attrelid = class.oid
WHERE class.relkind = 'r' AND class.relnamespace = (
    SELECT oid FROM pg_namespace WHERE nspname = coalesce(%s::text, current_schema())
) AND own.attnum > 0 AND NOT own.attisdropped AND own.atttypid::regtype::text IN ('text', 'jsonb', 'bytea')
ORDER BY class.relname, own.attnum
