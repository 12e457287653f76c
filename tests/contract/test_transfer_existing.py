"""Imports into a memory that has data, and what an import leaves out."""

from __future__ import annotations

import io
import os
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from everything import ALICE, BOB, Words, chat_graph, config, fill
from exports import lines_of, opened
from langchain_core.messages import AIMessage, HumanMessage

from langchain_agentmem import AgentMemory, InvalidInputError
from langchain_agentmem.backends.contract import SessionKey
from langchain_agentmem.lifecycle.transfer.files import Seal


async def test_a_different_object_stops_an_import_before_it_writes(url, call, exported):
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        await call(memory.store.put, ("docs",), "ttl", {"text": "mine"})
        before = io.StringIO()
        memory.export(before)
        with pytest.raises(InvalidInputError, match=r"Item 'ttl' in \('docs',\) is stored already, and differs"):
            await call(memory.import_from, exported)
        after = io.StringIO()
        memory.export(after)
        assert after.getvalue() == before.getvalue()
        with pytest.raises(InvalidInputError, match='existing must be "error", "keep" or "replace"'):
            await call(memory.import_from, exported, existing="merge")


@pytest.mark.parametrize("existing", ["keep", "replace"])
async def test_different_objects_are_kept_or_replaced(url, existing, call, exported, tmp_path):
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        await call(memory.history("chat", user_id=ALICE).add_messages, [HumanMessage("mine"), AIMessage("yours")])
        await call(memory.store.put, ("docs",), "ttl", {"text": "mine"})
        await call(memory.variables.set, "tone", "mine", user_id=ALICE)
        chat_graph(memory.checkpointer).invoke({"messages": [HumanMessage("mine")]}, config("of alice"))
        result = await call(memory.import_from, exported, existing=existing)
        await call(memory.export, tmp_path / "after.jsonl")
        if existing == "replace":
            assert result.kept == {}
            assert (tmp_path / "after.jsonl").read_bytes() == exported.read_bytes()
            assert (await call(memory.import_from, exported)).counts == {}
        else:
            assert {
                name: result.kept[name] for name in ("sessions", "messages", "items", "threads", "checkpoints")
            } == {
                "sessions": 1,
                "messages": 7,
                "items": 1,
                "threads": 1,
                "checkpoints": 9,
            }
            assert [message.text for message in memory.history("chat", user_id=ALICE).messages] == ["mine", "yours"]
            assert await call(memory.variables.get, "tone", user_id=ALICE) == "mine"
            state = chat_graph(memory.checkpointer).get_state(config("of alice"))
            assert len(state.values["messages"]) == 2


async def test_an_edited_message_differs(url, call, exported, tmp_path):
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        await call(memory.import_from, exported)
        history = memory.history("brief", user_id=BOB, agent="critic")
        await call(history.replace, history.messages[0].id, HumanMessage("edited"))
        with pytest.raises(InvalidInputError, match=r"Message 2 of session 'brief' of user .* differs"):
            await call(memory.import_from, exported)
        assert (await call(memory.import_from, exported, existing="keep")).kept == {"messages": 1}
        assert history.messages[0].text == "edited"
        assert (await call(memory.import_from, exported, existing="replace")).counts == {"messages": 1}
        assert history.messages[0].text == "note 2"
        await call(memory.export, tmp_path / "after.jsonl")
        assert (tmp_path / "after.jsonl").read_bytes() == exported.read_bytes()


async def test_a_message_with_another_id_is_not_replaced(url, call, exported, tmp_path):
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        await call(memory.import_from, exported)
        lines = lines_of(exported)
        message, *_ = [
            one for one in lines if one["kind"] == "message" and one["position"] == 2 and one["session_id"] == "brief"
        ]
        message["message"]["data"] |= {"id": "another", "content": "another"}
        changed = tmp_path / "changed.jsonl"
        seal = Seal()
        changed.write_bytes(b"".join(seal.text({k: v for k, v in one.items() if k != "sum"}) for one in lines))
        with pytest.raises(InvalidInputError, match="Delete the session, and import again"):
            await call(memory.import_from, changed, existing="replace")


async def test_an_interrupted_copy_continues(url, call, exported, tmp_path):
    class Stopped(Exception):
        pass

    with (
        AgentMemory.from_url(url, embeddings=Words()) as memory,
        opened("sqlite-memory", tmp_path) as source,
    ):
        source.import_from(exported)
        random = Random(int.from_bytes(os.urandom(4)))
        for _ in range(3):
            left = random.randrange(1, 40)

            def stop(_: Any) -> None:
                nonlocal left
                left -= 1
                if not left:
                    raise Stopped

            with pytest.raises(Stopped):
                await call(source.copy_to, memory, progress=stop)
        await call(source.copy_to, memory)
        await call(memory.export, tmp_path / "after.jsonl")
        assert lines_of(tmp_path / "after.jsonl") == lines_of(exported)


async def test_what_has_expired_since_the_export_stays_away(url, call, tmp_path, monkeypatch):
    with AgentMemory.from_url(url) as memory, opened("sqlite-memory", tmp_path, embeddings=None) as source:
        fill(source)
        source.export(tmp_path / "export.jsonl")
        import time

        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + timedelta(days=30).total_seconds())
        result = await call(memory.import_from, tmp_path / "export.jsonl")
        assert (result.expired["sessions"], result.expired["messages"], result.expired["items"]) == (3, 3, 1)
        assert (result.expired["threads"], result.expired["checkpoints"]) == (1, 3)
        assert len(await call(memory.sessions.list)) == 9


async def test_vectors_of_another_model_are_left_out(url, call, exported, caplog):
    class Other(Words):
        model = "other"

    with AgentMemory.from_url(url, embeddings=Other()) as memory:
        result = await call(memory.import_from, exported)
        assert "Call memory.reindex() to embed them." in caplog.text
        embedded = await call(memory.reindex)
        assert result.without_vectors == embedded.items + embedded.messages > 50
        assert "k" in [item.key for item in await call(memory.store.search, ("docs",), query="pizza")]


async def test_vectors_move_without_calling_the_model(url, call, exported, tmp_path):
    def refuse(texts: list[str]) -> list[list[float]]:
        raise AssertionError(texts)

    model = Words()
    model.embed_documents = refuse  # type: ignore[method-assign]
    with AgentMemory.from_url(url, embeddings=model) as memory:
        assert (await call(memory.import_from, exported)).without_vectors == 0
        await call(memory.export, tmp_path / "again.jsonl")
        assert (tmp_path / "again.jsonl").read_bytes() == exported.read_bytes()


async def test_vectors_of_an_archive_belong_to_its_model(url, call, tmp_path, monkeypatch, caplog):
    import time

    class Other(Words):
        model = "other"

    archive, key = tmp_path / "archive.jsonl", SessionKey("default", None, "chat")
    real = time.time
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        await call(memory.history("chat").add_messages, [HumanMessage("Hello")])
        await call(memory.store.put, ("docs",), "a", {"text": "Hello"})
        monkeypatch.setattr(time, "time", lambda: real() + timedelta(days=30).total_seconds())
        await call(memory.cleanup, timedelta(days=1), archive=archive)
        monkeypatch.setattr(time, "time", real)
        assert (await call(memory.import_from, archive)).without_vectors == 0
        (row,) = memory.backend.read(memory.backend.transfer.messages(key, -1, 1, real()))
        assert row.vector is not None
    with opened("sqlite-memory", tmp_path, embeddings=Other()) as other:
        other.history("other").add_messages([HumanMessage("Hello")])
        assert (await call(other.import_from, archive)).without_vectors == 2
        (row,) = other.backend.read(other.backend.transfer.messages(key, -1, 1, real()))
        assert row.vector is None
        assert caplog.text.count("but this memory uses") == 1
