"""Many clients at once on Redis."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage
from patience import PATIENCE
from redis.asyncio.connection import AbstractConnection, Connection

from langchain_agentmem import AgentMemory, DamagedDataError
from langchain_agentmem.backends.redis import connectors
from langchain_agentmem.backends.redis.exchange import Exchange, Part
from langchain_agentmem.backends.redis.limits import TimeLimit
from langchain_agentmem.backends.redis.pools import LoopPool
from langchain_agentmem.backends.redis.routing import Endpoint
from langchain_agentmem.backends.redis.scripts import slot

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


# Tasks of one event loop


@pytest.fixture
def sends(monkeypatch) -> list[int]:
    """The number of bytes of each message to a server."""
    found: list[int] = []
    send = AbstractConnection.send_packed_command

    async def counted(connection: Any, chunks: Any, **options: Any) -> None:
        found.append(sum(map(len, chunks)))
        await send(connection, chunks, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    return found


async def test_tasks_that_write_at_once_share_messages_to_the_server(redis_url, sends):
    async with AgentMemory.from_url(redis_url) as memory:
        await memory.history("s").aget_messages()
        sends.clear()
        await asyncio.gather(*(memory.history(f"s{n}").aadd_messages([HumanMessage(f"{n}")]) for n in range(CLIENTS)))
        assert len(sends) < CLIENTS / 4
        sends.clear()
        found = await asyncio.gather(*(memory.history(f"s{n}").aget_messages() for n in range(CLIENTS)))
        assert len(sends) < CLIENTS / 4
        assert [[one.content for one in messages] for messages in found] == [[f"{n}"] for n in range(CLIENTS)]


async def test_a_long_message_is_sent_alone(redis_url, sends):
    async with AgentMemory.from_url(redis_url) as memory:
        texts = ["a" * 300_000 if number % 2 else "a" for number in range(10)]
        await memory.history("s").aget_messages()
        sends.clear()
        await asyncio.gather(*(memory.checkpointer.aput_writes(_config(n), [("a", texts[n])], "t") for n in range(10)))
        assert sum(size > 5_000 for size in sends) >= 5


def _config(number: int) -> Any:
    return {"configurable": {"thread_id": f"{number}", "checkpoint_ns": "", "checkpoint_id": "1"}}


async def test_the_error_of_a_command_reaches_only_its_caller(redis_url):
    async with AgentMemory.from_url(redis_url) as memory:
        with redis.Redis.from_url(redis_url) as client:
            client.set(f"{slot('thread', 'default', '3')}writes", "no hash")
        calls = (memory.checkpointer.aput_writes(_config(number), [("a", 1)], "t") for number in range(20))
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [number for number, one in enumerate(found) if one is not None] == [3]
        assert isinstance(found[3], DamagedDataError)


async def test_a_caller_keeps_its_answer_if_the_connection_fails_during_the_answers_to_others():
    # The server answers LEAD and closes the connection at DROP. HOLD keeps the only connection until the others wait.
    held, go_on = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line == b"HOLD\r\n":
                held.set()
                await go_on.wait()
            if line == b"DROP\r\n":
                break
            if line in (b"HOLD\r\n", b"LEAD\r\n"):
                writer.write(b"+OK\r\n")
                await writer.drain()
        writer.close()

    options: dict[str, Any] = {} if connectors._DRIVER_INFO is None else {"driver_info": connectors._DRIVER_INFO}

    def without_greeting(connection: Any) -> None:
        connection._parser.on_connect(connection)

    async def connect(_: TimeLimit) -> Connection:
        made = Connection(host="127.0.0.1", port=port, protocol=2, redis_connect_func=without_greeting, **options)
        await made.connect()
        return made

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = LoopPool(connect, lambda _: True, 1)
    try:
        servers: Any = SimpleNamespace(loop_pool=lambda _: pool)

        def call(name: str) -> asyncio.Task[Any]:
            part = Part(Endpoint("127.0.0.1", port), [0], [(name.encode(),)], 0)
            return asyncio.create_task(Exchange(servers, [part], TimeLimit(PATIENCE), True).aperform())

        first = call("HOLD")
        reached = asyncio.create_task(held.wait())
        await asyncio.wait({first, reached}, return_when=asyncio.FIRST_COMPLETED)
        assert reached.done()
        leader, other = call("LEAD"), call("DROP")
        for _ in iter(lambda: len(pool._waiting) < 2, False):
            await asyncio.sleep(0)
        go_on.set()
        assert await first == [[b"OK"]]
        assert await leader == [[b"OK"]]
        (failed,) = await other
        assert isinstance(failed, redis.ConnectionError)
    finally:
        server.close()
        for connection in pool.closed_connections():
            await connection.disconnect()


async def test_a_lost_connection_harms_no_caller_of_a_shared_message(redis_url, monkeypatch):
    async with AgentMemory.from_url(redis_url) as memory:
        await memory.history("s").aget_messages()
        send = AbstractConnection.send_packed_command
        lost = 0

        async def broken(connection: Any, chunks: Any, **options: Any) -> None:
            nonlocal lost
            await send(connection, chunks, **options)
            if sum(map(len, chunks)) > 5_000 and not lost:
                lost += 1
                connection._writer.transport.abort()

        monkeypatch.setattr(AbstractConnection, "send_packed_command", broken)
        await asyncio.gather(*(memory.history(f"s{n}").aadd_messages([HumanMessage(f"{n}")]) for n in range(CLIENTS)))
        assert lost == 1
        assert [await memory.history(f"s{n}").acount() for n in range(CLIENTS)] == [1] * CLIENTS
