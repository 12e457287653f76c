"""The harness finds what is lost and what is wrong."""

from __future__ import annotations

import sqlite3

import pytest
from harness import Load, Table

CHANGES = {
    "messages": "DELETE FROM agentmem_messages WHERE position > (SELECT max(position) - 2 FROM agentmem_messages)",
    "half a turn": "DELETE FROM agentmem_messages WHERE position = (SELECT max(position) FROM agentmem_messages)",
    "an item": "DELETE FROM agentmem_items WHERE key = (SELECT max(key) FROM agentmem_items WHERE key LIKE 'w%:0')",
    "checkpoints": "DELETE FROM agentmem_checkpoints",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """A load that has ended, whose logs are those of a SQLite file."""
    folder = tmp_path_factory.mktemp("written")
    load = Load(f"sqlite:///{folder / 'memory.db'}", folder)
    with load:
        load.advance(12)
    return load


@pytest.mark.parametrize("change", CHANGES)
def test_a_loss_is_found(written, change, tmp_path):
    path = tmp_path / "damaged.db"
    with sqlite3.connect(written.url.removeprefix("sqlite:///")) as source, sqlite3.connect(path) as damaged:
        source.backup(damaged)
        assert damaged.execute(CHANGES[change]).rowcount
    load = Load(f"sqlite:///{path}", tmp_path)
    load.work = written.work
    with pytest.raises(AssertionError, match=r"lost, \d+ wrong"):
        load.check(Table(), "none", "a damaged copy", "sqlite")


def test_what_is_whole_passes(written):
    table = Table()
    written.check(table, "none", "nothing is done", "sqlite")
    assert (table.rows[0].lost, table.rows[0].wrong) == (0, 0)
