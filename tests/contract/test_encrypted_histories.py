"""The tests of edits, retention, titles and endings of sessions, on memories with a key."""

from __future__ import annotations

from typing import Any

import pytest
import test_history_edits
import test_history_retention
import test_session_endings
import test_titles

from langchain_agentmem.backends import surface
from langchain_agentmem.backends.encrypted import EncryptedBackend

MODULES = (test_history_edits, test_history_retention, test_session_endings, test_titles)
OTHERWISE = {
    "test_messages_of_earlier_versions_have_stable_ids_and_can_be_changed",  # such messages are not encrypted
    "test_a_change_is_one_transaction_and_one_round_trip_to_a_server",
    "test_a_killed_process_leaves_nothing_behind",  # the process has no key
}
"""Tests of what is different under a key."""


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each memory a key."""
    protected = surface.protected_backend

    def with_key(backend: Any, tenant: str, key: Any, searchable: bool) -> Any:
        own = isinstance(backend, EncryptedBackend)
        return protected(backend, tenant, key if own or key is not None else bytes(32), searchable)

    for name in ("memory", "history.face", "store.face", "checkpointing.face"):
        monkeypatch.setattr(f"langchain_agentmem.{name}.protected_backend", with_key)


def _imported() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in MODULES:
        for name, value in vars(module).items():
            is_own = getattr(value, "__module__", module.__name__) == module.__name__
            if not name.startswith("_") and is_own and name not in OTHERWISE and name != "annotations":
                assert not (name.startswith("test_") and name in found), name
                found[name] = value
    return found


globals().update(_imported())


def test_the_memories_of_these_tests_are_encrypted(memory):
    assert isinstance(memory.backend, EncryptedBackend)
