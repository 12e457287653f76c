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
