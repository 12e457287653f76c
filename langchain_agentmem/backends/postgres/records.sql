The statements of the record table. `fragments.sql` explains the names in braces.

-- add --
-- Add a record, unless its ID is stored already. Parameters: place (the digest of the session's key; NULL: no session), owner
-- (the digest of tenant and user), tenant, user_id, session_id, now, ttl, sliding, id, agent, status, started_at, duration,
-- created_at, record, ends_with_session.
SELECT {schema}agentmem_add_record(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %b, %s)

-- newest --
-- Return records of all users, the newest first. Parameters: those of `wanted_records`, tenant, limit.
SELECT {record} {wanted_records} AND record.tenant = %(tenant)s ORDER BY record.id DESC LIMIT %(limit)s

-- oldest --
-- Same as `newest`, the oldest first.
SELECT {record} {wanted_records} AND record.tenant = %(tenant)s ORDER BY record.id LIMIT %(limit)s

-- newest_of_user --
-- Same as `newest`, for one user. Parameters: those of `wanted_records`, owner, limit.
SELECT {record} {wanted_records} AND record.owner = %(owner)s ORDER BY record.id DESC LIMIT %(limit)s

-- oldest_of_user --
-- Same as `newest_of_user`, the oldest first.
SELECT {record} {wanted_records} AND record.owner = %(owner)s ORDER BY record.id LIMIT %(limit)s

-- newest_of_session --
-- Same as `newest`, for one session. Parameters: those of `wanted_records`, place, limit.
SELECT {record} {wanted_records} AND record.session = {living_session} ORDER BY record.id DESC LIMIT %(limit)s

-- oldest_of_session --
-- Same as `newest_of_session`, the oldest first.
SELECT {record} {wanted_records} AND record.session = {living_session} ORDER BY record.id LIMIT %(limit)s

-- count --
-- Count all records. Parameter: tenant.
SELECT count(*) FROM {schema}agentmem_records WHERE tenant = %(tenant)s

-- count_of_user --
-- Count the records of one user. Parameter: owner.
SELECT count(*) FROM {schema}agentmem_records WHERE owner = %(owner)s

-- users --
-- Return the users that have records outside of sessions, or in living ones. Parameters: tenant, now.
SELECT DISTINCT record.user_id
FROM {schema}agentmem_records AS record LEFT JOIN {schema}agentmem_sessions AS session ON session.id = record.session
WHERE record.tenant = %(tenant)s AND record.user_id <> '' AND (record.session IS NULL OR {alive:session})

-- delete --
-- Delete records. Parameters: tenant, IDs.
DELETE FROM {schema}agentmem_records WHERE tenant = %s AND id = ANY (%s::text[])

-- prune --
-- Delete the oldest records. Parameters: tenant, below (an ID; NULL: all), limit.
DELETE FROM {schema}agentmem_records WHERE ctid = ANY (ARRAY (
    SELECT ctid FROM {schema}agentmem_records
    WHERE tenant = %(tenant)s AND (%(below)s::text IS NULL OR id < %(below)s) ORDER BY id LIMIT %(limit)s FOR UPDATE
))

-- prune_of_user --
-- Same as `prune`, for one user. Parameters: owner, below, limit.
DELETE FROM {schema}agentmem_records WHERE ctid = ANY (ARRAY (
    SELECT ctid FROM {schema}agentmem_records
    WHERE owner = %(owner)s AND (%(below)s::text IS NULL OR id < %(below)s) ORDER BY id LIMIT %(limit)s FOR UPDATE
))
