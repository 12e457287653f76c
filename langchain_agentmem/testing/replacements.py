"""Tests of checkpoints that get another form, which the contract of a backend includes."""

from __future__ import annotations

from langchain_agentmem.backends.contract import (
    Backend,
    CheckpointKey,
    CheckpointPut,
    CheckpointRow,
    LoadedCheckpoint,
    StoredWrite,
    ThreadKey,
    ThreadUse,
    WritesPut,
)
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import PLAIN
from langchain_agentmem.testing.cases import NOW, ContractCase

_THREAD, _KEY = ThreadKey("default", "1"), CheckpointKey("", "a")


class ReplacementContract(ContractCase):
    """The contract of a backend about the replacement of checkpoints. `BackendContract` includes it."""

    def _add_write(self, backend: Backend, task_id: str, index: int, data: bytes) -> StoredWrite:
        write = StoredWrite(task_id, index, "~path", "channel", PLAIN, "bytes", data)
        assert self.write(
            backend, backend.checkpoints.put_writes(_THREAD, WritesPut(_KEY, [write], [], {}), ThreadUse(NOW))
        )
        return write

    def _stored_checkpoint(self, backend: Backend) -> LoadedCheckpoint:
        loaded = self.read(backend, backend.checkpoints.get(_THREAD, "", "a", Codec(), NOW))
        assert loaded is not None
        return loaded

    def _stored_with_writes(self, backend: Backend) -> tuple[CheckpointRow, list[StoredWrite]]:
        """Store a checkpoint with three pending writes."""
        row = CheckpointRow("1", _KEY, None, {"channel_versions": {}}, {"step": 1}, {"old": 1}, {})
        assert self.write(
            backend,
            backend.checkpoints.put(_THREAD, CheckpointPut(row, "run", [], {}), Codec(), ThreadUse(NOW, "alice")),
        )
        return row, [
            self._add_write(backend, task_id, index, b"1") for task_id, index in (("a", -3), ("a", 0), ("b", 0))
        ]

    def test_a_checkpoint_is_replaced_with_some_of_its_writes(self, backend: Backend) -> None:
        row, (special, first, second) = self._stored_with_writes(backend)
        entries = self.read(backend, backend.checkpoints.entries(_THREAD, lock=False))
        new = CheckpointPut(row._replace(metadata={"step": 2}, inline={"new": 2}), "run", [], {})
        changes = [(special, None), (first, first._replace(channel="renamed", data=b"2"))]
        assert self.write(backend, backend.checkpoints.replace(_THREAD, new, changes, Codec(), ThreadUse(NOW)))
        stored = self._stored_checkpoint(backend)
        assert (stored.row.inline, stored.row.metadata) == ({"new": 2}, {"step": 2})
        assert list(stored.writes) == [first._replace(channel="renamed", data=b"2"), second]
        assert self.read(backend, backend.checkpoints.entries(_THREAD, lock=False)) == entries

    def test_a_write_that_changed_since_it_was_read_stays(self, backend: Backend) -> None:
        row, (special, _, _) = self._stored_with_writes(backend)
        newer = self._add_write(backend, "a", -3, b"newer")
        changes = [(special, special._replace(data=b"2"))]
        put = CheckpointPut(row, "run", [], {})
        assert self.write(backend, backend.checkpoints.replace(_THREAD, put, changes, Codec(), ThreadUse(NOW)))
        assert newer in self._stored_checkpoint(backend).writes

    def test_a_checkpoint_that_does_not_exist_is_not_replaced(self, backend: Backend) -> None:
        row, _ = self._stored_with_writes(backend)
        put = CheckpointPut(row._replace(key=CheckpointKey("", "b")), "run", [], {})
        assert not self.write(backend, backend.checkpoints.replace(_THREAD, put, [], Codec(), ThreadUse(NOW)))
        self.write(backend, backend.checkpoints.delete_thread(_THREAD))
        put = CheckpointPut(row, "run", [], {})
        assert not self.write(backend, backend.checkpoints.replace(_THREAD, put, [], Codec(), ThreadUse(NOW)))
        assert self.read(backend, backend.checkpoints.entries(_THREAD, lock=False)) == []
