"""The commands of `agentmem`: what they print, what they delete, and how they fail."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from commands import ALICE, WITH_CTRL_C, Run, Terminal, failure, fill, lines, plain
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from patience import PATIENCE
from typer.testing import CliRunner

from langchain_agentmem import AgentMemory, CleanupPolicy, StorageError
from langchain_agentmem.__main__ import main
from langchain_agentmem.command.application import build

HOSTILE = "red \x1b[31m \x1b]0;title\x07 \u202ereversed\u2066 [bold]bold[/bold] \x9b2J\rover :smile:"
MARKS = ("\x1b", "\x07", "\x9b", "\r", "\u202e", "\u2066")


def test_commands_on_each_backend(lasting_url: str, run: Run) -> None:
    fill(lasting_url)
    url = ("--url", lasting_url)
    assert json.loads(run("stats", *url, "--json"))["entries"]["messages"] == 4
    assert lines(run("users", *url, "--json")) == [{"user_id": ALICE}, {"user_id": "bob"}]
    found = lines(run("sessions", *url, "--user", ALICE, "--json"))
    assert [(one["session_id"], one["user_id"], one["message_count"]) for one in found] == [("trip", ALICE, 2)]
    assert [one["text"] for one in lines(run("show", "trip", *url, "--user", "bob", "--json"))] == ["Ferry to Aegina"]
    (hit,) = lines(run("search", "hotel", *url, "--user", ALICE, "--limit", "1", "--json"))
    assert (hit["session_id"], hit["position"], hit["role"]) == ("trip", 0, "human")
    (thread,) = lines(run("threads", *url, "--json"))
    assert (thread["thread_id"], thread["user_id"], thread["checkpoint_count"]) == ("thread-1", ALICE, 3)
    shown = json.loads(run("show", "--thread", "thread-1", *url, "--json"))
    assert [one["data"]["content"] for one in shown["messages"]] == ["Hi", "Hello Alice"]
    assert json.loads(run("cleanup", "--older-than", "90d", "--yes", *url, "--json"))["sessions"] == 0
    assert json.loads(run("reindex", *url, "--json")) == {"items": 0, "messages": 0, "failed": 0}
    assert json.loads(run("migrate", *url, "--json"))["up_to_date"] is True
    assert json.loads(run("forget", ALICE, "--dry-run", *url, "--json"))["traces"]
    receipt = json.loads(run("forget", ALICE, "--yes", *url, "--json"))
    assert (receipt["deleted"]["sessions"], receipt["deleted"]["messages"], receipt["deleted"]["facts"]) == (1, 2, 1)
    assert run("users", *url) == "bob\n"


def test_a_pipe_gets_one_line_of_tab_separated_values_for_each_result(stored: str, run: Run) -> None:
    first = run("sessions", "--url", stored).splitlines()[0].split("\t")
    assert first[:3] == ["-x", "", "1"]
    assert "messages\t4\n" in run("stats", "--url", stored)
    assert run("users", "--url", stored, "--limit", "1") == f"{ALICE}\n"


def test_sessions_and_threads_of_no_user(stored: str, run: Run) -> None:
    assert [one["session_id"] for one in lines(run("sessions", "--url", stored, "--no-user", "--json"))] == ["-x"]
    assert run("threads", "--url", stored, "--no-user") == ""


def test_ids_that_look_like_options(stored: str, run: Run) -> None:
    assert "An ID like an option" in run("show", "--url", stored, "--", "-x")
    assert main(["forget", "--yes", "--url", stored, "--", "-x"]) == 0
    assert run("sessions", "--url", stored, "--user", "-x") == ""


def test_show_finds_the_only_session_with_an_id(stored: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with AgentMemory.from_url(stored) as memory:
        memory.history("only", user_id="bob").add_user_message("Here it is")
    assert "Here it is" in run("show", "only", "--url", stored)
    code, shown = failure(capsys, "show", "trip", "--url", stored)
    assert (code, shown.partition("error: ")[2]) == (
        2,
        f"2 sessions have the ID 'trip', of {ALICE}, bob. Pass --user or --no-user.",
    )
    assert "Ferry" in run("show", "trip", "--user", "bob", "--url", stored)


def test_show_prints_tool_calls_agents_and_the_newest_messages(sqlite_url: str, run: Run) -> None:
    call = {"name": "look_up", "args": {"city": "Athens"}, "id": "1", "type": "tool_call"}
    with AgentMemory.from_url(sqlite_url) as memory:
        memory.history("s", agent="guide").add_messages([HumanMessage("first"), AIMessage("", tool_calls=[call])])
    shown = run("show", "s", "--url", sqlite_url, "--limit", "1")
    assert "first" not in shown.partition("\n")[2]
    assert "ai (guide), " in shown
    assert "calls look_up({'city': 'Athens'})" in shown


@pytest.mark.parametrize("terminal", [False, True])
def test_no_terminal_interprets_stored_text(
    terminal: bool, sqlite_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AgentMemory.from_url(sqlite_url) as memory:
        history = memory.history(f"s {HOSTILE}", user_id=f"u {HOSTILE}")
        history.add_messages(
            [
                HumanMessage(f"hotel {HOSTILE}"),
                AIMessage("", tool_calls=[{"name": HOSTILE, "args": {HOSTILE: 1}, "id": "1"}]),
            ]
        )
        config = {"configurable": {"thread_id": f"t {HOSTILE}"}}
        graph = StateGraph(MessagesState).add_node("n", lambda state: {}).add_edge(START, "n")
        graph.compile(checkpointer=memory.checkpointer).invoke({"messages": [("user", HOSTILE)]}, config)
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "200")
    url, user = ("--url", sqlite_url), f"u {HOSTILE}"
    printed = [
        run("users", *url),
        run("sessions", *url),
        run("show", f"s {HOSTILE}", *url, "--user", user),
        run("search", "hotel", *url, "--user", user),
        run("threads", *url),
        run("show", "--thread", f"t {HOSTILE}", *url),
        run("forget", user, "--dry-run", *url),
        run("sessions", *url, "--json"),
    ]
    for one in printed:
        assert not [mark for mark in MARKS if mark in plain(one)]
    for one in printed[:6]:
        assert "\\x1b[31m" in one
        assert "[bold]bold[/bold]" in one
        assert ":smile:" in one
    assert lines(printed[-1])[0]["user_id"] == user


def test_errors_show_no_escape_sequence_either(stored: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = failure(capsys, "show", HOSTILE, "--url", stored)
    assert code == 1
    assert not [mark for mark in MARKS if mark in shown]
    code, shown = failure(capsys, f"stats{HOSTILE}")
    assert code == 2
    assert not [mark for mark in MARKS if mark in shown]


@pytest.mark.parametrize("width", [30, 60, 120])
def test_tables_fit_the_terminal(width: int, stored: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    for arguments in (["sessions"], ["threads"], ["users"], ["search", "hotel", "--user", ALICE]):
        printed = run(*arguments, "--url", stored)
        assert max(map(len, plain(printed).splitlines())) <= width
        assert "\x1b" not in plain(printed)  # no colour
    assert ("title" in run("sessions", "--url", stored)) == (width == 120)


def test_empty_results(sqlite_url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    main(["migrate", "--url", sqlite_url])
    for arguments in (["users"], ["sessions"], ["threads"]):
        assert run(*arguments, "--url", sqlite_url) == ""
        assert run(*arguments, "--url", sqlite_url, "--json") == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "There are no sessions." in run("sessions", "--url", sqlite_url)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "no"], 1, "There is no session 'no'. agentmem sessions lists them."),
        (["show", "no", "--user", "bob"], 1, "There is no session 'no' of 'bob'."),
        (["show", "--thread", "no"], 1, "There is no thread 'no'."),
        (["show"], 2, "Name a session, or a thread with --thread ID: one of them."),
        (["show", "a", "--thread", "b"], 2, "Name a session, or a thread"),
        (["sessions", "--user", "a", "--no-user"], 2, "--user and --no-user exclude each other."),
        (["sessions", "--user", ""], 2, "--user must not be empty"),
        (["sessions", "--limit", "0"], 2, "--limit"),
        (["cleanup"], 2, "--older-than"),
        (["cleanup", "--older-than", "soon"], 2, "--older-than must be an age such as 90d, 12h, 2w or P90D"),
        (["cleanup", "--older-than", "1s", "--kind", "users", "--yes"], 2, "users"),
        (["forget", "bob", "--shared", "perhaps"], 2, "--shared"),
        (["forget", ""], 2, "USER must not be empty"),
        (["forget"], 2, "USER"),
        (["stats", "--bogus"], 2, "--bogus"),
        (["unknown"], 2, "unknown"),
    ],
)
def test_exit_codes(
    arguments: list[str], code: int, message: str, stored: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, shown = failure(capsys, *arguments, *(["--url", stored] if arguments != ["unknown"] else []))
    assert (found, message in shown) == (code, True), shown


def test_a_database_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, shown = failure(capsys, "stats")
    assert (code, "There is no database agentmem.db in " in shown) == (1, True)
    code, shown = failure(capsys, "stats", "--url", "pigeon://x")
    assert (code, "Unknown URL scheme 'pigeon'" in shown) == (2, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("always::langchain_agentmem.ExistingDataWarning")
def test_reading_creates_nothing_in_a_foreign_sqlite_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "foreign.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE message_store (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT)")
        connection.execute("INSERT INTO message_store (session_id, message) VALUES ('s', '{}')")
        connection.commit()
    before = file.read_bytes()
    for command in (
        ["users"],
        ["stats"],
        ["sessions"],
        ["export", str(tmp_path / "x.jsonl")],
        ["forget", "a", "--yes"],
    ):
        assert main([*command, "--url", f"sqlite:///{file}"]) == 1
        shown = capsys.readouterr().err
        assert f"There is no memory at sqlite:///{file} yet." in shown
        assert "--format sql-history" in shown
        assert (file.read_bytes(), [one.name for one in tmp_path.iterdir()]) == (before, ["foreign.db"])


def test_reading_creates_no_schema_in_postgres(postgres_database: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"{postgres_database}{'&' if '?' in postgres_database else '?'}schema=typo"
    code, shown = failure(capsys, "users", "--url", url)
    assert (code, "There is no memory at postgresql://" in shown, "schema=typo" in shown) == (1, True, True)
    with psycopg.connect(postgres_database) as connection:
        assert connection.execute("SELECT FROM pg_namespace WHERE nspname = 'typo'").fetchall() == []
        assert connection.execute("SELECT FROM pg_class WHERE relname = 'agentmem_schema'").fetchall() == []


def test_an_error_is_one_line_and_its_traceback_is_shown_on_request(
    stored: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        msg = "The server\nstopped."
        raise StorageError(msg)

    monkeypatch.setattr(AgentMemory, "stats", fail)
    code, shown = failure(capsys, "stats", "--url", stored)
    assert (code, shown) == (1, "python -m langchain_agentmem stats: error: The server stopped.")
    assert main(["stats", "--url", stored, "--debug"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err

    def crash(*_: Any, **__: Any) -> Any:
        raise KeyError("x")

    monkeypatch.setattr(AgentMemory, "stats", crash)
    assert failure(capsys, "stats", "--url", stored)[1].endswith(
        "error: KeyError: 'x'. Pass --debug to see where it was raised."
    )


def test_warnings_are_one_line(stored: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMEM_TENNANT", "x")
    printed = io.StringIO()
    monkeypatch.setattr("sys.stderr", printed)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["users", "--url", stored]) == 0
    (line,) = printed.getvalue().splitlines()
    assert line.startswith("python -m langchain_agentmem users: warning: AGENTMEM_TENNANT is no setting")


def test_options_before_and_after_the_command_and_of_the_environment(
    stored: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = run("users", "--url", stored, "--json")
    assert run("--url", stored, "--json", "users") == after
    monkeypatch.setenv("AGENTMEM_URL", stored)
    assert run("users", "--json") == after
    assert run("users", "--tenant", "other") == ""


def test_cleanup_shows_asks_and_deletes(
    stored: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("cleanup", "--older-than", datetime.now(UTC).isoformat(), "--url", stored)
    assert json.loads(run(*arguments, "--dry-run", "--json"))["sessions"] == 3
    code, shown = failure(capsys, *arguments)
    assert (code, "Delete this (sessions: 3, messages: 4, " in shown, "--yes" in shown) == (2, True, True)
    for answer in ("n\n", "", "\n"):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert main([*arguments]) == 1
        assert capsys.readouterr().err.endswith("[y/N] Nothing was done.\n")
    assert len(lines(run("sessions", "--url", stored, "--json"))) == 3
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    archive = tmp_path / "archive.jsonl"
    assert "sessions\t3\n" in run(*arguments, "--archive", str(archive))
    assert run("sessions", "--url", stored) == ""
    assert "Ferry to Aegina" in archive.read_text(encoding="utf-8")
    assert "messages\t0\n" in run(*arguments)  # nothing is left, so nothing is asked


def test_cleanup_of_some_kinds_into_an_archive_that_cannot_be_written(
    stored: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("cleanup", "--older-than", datetime.now(UTC).isoformat(), "--yes", "--url", stored)
    code, shown = failure(capsys, *arguments, "--archive", str(tmp_path / "no" / "archive"))
    assert (code, "archive" in shown) == (1, True)
    assert json.loads(run(*arguments, "--kind", "threads", "--json"))["threads"] == 1
    assert len(lines(run("sessions", "--url", stored, "--json"))) == 3


def test_no_command_cleans_up_in_the_background(stored: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[CleanupPolicy | None] = []
    build_ = AgentMemory.__init__

    def spy(self: AgentMemory, *given: Any, **options: Any) -> None:
        opened.append(options.get("cleanup"))
        build_(self, *given, **options)

    monkeypatch.setenv("AGENTMEM_CLEANUP", "P1D")
    monkeypatch.setattr(AgentMemory, "__init__", spy)
    run("users", "--url", stored)
    assert opened == [None]


def test_forget_asks_and_prints_the_receipt(
    stored: str, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = failure(capsys, "forget", ALICE, "--url", stored)
    assert code == 2
    assert f"Delete everything about {ALICE} (sessions: 1, messages: 2, threads: 1, and all knowledge)?" in shown
    planned = run("forget", ALICE, "--url", stored, "--dry-run")
    assert "\nsessions\t1\nmessages\t2\n" in planned
    assert "agentmem_" not in planned
    assert "agentmem_sessions.user_id\tid\t1\t" in run("forget", ALICE, "--url", stored, "--dry-run", "--debug")
    record = json.loads(run("forget", ALICE, "--url", stored, "--dry-run", "--json"))
    assert (record["dry_run"], record["deleted"]["sessions"], bool(record["traces"])) == (True, 1, True)
    assert f"{ALICE}\n" in run("users", "--url", stored)
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    assert "deleted sessions\t1\n" in run("forget", ALICE, "--url", stored)
    assert run("users", "--url", stored) == "bob\n"


def test_ctrl_c_ends_with_130(stored: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(AgentMemory, "stats", interrupt)
    assert failure(capsys, "stats", "--url", stored) == (130, "Stopped.")


def test_ctrl_c_at_a_question(stored: str) -> None:
    ours, its = os.openpty()
    command = [sys.executable, *WITH_CTRL_C, "forget", "bob", "--url", stored]
    with subprocess.Popen(command, stdin=its, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        asked = ""
        while not asked.endswith("[y/N] "):
            asked += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        printed, shown = process.communicate(timeout=PATIENCE)
    os.close(ours)
    os.close(its)
    assert (process.returncode, printed, shown.strip()) == (130, "", "Stopped.")


def test_a_reader_that_ends_early(stored: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "langchain_agentmem", "sessions", "--url", stored]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.fixture
def as_script(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/agentmem"])
    return


@pytest.mark.usefixtures("as_script")
def test_the_script_without_a_command_shows_its_commands(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    shown = run()
    assert shown == run("--help") == run("-h")
    for name in (
        "demo",
        "stats",
        "users",
        "sessions",
        "show",
        "search",
        "threads",
        "cleanup",
        "forget",
        "reindex",
        "migrate",
    ):
        assert f"\n  {name} " in shown
        assert f"\n    agentmem {name}" in run(name, "--help")  # an example
    assert failure(capsys, "stats", "--turns", "1")[1].startswith("agentmem stats: error: No such option: --turns")


def test_help_on_a_terminal() -> None:
    shown = (
        CliRunner().invoke(build(is_terminal=True), ["show", "--help"], env={"COLUMNS": "100", "NO_COLOR": "1"}).output
    )
    assert "agentmem show trip --user alice@example.com --limit 20 --json" in shown
    assert "[SESSION]" in shown
    assert "Database and output" in shown


def test_completion_names_the_commands() -> None:
    environment = {"_AGENTMEM_COMPLETE": "complete_bash", "COMP_WORDS": "agentmem s", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['agentmem']; from langchain_agentmem.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert set(done.stdout.split()) == {"stats", "sessions", "show", "search", "serve"}


def test_ages() -> None:
    from langchain_agentmem.command.deletions import age_of

    assert age_of("1.5h") == timedelta(minutes=90)
    assert age_of("2W") == timedelta(weeks=2)
    assert str(age_of("2026-01-01")) == "2026-01-01 00:00:00+00:00"
    assert str(age_of("2026-01-01T10:00+02:00")) == "2026-01-01 10:00:00+02:00"


def test_progress_is_shown_on_stderr(
    stored: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("cleanup", "--older-than", "90d", "--dry-run", "--json", "--url", stored)
    assert main([*arguments]) == 0
    assert "0:00:00" not in capsys.readouterr().err  # not a terminal
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main([*arguments]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["dry_run"] is True
    assert "0:00:00" in shown.err


def test_a_full_disk_is_one_line(stored: str) -> None:
    for arguments in (["users", "--url", stored], ["--help"]):
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, "-m", "langchain_agentmem", *arguments]
            done = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False
            )
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.endswith("error: No space left on device.\n")
