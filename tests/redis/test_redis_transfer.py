"""Reading whole rows from Redis: what a page costs."""

from __future__ import annotations

import time

import numpy as np
import redis
from everything import Words
from langchain_core.messages import HumanMessage
from servers import redis_server

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.contract import SessionKey

KEY = SessionKey("default", None, "long")


def test_a_page_of_messages_reads_the_vectors_of_that_page_only():
    with redis_server() as server, AgentMemory.from_url(server.url, embeddings=Words()) as memory:
        history = memory.history("long")
        history.add_messages([HumanMessage(f"text {number}", id=str(number)) for number in range(300)])
        texts = {number: f"text {number}" for number in range(300)}
        with redis.Redis.from_url(server.url) as client:
            for edits in (False, True):
                if edits:
                    history.replace("40", HumanMessage("edited"))
                    history.delete(["41"])
                    texts[40] = "edited"
                client.config_resetstat()
                found = memory.backend.read(memory.backend.transfer.messages(KEY, 34, 20, time.time()))
                calls = client.info("commandstats")
                assert "cmdstat_get" not in calls  # of a whole log
                assert calls["cmdstat_getrange"]["calls"] < 25
                assert [row.position for row in found] == [at for at in range(35, 56) if at != 41 or not edits][:20]
                for row in found:
                    expected = Words().embed_query(texts[row.position])
                    similarity = np.frombuffer(row.vector, "<f4") @ expected / np.linalg.norm(expected)
                    assert similarity > 0.999
