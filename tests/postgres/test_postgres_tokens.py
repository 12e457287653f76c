"""The tokens by which repeated changes are recognised on Postgres."""

from __future__ import annotations

import psycopg

from langchain_agentmem import AgentMemory


def test_old_tokens_are_deleted_by_changes_and_by_sweeps(postgres_url):
    count = "SELECT count(*) FROM agentmem_tokens WHERE token < 0"
    with AgentMemory.from_url(postgres_url) as memory:
        memory.store.update(("n",), "k", lambda _: {"n": 0})
        settings = memory.backend.driver.settings
        with psycopg.connect(settings.conninfo, autocommit=True) as connection:
            connection.execute("SELECT set_config('search_path', quote_ident(%s), false)", (settings.schema,))
            connection.execute(
                "INSERT INTO agentmem_tokens "
                "SELECT -number, now() - interval '11 minutes' FROM generate_series(1, 100) AS number"
            )
            for token, left in ((1, 100), (16, 36), (17, 36)):
                connection.execute("SELECT agentmem_take_token(%s)", (token,))
                assert connection.execute(count).fetchone()[0] == left
            memory.sweep()
            assert connection.execute(count).fetchone()[0] == 0
            assert connection.execute("SELECT count(*) FROM agentmem_tokens").fetchone()[0] == 4
