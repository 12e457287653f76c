"""Many clients at once on Redis."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage

from langchain_agentmem import AgentMemory

CLIENTS = 64


def test_64_clients_on_one_profile_and_one_session_lose_nothing_and_keep_the_order(any_redis_url):
    """Each client is a memory of its own, with connections of its own."""

    def client(number: int) -> None:
        with AgentMemory.from_url(any_redis_url) as memory:
            history = memory.history("shared")
            for turn in range(3):

                def add(value: Any, turn: int = turn) -> Any:
                    return {"facts": [*(value or {"facts": []})["facts"], f"{number} {turn}"]}

                memory.store.update(("profiles",), "alice", add)
                history.add_messages([HumanMessage(f"{number} {turn}"), AIMessage(f"{number} {turn}")])

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    with AgentMemory.from_url(any_redis_url) as memory:
        expected = [f"{number} {turn}" for number in range(CLIENTS) for turn in range(3)]
        assert sorted(memory.store.get(("profiles",), "alice").value["facts"]) == sorted(expected)
        messages = memory.history("shared").get_recent(10_000)
        # Each turn lies in one piece, and each client's turns are in the order in which it made them.
        pairs = list(zip(messages[::2], messages[1::2], strict=True))
        assert all(type(a) is HumanMessage and type(b) is AIMessage and a.content == b.content for a, b in pairs)
        for number in range(CLIENTS):
            own = [a.content for a, _ in pairs if a.content.split()[0] == str(number)]
            assert own == [f"{number} {turn}" for turn in range(3)]
