"""The shipped contract suite on each backend under a key."""

from __future__ import annotations

import secrets

import pytest

from langchain_agentmem.backends import connect
from langchain_agentmem.backends.contract import Append, Backend, Removal, SessionKey
from langchain_agentmem.backends.encrypted import EncryptedBackend
from langchain_agentmem.encoding.encryption import KeySource
from langchain_agentmem.testing.cases import KEY, NOW, message, turn
from langchain_agentmem.testing.contract import AsyncBackendContract, BackendContract
from langchain_agentmem.testing.edits import digest

MASTER = bytes(range(32))


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


class TestEncryptedBackend(_Encrypted, BackendContract):
    pass


class TestEncryptedBackendAsync(_Encrypted, AsyncBackendContract):
    pass
