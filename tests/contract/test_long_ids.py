"""IDs of up to 1,024 bytes work on every surface and every backend; what is too long together is refused on all of them."""

from __future__ import annotations

import random
import string
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_agentmem import AgentMemory, InvalidInputError
from langchain_agentmem.arguments.ids import MAX_ID_BYTES, MAX_LABEL_BYTES

_source = random.Random(7)


def ascii_id(size: int) -> str:
    """Text that databases cannot compress, with dots, which are escaped in namespaces."""
    return "".join(_source.choices(string.ascii_letters + string.digits + "..:/@%", k=size))


def wide_id(size: int) -> str:
    """Text of three bytes a character."""
    text = "".join(chr(_source.randrange(0x4E00, 0x9FA5)) for _ in range(size // 3))
    return text + "x" * (size - len(text.encode()))


makes = pytest.mark.parametrize("make", [ascii_id, wide_id], ids=["ascii", "wide"])
sizes = pytest.mark.parametrize("size", [1019, 1020, MAX_ID_BYTES])
CHECKPOINT: Any = {
    "v": 4,
    "id": "1f0a5c3e-1111-6666-8000-000000000000",
    "ts": "",
    "channel_values": {"m": ["x" * 300]},
    "channel_versions": {"m": "1"},
    "versions_seen": {},
}


@pytest.fixture(params=["default", "long"])
def memory(request: pytest.FixtureRequest, url: str) -> Any:
    tenant = "default" if request.param == "default" else ascii_id(MAX_ID_BYTES)
    with AgentMemory.from_url(url, tenant=tenant) as opened:
        yield opened


@makes
@sizes
async def test_a_long_id_works_on_every_surface(memory, call, make, size):
    user, session, thread, agent, key = (make(size) for _ in range(5))
    history = memory.history(session, user_id=user, agent=agent)
    await call(history.add_messages, [HumanMessage("pizza"), AIMessage("pasta")])
    assert await call(history.count) == 2
    assert len(await call(history.search, "pizza", 1)) == 1
    assert [one.session_id for one in await call(memory.sessions.list, user_id=user)] == [session]
    compressor = memory.compressor(lambda messages: AIMessage("in short"), max_messages=2)
    shortened = memory.history(session, user_id=user, compressor=compressor)
    await call(shortened.add_messages, [HumanMessage("more"), AIMessage("and more")])
    assert shortened.messages[-1].content == "and more"
    assert (await call(memory.summary, session, user_id=user)).text == "in short"

    saver = memory.checkpointer
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": "node:1|inner:2", "user_id": user}}
    stored = await call(saver.put, config, CHECKPOINT, {"run_id": key}, {"m": "1"})
    await call(saver.put_writes, stored, [("m", ["x" * 300])], CHECKPOINT["id"])
    assert (await call(saver.get_tuple, stored)).checkpoint == CHECKPOINT
    assert [one.thread_id for one in await call(saver.threads, user_id=user)] == [thread]
    await call(saver.copy_thread, thread, make(size))

    await call(memory.profiles.update_preference, user, "color", "red")
    await call(memory.profiles.add_fact, user, "likes pizza")
    assert (await call(memory.profiles.search, user, "pizza"))[0].text == "likes pizza"
    await call(memory.entities.upsert, user, "Rex", kind="dog")
    assert [one.name for one in await call(memory.entities.list, user)] == ["Rex"]
    await call(memory.memories.save, user, "a note")
    assert len(await call(memory.memories.search, user, "note")) == 1
    await call(memory.knowledge.add, key, ["an article"])
    assert len(await call(memory.knowledge.search, "article", names=[key])) == 1

    await call(memory.profiles.forget, user)
    assert await call(memory.profiles.search, user, "pizza") == []
    await call(saver.delete_thread, thread)
    assert await call(saver.get_tuple, stored) is None
    assert await call(memory.sessions.delete, session, user_id=user)


@makes
async def test_the_longest_label_with_the_longest_key_is_an_item(url, call, make):
    place = (make(MAX_LABEL_BYTES),), make(MAX_ID_BYTES)
    with AgentMemory.from_url(url) as memory:
        await call(memory.store.put, *place, {"text": "pizza"})
        assert (await call(memory.store.get, *place)).value == {"text": "pizza"}
        assert [one.key for one in await call(memory.store.search, place[0], query="pizza")] == [place[1]]
        assert await call(memory.store.list_namespaces) == [place[0]]
        await call(memory.store.update, *place, lambda value: {"text": "pasta"})
        await call(memory.store.delete, *place)
        assert await call(memory.store.get, *place) is None


@makes
async def test_names_that_are_too_long_together_are_refused_on_every_backend(memory, call, make):
    store = memory.store
    for namespace in ((make(1000), make(1000)), tuple(make(100) for _ in range(18))):
        with pytest.raises(InvalidInputError, match="bytes long together; at most 2,600"):
            await call(store.put, namespace, make(1000), {"n": 1})
        with pytest.raises(InvalidInputError, match="bytes long together"):
            await call(store.update, namespace, make(1000), lambda value: {"n": 1})
        assert await call(store.get, namespace, make(1000)) is None
    checkpoint = {**CHECKPOINT, "id": make(1000)}
    config: Any = {"configurable": {"thread_id": make(1000), "checkpoint_ns": "", "checkpoint_id": make(1000)}}
    with pytest.raises(InvalidInputError, match="bytes long together; at most 2,400"):
        await call(memory.checkpointer.put_writes, config, [("m", 1)], make(1000))
    if memory.checkpointer.engine.tenant != "default":
        with pytest.raises(InvalidInputError, match="bytes long together"):
            await call(memory.checkpointer.put, config, checkpoint, {}, {"m": "1"})
    assert await call(store.search, ()) == []
    assert await call(memory.checkpointer.threads) == []


async def test_what_is_longer_is_refused(sqlite_memory, call):
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    with pytest.raises(InvalidInputError, match=r"run_id .* 2,401 bytes"):
        await call(sqlite_memory.checkpointer.put, config, CHECKPOINT, {"run_id": "x" * 2401}, {"m": "1"})
    with pytest.raises(InvalidInputError, match=f"at most {MAX_LABEL_BYTES:,}"):
        await call(sqlite_memory.store.put, ("x" * (MAX_LABEL_BYTES + 1),), "k", {})
    for method, *arguments in (
        (sqlite_memory.profiles.get, "x" * 1025),
        (sqlite_memory.profiles.add_fact, "x" * 1025, "text"),
        (sqlite_memory.entities.list, "x" * 1025),
        (sqlite_memory.memories.search, "x" * 1025, "text"),
        (sqlite_memory.knowledge.add, "x" * 1025, ["text"]),
    ):
        with pytest.raises(InvalidInputError, match="1,025 bytes"):
            await call(method, *arguments)
