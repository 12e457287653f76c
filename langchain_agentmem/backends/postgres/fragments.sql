Parts of this backend's statements. `{schema}` is the schema of the tables with its dot, or nothing.

-- alive --
-- Condition: a session or thread has not expired. Parameter: now.
({table}expires_at IS NULL OR {table}expires_at > %(now)s)

-- not_open --
-- Condition: a session has no opening, or its timeout is over. Parameter: now.
(openings = '{}' OR updated_at + timeout <= %(now)s)

-- item_alive --
-- Condition: an item has not expired. Parameter: now.
({table}expires_at IS NULL OR {table}expires_at > to_timestamp(%(now)s))

-- living_session --
-- The ID of a session that has not expired. Parameters: place (the digest of its key), now.
(SELECT id FROM {schema}agentmem_sessions WHERE place = %(place)s AND {alive})

-- message --
-- The columns of a message.
{table}position, {table}role, {table}agent, {table}ends_with_session, {table}created_at, {table}metadata, {table}type, {table}body

-- expected_head --
-- Condition: the head of a session is the former one, or it stays. Parameters: former (NULL: none), head (NULL: it stays).
(%(head)b::bytea IS NULL OR head IS NOT DISTINCT FROM %(former)b::bytea)

-- listed_session --
-- The columns of a listed session: with the summary of its history, and that of messages that were passed as a list.
user_id, session_id, title, message_count, created_at, updated_at, expires_at,
    (SELECT value FROM {schema}agentmem_summaries WHERE session = agentmem_sessions.id AND agent = ''),
    (SELECT value FROM {schema}agentmem_summaries WHERE session = agentmem_sessions.id AND agent = chr(31) || 'list'),
    metadata, head

-- put_arguments --
-- The arguments of `agentmem_put_items`. Parameters: prefixes, keys, values (JSON), TTLs in seconds, now; the numbers of the
-- items that the texts belong to (from 1), the texts; the numbers of the items that the vectors belong to, the names of their
-- fields, all vectors in one array.
%b::text[], %b::text[], %b::text[], %s::double precision[], %s, %s::int[], %b::text[], %s::int[], %b::text[], %s::real[]

-- added_values --
-- The last arguments of the functions that store values. Parameters: the required values and their digests, the rows of the new
-- values (both JSON lists), the data of these rows; the references, types and data of new elements.
%s::jsonb, %s::jsonb, %s::bytea[], %s::bytea[], %b::text[], %s::bytea[]

-- record --
-- The columns of a record.
record.id, record.user_id, session.session_id, record.agent, record.status, record.started_at, record.duration,
    record.created_at, record.record, record.ends_with_session

-- wanted_records --
-- Records of living sessions and of no session. Parameters: session_id, agent, status, lowest, above, below (NULL: any), now.
FROM {schema}agentmem_records AS record LEFT JOIN {schema}agentmem_sessions AS session ON session.id = record.session
WHERE (%(lowest)s::text IS NULL OR record.id >= %(lowest)s) AND (%(above)s::text IS NULL OR record.id > %(above)s)
  AND (%(below)s::text IS NULL OR record.id < %(below)s)
  AND (record.session IS NULL OR (session.id IS NOT NULL AND {alive:session}))
  AND (%(session_id)s::text IS NULL OR session.session_id = %(session_id)s)
  AND (%(agent)s::text IS NULL OR record.agent = %(agent)s)
  AND (%(status)s::text IS NULL OR record.status = %(status)s)

-- living_records --
-- Records of living sessions and of no session. Parameters: tenant, now.
FROM {schema}agentmem_records AS record LEFT JOIN {schema}agentmem_sessions AS session ON session.id = record.session
WHERE record.tenant = %(tenant)s AND (record.session IS NULL OR (session.id IS NOT NULL AND {alive:session}))

-- living_variables --
-- Variables that have not expired, of living sessions and outside of sessions. Parameters: tenant, now, omitted (a name; empty: none).
FROM {schema}agentmem_variables AS variable LEFT JOIN {schema}agentmem_sessions AS session ON session.id = variable.session
WHERE variable.tenant = %(tenant)s AND {alive:variable} AND {alive:session}
  AND (%(omitted)s = '' OR variable.name <> %(omitted)s)

-- of_living_threads --
-- Condition: a row of a thread that has not expired. A thread that only LangGraph's own saver wrote belongs to the default tenant.
-- Parameters: tenant, now.
LEFT JOIN {schema}agentmem_threads AS thread ON thread.name = saved.thread_id
WHERE coalesce(thread.tenant, 'default') = %(tenant)s AND {alive:thread}

-- within --
-- Condition: an item is below a namespace. Parameters: own, first, last.
(prefix = %(own)s OR (prefix ~>=~ %(first)s AND prefix ~<~ %(last)s))

-- by_expiry --
-- The numbers of rows that expire before some times, that expire at all, and of all rows. Parameters: hour, day, week.
count(*) FILTER (WHERE expires_at <= %(hour)s), count(*) FILTER (WHERE expires_at <= %(day)s),
    count(*) FILTER (WHERE expires_at <= %(week)s), count(expires_at), count(*)
