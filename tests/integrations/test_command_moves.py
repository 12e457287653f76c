"""The commands of `agentmem` that move, encrypt and convert data."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import ALICE, Run, exported, failure, lines
from langgraph.store.sqlite import SqliteStore

from langchain_agentmem import AgentMemory, new_key
from langchain_agentmem.__main__ import main


def test_the_key_comes_from_a_file(
    stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key.txt"
    code, shown = failure(capsys, "users", "--url", stored, "--key-file", str(path))
    assert (code, "The key file" in shown, "No such file" in shown) == (2, True, True)
    path.write_text("  \n")
    assert "There is no key in" in failure(capsys, "users", "--url", stored, "--key-file", str(path))[1]
    given: list[Any] = []
    monkeypatch.setattr(
        AgentMemory, "from_settings", lambda _, **options: given.append(options["key"]) or AgentMemory(stored)
    )
    path.write_text("first,second\nthird\n")
    assert main(["users", "--url", stored, "--key-file", str(path)]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("typed\n"))
    assert main(["users", "--url", stored, "--key-file", "-"]) == 0
    assert given == [["first", "second", "third"], ["typed"]]


def test_import_of_data_of_another_package(
    sqlite_url: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trip.json"
    path.write_text('[{"role": "user", "content": "Where to?"}, {"role": "assistant", "content": "To Malta."}]')
    arguments = ("import", str(path), "--format", "roles", "--user", ALICE, "--url", sqlite_url)
    assert json.loads(run(*arguments, "--json"))["stored"] == {"messages": 2, "sessions": 1}
    assert "unchanged messages\t2\n" in run(*arguments)
    assert [one["text"] for one in lines(run("show", "trip", "--url", sqlite_url, "--json"))] == [
        "Where to?",
        "To Malta.",
    ]
    code, shown = failure(capsys, *arguments, "--format", "unknown")
    assert (code, "--format must be one of postgres-history, " in shown, ", saver; got" in shown) == (2, True, True)
    path.write_text('[{"role": "user"}]')
    code, shown = failure(capsys, *arguments)
    assert (code, "trip.json" in shown) == (1, True)
    with SqliteStore.from_conn_string(str(tmp_path / "old.db")) as store:
        store.setup()
        store.put(("team", "alice"), "1", {"content": "Likes tea."})
        store.put(("other", "alice"), "2", {"content": "Likes coffee."})
    labels = ("--namespace", "team", "--namespace", "{user_id}")
    done = run("import", str(tmp_path / "old.db"), "--format", "langmem", *labels, "--url", sqlite_url, "--json")
    assert json.loads(done)["stored"] == {"memories": 1}
    code, shown = failure(capsys, "import", str(tmp_path / "no.json"), "--format", "roles", "--url", sqlite_url)
    assert (code, "no.json" in shown) == (1, True)


def test_copy_export_and_import_give_the_same_memory(
    stored: str, lasting_url: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = json.loads(run("copy", stored, lasting_url, "--json"))
    assert (done["stored"]["sessions"], done["stored"]["messages"], done["stored"]["threads"]) == (3, 4, 1)
    assert exported(lasting_url) == exported(stored)
    again = json.loads(run("copy", stored, lasting_url, "--json"))
    assert (again["stored"], again["unchanged"]) == ({}, done["stored"])

    file, target = str(tmp_path / "all.jsonl"), f"sqlite:///{tmp_path / 'new.db'}"
    assert json.loads(run("export", file, "--url", lasting_url, "--json"))["counts"]["messages"] == 4
    assert "stored messages\t4\n" in run("import", file, "--url", target)
    assert exported(target) == exported(stored)
    run("export", file, "--url", target, "--session", "trip", "--user", "bob")
    assert len(Path(file).read_text(encoding="utf-8").splitlines()) == 4  # with the header and the end


def test_copy_into_a_tenant_and_what_copy_refuses(stored: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert "stored messages\t4\n" in run("copy", stored, stored, "--to-tenant", "other")
    assert run("users", "--url", stored, "--tenant", "other").splitlines() == [ALICE, "bob"]
    assert failure(capsys, "copy", stored, stored)[0] == 2
    assert failure(capsys, "copy", stored, stored, "--url", stored)[0] == 2
    assert failure(capsys, "copy", stored, stored, "--to-plain", "--to-key-file", "k")[0] == 2
    assert failure(capsys, "copy", f"{stored}.no", stored)[0] == 1


@pytest.mark.parametrize("place", ["FROM", "TO"])
def test_copy_names_the_argument_that_is_no_url(place: str, stored: str, capsys: pytest.CaptureFixture[str]) -> None:
    for given, shown in (("old.db", "'old.db'"), ("host=localhost password=hunter2", "'***'")):
        code, error = failure(capsys, "copy", *([given, stored] if place == "FROM" else [stored, given]))
        assert (code, f"{place} must be the URL of a database" in error, f"got {shown}." in error) == (2, True, True)
        assert "hunter2" not in error


def test_export_to_stdout_and_import_from_stdin(
    stored: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["export", "-", "--url", stored]) == 0
    shown = capfdbinary.readouterr()
    assert shown.out == exported(stored)
    assert shown.err.startswith(b"Exported ")
    assert main(["export", "-", "--url", stored, "--json"]) == 2
    target = f"sqlite:///{tmp_path / 'new.db'}"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(shown.out)))
    assert main(["import", "-", "--url", target]) == 0
    assert exported(target) == shown.out
    assert main(["export", "-", "--url", stored, "--session", "no"]) == 1
    shown = capfdbinary.readouterr()
    assert (shown.out.count(b"kind"), b"There is no session 'no'" in shown.err) == (0, True)
    assert main(["export", "-", "--url", stored, "--tenant", "other"]) == 0
    assert b"There was nothing to export.\n" in capfdbinary.readouterr().err


def test_a_file_that_is_damaged_or_differs_is_refused(
    stored: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, target = tmp_path / "all.jsonl", f"sqlite:///{tmp_path / 'new.db'}"
    run("export", str(file), "--url", stored)
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace("Aegina", "Aeginx"), encoding="utf-8")
    code, shown = failure(capsys, "import", str(file), "--url", target)
    assert (code, "Line " in shown, "was damaged" in shown) == (1, True, True)
    with AgentMemory.from_url(target) as memory:
        assert not memory.users()
        memory.store.put(("notes",), "a", {"text": "one"})
    run("export", str(file), "--url", target)
    with AgentMemory.from_url(target) as memory:
        memory.store.put(("notes",), "a", {"text": "two"})
    assert failure(capsys, "import", str(file), "--url", target)[0] == 1
    assert "kept items\t1\n" in run("import", str(file), "--url", target, "--existing", "keep")
    assert "stored items\t1\n" in run("import", str(file), "--url", target, "--existing", "replace")
    assert failure(capsys, "import", str(tmp_path / "no"), "--url", target)[0] == 1
    assert failure(capsys, "export", str(tmp_path / "no" / "file"), "--url", target)[0] == 1


def test_a_database_is_imported_with_its_format_only(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = failure(capsys, "import", "redis://localhost", "--url", sqlite_url)
    assert (code, "--format" in shown, "agentmem copy" in shown) == (2, True, True)


def test_an_encrypted_memory_and_another_key_for_it(
    sqlite_url: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    former, new = new_key(), new_key()
    files = [str(tmp_path / name) for name in ("former.txt", "new.txt")]
    for file, key in zip(files, (former, new), strict=True):
        Path(file).write_text(f"{key}\n", encoding="ascii")
    with AgentMemory.from_url(sqlite_url, key=former) as memory:
        memory.history("trip", user_id=ALICE).add_user_message("Ferry to Aegina")
    url = ("--url", sqlite_url)
    code, shown = failure(capsys, "users", *url)
    assert (code, "Pass --key-file … with the key" in shown, "AGENTMEM_KEY is the key of the commands" in shown) == (
        2,
        True,
        True,
    )
    assert run("users", *url, "--key-file", files[0]) == f"{ALICE}\n"
    monkeypatch.setenv("AGENTMEM_KEY", former)
    assert "Ferry to Aegina" in run("show", "trip", *url)

    assert failure(capsys, "rotate-key", *url, "--new-key-file", files[0])[0] == 2  # the same key
    monkeypatch.setattr("langchain_agentmem.lifecycle.rotation.WAIT_SECONDS", 0.0)
    assert json.loads(run("rotate-key", *url, "--new-key-file", files[1], "--json"))["values"] > 0
    code, shown = failure(capsys, "users", *url)
    assert (code, former in shown) == (2, False)
    assert run("users", *url, "--key-file", files[1]) == f"{ALICE}\n"
    monkeypatch.delenv("AGENTMEM_KEY")
    assert "The former key is missing" in failure(capsys, "rotate-key", *url, "--new-key-file", files[1])[1]


def test_a_memory_without_a_key_has_none_to_rotate(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new.txt"
    path.write_text(new_key(), encoding="ascii")
    monkeypatch.setenv("AGENTMEM_KEY", new_key())
    assert failure(capsys, "rotate-key", "--url", stored, "--new-key-file", str(path))[0] == 2


def test_migrate_with_a_function(
    stored: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "def rename(values, metadata):\n    values.rename('messages', 'talk')\n    return values, metadata\n\nnumber = 1\n"
    (tmp_path / "shape_of_today.py").write_text(code + "import json\n", encoding="utf-8")
    (tmp_path / "shape_with_a_gap.py").write_text("import nowhere_to_be_found\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    arguments = ("migrate", "shape_of_today:rename", "--url", stored)
    would = json.loads(run(*arguments, "--dry-run", "--json"))
    assert (would["dry_run"], would["threads"], would["renamed"]) == (True, 1, {"messages": "talk"})
    assert "renamed messages\ttalk\n" in run(*arguments, "--thread", "thread-1")
    assert "Hello Alice" in json.dumps(
        json.loads(run("show", "--thread", "thread-1", "--url", stored, "--json"))["values"]
    )
    assert json.loads(run(*arguments, "--json"))["threads"] == 0
    code_, shown = failure(capsys, *arguments, "--thread", "zz")
    assert (code_, "There is no thread 'zz'" in shown) == (1, True)
    assert run("migrate", "--url", stored) == "The tables are up to date.\n"
    for name, message in (
        ("shape_of_today", "must be MODULE:FUNCTION"),
        ("shape_of_today:number", "has no function 'number'"),
        ("shape_of_today:no", "has no function 'no'"),
        ("no_such_module:f", "There is no module 'no_such_module'"),
        ("shape_with_a_gap:f", "There is no module 'nowhere_to_be_found'"),
    ):
        code_, shown = failure(capsys, "migrate", name, "--url", stored)
        assert (code_, message in shown) == (2, True), shown
    assert failure(capsys, "migrate", "--dry-run", "--url", stored)[0] == 2


def test_import_of_roles_from_stdin(
    sqlite_url: str, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def type_(text: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))

    arguments = ("import", "-", "--url", sqlite_url, "--format")
    type_(b'[{"role": "user", "content": "Where to?"}]')
    assert "stored messages\t1\n" in run(*arguments, "roles", "--session", "s1")
    type_(b'[{"role": "user", "content": "Where to?"}]')
    code, shown = failure(capsys, *arguments, "roles")
    assert ("--session is missing" in shown, "session_id" in shown) == (True, False), shown
    type_(b"no JSON")
    code, shown = failure(capsys, *arguments, "roles", "--session", "s1")
    assert (code, "stdin, which must be JSON" in shown) == (1, True)
    code, shown = failure(capsys, *arguments, "sql-history")
    assert (code, "--format sql-history reads a database" in shown) == (2, True)


def test_options_without_effect_and_files_that_are_no_exports(
    stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = failure(capsys, "import", "x.jsonl", "--user", "bob", "--url", stored)
    assert (code, "--user is for the data of other packages" in shown) == (2, True)
    code, shown = failure(capsys, "import", "x.json", "--format", "roles", "--table", "t", "--url", stored)
    assert (code, "--table has no effect with --format roles" in shown) == (2, True)
    path = tmp_path / "file"
    for content, hint in (
        (b"\x1f\x8b\x08 ...", "gunzip"),
        (b"SQLite format 3\0...", "SQLite database"),
        (exported(stored).replace(b"\n", b"\r\n"), "CR LF"),
    ):
        path.write_bytes(content)
        code, shown = failure(capsys, "import", str(path), "--url", stored)
        assert (code, hint in shown) == (1, True), shown
    code, shown = failure(capsys, "export", str(tmp_path), "--url", stored)
    assert (code, "FILE is a directory" in shown) == (2, True)
    code, shown = failure(capsys, "cleanup", "--older-than", "0d", "--url", stored)
    assert (code, "--older-than must be greater than zero; got '0d'" in shown) == (2, True)
    assert "The query is empty" in failure(capsys, "search", "", "--url", stored)[1]


def test_show_refuses_an_id_that_several_sessions_have(
    stored: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with AgentMemory.from_url(stored) as memory:
        memory.history("trip").add_user_message("Of nobody")
    code, shown = failure(capsys, "show", "trip", "--url", stored)
    assert (code, f"of {ALICE}, bob, no user (--no-user)" in shown) == (2, True), shown
    assert "Of nobody" in run("show", "trip", "--no-user", "--url", stored)
    code, shown = failure(capsys, "show", "trip", "--user", "bob", "--agent", "nosuch", "--url", stored)
    assert (code, "has no messages of agent 'nosuch'" in shown) == (1, True)


def test_copy_into_an_encrypted_memory_and_back(stored: str, run: Run, tmp_path: Path) -> None:
    key, secret, plain = (
        tmp_path / "key.txt",
        f"sqlite:///{tmp_path / 'secret.db'}",
        f"sqlite:///{tmp_path / 'plain.db'}",
    )
    key.write_text(new_key(), encoding="ascii")
    assert "stored messages\t4\n" in run("copy", stored, secret, "--to-key-file", str(key))
    assert b"Aegina" not in b"".join(path.read_bytes() for path in tmp_path.glob("secret.db*"))
    assert run("users", "--url", secret, "--key-file", str(key)).splitlines() == [ALICE, "bob"]
    assert "stored messages\t4\n" in run("copy", secret, plain, "--key-file", str(key), "--to-plain")
    assert exported(plain) == exported(stored)
