"""Changes of messages on Postgres, whose transactions commit in another order than they begin."""

from __future__ import annotations

import psycopg
import pytest

from langchain_agentmem.backends import connect
from langchain_agentmem.testing.cases import KEY, turn
from langchain_agentmem.testing.changes import OTHER, Mirror


@pytest.fixture
def backend(postgres_url):
    backend = connect(postgres_url)
    yield backend
    backend.close()


def follow(backend, mirror):
    """Bring a mirror up to date, and return the positions of the messages by session."""
    changes = backend.read(backend.messages.changes("default", "alice", None, mirror.cursor, vectors=False))
    mirror.apply(changes)
    return {name: sorted(rows) for name, rows in mirror.sessions.items()}


def test_a_transaction_that_commits_late_is_read(backend):
    mirror = Mirror()
    for key in (KEY, OTHER):
        backend.write(backend.messages.append(key, turn("a", "b")))
    follow(backend, mirror)
    settings = backend.driver.settings
    with psycopg.connect(settings.conninfo) as early:
        early.execute("SELECT set_config('search_path', quote_ident(%s), false)", (settings.schema,))
        early.execute(
            "DELETE FROM agentmem_messages USING agentmem_sessions AS session "
            "WHERE session = session.id AND session_id = 'session-1' AND position = 0"
        )
        early.execute("UPDATE agentmem_sessions SET message_count = 1 WHERE session_id = 'session-1'")
        backend.write(backend.messages.append(OTHER, turn("c")))
        assert follow(backend, mirror) == {"session-1": [0, 1], "session-2": [0, 1, 2]}
        backend.write(backend.messages.append(OTHER, turn("d")))
        assert follow(backend, mirror) == {"session-1": [0, 1], "session-2": [0, 1, 2, 3]}
        early.commit()
    assert follow(backend, mirror)["session-1"] == [1]


def test_a_cursor_of_another_server_reads_everything(backend):
    """After a failover to a server with other transaction IDs, a cursor may be ahead of every transaction."""
    mirror = Mirror()
    backend.write(backend.messages.append(KEY, turn("a")))
    follow(backend, mirror)
    mirror.cursor = type(mirror.cursor)(
        str(int(mirror.cursor.since) + 10**9), mirror.cursor.sessions, mirror.cursor.newest
    )
    backend.write(backend.messages.append(KEY, turn("b")))
    assert follow(backend, mirror) == {"session-1": [0, 1]}
