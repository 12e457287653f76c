"""What the routes of the HTTP API do, on every backend for a conversation, and on SQLite in detail."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import re
import tempfile
from typing import Any
from urllib.parse import quote

import pytest
from langchain_core.runnables import RunnableLambda
from requests_of_routes import (
    ALICE,
    OF_ALICE,
    OF_ALL,
    SAMPLES,
    app_with_data,
    client,
    echo,
    exported,
    local_client,
    never,
    secret,
    send,
)
from starlette.requests import ClientDisconnect

from langchain_agentmem import AgentMemory, InvalidInputError, InvalidTypeError
from langchain_agentmem.backends.reads import ReadCacheInfo
from langchain_agentmem.lifecycle.forgetting import Forgotten, Kept
from langchain_agentmem.lifecycle.statistics import Stats
from langchain_agentmem.serving import ServingLimits, create_app
from langchain_agentmem.serving.routes import upkeep

ODD = (
    "/",
    "..",
    "a/b",
    "a//b/",
    "%2F",
    "100%",
    "*",
    "[a-z]?",
    "'; DROP TABLE x; --",
    'say "hi"',
    "a.b.c",
    "{agent}",
    "a:b|c\\d",
    "user:x",
    "\x1f\x1e",
    "mañana ☀",
    " spaced ",
    "a&b=c#d+e",
    "x" * 1000,
)
"""IDs of separators, globs, quotes, dots and slashes."""


@pytest.fixture
async def local():
    """A client of a service without keys, and its memory."""
    async with local_client() as session:
        yield session


async def test_a_conversation_on_each_backend(url):
    memory = AgentMemory.from_url(url)
    app = create_app(memory, agents={"echo": echo})
    about = {"user_id": ALICE, "session_id": "trip"}
    async with client(app) as session:
        assert (await session.get("/ready")).json() == {"status": "ok"}
        for text in ("Hello", "Again"):
            answer = await session.post("/v1/agents/echo/run", json={"message": text, **about})
            assert answer.json()["content"] == f"You said: {text}"
        thread = {"thread_id": answer.json()["thread_id"], "user_id": ALICE}
        found = (await session.get("/v1/thread/messages", params=thread)).json()["items"]
        assert [one["text"] for one in found] == ["Hello", "You said: Hello", "Again", "You said: Again"]
        checkpoints = (await session.get("/v1/thread/checkpoints", params={**thread, "limit": 2})).json()
        assert [one["message_count"] for one in checkpoints["items"]] == [4, 3]
        rest = {**thread, "before": checkpoints["next_before"]}
        assert len((await session.get("/v1/thread/checkpoints", params=rest)).json()["items"]) == 4
        said = [{"role": "user", "content": "Where is Malta?"}, {"role": "assistant", "content": "In the sea."}]
        assert (await session.post("/v1/messages", json={**about, "messages": said})).status_code == 201
        page = (await session.get("/v1/messages", params={**about, "limit": 1})).json()
        assert (page["items"][0]["text"], page["next_after"]) == ("Where is Malta?", 0)
        page = (await session.get("/v1/messages", params={**about, "after": 0})).json()
        assert ([one["role"] for one in page["items"]], page["next_after"]) == (["ai"], None)
        hits = (await session.get("/v1/search", params={"query": "Malta", "user_id": ALICE})).json()["items"]
        assert hits[0]["text"] == "Where is Malta?"
        assert (hits[0]["matched"], hits[0]["passage"], hits[0]["similarity"]) == (["malta"], "Where is Malta?", None)
        narrow = {"query": "Malta", "user_id": ALICE, "when": "before 2020"}
        assert (await session.get("/v1/search", params=narrow)).json()["items"] == []
        assert (await session.get("/v1/search", params={**narrow, "when": "soon"})).status_code == 422
        await session.post("/v1/facts", json={"user_id": ALICE, "text": "Likes hiking", "topics": ["hobbies"]})
        facts = (await session.get("/v1/facts", params={"user_id": ALICE, "topic": "hobbies"})).json()["items"]
        newer = {"user_id": ALICE, "text": "Likes climbing", "replaces": facts[0]["id"]}
        assert (await session.post("/v1/facts", json=newer)).status_code == 201
        story = (await session.get("/v1/facts/history", params={"user_id": ALICE})).json()["items"]
        assert [(one["text"], one["valid_to"] is None) for one in story] == [
            ("Likes hiking", False),
            ("Likes climbing", True),
        ]
        lines = (await session.get("/v1/export")).content
        assert (await session.get("/v1/stats")).json()["entries"]["messages"] == 2
        preview = (await session.post("/v1/forget", json={"user_id": ALICE, "dry_run": True})).json()
        assert (await session.get("/v1/users")).json()["items"] == [ALICE]
        receipt = (await session.post("/v1/forget", json={"user_id": ALICE})).json()
        assert (receipt["deleted"]["threads"], receipt["kept"]) == (1, [])
        assert (preview["user_id"], preview["dry_run"], receipt["user_id"], receipt["dry_run"]) == (
            ALICE,
            True,
            ALICE,
            False,
        )
        assert preview["deleted"].items() >= {"sessions": 1, "messages": 2, "threads": 1}.items()
        assert (await session.get("/v1/users")).json()["items"] == []
        assert (await session.post("/v1/import", content=lines)).json()["counts"]["messages"] == 2
        assert (await session.get("/v1/users")).json()["items"] == [ALICE]
    await memory.aclose()


@pytest.mark.parametrize(
    ("model", "result"),
    [
        (upkeep.Receipt, Forgotten),
        (upkeep.Kept, Kept),
        (upkeep.Statistics, Stats),
        (upkeep.ReadCacheUse, ReadCacheInfo),
    ],
    ids=["receipt", "kept", "statistics", "cache"],
)
def test_an_answer_has_all_fields_of_the_result(model, result):
    names = result._fields if hasattr(result, "_fields") else [field.name for field in dataclasses.fields(result)]
    assert set(model.model_fields) == set(names)


@pytest.mark.parametrize("odd", ODD)
async def test_ids_are_opaque(local, odd):
    about = {"user_id": odd, "session_id": odd}
    await local.post("/v1/messages", json={**about, "messages": [{"role": "user", "content": "Hi"}]})
    (found,) = (await local.get("/v1/sessions", params={"user_id": odd})).json()["items"]
    assert (found["user_id"], found["session_id"]) == (odd, odd)
    assert (await local.get("/v1/messages", params=about)).json()["items"][0]["text"] == "Hi"
    encoded = quote(odd, safe="").replace(".", "%2E")  # clients resolve dots themselves
    path = f"/api/v1/agent/{encoded}/memory"
    stored = await local.post(path, json={"name": odd, "content": odd, "session_name": odd, "user_id": odd})
    assert stored.status_code == 201, stored.text
    query = {"session_name": odd, "user_id": odd}
    named = await local.get(f"{path}/{encoded}", params=query)
    assert (named.json()["agent"], named.json()["name"], named.json()["content"]) == (odd, odd, odd)
    assert (await local.get(path, params={**query, "session_name": "other"})).json()["items"] == []
    assert (await local.delete(f"{path}/{encoded}", params=query)).json() == {"changed": True}
    assert (await local.post("/v1/forget", json={"user_id": odd})).json()["deleted"]["sessions"] == 1


@pytest.mark.parametrize("names", [("a/b", "c", "a", "b/c"), ("a", "b", "a/b", ""), ("a%2Fb", "c", "a", "b/c")])
async def test_no_session_enters_the_thread_of_another(local, names):
    first_user, first, second_user, second = names
    for user, session in ((first_user, first), (second_user, second or "x")):
        body = {"message": f"I am {user}", "user_id": user, "session_id": session}
        await local.post("/v1/agents/echo/run", json=body)
    threads = (await local.get("/v1/threads")).json()["items"]
    assert [one["checkpoint_count"] for one in threads] == [3, 3]
    assert {tuple(one["users"]) for one in threads} == {(first_user,), (second_user,)}


async def test_logs_hold_no_content(caplog):
    caplog.set_level(logging.INFO, "langchain_agentmem.serving")
    memory, app = await app_with_data()
    async with client(app, OF_ALICE) as session:
        await session.get("/v1/search", params={"query": "a private question", "user_id": ALICE})
    (record,) = [one for one in caplog.records if one.name == "langchain_agentmem.serving"]
    assert (record.method, record.route, record.status) == ("GET", "/v1/search", 200)
    shown = f"{record.getMessage()} {vars(record)}"
    assert not any(word in shown for word in (ALICE, "private", secret(ALICE), OF_ALICE))
    await memory.aclose()


@pytest.mark.parametrize("memory", ["sqlite:///:memory:", None])
def test_a_memory_is_required(memory):
    with pytest.raises(InvalidTypeError, match="memory must be an AgentMemory"):
        create_app(memory)


async def test_large_bodies_are_refused():
    memory = AgentMemory.from_url("sqlite:///:memory:")
    app = create_app(memory, limits=ServingLimits(body_bytes=1_000, import_bytes=2_000))

    async def parts():
        for _ in range(10):
            yield b" " * 500

    async with client(app) as session:
        for content in (b" " * 1_001, parts()):
            answer = await session.post("/v1/messages", content=content, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["status"]) == (413, 413), answer.text
        assert (await session.post("/v1/import", content=b" " * 1_500)).status_code == 422
        assert (await session.post("/v1/import", content=parts())).status_code == 413
    await memory.aclose()


async def test_requests_have_a_time_limit():
    memory = AgentMemory.from_url("sqlite:///:memory:")
    app = create_app(
        memory, limits=ServingLimits(timeout=0.05, run_timeout=0.05), agents={"slow": RunnableLambda(never)}
    )
    memory.astats = never  # type: ignore[method-assign]
    async with client(app) as session:
        for answer in (
            await session.get("/v1/stats"),
            await session.post("/v1/agents/slow/run", json={"message": "Hi"}),
        ):
            assert (answer.status_code, answer.json()["detail"]) == (504, "The request took too long.")
    await memory.aclose()


async def test_a_slow_body_ends_at_the_time_limit():
    memory = AgentMemory.from_url("sqlite:///:memory:")
    app = create_app(memory, limits=ServingLimits(timeout=0.05, run_timeout=0.05), agents={"echo": echo})

    async def slow():
        yield b" "
        await never()

    async with client(app) as session:
        for path in ("/v1/agents/echo/run", "/v1/messages", "/v1/import"):
            answer = await session.post(path, content=slow(), headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["detail"]) == (504, "The request took too long."), path
    await memory.aclose()


async def test_requests_of_each_key_are_counted():
    memory, app = await app_with_data(limits=ServingLimits(rate="3/hour"))
    async with client(app, OF_ALICE) as session, client(app, OF_ALL) as other:
        answers = [(await session.get("/v1/agents")).status_code for _ in range(4)]
        assert answers == [200, 200, 200, 429]
        refused = await session.get("/v1/agents")
        assert 0 < int(refused.headers["Retry-After"]) <= 3600
        assert (await other.get("/v1/agents")).status_code == 200
        assert (await session.get("/health")).status_code == 200
    await memory.aclose()


async def test_unknown_keys_are_counted():
    memory, app = await app_with_data()
    async with client(app) as session:
        answers = [(await session.get("/v1/agents", headers={"X-API-Key": f"{n}"})).status_code for n in range(61)]
        assert answers == [401] * 60 + [429]
        assert (await session.get("/v1/agents", headers={"X-API-Key": OF_ALICE})).status_code == 200
    await memory.aclose()


@pytest.mark.parametrize("rate", ["many", "", 5, "5"])
def test_a_wrong_rate_is_refused(rate):
    with AgentMemory.from_url("sqlite:///:memory:") as memory, pytest.raises(InvalidInputError, match="rate must be"):
        create_app(memory, limits=ServingLimits(rate=rate))


async def test_no_page_of_another_origin_reads_answers_unless_it_is_listed():
    memory, app = await app_with_data()
    listed, of_listed = await app_with_data(cors_origins=["https://app.example"])
    for one, allowed in ((app, None), (of_listed, "https://app.example")):
        async with client(one, OF_ALICE) as session:
            for origin in ("https://app.example", "https://attacker.example"):
                answer = await session.get("/v1/agents", headers={"Origin": origin})
                expected = allowed if origin == allowed else None
                assert answer.headers.get("access-control-allow-origin") == expected
    await memory.aclose()
    await listed.aclose()


def test_one_origin_is_no_list_of_origins():
    with (
        AgentMemory.from_url("sqlite:///:memory:") as memory,
        pytest.raises(InvalidTypeError, match="cors_origins must"),
    ):
        create_app(memory, cors_origins="https://app.example")


async def test_unknown_paths_and_methods_are_problems(local):
    for answer, status in ((await local.get("/v1/nothing"), 404), (await local.put("/v1/sessions"), 405)):
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await local.put("/v1/sessions")).headers["allow"] == "GET"


async def test_a_wrong_request_names_its_parts(local):
    answer = await local.post("/v1/messages", json={"session_id": "", "messages": [], "extra": "hunter2"})
    assert answer.status_code == 422
    assert {tuple(one["where"]) for one in answer.json()["errors"]} == {
        ("body", "session_id"),
        ("body", "messages"),
        ("body", "extra"),
    }
    assert "hunter2" not in answer.text


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_without_the_content_type_of_json_is_told_so(local, media_type):
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = await local.post("/v1/forget", content=b'{"user_id": "hunter2"}', headers=headers)
    told = "Content-Type must be application/json"
    assert (answer.status_code, told in answer.json()["detail"]) == (422, True), answer.text
    assert [one["where"] for one in answer.json()["errors"]] == [["header", "content-type"]]
    assert "hunter2" not in answer.text


@pytest.mark.parametrize("route", list(SAMPLES), ids=" ".join)
async def test_unknown_query_parameters_are_refused(route):
    memory, app = await app_with_data()
    before = await exported(memory, ALICE)
    async with client(app, OF_ALL) as session:
        for name in ("userid", "Limit", "x" * 1_000):
            answer = await send(session, route, ALICE, **{name: "hunter2"})
            assert answer.status_code == 422, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert [one["where"] for one in answer.json()["errors"]] == [["query", name[:100]]]
            assert "hunter2" not in answer.text
    assert await exported(memory, ALICE) == before
    await memory.aclose()


async def test_an_unknown_query_parameter_is_answered_with_the_known_ones(local):
    answer = await local.delete("/v1/messages", params={"user_id": ALICE, "session_id": "trip", "id": "m2"})
    (wrong,) = answer.json()["errors"]
    assert wrong["reason"] == "Unknown query parameter. Known ones: agent, all, message_id, session_id, user_id."


async def test_added_messages_are_answered_with_their_ids(local):
    about = {"session_id": "trip", "user_id": ALICE}
    said = [{"role": "user", "content": "Hi", "id": "m1"}, {"role": "assistant", "content": "Hello"}]
    await local.post("/v1/messages", json={**about, "messages": [{"role": "user", "content": "First"}]})
    added = (await local.post("/v1/messages", json={**about, "messages": said})).json()
    ids = added["ids"]
    assert added["positions"] == [1, 2]
    found = (await local.get("/v1/messages", params={**about, "after": 0})).json()["items"]
    assert [(one["id"], one["position"]) for one in found] == [*zip(ids, added["positions"], strict=True)]
    assert ids[0] == "m1"
    assert (await local.delete("/v1/messages", params={**about, "message_id": ids[1]})).json() == {"deleted": 1}


async def test_everything_is_deleted_only_with_all(local):
    about = {"session_id": "trip", "user_id": ALICE}
    said = [{"role": "user", "content": "Hi", "id": f"m{n}"} for n in range(3)]
    await local.post("/v1/messages", json={**about, "messages": said})
    ids = (await local.post("/v1/knowledge", json={"name": "rules", "texts": ["A", "B", "C"]})).json()["ids"]
    values = {"user_id": ALICE, "values": {"tone": "short", "language": "Greek"}}
    await local.put("/v1/variables", json=values)
    await local.put("/v1/variables", json={**values, "session_id": "trip"})
    for wrong in ({}, {"all": "false"}):
        answer = await local.delete("/v1/variables", params={"user_id": ALICE, **wrong})
        assert (answer.status_code, "all=true" in answer.json()["detail"]) == (422, True), answer.text
    assert (await local.delete("/v1/variables", params={"user_id": ALICE, "all": "true"})).json() == {"deleted": 2}
    assert len((await local.get("/v1/variables", params=about)).json()["values"]) == 2, "narrower scopes are kept"
    for path, place, name, one in (
        ("/v1/messages", about, "message_id", "m1"),
        ("/v1/knowledge", {"name": "rules"}, "id", ids[1]),
    ):
        for wrong in ({}, {"all": "false"}, {"all": "true", name: one}):
            answer = await local.delete(path, params={**place, **wrong})
            assert (answer.status_code, name in answer.json()["detail"]) == (422, True), answer.text
        assert len((await local.get(path, params=place)).json()["items"]) == 3
        assert (await local.delete(path, params={**place, name: one})).json() == {"deleted": 1}
        assert (await local.delete(path, params={**place, "all": "true"})).json() == {"deleted": 2}


NOBODY = {"user_id": "unknown@example.com"}
UNKNOWN = {
    "session_id": "unknown",
    "thread_id": "unknown",
    "fact_id": "unknown",
    "memory_id": "unknown",
    "message_id": "unknown",
    "name": "unknown",
    "id": "unknown",
    "query": "unknown",
    "subject": "unknown",
    "predicate": "unknown",
    "object": "unknown",
}


@pytest.fixture(scope="module")
def paths():
    """The paths of the OpenAPI document, which takes a while to make."""
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        return create_app(memory, agents={"echo": echo}).openapi()["paths"]


@pytest.mark.parametrize("route", [one for one in SAMPLES if one[0] in {"GET", "DELETE"}], ids=" ".join)
async def test_what_does_not_exist_is_an_empty_list_a_404_or_no_change(local, paths, route):
    """The rule in docs/serving.md."""
    method, path = route
    described = paths[path][method.lower()]
    known = {one["name"] for one in described["parameters"] if one["in"] == "query"} if SAMPLES[route].query else set()
    query = {name: value for name, value in UNKNOWN.items() if name in known & SAMPLES[route].query.keys()}
    query |= {"all": "true"} if "all" in SAMPLES[route].query else {}
    query |= NOBODY if SAMPLES[route].kind in {"user", "list"} else {}
    answer = await local.request(method, path.format(agent="echo", name="unknown"), params=query)
    found = answer.json()
    if answer.status_code == 404:
        assert path in {
            "/v1/session",
            "/v1/summary",
            "/v1/entity",
            "/v1/variable",
            "/api/v1/agent/{agent}/memory/{name}",
            "/v1/export",
        }
        assert method == "GET"
        return
    assert answer.status_code == 200, answer.text
    if method == "DELETE":
        assert found in ({"changed": False}, {"deleted": 0})
    elif path not in {"/health", "/ready", "/v1/stats", "/v1/agents", "/v1/profile"}:
        lists = [value for value in found.values() if isinstance(value, (list, dict))]
        assert lists or found == {"text": ""}
        assert not any(lists)


async def test_parts_of_unknown_objects_are_empty_or_unchanged(local):
    for path in ("messages", "thread/messages", "thread/checkpoints", "thread/sizes"):
        query = {"thread_id" if path.startswith("thread") else "session_id": "unknown", **NOBODY}
        assert (await local.get(f"/v1/{path}", params=query)).json()["items"] == []
    await local.post("/v1/knowledge", json={"name": "rules", "texts": ["Be kind."]})
    for names, texts in (("unknown", []), (["unknown", "rules"], ["Be kind."])):
        found = await local.get("/v1/knowledge/search", params={"query": "kind", "name": names})
        assert [one["text"] for one in found.json()["items"]] == texts
    assert (await local.get("/v1/export", params={"thread_id": "unknown"})).status_code == 404
    title = await local.patch("/v1/session", json={"session_id": "unknown", "title": "New"})
    assert title.json() == {"changed": False}
    assert (await local.post("/v1/session/end", json={"session_id": "unknown"})).json() == {"deleted": 0}


async def test_the_messages_of_a_thread_are_paged(local):
    for text in ("One", "Two"):
        body = {"message": text, "user_id": ALICE, "session_id": "s"}
        thread = (await local.post("/v1/agents/echo/run", json=body)).json()["thread_id"]
    query = {"thread_id": thread, "user_id": ALICE, "limit": 3}
    first = (await local.get("/v1/thread/messages", params=query)).json()
    assert ([one["text"] for one in first["items"]], first["next_after"]) == (["One", "You said: One", "Two"], 2)
    second = (await local.get("/v1/thread/messages", params={**query, "after": 2})).json()
    assert [(one["position"], one["text"]) for one in second["items"]] == [(3, "You said: Two")]
    assert second["next_after"] is None
    whole = (await local.get("/v1/thread/messages", params={**query, "limit": 4})).json()
    assert (len(whole["items"]), whole["next_after"]) == (4, None)


async def test_a_summary_of_a_long_session_quotes_its_newest_messages(local):
    about = {"session_id": "long", "user_id": ALICE}
    for first, count in ((0, 600), (600, 601)):
        said = [{"role": "user", "content": f"The train number {n} is late."} for n in range(first, first + count)]
        await local.post("/v1/messages", json={**about, "messages": said})
    found = (await local.get("/v1/summary", params=about)).json()
    assert found["message_count"] == 1_000
    numbers = [int(one) for one in re.findall(r"number (\d+) is", found["text"])]
    assert numbers
    assert min(numbers) >= 201


async def test_the_history_of_facts_is_paged(local):
    for number in range(5):
        await local.post("/v1/facts", json={"user_id": ALICE, "text": f"Fact {number}"})
    query, texts = {"user_id": ALICE, "limit": 2, "offset": 0}, []
    while query["offset"] is not None:
        page = (await local.get("/v1/facts/history", params=query)).json()
        texts += [one["text"] for one in page["items"]]
        query["offset"] = page["next_offset"]
    assert texts == [f"Fact {number}" for number in range(5)]
    for number in range(3):
        await local.post("/v1/memories", json={"user_id": ALICE, "text": f"Memory {number}"})
    known = await local.get("/v1/agents/echo/memories", params={"user_id": ALICE, "limit": 2})
    assert [one["memory"] for one in known.json()["memories"]] == ["Fact 3", "Fact 4", "Memory 1", "Memory 2"]


@pytest.mark.parametrize("given", ["bytes=0-10", "bytes=999999999-", "bytes=x", "none"])
async def test_an_export_is_always_sent_as_a_whole(local, given, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    await local.post("/v1/messages", json={"session_id": "s", "messages": [{"role": "user", "content": "Hi"}]})
    answer = await local.get("/v1/export", headers={"Range": given})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert json.loads(answer.text.splitlines()[-1])["kind"] == "end"
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


async def test_the_file_of_an_export_is_deleted_if_the_client_leaves(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    memory = AgentMemory.from_url("sqlite:///:memory:")
    await memory.history("s").aadd_messages([("user", "Hi")])
    app = create_app(memory)

    async def send(message: Any) -> None:
        assert await asyncio.to_thread(os.listdir, tmp_path)
        raise OSError("The client has left.")

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "scheme": "http"}
    scope |= {"method": "GET", "path": "/v1/export", "raw_path": b"/v1/export", "root_path": "", "query_string": b""}
    scope |= {"headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("localhost", 80)}
    with contextlib.suppress(OSError, ClientDisconnect):
        await app(scope, receive, send)
    assert await asyncio.to_thread(os.listdir, tmp_path) == []
    await memory.aclose()


async def test_errors_of_an_import_name_no_file_of_the_machine(local):
    answer = await local.post("/v1/import", content=b"{}\n")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("'memory.jsonl' cannot be imported: line 1")


async def test_a_database_that_cannot_be_used_is_not_ready(tmp_path):
    memory = AgentMemory.from_url(f"sqlite:///{tmp_path}/missing/folder.db")
    async with client(create_app(memory)) as session:
        for path, status in (("/ready", 503), ("/v1/sessions", 500)):
            answer = await session.get(path)
            assert answer.status_code == status, answer.text
            assert "missing" not in answer.text
        assert (await session.get("/health")).status_code == 200
    await memory.aclose()


async def test_fifty_clients_at_once(sqlite_url):
    memory = AgentMemory.from_url(sqlite_url)
    app = create_app(memory, agents={"echo": echo})
    async with client(app) as session:

        async def one(n: int) -> None:
            about = {"user_id": f"user-{n % 10}", "session_id": f"session-{n}"}
            answer = await session.post("/v1/agents/echo/run", json={"message": "Hi", **about})
            assert answer.status_code == 200, answer.text
            said = {**about, "messages": [{"role": "user", "content": "Hi"}]}
            assert (await session.post("/v1/messages", json=said)).status_code == 201
            assert len((await session.get("/v1/messages", params=about)).json()["items"]) == 1

        await asyncio.gather(*map(one, range(50)))
        assert len((await session.get("/v1/sessions")).json()["items"]) == 50
    await memory.aclose()
