"""The shipped contract suite on each backend under a key."""

from __future__ import annotations

import pytest

from langchain_agentmem.backends import connect
from langchain_agentmem.backends.encrypted import EncryptedBackend
from langchain_agentmem.encoding.encryption import KeySource
from langchain_agentmem.testing.contract import AsyncBackendContract, BackendContract

KEY = bytes(range(32))


@pytest.fixture
def backend(url):
    backend = EncryptedBackend(connect(url), KeySource(KEY), "default")
    yield backend
    backend.close()


class TestEncryptedBackend(BackendContract):
    pass


class TestEncryptedBackendAsync(AsyncBackendContract):
    pass
