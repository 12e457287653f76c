"""Keys that are not as we left them: of another type, cut short, with fields missing, or no MessagePack.

Nothing but our own errors reaches the caller, and what cannot be read is a `DamagedDataError` that says what kind of key it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.store.base import PutOp
from test_redis_scripts import graph_on

from langchain_agentmem import AgentMemError, AgentMemory, DamagedDataError, Retention
from langchain_agentmem.backends.redis import session_keys
from langchain_agentmem.backends.redis.damage import checked
from langchain_agentmem.backends.redis.scripts import Invoke
from langchain_agentmem.programs import Call, OffLoop, run

CONFIG: Any = {"configurable": {"thread_id": "1", "user_id": "alice"}}


def fill(memory: AgentMemory) -> None:
    history = memory.history("s", user_id="alice", agent="writer", retention=Retention(ttl=1000))
    history.add_messages([HumanMessage("hello"), AIMessage("there")])
    memory.store.batch([PutOp(("n",), key, {"text": "the cat runs", "n": 1}, ttl=50) for key in "ab"])
    memory.store.update(("n",), "a", lambda value: {**value, "n": 2}, index=["text"])
    graph = graph_on(memory)
    for _ in range(2):
        graph.invoke({"messages": [HumanMessage("long enough to be stored apart " * 10)]}, CONFIG)
    memory.checkpointer.set_ttl("1", 1000)


def operations(memory: AgentMemory) -> Iterator[Callable[[], Any]]:
    history = memory.history("s", user_id="alice", agent="writer", retention=Retention(ttl=1000))
    yield lambda: history.get_recent(5)
    yield lambda: history.count()
    yield lambda: list(history.pages(1))
    yield lambda: history.search("hello")
    yield lambda: memory.search_history("hello", user_id="alice")
    yield lambda: memory.sessions.list(user_id="alice")
    yield lambda: history.add_messages([HumanMessage("more")])
    yield lambda: memory.store.get(("n",), "a")
    yield lambda: memory.store.search(("n",))
    yield lambda: memory.store.search((), query="running")
    yield lambda: memory.store.list_namespaces()
    yield lambda: memory.store.update(("n",), "a", lambda _: {"n": 3})
    yield lambda: memory.store.put(("n",), "a", {"n": 4})
    yield lambda: memory.store.delete(("n",), "b")
    yield lambda: memory.checkpointer.get_tuple(CONFIG)
    yield lambda: list(memory.checkpointer.list(CONFIG))
    yield lambda: memory.checkpointer.threads(user_id="alice")
    yield lambda: graph_on(memory).invoke({"messages": [HumanMessage("again")]}, CONFIG)
    yield lambda: memory.checkpointer.copy_thread("1", "2")
    yield lambda: memory.checkpointer.prune(["1"])
    yield lambda: memory.sweep()
    yield lambda: memory.checkpointer.delete_thread("1")
    yield lambda: memory.sessions.delete("s", user_id="alice")


def of_another_type(client: redis.Redis, key: bytes, kind: bytes) -> None:
    client.delete(key)
    if kind == b"list":
        client.set(key, "something else")
    else:
        client.rpush(key, "something else")


def cut_short(client: redis.Redis, key: bytes, kind: bytes) -> None:
    if kind == b"string":
        client.set(key, (client.get(key) or b"")[:5])
    elif kind == b"hash":
        client.hset(key, mapping={field: value[:3] for field, value in client.hgetall(key).items()})
    elif kind == b"stream":
        ((id_, fields), *_) = client.xrange(key)
        client.delete(key)
        client.xadd(key, {name: value[:3] for name, value in fields.items()}, id=id_)
    else:
        of_another_type(client, key, kind)


def with_nonsense(client: redis.Redis, key: bytes, kind: bytes) -> None:
    if kind == b"string":
        client.set(key, b"\xff\xfe nonsense that is longer than any header is, in every place where one may be")
    elif kind == b"hash":
        client.hset(key, mapping=dict.fromkeys(client.hkeys(key), b"\xff nonsense, longer than any header may be \xff"))
    elif kind == b"zset":
        client.delete(key)
        client.zadd(key, {b"\xff nonsense": 1.0})
    else:
        of_another_type(client, key, kind)


def with_fields_missing(client: redis.Redis, key: bytes, kind: bytes) -> None:
    if kind == b"hash":
        for field in sorted(client.hkeys(key))[::2]:
            client.hdel(key, field)
    else:
        client.delete(key)


@pytest.mark.parametrize("damage", [of_another_type, cut_short, with_nonsense, with_fields_missing])
def test_nothing_but_our_own_errors_comes_of_damaged_keys(redis_url, damage):
    with redis.Redis.from_url(redis_url) as client, AgentMemory.from_url(redis_url) as memory:
        fill(memory)
        keys = [key for key in sorted(client.scan_iter()) if not key.endswith((b"}:schema", b"}:language"))]
        whole = {key: client.dump(key) for key in keys}
        silent = []
        for key in keys:
            damage(client, key, client.type(key))
            errors = []
            for operation in operations(memory):
                try:
                    operation()
                except AgentMemError as error:
                    errors.append(error)
                except Exception as error:
                    raise AssertionError(f"{key!r}: {type(error).__name__}: {error}") from error
            if not any(isinstance(error, DamagedDataError) for error in errors):
                silent.append(key.partition(b"}:")[2])
            client.flushdb()
            for one, value in whole.items():
                client.restore(one, 0, value)
        if damage is of_another_type:
            assert set(silent) <= {b"clock"}  # that of a root which is not written to again


@pytest.mark.parametrize(
    ("pattern", "kind", "method"),
    [
        ("*:messages", "a session", lambda memory: memory.history("s", user_id="alice").get_recent(5)),
        ("*:item:*", "the store's items", lambda memory: memory.store.get(("n",), "a")),
        ("*:checkpoints", "a thread", lambda memory: memory.checkpointer.get_tuple(CONFIG)),
        ("*:sessions", "an index", lambda memory: memory.sessions.list(user_id="alice")),
    ],
)
def test_the_error_says_what_kind_of_key_is_of_another_type(redis_url, pattern, kind, method):
    with redis.Redis.from_url(redis_url) as client, AgentMemory.from_url(redis_url) as memory:
        fill(memory)
        for key in list(client.scan_iter(pattern)):
            of_another_type(client, key, client.type(key))
        with pytest.raises(DamagedDataError, match=f"The stored data of {kind} .key 'agentmem:.*WRONGTYPE"):
            method(memory)


def test_a_damaged_item_is_named(redis_url):
    with redis.Redis.from_url(redis_url) as client, AgentMemory.from_url(redis_url) as memory:
        memory.store.put(("n",), "a", {"n": 1})
        (key,) = client.scan_iter("*:item:*")
        client.set(key, "short")
        with pytest.raises(DamagedDataError, match=r"item 'a' in \('n',\)"):
            memory.store.search(("n",))


def test_an_answer_that_a_worker_thread_cannot_decode_is_damaged_data():
    """Between the script and the code that decodes its answer, the program moves off the event loop."""

    def program() -> Any:
        answer = yield from Invoke(session_keys.LUA["changes"], ("agentmem:{tag}:session",))
        yield from OffLoop(large=True)
        return int(answer)

    with pytest.raises(
        DamagedDataError, match=r"The stored data of a session .key 'agentmem:{tag}:session'.*ValueError"
    ):
        run(checked(program(), lambda step: Call(lambda: "nonsense")))
