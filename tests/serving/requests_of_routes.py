"""A request for every route of the HTTP API, and a memory with data of several users and tenants."""

from __future__ import annotations

import asyncio
import io
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState, StateGraph

from langchain_agentmem import AgentMemory, UnknownSelectionError
from langchain_agentmem.serving import Access, create_app

ALICE, BOB = "alice@example.com", "bob@example.com"

OF_ALICE, OF_BOB, OF_BOTH, OF_ALL, OF_SHOP, OF_SHOP_ALICE = (
    "key-a",
    "key-b",
    "key-ab",
    "key-all",
    "key-shop",
    "key-shop-a",
)

KEYS = {
    OF_ALICE: Access(users=[ALICE]),
    OF_BOB: Access(users=[BOB]),
    OF_BOTH: Access(users=[ALICE, BOB]),
    OF_ALL: Access(),
    OF_SHOP: Access(tenant="shop"),
    OF_SHOP_ALICE: Access(tenant="shop", users=[ALICE]),
}


class Sample(NamedTuple):
    """A request that succeeds for Alice, without the user."""

    kind: str
    """`open` (no key needed), `user` (about a user), `list` (about a user, nobody or all), `whole` (for all users only),
    or `shared` (not about a user)."""
    query: Mapping[str, Any] = MappingProxyType({})
    body: dict[str, Any] | None = None
    path: Mapping[str, str] = MappingProxyType({})
    lines: bool = False
    """The body is lines of an export."""
    hides: Any = None
    """What another user is answered: as if what the request names did not exist. None if it names nothing of Alice's."""


SESSION = {"session_id": "trip"}
THREAD = {"thread_id": "thread-of-alice"}
MESSAGES = [{"role": "user", "content": "More"}]

SAMPLES: dict[tuple[str, str], Sample] = {
    ("GET", "/health"): Sample("open"),
    ("GET", "/ready"): Sample("open"),
    ("GET", "/v1/agents"): Sample("shared"),
    ("GET", "/v1/agents/{agent}/memories"): Sample("user", path={"agent": "echo"}),
    ("POST", "/v1/agents/{agent}/run"): Sample(
        "user", path={"agent": "echo"}, body={"message": "Hello", "session_id": "trip"}
    ),
    ("POST", "/api/v1/agent/{agent}/memory"): Sample(
        "user", path={"agent": "echo"}, body={"name": "tone", "content": "short", "session_name": "trip"}
    ),
    ("GET", "/api/v1/agent/{agent}/memory"): Sample("user", {"session_name": "trip"}, path={"agent": "echo"}),
    ("DELETE", "/api/v1/agent/{agent}/memory"): Sample("user", {"session_name": "trip"}, path={"agent": "echo"}),
    ("GET", "/api/v1/agent/{agent}/memory/{name}"): Sample(
        "user", {"session_name": "trip"}, path={"agent": "echo", "name": "goal"}
    ),
    ("DELETE", "/api/v1/agent/{agent}/memory/{name}"): Sample(
        "user", {"session_name": "trip"}, path={"agent": "echo", "name": "goal"}
    ),
    ("GET", "/v1/sessions"): Sample("list"),
    ("GET", "/v1/session"): Sample("user", SESSION),
    ("PATCH", "/v1/session"): Sample("user", body={**SESSION, "title": "Renamed"}),
    ("POST", "/v1/session/end"): Sample("user", body=SESSION),
    ("DELETE", "/v1/session"): Sample("user", SESSION),
    ("GET", "/v1/messages"): Sample("user", SESSION),
    ("POST", "/v1/messages"): Sample("user", body={**SESSION, "messages": MESSAGES}),
    ("DELETE", "/v1/messages"): Sample("user", {**SESSION, "all": "true"}),
    ("GET", "/v1/search"): Sample("user", {"query": "secret"}),
    ("GET", "/v1/summary"): Sample("user", SESSION),
    ("GET", "/v1/summaries"): Sample("list"),
    ("GET", "/v1/profile"): Sample("user"),
    ("GET", "/v1/profile/context"): Sample("user"),
    ("PATCH", "/v1/profile"): Sample("user", body={"key": "language", "value": "Greek"}),
    ("DELETE", "/v1/profile"): Sample("user"),
    ("GET", "/v1/facts"): Sample("user"),
    ("GET", "/v1/facts/history"): Sample("user"),
    ("POST", "/v1/facts"): Sample("user", body={"text": "Likes hiking"}),
    ("POST", "/v1/facts/end"): Sample("user", {"fact_id": "none"}),
    ("DELETE", "/v1/facts"): Sample("user", {"fact_id": "none"}),
    ("GET", "/v1/memories"): Sample("user"),
    ("POST", "/v1/memories"): Sample("user", body={"text": "Prefers window seats"}),
    ("DELETE", "/v1/memories"): Sample("user", {"memory_id": "none"}),
    ("GET", "/v1/recall"): Sample("user", {"query": "secret"}),
    ("GET", "/v1/entities"): Sample("user"),
    ("GET", "/v1/entity"): Sample("user", {"name": "Acme"}),
    ("GET", "/v1/entities/graph"): Sample("user"),
    ("GET", "/v1/entities/neighbours"): Sample("user", {"name": "Acme"}),
    ("POST", "/v1/entities"): Sample("user", body={"name": "Initech", "kind": "company"}),
    ("DELETE", "/v1/entity"): Sample("user", {"name": "Acme"}),
    ("POST", "/v1/relations"): Sample("user", body={"subject": "A", "predicate": "knows", "object": "B"}),
    ("DELETE", "/v1/relations"): Sample("user", {"subject": "A", "predicate": "knows", "object": "B"}),
    ("GET", "/v1/knowledge/names"): Sample("shared"),
    ("GET", "/v1/knowledge"): Sample("shared", {"name": "guidelines"}),
    ("GET", "/v1/knowledge/search"): Sample("shared", {"query": "refunds"}),
    ("POST", "/v1/knowledge"): Sample("whole", body={"name": "guidelines", "texts": ["Be kind."]}),
    ("DELETE", "/v1/knowledge"): Sample("whole", {"name": "guidelines", "all": "true"}),
    ("GET", "/v1/threads"): Sample("list"),
    ("GET", "/v1/thread/checkpoints"): Sample("user", THREAD, hides={"items": [], "next_before": None}),
    ("GET", "/v1/thread/sizes"): Sample("user", THREAD, hides={"items": [], "next_before": None}),
    ("GET", "/v1/thread/messages"): Sample("user", THREAD, hides={"items": [], "next_after": None}),
    ("DELETE", "/v1/thread"): Sample("user", THREAD, hides={"changed": False}),
    ("GET", "/v1/variables"): Sample("user"),
    ("GET", "/v1/variable"): Sample("user", {"name": "tone"}),
    ("PUT", "/v1/variables"): Sample("user", body={"values": {"tone": "long"}}),
    ("DELETE", "/v1/variable"): Sample("user", {"name": "tone"}),
    ("DELETE", "/v1/variables"): Sample("user", {"all": "true"}),
    ("GET", "/v1/records"): Sample("list"),
    ("POST", "/v1/records"): Sample("user", body={"agent": "echo", "record": {"output": "A headline"}}),
    ("GET", "/v1/export"): Sample("list"),
    ("POST", "/v1/import"): Sample("whole", lines=True),
    ("GET", "/v1/users"): Sample("whole"),
    ("GET", "/v1/stats"): Sample("whole"),
    ("POST", "/v1/forget"): Sample("user", body={}),
}


def echo(memory: AgentMemory) -> Any:
    """Return a graph that repeats the message."""
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage(f"You said: {state['messages'][-1].text}")]})
    builder.set_entry_point("answer")
    return builder.compile(checkpointer=memory.checkpointer)


def secret(user: str, tenant: str = "default") -> str:
    """Return a word that only the data of a user contains."""
    return f"secret-of-{user.partition('@')[0]}-in-{tenant}"


async def fill(memory: AgentMemory) -> None:
    """Store data of every kind for Alice and Bob."""
    for user in (ALICE, BOB):
        word = secret(user, memory.tenant)
        name = user.partition("@")[0]
        await memory.history("trip", user_id=user).aadd_messages([("user", f"My {word}."), ("ai", "Noted.")])
        await memory.profiles.aupdate_preference(user, "word", word)
        await memory.profiles.aadd_fact(user, f"The {word} is here")
        await memory.memories.asave(user, f"Remember the {word}")
        await memory.entities.aupsert(user, "Acme", "company", description=word)
        await memory.variables.aset("tone", word, user_id=user)
        await memory.variables.aset("goal", word, user_id=user, agent="echo", session_id="trip")
        await memory.records.asave("echo", {"word": word}, user_id=user)
        config: Any = {"configurable": {"thread_id": f"thread-of-{name}", "user_id": user}}
        await echo(memory).ainvoke({"messages": [("user", word)]}, config)
    config = {"configurable": {"thread_id": "shared-thread", "user_id": ALICE}}
    await echo(memory).ainvoke({"messages": [("user", secret(ALICE, memory.tenant))]}, config)
    config["configurable"]["user_id"] = BOB
    await echo(memory).ainvoke({"messages": [("user", "Me too")]}, config)
    await memory.history("of-nobody").aadd_messages([("user", f"secret-of-nobody-in-{memory.tenant}")])
    await memory.knowledge.aadd("guidelines", ["Refunds take five days."])


async def exported(memory: AgentMemory, user: str) -> str:
    """Return what is stored about a user, without the thread that is the other user's too, until one of them is forgotten."""
    file = io.BytesIO()
    with suppress(UnknownSelectionError):  # the user is forgotten
        await memory.aexport(file, user_id=user)
    lines = file.getvalue().decode().splitlines()[1:-1]
    # The sums at the ends of lines depend on the lines before.
    return "\n".join(line.rpartition(',"sum"')[0] for line in lines if '"shared-thread"' not in line)


_FOLDER = tempfile.TemporaryDirectory(prefix="agentmem-serving-")
_FILLED = Path(_FOLDER.name, "filled.db")
_numbers = itertools.count()


async def app_with_data(url: str | None = None, **options: Any) -> tuple[AgentMemory, Any]:
    """Return a memory with data of two tenants, and its application with the keys of `KEYS`.

    Without a URL, it is a copy of a SQLite file that is filled once.
    """
    if url is None and not _FILLED.exists():
        async with AgentMemory.from_url(f"sqlite:///{_FILLED}") as filled:
            await fill(filled)
            await fill(filled.for_tenant("shop"))
    if url is None:
        copy = shutil.copy(_FILLED, _FILLED.with_name(f"{next(_numbers)}.db"))
        memory = AgentMemory.from_url(f"sqlite:///{copy}?synchronous=normal")
    else:
        memory = AgentMemory.from_url(url)
        await fill(memory)
        await fill(memory.for_tenant("shop"))
    options = {"agents": {"echo": echo}, "api_keys": KEYS, **options}
    return memory, create_app(memory, **options)


def client(app: Any, key: str | None = None, **options: Any) -> httpx.AsyncClient:
    """Return a client of an application in the same process."""
    headers = {} if key is None else {"X-API-Key": key}
    transport = httpx.ASGITransport(app, **options)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:7777", headers=headers)


async def send(session: httpx.AsyncClient, route: tuple[str, str], user: str | None, **query: Any) -> httpx.Response:
    """Send the sample request of a route, about a user or None."""
    method, path = route
    sample = SAMPLES[route]
    given = {**sample.query, **query}
    named = {"user_id": user} if user is not None and sample.kind in {"user", "list"} else {}
    if sample.lines:
        file = io.BytesIO()
        async with AgentMemory.from_url("sqlite:///:memory:") as memory:
            await memory.history("imported", user_id=ALICE).aadd_messages([("user", "Hello")])
            await memory.aexport(file)
        return await session.request(method, path, content=file.getvalue(), params=given)
    if sample.body is None:
        return await session.request(method, path.format(**sample.path), params={**given, **named})
    return await session.request(method, path.format(**sample.path), json={**sample.body, **named}, params=query)


async def never(*_: Any) -> Any:
    """Wait forever."""
    await asyncio.Event().wait()


@asynccontextmanager
async def local_client() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service without keys, and its memory."""
    memory = AgentMemory.from_url("sqlite:///:memory:")
    app = create_app(memory, agents={"echo": echo(memory)})
    async with client(app) as session:
        session.memory = memory
        yield session
    await memory.aclose()
