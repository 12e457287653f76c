"""`memory.for_tenant`: memories of several tenants on the same connections, on every backend."""

from __future__ import annotations

import gc

import pytest

from langchain_agentmem import AgentMemory, InvalidInputError, StorageClosedError
from langchain_agentmem.testing import ScriptedChatModel

FACT = '{"changes": [{"action": "add", "text": "Likes hiking", "messages": [1]}]}'


def test_tenants_share_a_database_and_no_data(url):
    with AgentMemory.from_url(url, max_messages=3) as memory:
        shop = memory.for_tenant("shop")
        assert (shop.tenant, shop.for_tenant("shop"), shop.for_tenant("default")) == ("shop", shop, memory)
        assert memory.for_tenant("shop") is shop
        shop.history("s", user_id="alice").add_messages([("user", str(n)) for n in range(5)])
        shop.variables.set("tone", "short", user_id="alice")
        shop.store.put(("a",), "b", {"c": 1})
        assert (memory.users(), memory.store.get(("a",), "b")) == ([], None)
        assert len(shop.history("s", user_id="alice").messages) == 3
        with AgentMemory.from_url(url, tenant="shop") if "memory" not in url else shop as again:
            assert again.users() == ["alice"]


def test_closing_a_tenant_leaves_the_connections_open(url):
    with AgentMemory.from_url(url) as memory:
        with memory.for_tenant("shop") as shop:
            shop.history("s").add_user_message("Hello")
        shop.close()
        assert shop.history("s").count() == 1
        assert memory.history("s").count() == 0
    with pytest.raises(StorageClosedError):
        shop.history("s").count()


async def test_closing_a_memory_finishes_the_extraction_of_all_tenants(sqlite_url):
    memory = AgentMemory.from_url(sqlite_url)
    node = memory.for_tenant("shop").profile_node(ScriptedChatModel([FACT]), when="background")
    gc.collect()  # the memory of the tenant may be gone before its extraction
    config = {"configurable": {"user_id": "alice"}}
    await node.ainvoke({"messages": [("user", "I love to hike.")]}, config)
    await memory.aclose()
    async with AgentMemory.from_url(sqlite_url) as again:
        assert [one.text for one in await again.for_tenant("shop").profiles.atimeline("alice")] == ["Likes hiking"]
        assert await again.profiles.atimeline("alice") == []


def test_each_tenant_of_an_encrypted_memory_has_its_own_keys(url):
    key = bytes(range(32))
    with AgentMemory.from_url(url, key=key) as memory:
        memory.for_tenant("shop").history("s").add_user_message("Hello")
        assert memory.for_tenant("shop").history("s").messages[0].text == "Hello"
        assert memory.history("s").count() == 0


@pytest.mark.parametrize("name", ["", "\x1fnotes\x1fx", "a\x00b"])
def test_a_wrong_tenant_is_refused(name):
    with AgentMemory.from_url("sqlite:///:memory:") as memory, pytest.raises(InvalidInputError, match="tenant"):
        memory.for_tenant(name)
