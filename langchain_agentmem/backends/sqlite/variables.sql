The statements of the variable table.

-- stored --
-- Count the variables of a scope with some names. Parameters: tenant, user_id, session, agent, names (a JSON list).
SELECT count(*) FROM agentmem_variables
WHERE tenant = :tenant AND user_id = :user_id AND session = :session AND agent = :agent
  AND name IN (SELECT value FROM json_each(:names))

-- set --
-- Set a variable. Parameters: tenant, user_id, session, agent, name, value, now (twice), expiry, ttl.
INSERT INTO agentmem_variables (tenant, user_id, session, agent, name, value, created_at, updated_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, user_id, session, agent, name) DO UPDATE SET
    value = excluded.value,
    created_at = CASE WHEN expires_at <= excluded.updated_at THEN excluded.created_at ELSE created_at END,
    updated_at = max(updated_at, excluded.updated_at),
    expires_at = max(updated_at, excluded.updated_at) + ?

-- head --
-- Return the value of a variable of a scope that has not expired. Parameters: tenant, user_id, session, agent, name, now.
SELECT value FROM agentmem_variables
WHERE tenant = :tenant AND user_id = :user_id AND session = :session AND agent = :agent AND name = :name AND {alive}

-- read --
-- Return the variables that a scope sees: those of its session, of its user and of all users, for its agent and for all
-- agents. Parameters: those of `living_session`, agent, names (a JSON list; NULL: all), whole_session (the names do not select
-- those of the session).
SELECT variable.user_id, variable.session, variable.agent, name, value, variable.created_at, variable.updated_at,
    min(coalesce(variable.expires_at, session.expires_at), coalesce(session.expires_at, variable.expires_at))
FROM agentmem_variables AS variable LEFT JOIN agentmem_sessions AS session ON session.id = variable.session
WHERE variable.tenant = :tenant AND variable.user_id IN ('', :user_id)
  AND variable.session IN (0, coalesce({living_session}, 0)) AND variable.agent IN ('', :agent)
  AND (:names IS NULL OR name IN (SELECT value FROM json_each(:names)) OR (:whole_session AND variable.session <> 0))
  AND {alive:variable}

-- remove --
-- Delete the variables of a scope. Parameters: tenant, user_id, session, agent, names (a JSON list; NULL: all).
DELETE FROM agentmem_variables
WHERE tenant = :tenant AND user_id = :user_id AND session = :session AND agent = :agent
  AND (:names IS NULL OR name IN (SELECT value FROM json_each(:names)))

-- count_expired --
-- Count the expired variables among those that `remove` deletes. Parameters: those of `remove`, now.
SELECT count(*) FROM agentmem_variables
WHERE tenant = :tenant AND user_id = :user_id AND session = :session AND agent = :agent
  AND (:names IS NULL OR name IN (SELECT value FROM json_each(:names))) AND expires_at <= :now

-- living_session --
-- Return the ID of a session that has not expired. Parameters: those of the fragment.
SELECT id FROM agentmem_sessions
WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id AND {alive}

-- forget --
-- Delete the variables of a user outside of sessions. Parameters: tenant, user_id.
DELETE FROM agentmem_variables WHERE tenant = ? AND user_id = ? AND session = 0

-- users --
-- Return the users that have variables outside of sessions. Parameters: tenant, now.
SELECT DISTINCT user_id FROM agentmem_variables WHERE tenant = :tenant AND session = 0 AND user_id <> '' AND {alive}

-- sweep --
-- Delete expired variables. Parameters: tenant, now, limit.
DELETE FROM agentmem_variables WHERE id IN (
    SELECT id FROM agentmem_variables WHERE tenant = ? AND expires_at <= ? LIMIT ?
)
