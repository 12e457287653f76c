The statements of the record table.

-- add --
-- Add a record, unless its ID is stored already. Parameters: the columns.
INSERT INTO agentmem_records
    (id, tenant, user_id, session, agent, status, started_at, duration, created_at, record, ends_with_session)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, id) DO NOTHING

-- newest --
-- Return records of all users, the newest first. Parameters: those of `wanted_records`, limit.
SELECT {record} FROM agentmem_records AS record {wanted_records} ORDER BY record.id DESC LIMIT :limit

-- oldest --
-- Same as `newest`, the oldest first.
SELECT {record} FROM agentmem_records AS record {wanted_records} ORDER BY record.id LIMIT :limit

-- newest_of_user --
-- Same as `newest`, for one user. Parameters: those of `newest`, user_id.
SELECT {record} FROM agentmem_records AS record INDEXED BY agentmem_records_by_user {wanted_records}
  AND record.user_id = :user_id ORDER BY record.id DESC LIMIT :limit

-- oldest_of_user --
-- Same as `newest_of_user`, the oldest first.
SELECT {record} FROM agentmem_records AS record INDEXED BY agentmem_records_by_user {wanted_records}
  AND record.user_id = :user_id ORDER BY record.id LIMIT :limit

-- newest_of_session --
-- Same as `newest`, for one session. Parameters: those of `newest`, user_id, session_id.
SELECT {record} FROM agentmem_records AS record {wanted_records} AND record.session = {living_session} ORDER BY record.id DESC LIMIT :limit

-- oldest_of_session --
-- Same as `newest_of_session`, the oldest first.
SELECT {record} FROM agentmem_records AS record {wanted_records} AND record.session = {living_session} ORDER BY record.id LIMIT :limit

-- count --
-- Count all records. Parameter: tenant.
SELECT count(*) FROM agentmem_records WHERE tenant = :tenant

-- count_of_user --
-- Count the records of one user. Parameters: tenant, user_id.
SELECT count(*) FROM agentmem_records WHERE tenant = :tenant AND user_id = :user_id

-- users --
-- Return the users that have records outside of sessions, or in living ones. Parameters: tenant, now.
SELECT DISTINCT record.user_id
FROM agentmem_records AS record LEFT JOIN agentmem_sessions AS session ON session.id = record.session
WHERE record.tenant = :tenant AND record.user_id <> '' AND {alive:session}

-- delete --
-- Delete a record. Parameters: tenant, ID.
DELETE FROM agentmem_records WHERE tenant = ? AND id = ?

-- prune --
-- Delete the oldest records. Parameters: tenant, below (an ID; NULL: all), limit.
DELETE FROM agentmem_records WHERE rowid IN (
    SELECT rowid FROM agentmem_records WHERE tenant = :tenant AND id < coalesce(:below, 'g') ORDER BY id LIMIT :limit
)

-- prune_of_user --
-- Same as `prune`, for one user. Parameters: those of `prune`, user_id.
DELETE FROM agentmem_records WHERE rowid IN (
    SELECT rowid FROM agentmem_records WHERE tenant = :tenant AND user_id = :user_id AND id < coalesce(:below, 'g')
    ORDER BY id LIMIT :limit
)
