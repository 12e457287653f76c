"""Stored numbers that make no sense never keep a script running: a script without end blocks the whole server."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

import examples
import ormsgpack
import pytest
import redis
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.store.base import PutOp
from patience import PATIENCE
from servers import RedisServer, redis_server
from test_redis_damage import fill, operations
from test_redis_scripts import graph_on

from langchain_agentmem import AgentMemError, AgentMemory, DamagedDataError, StorageBusyError

NUMBERS = ("-8", "-1", "0", "1e18", "nan", "inf")

Change = Callable[[redis.Redis], Any]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server(lua_time_limit=200) as started:
        yield started


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, socket_timeout=PATIENCE) as opened:
        with contextlib.suppress(redis.ResponseError):
            opened.script_kill()  # of a test that failed
        opened.flushall()
        yield opened


def memory_on(server: RedisServer, size: int = 8) -> AgentMemory:
    return AgentMemory.from_url(f"{server.url}?timeout=20", embeddings=DeterministicFakeEmbedding(size=size))


def never_endless(client: redis.Redis, what: Any, operation: Callable[[], Any]) -> None:
    """Run an operation, which may refuse damaged data; the server must answer after it."""
    try:
        operation()
    except StorageBusyError as error:
        with contextlib.suppress(redis.ResponseError):
            client.script_kill()
        raise AssertionError(f"{what}: {error}") from error
    except AgentMemError:
        pass
    client.ping()


def numbers_in(client: redis.Redis, key: bytes) -> Iterator[tuple[bytes, Change]]:
    """What can be said of a key with another number in one of its fields, members, scores or bytes."""
    kind = client.type(key)
    for number in NUMBERS:
        as_float = struct.pack("<d", float(number))
        if kind == b"string":
            size = len(client.get(key) or b"")
            yield number.encode(), lambda at, n=number: at.set(key, n)
            for offset in range(0, min(size, 48), 8):
                yield as_float, lambda at, o=offset, n=as_float: at.setrange(key, o, n)
                yield as_float[::-1], lambda at, o=offset, n=as_float[::-1]: at.setrange(key, o, n)
        elif kind == b"hash":
            for field, value in client.hgetall(key).items():
                yield field, lambda at, f=field, n=number: at.hset(key, f, n)
                yield field, lambda at, f=field, v=value, n=as_float: at.hset(key, f, n + v[8:])
                head = field.rpartition(b":")[0] + b":" if b":" in field else b""
                yield field, lambda at, v=value, h=head, n=number: at.hset(key, h + n.encode(), v)
        elif kind == b"zset":
            for member, score in client.zrange(key, 0, -1, withscores=True):
                yield member, lambda at, m=member, n=number: n == "nan" or at.zadd(key, {m: float(n)})
                yield member, lambda at, m=member, s=score, n=number: at.zadd(key, {m[:-12] + n.encode(): s})


def every_operation(memory: AgentMemory) -> Iterator[Callable[[], Any]]:
    *first, _, _, _ = operations(memory)
    yield from first
    yield lambda: memory.store.batch([PutOp(("n",), "c", {"text": "tea"}, ["text"])])
    yield lambda: memory.history("s", user_id="alice").clear()
    yield lambda: memory.sessions.end("s", user_id="alice")
    yield memory.reindex
    yield memory.sweep
    yield lambda: memory.checkpointer.expire_checkpoints(1e-6)


def whole(client: redis.Redis) -> dict[bytes, Any]:
    keys = [key for key in sorted(client.scan_iter()) if not key.endswith((b"}:schema", b"}:language"))]
    return {key: client.dump(key) for key in keys}


def restore(client: redis.Redis, kept: dict[bytes, Any]) -> None:
    client.flushdb()
    with client.pipeline() as pipeline:
        for key, value in kept.items():
            pipeline.restore(key, 0, value)
        pipeline.execute()


def test_no_stored_number_keeps_a_script_running(server, client):
    with memory_on(server) as memory:
        fill(memory)
        kept = whole(client)
        cases = [(key, field, change) for key in kept for field, change in numbers_in(client, key)]
        assert len(cases) > 1000
        for key, field, change in cases[:: 1 if examples.SHARE == 1 else 41]:
            change(client)
            for operation in every_operation(memory):
                never_endless(client, (key, field), operation)
            restore(client, kept)


@pytest.mark.parametrize("width", ["-8", "-16", "0", "1e18", "nan", "inf", "4.5", "words"])
@pytest.mark.parametrize("vectors", [b"", b"x", bytes(80)])
async def test_a_log_of_vectors_of_a_wrong_width_is_damage(server, client, call, width, vectors):
    with memory_on(server) as memory, memory_on(server, 16) as changed:
        await call(memory.store.put, ("n",), "a", {"text": "tea"}, ["text"])
        (logs,) = client.scan_iter("*:logs:*")
        client.hset(logs, width, 1)
        client.set(logs.replace(b":logs:", f":vectors:{width}:".encode()), vectors)
        with pytest.raises(DamagedDataError, match=re.escape(f"vectors of {width} bytes")):
            await call(changed.reindex)
        assert client.ping()
        await call(memory.close)
        await call(changed.close)


async def test_ids_of_checkpoints_that_no_text_has_are_damage(server, client, call):
    with memory_on(server) as memory:
        saver = memory.checkpointer
        await call(saver.put, thread(), empty_checkpoint(), {"source": "input", "step": 0}, {})
        (order,) = client.scan_iter("*:order")
        client.zadd(order, {b"\0\xff\xff": 0})
        with pytest.raises(DamagedDataError, match="out of order"):
            await call(saver.list, {"configurable": {"thread_id": "1"}})
        assert client.ping()
        await call(memory.close)


# Depending on the order, the search asks so often that it warns before it sees the damage.
@pytest.mark.filterwarnings("ignore:A search below:RuntimeWarning")
async def test_namespaces_out_of_order_are_damage(server, client, call):
    with memory_on(server) as memory:
        await call(memory.store.batch, [PutOp(("n", f"{at:04}"), "k", {"text": "tea"}) for at in range(1200)])
        (namespaces,) = [key for key in client.scan_iter("*:namespaces") if client.zcard(key) > 1000]
        names = client.zrange(namespaces, 0, -1)
        client.zadd(namespaces, {name: -at for at, name in enumerate(names)})
        never_endless(client, "scores", lambda: memory.store.search(("n",), query="tea"))
        client.zadd(namespaces, {name: at % 7 for at, name in enumerate(names)})
        never_endless(client, "scores", lambda: memory.store.search(("n",), query="tea"))
        never_endless(client, "scores", lambda: memory.store.list_namespaces(prefix=("n",)))
        never_endless(client, "scores", lambda: memory.store.search(("n",)))
        await call(memory.close)


@pytest.mark.parametrize(("head", "tail"), [(10**12, 10**12), (-1, 10**12), (10**12, -1), (1e18, 1e18), (0, 10**12)])
async def test_values_spliced_from_too_much_are_damage(server, client, call, head, tail):
    """Each value of a chain would be twice as long as the one before."""
    with memory_on(server) as memory:
        graph_on(memory).invoke({"messages": [HumanMessage(f"long enough to be stored apart {'!' * 200}")]}, thread())
        (values,) = client.scan_iter("*:values")
        field = max(field for field in client.hkeys(values) if field.startswith(b"\0messages"))
        header, data = header_of(client.hget(values, field))
        below = [b"%s.%d" % (field, number) for number in range(12)]
        for one, base in zip([field, *below], [*below, None], strict=True):
            lengths = (head, tail) if base else (0, 0)
            spliced = [*header[:2], base.decode() if base else False, *lengths, *header[5:]]
            client.hset(values, one, row_of(spliced, data))
        await call(memory.close)
    with memory_on(server) as reader:  # the process that wrote the thread does not read its values again
        with pytest.raises(DamagedDataError, match="spliced from too little"):
            await call(reader.checkpointer.get_tuple, thread())
        assert client.ping()
        await call(reader.close)


def thread() -> Any:
    return {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}


def header_of(row: bytes) -> tuple[list[Any], bytes]:
    """The header of a row and what follows it."""
    (length,) = struct.unpack_from(">I", row)
    return ormsgpack.unpackb(row[4 : 4 + length]), row[4 + length :]


def row_of(header: list[Any], data: bytes) -> bytes:
    packed = ormsgpack.packb(header)
    return struct.pack(">I", len(packed)) + packed + data
