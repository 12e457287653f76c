"""Each read that takes a user returns what is that user's, for every pair of users and tenants with hostile IDs.

All owners store the same words, with a mark of their own in each text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from harness import Row

from langchain_agentmem import AgentMemory

USERS = ("a", "a*", "a%", "a_", "a'--", 'a"/../b', "{{a}}", "a:b", "a:b:c", "A", "[a-z]?")
TENANTS = ("default", "default*", "default:a", "def%")
SESSION = "chat"

Reads = dict[str, Callable[[AgentMemory, str], Any]]


def text_of(mark: str) -> str:
    return f"rain in Oslo {mark}"


def thread_of(user: str) -> Any:
    return {"configurable": {"thread_id": f"thread of {user}", "checkpoint_ns": "", "user_id": user}}


def fill(memory: AgentMemory, user: str, mark: str) -> None:
    """Store the mark on each surface, for a user."""
    text = text_of(mark)
    memory.history(SESSION, user_id=user).add_user_message(text)
    memory.sessions.rename(SESSION, text, user_id=user)
    memory.variables.set("weather", text, user_id=user)
    memory.variables.set("topic", text, user_id=user, session_id=SESSION)
    memory.profiles.update_preference(user, "weather", text)
    memory.profiles.add_fact(user, text, topics=["weather"])
    memory.entities.upsert(user, "Oslo", "city", attributes={"weather": text})
    memory.entities.relate(user, "Oslo", "has", text)
    memory.memories.save(user, text)
    memory.records.save("writer", {"text": text}, session_id=SESSION, user_id=user)
    memory.store.put((user,), "k", {"text": text})
    checkpoint = {
        "v": 4,
        "id": "1",
        "ts": "",
        "channel_values": {"text": text},
        "channel_versions": {"text": "1"},
        "versions_seen": {},
    }
    memory.checkpointer.put(thread_of(user), checkpoint, {"text": text}, {"text": "1"})


OF_A_USER: Reads = {
    "history.messages": lambda memory, user: memory.history(SESSION, user_id=user).messages,
    "history.get_recent": lambda memory, user: memory.history(SESSION, user_id=user).get_recent(100),
    "history.page": lambda memory, user: memory.history(SESSION, user_id=user).page(),
    "history.pages": lambda memory, user: list(memory.history(SESSION, user_id=user).pages()),
    "history.search": lambda memory, user: memory.history(SESSION, user_id=user).search("rain", 1_000),
    "history.to_dict": lambda memory, user: memory.history(SESSION, user_id=user).to_dict(),
    "search_history": lambda memory, user: memory.search_history("rain", 1_000, user_id=user),
    "search_history of a session": lambda memory, user: memory.search_history(
        "rain", 1_000, user_id=user, session_id=SESSION
    ),
    "sessions.list": lambda memory, user: memory.sessions.list(user_id=user),
    "sessions.get": lambda memory, user: memory.sessions.get(SESSION, user_id=user),
    "variables.get": lambda memory, user: memory.variables.get("weather", user_id=user),
    "variables.all": lambda memory, user: memory.variables.all(user_id=user, session_id=SESSION),
    "variables.search": lambda memory, user: [*memory.variables.search("rain", 1_000, user_id=user)],
    "prompt": lambda memory, user: memory.prompt("{{weather}}", user_id=user).invoke({}),
    "profiles.get": lambda memory, user: memory.profiles.get(user),
    "profiles.context": lambda memory, user: memory.profiles.context(user, query="rain", max_tokens=100_000),
    "profiles.search": lambda memory, user: [*memory.profiles.search(user, "rain", 1_000)],
    "profiles.by_topic": lambda memory, user: [*memory.profiles.by_topic(user, "weather")],
    "profiles.timeline": lambda memory, user: [*memory.profiles.timeline(user)],
    "entities.get": lambda memory, user: memory.entities.get(user, "Oslo"),
    "entities.list": lambda memory, user: [*memory.entities.list(user, limit=1_000)],
    "entities.search": lambda memory, user: [*memory.entities.search(user, "rain", 1_000)],
    "entities.context": lambda memory, user: memory.entities.context(user, "Oslo", max_characters=100_000),
    "entities.relations": lambda memory, user: [*memory.entities.relations(user, "Oslo")],
    "entities.neighbours": lambda memory, user: memory.entities.neighbours(user, "Oslo", 3).relations,
    "entities.graph": lambda memory, user: memory.entities.graph(user).relations,
    "memories.list": lambda memory, user: [*memory.memories.list(user, limit=1_000)],
    "memories.search": lambda memory, user: [*memory.memories.search(user, "rain", 1_000)],
    "recall": lambda memory, user: [*memory.recall("rain", user_id=user, k=1_000)],
    "as_retriever": lambda memory, user: memory.as_retriever(user_id=user, k=1_000).invoke("rain"),
    "records.query": lambda memory, user: [*memory.records.query(user_id=user)],
    "store.get": lambda memory, user: memory.store.get((user,), "k"),
    "store.search": lambda memory, user: memory.store.search((user,), limit=1_000),
    "store.search with a query": lambda memory, user: memory.store.search((user,), query="rain", limit=1_000),
    "checkpointer.get_tuple": lambda memory, user: memory.checkpointer.get_tuple(thread_of(user)),
    "checkpointer.list": lambda memory, user: list(memory.checkpointer.list(thread_of(user))),
    "history.stored": lambda memory, user: memory.history(SESSION, user_id=user).stored(),
}

OF_A_TENANT: Reads = {
    "sessions.list": lambda memory, _: memory.sessions.list(),
    "records.query": lambda memory, _: [*memory.records.query()],
    "store.search": lambda memory, _: [item for item in memory.store.search((), limit=10_000) if item.key == "k"],
    "checkpointer.list": lambda memory, _: list(memory.checkpointer.list(None)),
    "export": lambda memory, _: exported(memory),
}


def exported(memory: AgentMemory) -> str:
    file = BytesIO()
    memory.export(file)
    return file.getvalue().decode()


def marks_in(found: Any) -> set[str]:
    return set(re.findall(r"mark\d+e", f"{found} {found!r}"))


@pytest.fixture
def owners(lasting_url: str, rounds: int) -> Iterator[dict[tuple[str, str], tuple[AgentMemory, str]]]:
    """The memories of tenants, with the mark of each user."""
    with AgentMemory.from_url(lasting_url) as memory:
        tenants = TENANTS if rounds > 1 else TENANTS[:2]
        pairs = list(itertools.product(tenants, USERS))
        found = {
            (tenant, user): (memory.for_tenant(tenant), f"mark{number}e") for number, (tenant, user) in enumerate(pairs)
        }
        for (_, user), (of_tenant, mark) in found.items():
            fill(of_tenant, user, mark)
        yield found


def test_no_read_returns_what_another_user_or_tenant_stored(owners, lasting_url, table):
    wrong: list[str] = []
    for (tenant, user), (memory, mark) in owners.items():
        for name, read in OF_A_USER.items():
            if (found := marks_in(read(memory, user))) != {mark}:
                wrong.append(f"{name} of {user!r} in {tenant!r}: {found}")
        threads = [one.thread_id for one in memory.checkpointer.threads(user_id=user)]
        if threads != [f"thread of {user}"]:
            wrong.append(f"checkpointer.threads of {user!r} in {tenant!r}: {threads}")
    tenants = {tenant for tenant, _ in owners}
    for tenant in tenants:
        memory = owners[tenant, USERS[0]][0]
        marks = {mark for (other, _), (_, mark) in owners.items() if other == tenant}
        for name, read in OF_A_TENANT.items():
            if (found := marks_in(read(memory, ""))) != marks:
                wrong.append(f"{name} of {tenant!r}: {found ^ marks}")
        if sorted(memory.users()) != sorted(USERS) or memory.stats().users != len(USERS):
            wrong.append(f"users of {tenant!r}")
    reads = len(owners) * (len(OF_A_USER) + 1) + len(tenants) * (len(OF_A_TENANT) + 2)
    made = f"{len(OF_A_USER) + 1} reads by each of {len(owners)} users of {len(tenants)} tenants with hostile IDs"
    table.rows.append(Row("isolation", made, lasting_url.partition(":")[0], reads, len(owners), 0, len(wrong)))
    assert not wrong, wrong[:10]
