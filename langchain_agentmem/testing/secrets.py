"""Tests of the secrets of threads, which the contract of a backend includes: writes compare and replace them."""

from __future__ import annotations

from langchain_agentmem.backends.contract import (
    Backend,
    CheckpointKey,
    CheckpointPut,
    CheckpointRow,
    SecretChange,
    StoredWrite,
    ThreadKey,
    ThreadUse,
    WritesPut,
)
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import PLAIN
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.testing.cases import NOW, ContractCase

_THREAD, _COPY = ThreadKey("default", "1"), ThreadKey("default", "2")
_FIRST, _SECOND, _THIRD = Typed("a", b"first"), Typed("b", b"\x00second"), Typed("c", b"third")


class SecretContract(ContractCase):
    """The contract of a backend about the secrets of threads. `BackendContract` includes it."""

    def _put(self, backend: Backend, checkpoint_id: str, secret: Typed, following: Typed | None = None) -> bool:
        row = CheckpointRow("1", CheckpointKey("", checkpoint_id), None, {"channel_versions": {}}, {}, {}, {})
        put = CheckpointPut(row, None, [], {})
        use = ThreadUse(NOW, secret=secret, next_secret=following)
        return self.write(backend, backend.checkpoints.put(_THREAD, put, Codec(), use))

    def _write(self, backend: Backend, index: int, secret: Typed, following: Typed) -> bool:
        write = StoredWrite("task", index, "", "channel", PLAIN, "msgpack", b"\x01")
        put = WritesPut(CheckpointKey("", "a"), [write], [], {})
        use = ThreadUse(NOW, secret=secret, next_secret=following)
        return self.write(backend, backend.checkpoints.put_writes(_THREAD, put, use))

    def _secret(self, backend: Backend, thread: ThreadKey = _THREAD, now: float = NOW) -> Typed | None:
        return self.read(backend, backend.checkpoints.stored_secret(thread, now))

    def _ids(self, backend: Backend) -> list[str]:
        entries = self.read(backend, backend.checkpoints.entries(_THREAD, lock=False))
        return [entry.key.checkpoint_id for entry in entries]

    def test_a_write_replaces_the_secret_it_names(self, backend: Backend) -> None:
        assert self._secret(backend) is None
        assert not self._put(backend, "a", _FIRST, _SECOND)  # the thread has no secret
        assert self._secret(backend) is None
        assert self._put(backend, "a", _FIRST)
        assert self._put(backend, "b", _FIRST, _SECOND)
        assert self._secret(backend) == _SECOND
        assert not self._put(backend, "c", _FIRST, _THIRD)
        assert self._write(backend, 0, _SECOND, _THIRD)
        assert not self._write(backend, 1, _SECOND, _FIRST)
        assert self._secret(backend) == _THIRD
        assert self.write(backend, backend.checkpoints.stored_secret(_THREAD, NOW, lock=True)) == _THIRD
        assert self._ids(backend) == ["a", "b"]

    def test_an_expired_thread_has_no_secret(self, backend: Backend) -> None:
        assert self._put(backend, "a", _FIRST)
        self.write(backend, backend.checkpoints.set_ttl(_THREAD, 10.0, NOW))
        assert self._secret(backend, now=NOW + 11) is None

    def test_a_deletion_replaces_the_secret(self, backend: Backend) -> None:
        for one in ("a", "b"):
            assert self._put(backend, one, _FIRST)
        entries = self.read(backend, backend.checkpoints.entries(_THREAD, lock=False))
        doomed, change = [CheckpointKey("", "a")], SecretChange(_FIRST, _SECOND)
        self.write(backend, backend.checkpoints.delete(_THREAD, doomed, Codec(), entries, change))
        assert self._secret(backend) == _SECOND
        assert self._ids(backend) == ["b"]

    def test_a_copy_has_the_secret_it_is_given(self, backend: Backend) -> None:
        assert self._put(backend, "a", _FIRST)
        copy = backend.checkpoints.copy_thread(_THREAD, _COPY, NOW, SecretChange(_FIRST, _SECOND))
        assert self.write(backend, copy)
        assert self._secret(backend) == _FIRST
        assert self._secret(backend, _COPY) == _SECOND
