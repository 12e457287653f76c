The statements of the openings of sessions. `fragments.sql` explains the names in braces.

-- open --
-- Open a session, and set variables of it. Return its metadata, its head, and false if one of the heads changed. Parameters: place (the digest of the session's key), owner (the
-- digest of tenant and user), tenant, user_id, session_id, now, ttl, sliding, token, timeout, metadata (NULL: unchanged), ends,
-- exceptions; place (the digest of the scope of the variables), names, values, TTLs in seconds, those of a head (see the statement
-- `set` of variables); the former head of the session (NULL: none), its new head (NULL: it stays).
SELECT * FROM {schema}agentmem_open_session(
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %b::text[], %s, %b::text[], %b::text[], %s::double precision[],
    %s, %s, %s, %s, %b, %b
)

-- close --
-- Close an opening; return true if the session was ended. Parameters: place, token, now; ends, exceptions (of a session without
-- openings).
SELECT {schema}agentmem_close_session(%s, %s, %s, %s, %b::text[])

-- change --
-- Replace the ending. Parameters: place, ends, exceptions, now.
UPDATE {schema}agentmem_sessions SET ends = %(ends)s, exceptions = %(exceptions)b::text[] WHERE place = %(place)s AND {alive}

-- swap_metadata --
-- Replace the metadata and the head if they are the expected ones, and return the metadata afterwards. Parameters: place, expected
-- (NULL: none), metadata, now; former (NULL: none) and head (NULL: it stays).
UPDATE {schema}agentmem_sessions SET
    metadata = CASE WHEN metadata IS NOT DISTINCT FROM %(expected)s::text AND {expected_head} THEN %(metadata)s ELSE metadata END,
    head = CASE WHEN metadata IS NOT DISTINCT FROM %(expected)s::text AND {expected_head}
        THEN coalesce(%(head)b::bytea, head) ELSE head END
WHERE place = %(place)s AND {alive} RETURNING metadata

-- get --
-- Return a session. Parameters: place, now.
SELECT {listed_session} FROM {schema}agentmem_sessions WHERE place = %(place)s AND {alive}

-- agents --
-- Count the messages of each agent. Parameters: those of `living_session`.
SELECT agent, count(*) FROM {schema}agentmem_messages WHERE session = {living_session} GROUP BY agent ORDER BY min(position)

-- tally --
-- Count the records of each agent and status. Parameters: those of `living_session`.
SELECT agent, status, count(*) FROM {schema}agentmem_records WHERE session = {living_session}
GROUP BY agent, status ORDER BY min(id)

-- end_abandoned --
-- End sessions whose timeout is over, and return their number. Parameters: tenant, now, limit.
SELECT {schema}agentmem_end_abandoned(%s, %s, %s)
