"""The shipped contract suite on each backend under a key."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from langchain_agentmem.backends import connect
from langchain_agentmem.backends.contract import (
    Append,
    Backend,
    CheckpointKey,
    Ending,
    HeadSwap,
    Opening,
    Removal,
    ScopeHead,
    SessionKey,
    SessionState,
    ThreadKey,
    VariablePut,
    VariableRow,
    VariableScope,
)
from langchain_agentmem.backends.encrypted import EncryptedBackend
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.encryption import KeySource
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.testing.cases import KEY, NOW, item, message, turn
from langchain_agentmem.testing.contract import AsyncBackendContract, BackendContract
from langchain_agentmem.testing.edits import digest

MASTER = bytes(range(32))
_THREAD, _SECRET = ThreadKey("default", "1"), Typed("a", b"first")


@pytest.fixture
def backend(url):
    backend = EncryptedBackend(connect(url), KeySource(MASTER), "default")
    yield backend
    backend.close()


class _Encrypted:
    """What differs: see the limits in docs/encryption.md."""

    def test_session_ids_are_paged_in_order(self, backend: Backend) -> None:
        for one in ("b", "a", "c"):
            self.write(backend, backend.messages.append(SessionKey("default", "alice", one), turn("Hello")))
        first = self.read(backend, backend.messages.session_ids("default", "alice", None, 2))
        rest = self.read(backend, backend.messages.session_ids("default", "alice", first[-1], 2))
        assert sorted([*first, *rest]) == ["a", "b", "c"]
        assert (len(first), len(rest)) == (2, 1)

    def test_traces_of_a_user_are_found_in_parts(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(SessionKey("default", "alice", "1"), turn("Hello")))
        found, after = [], None
        while True:
            page, _, after = self.read(backend, backend.traces("default", "alice", "user:alice", after))
            found += page
            if after is None:
                break
        assert found

    def test_messages_of_earlier_versions_are_identified(self, backend: Backend) -> None:
        """An encrypted message has the digest of its ID in its encrypted part, so none is missing."""
        rows = [message(0, "a")._replace(id_digest=None)]
        self.write(backend, backend.messages.append(KEY, Append(rows, None, NOW, token=secrets.randbits(62))))
        removal = Removal(ids=[digest("b")], token=secrets.randbits(62))
        assert self.write(backend, backend.messages.remove(KEY, removal, NOW)) == 0

    def test_aliases_and_nested_objects_are_counted(self, backend: Backend) -> None:
        """The database cannot read values, so an alias counts as an entity, and the relations of an item as one."""
        entities, relations = ("user:alice", "entities"), ("user:alice", "relations")
        puts = [item("a", '{"name":"a"}', namespace=entities), item("b", '{"same_as":"a"}', namespace=entities)]
        puts.append(item("a", '{"links":{"1":{},"2":{}}}', namespace=relations))
        self.write(backend, backend.items.put("default", puts, NOW))
        found = self._statistics(backend, now=NOW).items  # type: ignore[attr-defined]
        assert {kind: number for kind, number in found.items() if number} == {"entities": 2, "relations": 1}

    def test_a_write_replaces_the_secret_it_names(self, backend: Any) -> None:
        """The backend itself replaces what it stores as the secret, which is the head of the thread."""
        assert self._put(backend, "a", _SECRET)  # type: ignore[attr-defined]
        before = self.read(backend, backend.inner.checkpoints.stored_secret(self._sealed(backend), NOW))
        assert self._put(backend, "b", _SECRET)  # type: ignore[attr-defined]
        after = self.read(backend, backend.inner.checkpoints.stored_secret(self._sealed(backend), NOW))
        assert before != after
        assert self._secret(backend) == _SECRET  # type: ignore[attr-defined]
        assert not self._put(backend, "c", Typed("a", b"other"))  # type: ignore[attr-defined]

    def test_a_deletion_replaces_the_secret(self, backend: Backend) -> None:
        for one in ("a", "b"):
            assert self._put(backend, one, _SECRET)  # type: ignore[attr-defined]
        entries = self.read(backend, backend.checkpoints.entries(_THREAD, lock=False))
        doomed = [CheckpointKey("", "a")]
        self.write(backend, backend.checkpoints.delete(_THREAD, doomed, Codec(), entries))
        assert self._secret(backend) == _SECRET  # type: ignore[attr-defined]
        assert self._ids(backend) == ["b"]  # type: ignore[attr-defined]

    def test_a_copy_has_the_secret_it_is_given(self, backend: Backend) -> None:
        """The copy has the same secret, in a head of its own."""
        assert self._put(backend, "a", _SECRET)  # type: ignore[attr-defined]
        assert self.write(backend, backend.checkpoints.copy_thread(_THREAD, ThreadKey("default", "2"), NOW))
        assert self._secret(backend, ThreadKey("default", "2")) == _SECRET  # type: ignore[attr-defined]

    def test_variables_are_changed_together_with_the_head(self, backend: Backend) -> None:
        """The backend itself sets the head."""
        head, scope = ScopeHead("~head", None, VariablePut("~head", "1")), VariableScope("default", "alice")
        for program in (
            backend.variables.set(scope, [VariablePut("a", "1")], NOW, head=head),
            backend.variables.remove(scope, ["a"], NOW, head),
        ):
            with pytest.raises(ConfigurationError, match="sets the heads of sessions and variables itself"):
                self.write(backend, program)

    def test_variables_are_restored_together_with_the_head(self, backend: Backend) -> None:
        """The backend itself sets the head."""
        rows = [VariableRow(VariableScope("default", "alice"), "a", "1", NOW, NOW, None)]
        head = ScopeHead("~head", None, VariablePut("~head", "1"))
        with pytest.raises(ConfigurationError, match="sets the heads of sessions and variables itself"):
            self.write(backend, backend.transfer.restore_variables("default", rows, NOW, head))

    def test_an_opening_sets_variables_together_with_the_head(self, backend: Backend) -> None:
        """The backend itself sets the head. An opening that ends the session begins with a new one."""
        scope, timeout = VariableScope(*KEY), 10.0
        for number in range(3):
            puts, ending = [VariablePut(f"a{number}", "1")], Ending(True)
            opening = Opening(secrets.randbits(62), NOW + 100 * number, ending, timeout, variables=puts)
            self.write(backend, backend.openings.open(KEY, opening))
            rows = self.read(backend, backend.variables.read(scope, None, NOW + 100 * number))
            assert [row.name for row in rows] == [f"a{number}"]
        head = ScopeHead("~head", None, VariablePut("~head", "1"))
        with pytest.raises(ConfigurationError, match="heads of sessions and variables itself"):
            self.write(backend, backend.openings.open(KEY, opening._replace(head=head)))

    def test_the_title_and_the_metadata_are_changed_together_with_the_head(self, backend: Backend) -> None:
        """The backend itself sets the head."""
        head = HeadSwap(None, b"1")
        for program in (
            backend.messages.rename(KEY, "title", NOW, head),
            backend.openings.swap_metadata(KEY, None, "{}", NOW, head),
            backend.openings.open(KEY, Opening(1, NOW, Ending(True), session_head=head)),
        ):
            with pytest.raises(ConfigurationError, match="sets the heads of sessions and variables itself"):
                self.write(backend, program)

    def test_a_restored_session_has_the_head(self, backend: Any) -> None:
        """The backend itself makes the head."""
        state = SessionState(KEY, "title", None, 0, NOW, NOW, None, "{}")
        assert self.write(backend, backend.transfer.restore_sessions([state], NOW)) == [True]
        assert self.read(backend, backend.messages.head(KEY, NOW)).value is not None
        (found,) = self.read(backend, backend.transfer.sessions([KEY], NOW))
        assert (found.title, found.metadata) == ("title", "{}")

    @staticmethod
    def _sealed(backend: Any) -> ThreadKey:
        return ThreadKey("default", backend.ring.id("thread", "1"))


class TestEncryptedBackend(_Encrypted, BackendContract):
    pass


class TestEncryptedBackendAsync(_Encrypted, AsyncBackendContract):
    pass
