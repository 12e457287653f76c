The statements of the variable table. `fragments.sql` explains the names in braces.

-- set --
-- Set variables of one scope. Parameters: place (the digest of the scope), place of the session (NULL: none), owner, tenant,
-- user_id, session_id (NULL: none), agent; names, values, TTLs in seconds; now, TTL of the session, sliding; those of a head (NULL:
-- none): its name, expected value (NULL: there is none), new value (NULL: delete it), TTL in seconds.
SELECT {schema}agentmem_set_variables(
    %s, %s, %s, %s, %s, %s, %s, %b::text[], %b::text[], %s::double precision[], %s, %s, %s, %s, %s, %s, %s
)

-- read --
-- Return the variables of several scopes. Parameters: places, names (NULL: all), now, whole_session (the names do not select those
-- of the session).
SELECT * FROM {schema}agentmem_read_variables(%(places)s::bytea[], %(names)s::text[], %(now)s, %(whole_session)s)

-- remove --
-- Delete variables of one scope, and return the number of those that had not expired. Parameters: place, place of the session
-- (NULL: none), names (NULL: all), now, those of a head as for `set`.
SELECT {schema}agentmem_remove_variables(%s, %s, %b::text[], %s, %s, %s, %s, %s)

-- forget --
-- Delete the variables of a user outside of sessions. Parameter: owner.
WITH locked AS MATERIALIZED (
    SELECT place, name FROM {schema}agentmem_variables WHERE owner = %s AND session IS NULL AND user_id <> ''
    ORDER BY place, name FOR UPDATE
)
DELETE FROM {schema}agentmem_variables AS variable USING locked
WHERE variable.place = locked.place AND variable.name = locked.name

-- users --
-- Return the users that have variables outside of sessions. Parameters: tenant, now.
SELECT DISTINCT user_id FROM {schema}agentmem_variables
WHERE tenant = %(tenant)s AND session IS NULL AND user_id <> '' AND {alive}

-- sweep --
-- Delete expired variables, except those that a writer has locked. Parameters: tenant, now, limit.
WITH expired AS MATERIALIZED (
    SELECT place, name FROM {schema}agentmem_variables WHERE tenant = %s AND expires_at <= %s
    LIMIT %s FOR UPDATE SKIP LOCKED
)
DELETE FROM {schema}agentmem_variables AS variable USING expired
WHERE variable.place = expired.place AND variable.name = expired.name
