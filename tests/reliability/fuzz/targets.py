"""What reads bytes of others: each target accepts an input, or refuses it with an error of this package.

A target is a function of bytes. Its seeds are valid inputs.
"""

from __future__ import annotations

import asyncio
import functools
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from langchain_core.messages import AIMessage, HumanMessage

from langchain_agentmem import AgentMemError, AgentMemory
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.knowledge.extraction.answers import proposals_in
from langchain_agentmem.knowledge.extraction.proposals import RefusedError, UnusableAnswerError
from langchain_agentmem.serving import create_app

CODEC = Codec()
MESSAGE = AIMessage("Rain.", tool_calls=[{"name": "look_up", "args": {"town": "Oslo"}, "id": "1"}])
CHANGES = {
    "changes": [
        {"action": "add", "text": "Owns a boat", "topics": ["things"], "messages": [1]},
        {"action": "update", "field": "preferences.language", "value": "French"},
        {"action": "remove", "fact": 1, "reason": "forget"},
    ]
}
FILTERS = ({"kind": "a"}, {"n": {"$gt": 1, "$lte": 7}}, {"tags": {"$ne": ["x"]}, "deep": {"a": {"b": None}}})
TEMPLATES = (
    "You help {{user_name}}. {{#facts}}- {{text}}\n{{/facts}}{{^facts}}none{{/facts}}",
    "{{preferences}} {{{raw}}} {{! comment }} {{town | upper}} {{history}}",
)


@functools.cache
def folder() -> Path:
    """A folder for the files of all targets."""
    return Path(tempfile.mkdtemp(prefix="agentmem-fuzz-"))


@functools.cache
def memory() -> AgentMemory:
    """A memory with data, which all targets share."""
    made = AgentMemory.from_url("sqlite:///:memory:")
    made.history("trip", user_id="alice").add_messages([HumanMessage("Hello"), MESSAGE])
    made.store.put(("notes", "alice"), "1", {"kind": "a", "n": 3, "tags": ["x"], "text": "A note"})
    made.variables.set("town", "Oslo", user_id="alice")
    made.profiles.add_fact("alice", "Owns a boat", topics=["things"])
    return made


# Targets


def load_values(data: bytes) -> None:
    """The codec: stored values, messages and documents."""
    kinds = ("msgpack", "json", "bytes", "null", data[:8].decode(errors="replace"))
    typed = (kinds[data[0] % len(kinds)] if data else "msgpack", data[1:])
    for load in (CODEC.load, CODEC.load_message, CODEC.load_document):
        refuse(functools.partial(load, typed))
    refuse(functools.partial(CODEC.unpack_document, data[1:]))


def import_file(data: bytes) -> None:
    """`memory.import_from`: an export."""
    file = folder() / "export.jsonl"
    file.write_bytes(data)
    refuse(lambda: memory().import_from(file))


def load_history(data: bytes) -> None:
    """`history.load`: a session."""
    file = folder() / "session.json"
    file.write_bytes(data)
    refuse(lambda: memory().history("loaded").load(file))


def render_template(data: bytes) -> None:
    """`memory.prompt`: a template, which then is filled."""
    # Format specifications and conversions, after a colon or an exclamation mark, are Python's, and raise its errors.
    text = data.decode(errors="surrogateescape").translate({ord(":"): ";", ord("!"): "."})

    def fill() -> None:
        prompt = memory().prompt(text, user_id="alice", session_id="trip")
        prompt.invoke(dict.fromkeys(prompt.input_variables, text))

    refuse(fill)


def search_with_filter(data: bytes) -> None:
    """`store.search`: a filter."""
    try:
        condition = json.loads(data)
    except (ValueError, RecursionError):
        condition = {"text": data.decode(errors="surrogateescape")}
    refuse(lambda: memory().store.search(("notes",), filter=condition))


def read_answer(data: bytes) -> None:
    """Extraction: the answer of a model, as text and as the arguments of a call."""
    text = data.decode(errors="surrogateescape")
    refuse(lambda: proposals_in(AIMessage(text), entities=True))
    try:
        arguments = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(arguments, dict):
        call = {"name": "change_profile", "args": arguments, "id": "1"}
        refuse(lambda: proposals_in(AIMessage("", tool_calls=[call]), entities=True))


def send_body(data: bytes) -> None:
    """The HTTP API: the body of a request to a route, which the first byte chooses."""
    method, path = ROUTES[data[0] % len(ROUTES)] if data else ROUTES[0]

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(application())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            headers = {"content-type": "application/json"}
            return await client.request(method, path, content=data[1:], headers=headers, params={"user_id": "alice"})

    response = loop().run_until_complete(send())
    if response.status_code >= 500:
        raise AssertionError(f"{method} {path}: {response.status_code} {response.text[:500]}")
    if response.content:
        response.json()


@functools.cache
def loop() -> asyncio.AbstractEventLoop:
    """The event loop of the application."""
    return asyncio.new_event_loop()


@functools.cache
def application() -> Any:
    """The HTTP API."""
    return create_app(memory())


@functools.cache
def routes() -> tuple[tuple[str, str], ...]:
    """The routes that take JSON, with names of data that exists."""
    found = []
    for path, methods in application().openapi()["paths"].items():
        for method, described in methods.items():
            if "application/json" in described.get("requestBody", {}).get("content", {}):
                for name, value in (("session_id", "trip"), ("thread_id", "t"), ("agent", "a")):
                    path = path.replace("{" + name + "}", value)
                found.append((method.upper(), path.replace("{", "").replace("}", "")))
    return tuple(found)


class _Routes:
    def __getitem__(self, at: int) -> tuple[str, str]:
        return routes()[at]

    def __len__(self) -> int:
        return len(routes())


ROUTES = _Routes()


def refuse(call: Callable[[], Any]) -> None:
    """Make a call, which may refuse its input."""
    try:
        call()
    except (AgentMemError, UnusableAnswerError, RefusedError):
        return


# Seeds


def exported() -> bytes:
    """An export."""
    file = folder() / "seed.jsonl"
    memory().export(file)
    return file.read_bytes()


def saved() -> bytes:
    """A session in a file."""
    file = folder() / "seed.json"
    memory().history("trip", user_id="alice").save(file)
    return file.read_bytes()


def bodies() -> list[bytes]:
    """Bodies of requests, with the number of the route."""
    found: list[Any] = [
        {"text": "Owns a boat"},
        {"messages": [{"role": "user", "content": "Hi"}]},
        {"value": 1, "name": "town"},
    ]
    return [bytes([at]) + json.dumps(found[at % len(found)]).encode() for at in range(len(routes()))]


@dataclass(frozen=True)
class Target:
    """A target.

    Attributes:
        run: The function.
        seeds: Returns valid inputs.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


TARGETS: dict[str, Target] = {
    "codec": Target(
        load_values,
        lambda: [
            b"\x00" + CODEC.dump_message(MESSAGE).data,
            b"\x00" + CODEC.dump_plain({"a": [1, 2.5, None, "x"], "m": HumanMessage("Hi")}).data,
            b"\x00" + CODEC.dump_document({"text": "Hello", "list": [1, {"a": True}]}).data,
            b"\x00" + CODEC.pack_document({"text": "Hello " * 50}),
        ],
    ),
    "importer": Target(import_file, lambda: [exported()]),
    "history": Target(load_history, lambda: [saved()]),
    "template": Target(render_template, lambda: [one.encode() for one in TEMPLATES]),
    "filter": Target(search_with_filter, lambda: [json.dumps(one).encode() for one in FILTERS]),
    "answer": Target(
        read_answer, lambda: [json.dumps(CHANGES).encode(), f"```json\n{json.dumps(CHANGES)}\n```".encode()]
    ),
    "http": Target(send_body, bodies),
}
