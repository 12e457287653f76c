"""Cleanup: data that was not used for a long time is archived, then deleted; data that is used stays."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint

from langchain_agentmem import AgentMemory, InvalidInputError, InvalidTypeError
from langchain_agentmem.backends.contract import ThreadKey
from langchain_agentmem.backends.notes import TTL, notes_of_thread
from langchain_agentmem.lifecycle.cleaning.engine import Cleaning

DAY = 86_400.0
START = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START.timestamp()

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.time", clock.time)
    return clock


def put(memory: AgentMemory, thread_id: str, number: int, *messages: Any, user_id: str | None = None) -> Any:
    """Store a checkpoint."""
    config = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    if user_id is not None:
        config["configurable"]["user_id"] = user_id
    checkpoint = {
        **empty_checkpoint(),
        "id": f"{number:032x}",
        "channel_values": {"messages": list(messages), "step": number},
        "channel_versions": {"messages": number, "step": number},
    }
    return memory.checkpointer.put(config, checkpoint, {"step": number}, {"messages": number, "step": number})


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def fill(memory: AgentMemory, call: Any) -> None:
    """Store one of each kind."""
    history = memory.history("old", user_id="alice@example.com", agent="writer")
    await call(history.add_messages, [HumanMessage("Hello", id="m1"), AIMessage("Hi", id="m2")])
    await call(memory.variables.set, "goal", "launch", session_id="old", user_id="alice@example.com", agent="writer")
    await call(memory.variables.set, "tone", "formal", user_id="alice@example.com")
    await call(memory.records.save, "writer", {"step": 1}, session_id="old", user_id="alice@example.com")
    await call(memory.records.save, "writer", {"step": 2})
    await call(memory.store.put, ("docs", "a"), "one", {"text": "first"}, ttl=None)
    await call(memory.profiles.add_fact, "alice@example.com", "Alice likes tea")
    put(memory, "thread-old", 1, HumanMessage("Hello", id="m1"), user_id="alice@example.com")


async def test_old_data_of_every_kind_is_deleted(memory, call, clock):
    await fill(memory, call)
    clock.now += 10 * DAY
    await call(memory.history("new").add_messages, [HumanMessage("Recent")])
    put(memory, "thread-new", 1, HumanMessage("Recent"))
    await call(memory.store.put, ("docs", "a"), "two", {"text": "second"})
    expected = {
        "sessions": 1,
        "messages": 2,
        "records": 2,
        "threads": 1,
        "checkpoints": 1,
        "items": 1,
        "variables": 0,
        "cache_entries": 0,
        "orphans": 0,
    }
    found = await call(memory.cleanup, timedelta(days=5), dry_run=True)
    assert found.counts == expected
    assert found.dry_run
    assert len(await call(memory.sessions.list)) == 2
    deleted = await call(memory.cleanup, timedelta(days=5))
    assert deleted.counts == expected
    assert not deleted.dry_run
    assert [one.session_id for one in await call(memory.sessions.list)] == ["new"]
    assert [one.thread_id for one in await call(memory.checkpointer.threads)] == ["thread-new"]
    assert [one.key for one in await call(memory.store.search, ("docs",))] == ["two"]
    assert not await call(memory.records.query)
    assert len((await call(memory.profiles.get, "alice@example.com")).facts) == 1
    assert await call(memory.variables.get, "tone", user_id="alice@example.com") == "formal"
    assert (
        await call(memory.variables.get, "goal", session_id="old", user_id="alice@example.com", agent="writer") is None
    )
    again = await call(memory.cleanup, timedelta(days=5))
    assert not any(again.counts.values())


async def test_the_archive_has_everything(memory, call, clock, tmp_path):
    await fill(memory, call)
    await call(memory.sessions.rename, "old", "A title", user_id="alice@example.com")
    config = put(memory, "thread-old", 2, HumanMessage("Hello", id="m1"), AIMessage("Hi", id="m2"))
    memory.checkpointer.put_writes(config, [("step", {"a": 1})], "task-1")
    clock.now += 10 * DAY
    await call(memory.export, tmp_path / "before.jsonl")
    path = tmp_path / "archive.jsonl"
    result = await call(memory.cleanup, 5 * DAY, archive=path, kinds=("sessions", "threads", "items", "variables"))
    assert result.archived == str(path)
    found = lines_of(path.read_text(encoding="utf-8"))
    assert (found[0]["kind"], found[0]["version"], found[0]["content"]) == ("header", 1, "archive")
    await call(memory.export, tmp_path / "cleaned.jsonl")
    assert (tmp_path / "cleaned.jsonl").read_bytes() != (tmp_path / "before.jsonl").read_bytes()
    restored = await call(memory.import_from, path)
    assert (restored.counts["sessions"], restored.counts["records"], restored.counts["threads"]) == (1, 1, 1)
    await call(memory.export, tmp_path / "after.jsonl")
    assert (tmp_path / "after.jsonl").read_text().split("\n") == (tmp_path / "before.jsonl").read_text().split("\n")


async def test_archived_messages_and_records_return_to_their_sessions(memory, call, clock, tmp_path):
    history = memory.history("s", user_id="u", agent="writer")
    await call(history.add_messages, [HumanMessage("The zebra question", id="old"), AIMessage("Old answer")])
    await call(memory.records.save, "writer", {"step": 1}, session_id="gone", user_id="u")
    await call(memory.records.save, "writer", {"step": 2}, session_id="s", user_id="u")
    clock.now += 10 * DAY
    await call(history.add_messages, [HumanMessage("New question", id="new")])
    path = tmp_path / "archive.jsonl"
    deleted = await call(memory.cleanup, 5 * DAY, archive=path)
    assert (deleted.sessions, deleted.messages, deleted.records) == (1, 2, 2)
    restored = await call(memory.import_from, path)
    assert (restored.counts["messages"], restored.counts["records"]) == (2, 2)
    assert [message.text for message in history.messages] == [
        "The zebra question",
        "Old answer",
        "New question",
    ]
    assert await call(history.count) == 3
    assert [one.record["step"] for one in await call(memory.records.query, user_id="u")] == [2, 1]
    assert (await call(memory.search_history, "zebra", user_id="u"))[0].message.id == "old"
    assert (await call(memory.import_from, path)).counts == {}


async def test_an_archive_is_continued(memory, call, clock, tmp_path):
    path = tmp_path / "archive.jsonl"
    for name in ("first", "second"):
        await call(memory.history(name).add_messages, [HumanMessage(name)])
        clock.now += 10 * DAY
        await call(memory.cleanup, 5 * DAY, archive=path)
        # A killed process leaves an incomplete line.
        with path.open("a", encoding="utf-8") as file:
            file.write('{"kind": "sess')
    text = path.read_text(encoding="utf-8").rpartition("\n")[0]
    assert [line["session_id"] for line in lines_of(text) if line["kind"] == "session"] == ["first", "second"]
    file = io.StringIO()
    await call(memory.history("third").add_messages, [HumanMessage("third")])
    clock.now += 10 * DAY
    await call(memory.cleanup, 5 * DAY, archive=file)
    assert [line["kind"] for line in lines_of(file.getvalue())] == ["header", "session", "message"]


class Stream(io.BytesIO):
    """A file that can be read only once."""

    def seekable(self) -> bool:
        return False


async def test_an_archive_with_two_versions_of_a_session_is_refused(memory, call, clock, tmp_path):
    path = tmp_path / "archive.jsonl"
    for text in ("first", "second"):
        await call(memory.history("s", user_id="alice").add_messages, [("human", text)])
        clock.now += 10 * DAY
        await call(memory.cleanup, 5 * DAY, archive=path)
    first, second = (b'{"kind":"header"' + part for part in path.read_bytes().split(b'{"kind":"header"')[1:])
    for existing in ("error", "keep", "replace"):
        with pytest.raises(InvalidInputError, match=r"Line 5 has another version of session 's'.*Nothing was written"):
            await call(memory.import_from, path, existing=existing)
    assert memory.sessions.list(user_id="alice") == []
    stream = Stream(first + second)
    with pytest.raises(
        InvalidInputError, match=r"Line 5 has another version of session 's'.*The lines up to line \d were stored"
    ):
        await call(memory.import_from, stream)
    assert [one.text for one in memory.history("s", user_id="alice").messages] == ["first"]
    await call(memory.sessions.delete, "s", user_id="alice")
    await call(memory.import_from, io.BytesIO(first + first))  # a cleanup was interrupted before the deletion
    assert [one.text for one in memory.history("s", user_id="alice").messages] == ["first"]
    await call(memory.import_from, io.BytesIO(second), existing="replace")
    assert [one.text for one in memory.history("s", user_id="alice").messages] == ["second"]


async def test_a_foreign_file_is_no_archive(memory, call, clock, tmp_path):
    await call(memory.history("s").add_messages, [HumanMessage("Hello")])
    clock.now += 10 * DAY
    path = tmp_path / "notes.txt"
    for text in ("My notes\n", '{"format": "langchain-agentmem", "version": 2}\n'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InvalidInputError, match="Nothing was deleted"):
            await call(memory.cleanup, 5 * DAY, archive=path)
        assert path.read_text(encoding="utf-8") == text
    with pytest.raises(InvalidTypeError, match="text file"):
        await call(memory.cleanup, 5 * DAY, archive=io.BytesIO())
    assert len(await call(memory.sessions.list)) == 1


async def test_older_messages_of_a_living_session_are_deleted(memory, call, clock, tmp_path):
    history = memory.history("s", user_id="u")
    await call(history.add_messages, [HumanMessage("The zebra question", id="old"), AIMessage("Old answer")])
    clock.now += 10 * DAY
    await call(history.add_messages, [HumanMessage("New question", id="new")])
    path = tmp_path / "archive.jsonl"
    assert (await call(memory.cleanup, 5 * DAY, dry_run=True)).messages == 2
    result = await call(memory.cleanup, 5 * DAY, archive=path)
    assert (result.sessions, result.messages) == (0, 2)
    assert await call(history.count) == 1
    assert not [one for one in await call(memory.search_history, "zebra", user_id="u") if "zebra" in one.message.text]
    (session,) = await call(memory.sessions.list)
    assert session.title != "The zebra question"
    assert session.message_count == 1
    archived = [line["message"]["data"]["content"] for line in lines_of(path.read_text()) if line["kind"] == "message"]
    assert archived == ["The zebra question", "Old answer"]


async def test_an_imported_history_is_as_old_as_its_messages(memory, call):
    dated = HumanMessage("Hello", additional_kwargs={"created_at": "2020-01-01T00:00:00+00:00"})
    history = memory.history("imported")
    await call(history.add_messages, [dated, HumanMessage("now")])
    await call(memory.cleanup, older_than=timedelta(days=90), kinds=("sessions", "threads"))
    assert await call(history.count) == 2
    await call(memory.cleanup, older_than=timedelta(days=90))
    assert [one.text for one in await call(history.get_recent)] == ["now"]


async def test_messages_without_sessions(memory, call, clock):
    await call(memory.history("s").add_messages, [HumanMessage("Hello")])
    clock.now += 10 * DAY
    result = await call(memory.cleanup, 5 * DAY, kinds=("messages",))
    assert (result.sessions, result.messages) == (0, 1)
    assert [one.message_count for one in await call(memory.sessions.list)] == [0]


async def test_variables_of_users_are_deleted_on_request(memory, call, clock):
    await call(memory.variables.set, "tone", "formal", user_id="u", agent="writer")
    await call(memory.variables.set, "everywhere", 1)
    clock.now += 10 * DAY
    await call(memory.variables.set, "fresh", 2, user_id="u")
    assert (await call(memory.cleanup, 5 * DAY, kinds=["variables"])).variables == 1
    assert await call(memory.variables.all, user_id="u", agent="writer") == {"everywhere": 1, "fresh": 2}


async def test_data_that_is_used_after_it_was_listed_stays(memory, call, clock, monkeypatch):
    """Each kind is used again between the listing and the deletion."""
    await fill(memory, call)
    clock.now += 10 * DAY
    used: list[str] = []

    def before_deletion(table: Any, name: str, use: Any) -> None:
        original = getattr(table, name)

        def deletion(*arguments: Any) -> Any:
            if name not in used:
                used.append(name)
                use()
            return original(*arguments)

        monkeypatch.setattr(table, name, deletion)

    history = memory.history("old", user_id="alice@example.com")
    stale = memory.backend.stale
    before_deletion(stale, "delete_sessions", lambda: history.add_user_message("Still here"))
    before_deletion(
        stale, "delete_variables", lambda: memory.variables.set("tone", "brief", user_id="alice@example.com")
    )
    before_deletion(
        memory.backend.items, "swap", lambda: memory.store.put(("docs", "a"), "one", {"text": "still here"})
    )
    threads_deleted = Cleaning._threads_deleted

    def after_use(self: Any, rows: Any) -> Any:
        used.append("threads")
        put(memory, "thread-old", 2, HumanMessage("Still here"))
        return threads_deleted(self, rows)

    monkeypatch.setattr(Cleaning, "_threads_deleted", after_use)
    result = await call(memory.cleanup, 5 * DAY, kinds=("sessions", "threads", "items", "variables"))
    assert used == ["delete_sessions", "threads", "swap", "delete_variables"]
    assert not any(result.counts.values())
    assert await call(history.count) == 3
    assert len(list(memory.checkpointer.list({"configurable": {"thread_id": "thread-old"}}))) == 2
    assert memory.store.get(("docs", "a"), "one").value == {"text": "still here"}
    assert await call(memory.variables.get, "tone", user_id="alice@example.com") == "brief"


async def test_an_archived_session_that_was_edited_stays(memory, call, clock, monkeypatch, tmp_path):
    """An edit does not count as a use of the session, but the archive has the earlier text."""
    history = memory.history("s")
    await call(history.add_messages, [HumanMessage("Before", id="m1")])
    clock.now += 10 * DAY
    stale = memory.backend.stale
    delete = stale.delete_sessions

    def edited(*arguments: Any) -> Any:
        history.replace("m1", HumanMessage("After"))
        return delete(*arguments)

    monkeypatch.setattr(stale, "delete_sessions", edited)
    assert (await call(memory.cleanup, 5 * DAY, archive=tmp_path / "archive.jsonl")).sessions == 0
    assert [one.message.text for one in await call(history.stored)] == ["After"]


async def test_arguments_are_checked(memory, call):
    for older_than, error in (
        (0, InvalidInputError),
        (datetime(2020, 1, 1), InvalidInputError),
        (datetime.now(UTC) + timedelta(days=1), InvalidInputError),
        ("30d", InvalidTypeError),
    ):
        with pytest.raises(error, match="older_than"):
            await call(memory.cleanup, older_than)
    for kinds in ((), ("session",), 7):
        with pytest.raises((InvalidInputError, InvalidTypeError), match="kinds"):
            await call(memory.cleanup, DAY, kinds=kinds)


async def test_progress_is_reported_after_each_batch(memory, call, clock):
    for number in range(130):
        memory.history(f"s{number}").add_user_message("Hello")
    clock.now += 10 * DAY
    reports: list[int] = []
    result = await call(memory.cleanup, 5 * DAY, progress=lambda done: reports.append(done.sessions))
    assert result.sessions == 130
    assert reports[-1] == 130
    assert len(reports) >= 2
    assert "Deleted 130 sessions, 130 messages" in result.description
    assert "130" in result._repr_html_()


async def test_notes_of_threads_that_are_gone_are_orphans(memory, call, clock):
    for thread_id in ("gone", "kept"):
        put(memory, thread_id, 1, HumanMessage("Hello"))
        await call(memory.checkpointer.set_ttl, thread_id, 3_600 if thread_id == "gone" else 100 * DAY)
    clock.now += 10 * DAY
    await call(memory.sweep)  # the thread expires without its notes
    put(memory, "kept", 2, HumanMessage("Recent"))
    assert (await call(memory.cleanup, 20 * DAY, dry_run=True)).orphans == 0
    assert (await call(memory.cleanup, 5 * DAY, dry_run=True)).orphans == 1
    assert (await call(memory.cleanup, 5 * DAY)).orphans == 1
    assert (await call(memory.cleanup, 5 * DAY)).orphans == 0
    notes = notes_of_thread(memory.backend, ThreadKey(memory.tenant, "kept"))
    assert memory.backend.read(notes.get(TTL, clock.now)) is not None
    gone = notes_of_thread(memory.backend, ThreadKey(memory.tenant, "gone"))
    assert memory.backend.read(gone.get(TTL, clock.now)) is None
