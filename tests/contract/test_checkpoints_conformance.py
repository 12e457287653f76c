"""LangGraph's own conformance suite, on every backend: through the async methods, and through the sync ones."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langchain_agentmem import AgentMemSaver

KEY = b"0123456789abcdef0123456789abcdef"


class SyncSaver(AgentMemSaver):
    """Whoever awaits an async method gets the sync one, called from the running event loop."""

    async def aget_tuple(self, config: Any) -> Any:
        return self.get_tuple(config)

    async def alist(self, config: Any, **options: Any) -> Any:
        for found in self.list(config, **options):
            yield found

    async def aput(self, *args: Any) -> Any:
        return self.put(*args)

    async def aput_writes(self, *args: Any, **options: Any) -> None:
        self.put_writes(*args, **options)

    async def adelete_thread(self, thread_id: str) -> None:
        self.delete_thread(thread_id)

    async def adelete_for_runs(self, run_ids: Any) -> None:
        self.delete_for_runs(run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self.copy_thread(source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Any, *, strategy: str = "keep_latest") -> None:
        self.prune(thread_ids, strategy=strategy)


class AlternatingSaver(SyncSaver):
    """Of two awaited calls, one gets the async method and the next the sync one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.turns = itertools.count()

    async def aget_tuple(self, config: Any) -> Any:
        return await (SyncSaver if next(self.turns) % 2 else AgentMemSaver).aget_tuple(self, config)

    async def aput(self, *args: Any) -> Any:
        return await (SyncSaver if next(self.turns) % 2 else AgentMemSaver).aput(self, *args)

    async def aput_writes(self, *args: Any, **options: Any) -> None:
        await (SyncSaver if next(self.turns) % 2 else AgentMemSaver).aput_writes(self, *args, **options)


SERDES = {
    "default": lambda: None,
    "strict": lambda: JsonPlusSerializer(allowed_msgpack_modules=None),
    "encrypted": lambda: EncryptedSerializer.from_pycryptodome_aes(key=KEY),
}


@pytest.fixture(params=SERDES)
def serde(request: pytest.FixtureRequest) -> Any:
    return SERDES[request.param]()


async def capabilities_passed(make: Any) -> dict[str, Any]:
    """Run the suite with a fresh checkpointer per capability, and fail with the names of what failed."""
    opened: list[AgentMemSaver] = []

    @checkpointer_test(name="AgentMemSaver")
    async def factory() -> Any:
        opened.append(make())
        yield opened[-1]
        await opened[-1].aclose()

    report = await validate(factory)
    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert failures == {}
    return {name: result for name, result in report.results.items() if result.passed}


@pytest.fixture
def urls(url: str) -> Iterator[str]:
    """A new database for each capability."""
    if ":memory:" in url:
        return iter(lambda: url, None)
    return (url.replace(".db", f"-{number}.db") for number in range(1000))


@pytest.mark.parametrize("cls", [AgentMemSaver, SyncSaver, AlternatingSaver])
async def test_all_8_capabilities_pass(urls, cls, serde):
    passed = await capabilities_passed(lambda: cls.from_url(next(urls), serde=serde))
    assert len(passed) == 8
    assert all(result.tests_passed > 0 and result.tests_skipped == 0 for result in passed.values())


async def test_all_8_capabilities_pass_under_a_key(urls):
    passed = await capabilities_passed(lambda: AlternatingSaver.from_url(next(urls), key=KEY))
    assert len(passed) == 8
    assert all(result.tests_passed > 0 and result.tests_skipped == 0 for result in passed.values())


async def test_all_8_capabilities_pass_on_one_database_that_others_use(lasting_url):
    with_others = AgentMemSaver.from_url(lasting_url, tenant="others")
    with_others.put(
        {"configurable": {"thread_id": "1", "checkpoint_ns": ""}},
        {"id": "1", "v": 4, "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}},
        {},
        {},
    )
    passed = await capabilities_passed(lambda: AgentMemSaver.from_url(lasting_url))
    assert len(passed) == 8
    assert len(list(with_others.list(None))) == 1
    with_others.close()


def test_the_suite_passes_in_an_event_loop_per_capability(lasting_url):
    saver = AgentMemSaver.from_url(lasting_url)

    async def run(capability: str) -> Any:
        @checkpointer_test(name="AgentMemSaver")
        async def factory() -> Any:
            yield saver

        return (await validate(factory, capabilities={capability})).results[capability]

    for capability in ("put", "put_writes", "get_tuple", "delete_thread", "delete_for_runs", "copy_thread", "prune"):
        result = asyncio.run(run(capability))
        assert result.passed, result.failures
    saver.close()
