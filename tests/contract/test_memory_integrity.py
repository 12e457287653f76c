"""The edits of the package agent-memory-integrity: a memory under a key refuses them when it reads.

T9 (an older copy of the whole database) is not among them: nothing inside of a database reveals it.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, ClassVar

import pytest
from agmi.adapters.base import MemoryAdapter, Record
from agmi.attacks.at_rest import ALL_AT_REST_ATTACKS
from conftest import new_url
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import create_checkpoint, empty_checkpoint
from raw_checkpoints import RawCheckpoints, RawItems
from raw_messages import RawMessages

from langchain_agentmem import AgentMemory, DamagedDataError
from langchain_agentmem.encoding.codec import Codec

KEY = bytes(range(32))


class _Adapter(MemoryAdapter):
    supports_replay = True
    supports_metadata = True

    def __init__(self, url: str, key: bytes | None) -> None:
        self.url = url
        self.key = key

    def setup(self) -> None:
        self.reload()

    def teardown(self) -> None:
        self.memory.close()

    def reload(self) -> None:
        if hasattr(self, "memory"):
            self.memory.close()
        self.memory = AgentMemory.from_url(self.url, key=self.key)

    def verify(self) -> bool:
        try:
            return self.read()
        except DamagedDataError as error:
            self.verify_detail = str(error)
            return False

    def read(self) -> bool:
        """Read everything through the memory."""
        raise NotImplementedError

    def rows(self, context: int = 0) -> list[dict[str, Any]]:
        """The stored rows."""
        raise NotImplementedError

    def store(self, row: dict[str, Any]) -> None:
        """Add or replace a row."""
        raise NotImplementedError

    def read_all_raw(self) -> list[Record]:
        return [Record(at, {**row, "owner": "0"}) for at, row in enumerate(self.rows())]

    def read_other_raw(self) -> list[Record]:
        return [Record(at, {**row, "owner": "1"}) for at, row in enumerate(self.rows(1))]

    def owner_of(self, record: Record) -> str:
        return str(record.fields["owner"])

    content: ClassVar[tuple[str, ...]] = ("type", "data")
    """The fields with the content."""

    def identity_of(self, record: Record) -> str:
        return f"{record.fields['owner']} {record.fields['id']}"

    def payload_of(self, record: Record) -> str:
        return repr(record.fields[self.content[-1]])

    def write_raw(self, record: Record) -> None:
        rows = self.rows()
        if record.seq < len(rows):  # the content moves, the place stays
            self.store({**rows[record.seq], **{name: record.fields[name] for name in self.content}})
        else:
            self.store(record.fields)

    def replay_onto(self, victim_seq: int, donor: Record) -> None:
        self.write_raw(Record(victim_seq, donor.fields))

    def mutate_payload(self, record: Record) -> Record:
        name = self.content[-1]
        record.fields[name] = self.changed(record.fields[name])
        return record

    def changed(self, data: Any) -> Any:
        """Change the text in a row; of an encrypted row, one bit."""
        if isinstance(data, str):
            middle = len(data) // 2
            return (
                data.replace("seed", "TAMP")
                if "seed" in data
                else f"{data[:middle]}{'A' if data[middle] != 'A' else 'B'}{data[middle + 1 :]}"
            )
        return data.replace(b"seed", b"TAMP") if b"seed" in data else data[:-1] + bytes([data[-1] ^ 1])


class ThreadAdapter(_Adapter):
    """The checkpoints of a thread."""

    name = "thread"

    def setup(self) -> None:
        super().setup()
        self.raw = RawCheckpoints(self.url)

    def _seed(self, thread: str, n: int) -> None:
        config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        checkpoint = empty_checkpoint()
        for at in range(n):
            checkpoint = create_checkpoint(checkpoint, None, at)
            checkpoint["channel_values"] = {"state": f"seed {thread} {at}"}
            checkpoint["channel_versions"] = {"state": str(at)}
            config = self.memory.checkpointer.put(
                config, checkpoint, {"source": "loop", "step": at}, {"state": str(at)}
            )
        self.raw.note_thread()

    def seed(self, n: int) -> None:
        self._seed("first", n)

    def seed_other(self, n: int) -> None:
        self._seed("second", n)

    def rows(self, context: int = 0) -> list[dict[str, Any]]:
        return self.raw.rows(context)

    def store(self, row: dict[str, Any]) -> None:
        self.raw.write(row)

    def delete_raw(self, seq: int) -> None:
        self.raw.delete(self.rows()[seq]["id"])

    def mutate_payload(self, record: Record) -> Record:
        if self.key is not None:
            return super().mutate_payload(record)
        document = Codec().load_document((record.fields["type"], record.fields["data"]))
        document["inline"]["state"] += " TAMPERED"
        record.fields["type"], record.fields["data"] = Codec().dump_document(document)
        return record

    def forge_record(self, template: Record) -> Record:
        fields = {**template.fields, "parent": template.fields["id"]}
        fields["id"] = str(uuid.UUID(int=uuid.UUID(template.fields["id"]).int + 1))
        return self.mutate_payload(Record(template.seq + 1, fields))

    def read_meta(self, seq: int) -> dict[str, Any]:
        row = self.rows()[seq]
        return {"run": row["run"], "created": row["created"]}

    def write_meta(self, seq: int, meta: dict[str, Any]) -> None:
        self.raw.write({**self.rows()[seq], "run": "another", "created": meta["created"] + 3600.0})

    def read(self) -> bool:
        config: Any = {"configurable": {"thread_id": "first"}}
        return bool(self.memory.checkpointer.get_tuple(config) and list(self.memory.checkpointer.list(config)))


class SessionAdapter(_Adapter):
    """The messages of a session."""

    name = "session"
    content = ("type", "body")

    def setup(self) -> None:
        super().setup()
        self.raw = RawMessages(self.url)

    def _seed(self, session: str, n: int) -> None:
        for at in range(n):
            self.memory.history(session).add_messages([HumanMessage(f"seed {session} {at}")])
        self.raw.note_session()

    def seed(self, n: int) -> None:
        self._seed("first", n)

    def seed_other(self, n: int) -> None:
        self._seed("second", n)

    def rows(self, context: int = 0) -> list[dict[str, Any]]:
        return [{"id": position, **row} for position, row in sorted(self.raw.rows(context).items())]

    def _write(self, rows: list[dict[str, Any]]) -> None:
        cleaned = {row["id"]: {name: one for name, one in row.items() if name not in ("id", "owner")} for row in rows}
        self.raw.write(cleaned, counted=True)

    def store(self, row: dict[str, Any]) -> None:
        self._write([*(one for one in self.rows() if one["id"] != row["id"]), row])

    def delete_raw(self, seq: int) -> None:
        rows = self.rows()
        self._write([*rows[:seq], *rows[seq + 1 :]])

    def forge_record(self, template: Record) -> Record:
        return self.mutate_payload(Record(template.seq + 1, {**template.fields, "id": template.fields["id"] + 1}))

    def read_meta(self, seq: int) -> dict[str, Any]:
        return {"created_at": self.rows()[seq]["created_at"]}

    def write_meta(self, seq: int, meta: dict[str, Any]) -> None:
        self.store({**self.rows()[seq], "created_at": meta["created_at"] + 3600.0})

    def read(self) -> bool:
        return bool(self.memory.history("first").messages)


class ItemAdapter(_Adapter):
    """The items of a namespace."""

    name = "items"
    content = ("value",)

    def setup(self) -> None:
        super().setup()
        self.memory.store.get(("first",), "0")
        self.raw = RawItems(self.url)

    def _seed(self, namespace: str, n: int) -> None:
        before = {str(row["id"]) + str(row["owner"]) for row in self.raw.rows()}
        for at in range(n):
            self.memory.store.put((namespace,), str(at), {"text": f"seed {namespace} {at}"})
        self.owners = getattr(self, "owners", [])
        new = [row["owner"] for row in self.raw.rows() if str(row["id"]) + str(row["owner"]) not in before]
        self.owners.append(new[0])

    def seed(self, n: int) -> None:
        self._seed("first", n)

    def seed_other(self, n: int) -> None:
        self._seed("second", n)

    def rows(self, context: int = 0) -> list[dict[str, Any]]:
        return [row for row in self.raw.rows() if row["owner"] == self.owners[context]]

    def read_all_raw(self) -> list[Record]:
        return [Record(at, row) for at, row in enumerate(self.rows())]

    def read_other_raw(self) -> list[Record]:
        return [Record(at, row) for at, row in enumerate(self.rows(1))]

    def store(self, row: dict[str, Any]) -> None:
        self.raw.write(row)

    def delete_raw(self, seq: int) -> None:
        self.raw.delete(self.rows()[seq])

    def forge_record(self, template: Record) -> Record:
        fields = {**template.fields}
        last = fields["id"][-1:]
        fields["id"] = fields["id"][:-1] + (("z" if last != "z" else "zz") if isinstance(last, str) else b"zz")
        return self.mutate_payload(Record(template.seq + 1, fields))

    def read_meta(self, seq: int) -> dict[str, Any]:
        return {"head": repr(self.rows()[seq]["head"])}

    def write_meta(self, seq: int, meta: dict[str, Any]) -> None:
        row = self.rows()[seq]
        head = row["head"]
        if isinstance(head, bytes):
            import struct

            expires, created, updated, ttl, stamp, other = struct.unpack(">dddddd", head)
            head = struct.pack(">dddddd", expires, created, updated - 3600, ttl, stamp, other)
        elif isinstance(head, float):
            head -= 3600
        else:
            from datetime import timedelta

            head -= timedelta(hours=1)
        self.raw.write({**row, "head": head})

    def read(self) -> bool:
        found = self.memory.store.search(("first",), limit=100)
        return bool([self.memory.store.get(("first",), item.key) for item in found])


ADAPTERS = {"session": SessionAdapter, "thread": ThreadAdapter, "items": ItemAdapter}


@pytest.fixture(params=["sqlite-file", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request.param, tmp_path)


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("attack", ALL_AT_REST_ATTACKS, ids=lambda one: one.name)
def test_an_edit_is_refused_under_a_key(url, kind, attack):
    result = attack().run(ADAPTERS[kind](url, KEY))
    assert (result.error, result.guard) == (None, None)
    assert result.detected, result.detail


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("attack", ALL_AT_REST_ATTACKS, ids=lambda one: one.name)
def test_the_same_edit_is_accepted_without_a_key(url, kind, attack):
    result = attack().run(ADAPTERS[kind](url, None))
    assert (result.error, result.guard) == (None, None)
    assert not result.detected, result.detail
