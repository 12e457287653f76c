Parts of the functions of the newest version. Released migrations do not use them.

-- alive --
-- Condition: a session or thread has not expired at `now_`.
({table}expires_at IS NULL OR {table}expires_at > now_)

-- item_alive --
-- Condition: an item has not expired at `at_`.
({table}expires_at IS NULL OR {table}expires_at > at_)

-- message --
-- The columns of a message.
{table}position, {table}role, {table}agent, {table}ends_with_session, {table}created_at, {table}metadata, {table}type, {table}body

-- indexed_words --
-- The numbers of the words of an item; and the words of texts without numbers.
string_agg(text.numbers, ''::bytea ORDER BY text.part) AS numbers,
                string_agg(text.words::text, E'\n' ORDER BY text.part) FILTER (WHERE text.numbers IS NULL) AS lexemes

-- packed_vectors --
-- The vectors of an item, one after the other.
string_agg(vector_send(stored.embedding::vector), ''::bytea ORDER BY stored.field_name) AS vectors
