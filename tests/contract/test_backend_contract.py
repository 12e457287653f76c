"""The shipped contract suite on each backend, and on a backend that exists for this test alone."""

from __future__ import annotations

import pytest
from dict_backend import DictBackend

from langchain_agentmem.backends import connect
from langchain_agentmem.testing.contract import AsyncBackendContract, BackendContract


@pytest.fixture
def backend(url):
    backend = connect(url)
    yield backend
    backend.close()


class TestBackend(BackendContract):
    pass


class TestBackendAsync(AsyncBackendContract):
    pass


class _OnDicts:
    @pytest.fixture
    def backend(self):
        return DictBackend()


class TestFourthBackend(_OnDicts, BackendContract):
    pass


class TestFourthBackendAsync(_OnDicts, AsyncBackendContract):
    pass
