Parts of the statements of this backend.

-- alive --
-- Condition: a row of `table` has not expired. Parameter: now.
({table}expires_at IS NULL OR {table}expires_at > :now)

-- not_open --
-- Condition: a session has no opening, or its timeout is over. Parameter: now.
(openings = '[]' OR updated_at + timeout <= :now)

-- living_session --
-- The ID of a session that has not expired. Parameters: tenant, user_id, session_id, now.
(
    SELECT id FROM agentmem_sessions
    WHERE tenant = :tenant AND user_id = :user_id AND session_id = :session_id AND {alive}
)

-- message --
-- The columns of a message.
position, role, agent, ends_with_session, created_at, metadata, type, body

-- listed_session --
-- The columns of a listed session: with the summary of its history, and that of messages that are passed as a list.
user_id, session_id, title, message_count, created_at, updated_at, expires_at,
    (SELECT value FROM agentmem_summaries WHERE session = agentmem_sessions.id AND agent = ''),
    (SELECT value FROM agentmem_summaries WHERE session = agentmem_sessions.id AND agent = char(31) || 'list'),
    metadata, head

-- item --
-- The columns of an item.
{table}id, {table}namespace, {table}key, {table}value, {table}created_at, {table}updated_at, {table}ttl, {table}revision

-- text --
-- The columns of the search entry of an item.
{table}id, {table}namespace, {table}key, {table}updated_at, {table}expires_at, indexed.words

-- checkpoint --
-- The columns of a checkpoint.
namespace, checkpoint_id, parent_id, type, document

-- listed_thread --
-- The columns of a listed thread.
id, thread_id, agentmem_threads.user_id,
    (SELECT count(*) FROM agentmem_checkpoints WHERE thread = agentmem_threads.id),
    created_at, updated_at, expires_at

-- record --
-- The columns of a record.
record.id, record.user_id, session.session_id, record.agent, record.status, record.started_at, record.duration,
    record.created_at, record.record, record.ends_with_session

-- wanted_records --
-- Records of living sessions and of no session. Parameters: tenant, session_id, agent, status, lowest, above, below (NULL: any),
-- now.
LEFT JOIN agentmem_sessions AS session ON session.id = record.session
WHERE record.tenant = :tenant AND record.id >= coalesce(:lowest, '') AND record.id > coalesce(:above, '')
  AND record.id < coalesce(:below, 'g')
  AND (record.session IS NULL OR (session.id IS NOT NULL AND {alive:session}))
  AND (:session_id IS NULL OR session.session_id = :session_id)
  AND (:agent IS NULL OR record.agent = :agent) AND (:status IS NULL OR record.status = :status)

-- living_records --
-- Records of living sessions and of no session. Parameters: tenant, now.
FROM agentmem_records AS record LEFT JOIN agentmem_sessions AS session ON session.id = record.session
WHERE record.tenant = :tenant AND (record.session IS NULL OR (session.id IS NOT NULL AND {alive:session}))

-- living_variables --
-- Variables that have not expired, of living sessions and outside of sessions. Parameters: tenant, now, omitted (a name; empty: none).
FROM agentmem_variables AS variable LEFT JOIN agentmem_sessions AS session ON session.id = variable.session
WHERE variable.tenant = :tenant AND {alive:variable} AND {alive:session} AND (:omitted = '' OR variable.name <> :omitted)

-- by_expiry --
-- The numbers of rows that expire before some times, that expire at all, and of all rows. Parameters: hour, day, week.
count(*) FILTER (WHERE expires_at <= :hour), count(*) FILTER (WHERE expires_at <= :day),
    count(*) FILTER (WHERE expires_at <= :week), count(expires_at), count(*)

-- root --
-- The first label of a namespace.
CAST(substr(namespace, 1, instr(namespace, x'00') - 1) AS TEXT)

-- second_label --
-- The second label of a namespace; an empty text if it has only one.
CAST(substr(
    substr(namespace, instr(namespace, x'00') + 1), 1,
    max(0, instr(substr(namespace, instr(namespace, x'00') + 1), x'00') - 1)
) AS TEXT)
