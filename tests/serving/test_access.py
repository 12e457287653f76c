"""Who may access what: every route, for every kind of key."""

from __future__ import annotations

import httpx
import pytest
from fastapi.routing import APIRoute
from requests_of_routes import (
    ALICE,
    BOB,
    KEYS,
    OF_ALICE,
    OF_ALL,
    OF_BOB,
    OF_BOTH,
    OF_SHOP,
    OF_SHOP_ALICE,
    SAMPLES,
    app_with_data,
    client,
    exported,
    secret,
    send,
)

from langchain_agentmem import AgentMemory, InvalidInputError, InvalidTypeError
from langchain_agentmem.serving import Access, create_app
from langchain_agentmem.serving.mcp import create_mcp_app

EACH = pytest.mark.parametrize("route", list(SAMPLES), ids=" ".join)
GUARDED = pytest.mark.parametrize(
    "route", [route for route, sample in SAMPLES.items() if sample.kind != "open"], ids=" ".join
)
OF_USERS = pytest.mark.parametrize(
    "route", [route for route, sample in SAMPLES.items() if sample.kind in {"user", "list"}], ids=" ".join
)
WHOLE = pytest.mark.parametrize(
    "route", [route for route, sample in SAMPLES.items() if sample.kind == "whole"], ids=" ".join
)
LISTS = pytest.mark.parametrize(
    "route", [route for route, sample in SAMPLES.items() if sample.kind == "list"], ids=" ".join
)
OF_ANOTHER_TENANT = (OF_SHOP, OF_SHOP_ALICE)


async def test_every_route_has_a_sample():
    memory, app = await app_with_data()
    routes = {(method, route.path) for route in app.routes if isinstance(route, APIRoute) for method in route.methods}
    assert routes == SAMPLES.keys()
    await memory.aclose()


@GUARDED
async def test_every_route_requires_a_known_key(route):
    memory, app = await app_with_data()
    for key in (None, "unknown", "key-", f"{OF_ALL} "):
        async with client(app, key) as session:
            answer = await send(session, route, ALICE)
            assert answer.status_code == 401, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert (await session.request(route[0], route[1], content=b"{", params={"limit": "x"})).status_code == 401
    await memory.aclose()


@EACH
async def test_a_key_for_the_user_gets_an_answer(route):
    memory, app = await app_with_data()
    whole = SAMPLES[route].kind == "whole"
    async with client(app, OF_ALL if whole else OF_ALICE) as session:
        answer = await send(session, route, ALICE)
        assert answer.is_success, answer.text
    await memory.aclose()


@OF_USERS
async def test_a_key_for_one_user_never_reaches_another(route):
    memory, app = await app_with_data()
    before = await exported(memory, ALICE)
    async with client(app, OF_BOB) as session:
        answer = await send(session, route, ALICE)
        assert answer.status_code == 403, answer.text
        assert secret(ALICE) not in answer.text
        for query in ({}, {"nobody": "true"}, {"user_id": ["bob@example.com", ALICE]}, {"user_id": [ALICE, BOB]}):
            answer = await send(session, route, BOB if query else None, **query)
            assert "secret-of-alice" not in answer.text
            assert "secret-of-nobody" not in answer.text
            assert ALICE not in answer.text
        if SAMPLES[route].hides is not None:
            assert (await send(session, route, BOB)).json() == SAMPLES[route].hides
    assert await exported(memory, ALICE) == before
    await memory.aclose()


@OF_USERS
async def test_a_key_for_several_users_names_the_user(route):
    memory, app = await app_with_data()
    async with client(app, OF_BOTH) as session:
        assert (await send(session, route, None)).status_code == 403
        assert (await send(session, route, "carol@example.com")).status_code == 403
        assert (await send(session, route, ALICE)).is_success
    await memory.aclose()


@EACH
async def test_no_key_reaches_another_tenant(route):
    memory, app = await app_with_data()
    shop = memory.for_tenant("shop")
    stored = [await exported(memory, user) for user in (ALICE, BOB)]
    for key in OF_ANOTHER_TENANT:
        async with client(app, key) as session:
            for user in (ALICE, None):
                answer = await send(session, route, user)
                assert "-in-default" not in answer.text
    assert [await exported(memory, user) for user in (ALICE, BOB)] == stored
    stored = [await exported(shop, user) for user in (ALICE, BOB)]
    for key in (OF_ALL, OF_ALICE):
        async with client(app, key) as session:
            for user in (ALICE, None):
                answer = await send(session, route, user)
                assert "-in-shop" not in answer.text
    assert [await exported(shop, user) for user in (ALICE, BOB)] == stored
    await memory.aclose()


@WHOLE
async def test_a_key_for_users_never_gets_what_belongs_to_all(route):
    memory, app = await app_with_data()
    for key, access in KEYS.items():
        if access.users is not None:
            async with client(app, key) as session:
                answer = await send(session, route, None)
                assert answer.status_code == 403, answer.text
    await memory.aclose()


@LISTS
async def test_lists_of_all_users_and_of_nobody_need_a_key_for_all(route):
    memory, app = await app_with_data()
    async with client(app, OF_ALL) as session:
        answer = await send(session, route, None)
        assert answer.is_success
        assert ALICE in answer.text
        assert BOB in answer.text
        nobody = await send(session, route, None, nobody="true")
        assert nobody.is_success
        assert "secret-of-alice" not in nobody.text
        assert (await send(session, route, ALICE, nobody="true")).status_code == 422
    async with client(app, OF_ALICE) as session:
        assert (await send(session, route, None, nobody="true")).status_code == 403
    await memory.aclose()


OF_THREADS = ["thread/checkpoints", "thread/messages", "thread/sizes", "summary", "export"]


def is_hidden(answer: httpx.Response) -> bool:
    """Whether an answer says that what the request names does not exist."""
    return answer.status_code == 404 or '"items":[]' in answer.text


@pytest.mark.parametrize("path", OF_THREADS)
async def test_a_thread_with_other_users_needs_a_key_for_all_of_them(path):
    memory, app = await app_with_data()
    query = {"thread_id": "shared-thread", "user_id": BOB}
    async with client(app, OF_BOB) as session:
        assert is_hidden(await session.get(f"/v1/{path}", params=query))
        assert [one["thread_id"] for one in (await session.get("/v1/threads")).json()["items"]] == ["thread-of-bob"]
    async with client(app, OF_BOTH) as session:
        if path != "summary":  # without a model, nobody made one
            assert (await session.get(f"/v1/{path}", params=query)).status_code == 200
        threads = (await session.get("/v1/threads", params={"user_id": BOB})).json()["items"]
        assert {one["thread_id"] for one in threads} == {"thread-of-bob", "shared-thread"}
    await memory.aclose()


@pytest.mark.parametrize("path", OF_THREADS)
async def test_a_request_about_a_user_gets_no_thread_of_another(path):
    memory, app = await app_with_data()
    async with client(app, OF_ALL) as session:
        for user, thread in ((BOB, "thread-of-alice"), ("carol@example.com", "shared-thread"), (BOB, "unknown")):
            query = {"thread_id": thread, "user_id": user}
            assert is_hidden(await session.get(f"/v1/{path}", params=query)), thread
        if path != "summary":  # without a model, nobody made one
            for query in ({"user_id": BOB, "thread_id": "shared-thread"}, {"thread_id": "thread-of-alice"}):
                assert not is_hidden(await session.get(f"/v1/{path}", params=query))
        answer = await session.delete("/v1/thread", params={"thread_id": "thread-of-alice", "user_id": BOB})
        assert answer.json() == {"changed": False}
        threads = (await session.get("/v1/threads", params={"user_id": ALICE})).json()["items"]
        assert "thread-of-alice" in {one["thread_id"] for one in threads}
    await memory.aclose()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {OF_ALICE}"}, 200),
        ({"Authorization": f"bearer  {OF_ALICE} "}, 200),
        ({"X-API-Key": OF_ALICE, "Authorization": "Bearer unknown"}, 200),
        ({"X-API-Key": "", "Authorization": f"Bearer {OF_ALICE}"}, 200),
        ({"X-API-Key": "unknown", "Authorization": f"Bearer {OF_ALICE}"}, 401),
        ({"Authorization": f"Basic {OF_ALICE}"}, 401),
        ({"Authorization": OF_ALICE}, 401),
        ({"Authorization": "Bearer"}, 401),
    ],
)
async def test_both_headers_carry_the_key_over_http_and_mcp(headers, status):
    memory, app = await app_with_data()
    async with client(app) as session:
        answer = await session.get("/v1/sessions", headers=headers)
        assert answer.status_code == status
        assert answer.headers.get("www-authenticate") == (None if status == 200 else "Bearer")
    assistants = create_mcp_app(memory, api_keys={OF_ALICE: Access(users=[ALICE])})
    async with assistants.router.lifespan_context(assistants), client(assistants) as session:
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        headers = {**headers, "Accept": "application/json, text/event-stream"}
        answer = await session.post("/mcp", headers=headers, json=ping)
        assert (answer.status_code == 401) is (status == 401), answer.text
        assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    await memory.aclose()


async def test_a_key_for_a_user_forgets_no_threads_of_others():
    memory, app = await app_with_data()
    async with client(app, OF_BOB) as session:
        answer = await session.post("/v1/forget", json={"shared": "delete"})
        assert answer.status_code == 403
        assert (await session.post("/v1/forget", json={})).json()["deleted"]["sessions"] == 1
    assert await memory.ausers() == [ALICE]
    await memory.aclose()


@pytest.mark.parametrize(
    ("client_address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("127.8.9.1", {"Host": "127.0.0.1:7777"}, 200),
        ("::1", {"Host": "[::1]:7777"}, 200),
        ("::ffff:127.0.0.1", {}, 200),
        ("127.0.0.1", {"Origin": "http://localhost:3000"}, 200),
        ("192.0.2.1", {}, 403),
        ("::ffff:192.0.2.1", {}, 403),
        ("testclient", {}, 403),
        ("192.0.2.1", {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}, 403),
        ("127.0.0.1", {"X-Real-IP": "127.0.0.1"}, 403),
        ("127.0.0.1", {"Host": "attacker.example"}, 403),
        ("127.0.0.1", {"Host": "localhost.attacker.example"}, 403),
        ("127.0.0.1", {"Host": "127.0.0.1.attacker.example:7777"}, 403),
        ("127.0.0.1", {"Host": ""}, 403),
        ("127.0.0.1", {"Origin": "https://attacker.example"}, 403),
        ("127.0.0.1", {"Origin": "null"}, 403),
        ("127.0.0.1", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("127.0.0.1", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("127.0.0.1", {"Sec-Fetch-Site": "none"}, 200),
    ],
)
async def test_without_keys_only_clients_on_this_machine_are_accepted(client_address, headers, status):
    memory, app = await app_with_data(api_keys=None)
    async with client(app, client=(client_address, 5000)) as session:
        answer = await session.get("/v1/users", headers=headers)
        assert answer.status_code == status, answer.text
    await memory.aclose()


async def test_a_service_without_keys_warns_at_its_start(caplog):
    memory = AgentMemory.from_url("sqlite:///:memory:")
    app = create_app(memory)
    async with app.router.lifespan_context(app):
        assert "No API keys" in caplog.text


@pytest.mark.parametrize(
    ("keys", "error", "text"),
    [
        ({}, InvalidInputError, "api_keys must not be empty"),
        ({"": Access()}, InvalidInputError, "Key 1 of api_keys must be printable ASCII"),
        ({"ключ": Access()}, InvalidInputError, "Key 1 of api_keys must be printable ASCII"),
        ({" a": Access()}, InvalidInputError, "without spaces at its ends"),
        ({1: Access()}, InvalidTypeError, "Key 1 of api_keys must be a string"),
        ({"a": "shop"}, InvalidTypeError, "must map each key to an Access, got str"),
        (["a"], InvalidTypeError, "api_keys must be a mapping"),
    ],
)
def test_wrong_keys_are_refused(keys, error, text):
    with AgentMemory.from_url("sqlite:///:memory:") as memory, pytest.raises(error, match=text):
        create_app(memory, api_keys=keys)


@pytest.mark.parametrize(
    ("users", "error"),
    [("alice", InvalidTypeError), ([], InvalidInputError), ([""], InvalidInputError), ([1], TypeError)],
)
def test_wrong_users_of_a_key_are_refused(users, error):
    with pytest.raises(error, match="users"):
        Access(users=users)
