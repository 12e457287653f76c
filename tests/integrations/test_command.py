"""The command line: what it plays is stored twice, whole and in order, however often it is stopped and run again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from examples import stride
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_agentmem import AgentMemory, InvalidInputError, StorageError
from langchain_agentmem.__main__ import main
from langchain_agentmem.command.demo import run as command
from langchain_agentmem.command.demo.conversations import load_conversation
from langchain_agentmem.command.demo.graph import facts_namespace
from langchain_agentmem.command.demo.player import Player, Progress
from langchain_agentmem.command.demo.turns import Session
from langchain_agentmem.messages.openings import OPENING
from langchain_agentmem.testing import ScriptedChatModel


def say(role: str, content: str, *facts: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **({"facts": list(facts)} if facts else {}), **more}


def call(*ids: str) -> list[dict[str, Any]]:
    return [{"id": one, "name": "look_up", "args": {"number": one}} for one in ids]


GARDEN = {
    "title": "A garden [bold]in spring",
    "user_id": "ines@example.org",
    "messages": [
        say("system", "You are a gardener."),
        say("assistant", "Good morning!"),
        say("user", "I have a small garden.", "Ines has a small garden"),
        say("user", "It is full of snails.", "The garden of Ines is full of snails"),
        say("assistant", "Let me see what helps.", tool_calls=call("a", "b")),
        say("tool", "copper", tool_call_id="a"),
        say("tool", "ducks", tool_call_id="b"),
        say("assistant", "", tool_calls=call("c")),
        say("tool", "3 ducks", tool_call_id="c"),
        say("assistant", "Copper, or three ducks."),
        say("assistant", "I would take the ducks."),
        say("user", "Ducks!", "Ines wants ducks"),
        say("assistant", "Wonderful."),
        say("user", "Are you still there?"),
    ],
}


def said(speaker: str, text: str) -> dict[str, str]:
    return {"speaker": speaker, "text": text}


PAIR = {
    "sample_id": "pair",
    "qa": [{"question": "Who bakes bread?"}],
    "conversation": {
        "speaker_a": "Ines",
        "speaker_b": "Tom",
        "session_1_date_time": "4:05 pm on 3 March, 2024",
        "session_1": [said("Tom", "Hi!"), said("Tom", "I bake bread."), said("Ines", "Nice."), said("Ines", "Rye?")],
        "session_2_date_time": "4:05 pm on 5 March, 2024",
        "session_2": [said("Ines", "How was it?"), said("Tom", "Burnt."), said("Ines", "Oh.")],
    },
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'played.db'}"


@pytest.fixture
def garden(tmp_path: Path) -> str:
    path = tmp_path / "garden.json"
    path.write_text(json.dumps(GARDEN), encoding="utf-8")
    return str(path)


@pytest.fixture
def pair(tmp_path: Path) -> str:
    path = tmp_path / "pair.json"
    path.write_text(json.dumps([PAIR]), encoding="utf-8")
    return str(path)


def stored(memory: AgentMemory, session: Session) -> tuple[list[BaseMessage], list[BaseMessage], dict[str, str]]:
    """What the history, the thread and the store hold of a session."""
    pages = memory.history(session.session_id, user_id=session.user_id).pages()
    facts = memory.store.search(facts_namespace(session.user_id), filter={"session_id": session.session_id}, limit=1000)
    return (
        [message for page in pages for message in page],
        Player(memory).thread(session),
        {item.key: item.value["text"] for item in facts},
    )


def check_complete(memory: AgentMemory, session: Session) -> None:
    history, thread, facts = stored(memory, session)
    assert history == list(session.messages)
    assert thread == list(session.messages)
    assert facts == {key: fact for turn in session.turns for key, fact in turn.facts.items()}
    assert not Player(memory).progress(session).turns_left(session)


def check_complete_file(url: str, path: str | None, user_id: str | None = None) -> None:
    with AgentMemory.from_url(url) as memory:
        for session in load_conversation(path, user_id=user_id):
            check_complete(memory, session)


@pytest.mark.parametrize("name", ["garden", "pair", None])
def test_plays_everything_on_both_surfaces(
    name: str | None, url: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    path = request.getfixturevalue(name) if name else None
    arguments = ["--url", url, *(["--conversation", path] if path else [])]
    assert main([*arguments, "--turns", "2"]) == 0
    first = capsys.readouterr().out
    assert "Played 2 turns in" in first
    assert re.search(r"turns are left\. Run again to continue:\n  python -m langchain_agentmem --url ", first)
    assert main(arguments) == 0
    assert "turns are left" not in capsys.readouterr().out
    check_complete_file(url, path)
    before = Path(url.removeprefix("sqlite:///")).read_bytes()
    assert main(arguments) == 0
    again = capsys.readouterr().out
    assert "All turns had been played before." in again
    assert f"--url {url}{' --conversation ' + path if path else ''} --restart" in again
    assert Path(url.removeprefix("sqlite:///")).read_bytes() == before


def test_summary(url: str, garden: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", url, "--conversation", garden]) == 0
    shown = capsys.readouterr().out
    words = " ".join(shown.split())
    assert re.search(r"Played 4 turns in \d+\.\d\d s: \d+\.\d ms a turn in a chain, \d+\.\d ms in a graph\.", words)
    assert re.search(r"A garden \[bold\]in spring\s+4 of 4\s+14\s+14\s+\d+\n", shown)
    assert "ai: Wonderful." in shown
    assert "human: Are you still there?" in shown
    assert "The store remembers 3 facts about ines@example.org" in shown
    assert "Search: Are you still there?" in shown
    assert re.search(r"Stored in .*played\.db \(\d+ kB\)\.", words)
    assert "\x1b" not in shown


def test_summary_of_several_sessions(url: str, pair: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", url, "--conversation", pair]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"all 2\s+4 of 4\s+7\s+7", shown)
    assert "Search: Who bakes bread?" in shown
    assert "1.00  Tom said on 3 March 2024: I bake bread." in shown


def test_only_looking_stores_nothing(url: str, garden: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", url, "--conversation", garden, "--turns", "0"]) == 0
    shown = capsys.readouterr().out
    assert "Nothing was played." in shown
    assert "Nothing of this conversation is stored." in shown
    assert "4 turns are left" in shown


def test_in_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", "sqlite:///:memory:", "--turns", "1"]) == 0
    assert "in memory only, and is gone now" in capsys.readouterr().out


def test_users_do_not_meet(url: str, garden: str) -> None:
    for user in ([], ["--user", "bo"], ["--user", "ann"]):
        assert main(["--url", url, "--conversation", garden, *user]) == 0
    check_complete_file(url, garden)
    check_complete_file(url, garden, "bo")
    check_complete_file(url, garden, "ann")


def test_restart_forgets_this_conversation_alone(url: str, garden: str, pair: str) -> None:
    for path in (garden, pair):
        assert main(["--url", url, "--conversation", path]) == 0
    assert main(["--url", url, "--conversation", garden, "--user", "bo"]) == 0
    assert main(["--url", url, "--conversation", garden, "--restart", "--turns", "0"]) == 0
    with AgentMemory.from_url(url) as memory:
        (session,) = load_conversation(garden)
        assert stored(memory, session) == ([], [], {})
    check_complete_file(url, pair)
    check_complete_file(url, garden, "bo")
    assert main(["--url", url, "--conversation", garden, "--restart"]) == 0
    check_complete_file(url, garden)


def test_conversation_that_grew(url: str, garden: str) -> None:
    assert main(["--url", url, "--conversation", garden]) == 0
    more = [say("assistant", "Always."), say("user", "Good.", "Ines is glad"), say("assistant", "Good night.")]
    Path(garden).write_text(json.dumps({**GARDEN, "messages": [*GARDEN["messages"], *more]}), encoding="utf-8")
    assert main(["--url", url, "--conversation", garden]) == 0
    check_complete_file(url, garden)


def test_conversation_that_was_changed(url: str, garden: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", url, "--conversation", garden]) == 0
    changed = [say("system", "You are a pirate."), *GARDEN["messages"][1:]]
    Path(garden).write_text(json.dumps({**GARDEN, "messages": changed}), encoding="utf-8")
    capsys.readouterr()
    assert main(["--url", url, "--conversation", garden]) == 2
    assert "already holds another conversation, or the file was changed" in capsys.readouterr().err
    assert main(["--url", url, "--conversation", garden, "--restart"]) == 0
    check_complete_file(url, garden)


@pytest.mark.parametrize("surface", ["history", "thread"])
def test_sessions_of_others_are_left_alone(
    surface: str, url: str, garden: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (session,) = load_conversation(garden)
    with AgentMemory.from_url(url) as memory:
        if surface == "history":
            memory.history(session.session_id, user_id=session.user_id).add_user_message("mine")
        else:
            from langgraph.graph import START, MessagesState, StateGraph

            graph = StateGraph(MessagesState).add_node("n", lambda state: {}).add_edge(START, "n")
            config = {"configurable": {"thread_id": session.session_id}}
            graph.compile(checkpointer=memory.checkpointer).invoke({"messages": [HumanMessage("mine")]}, config)
    assert main(["--url", url, "--conversation", garden]) == 2
    assert "already holds another conversation" in capsys.readouterr().err
    assert main(["--url", url, "--conversation", garden, "--restart"]) == 2
    assert "was not played by this command, so it is not deleted" in capsys.readouterr().err
    assert main(["--url", url, "--conversation", garden, "--user", "bo"]) == 0


class Killed(BaseException):
    """The process ends here."""


def play_until(memory: AgentMemory, session: Session, writes: int) -> bool:
    """Play, and end at a write to the database as `kill -9` would: nothing is written any more. Whether that happened."""
    backend, write = memory.backend, memory.backend.write
    count = 0

    def limited(program: Any) -> Any:
        nonlocal count
        count += 1
        if count > writes:
            iter(program).close()
            raise Killed
        return write(program)

    backend.write = limited  # type: ignore[method-assign]
    try:
        for _ in Player(memory).play(session):
            pass
    except Killed:
        pass
    finally:
        backend.write = write  # type: ignore[method-assign]
    return count > writes


@pytest.mark.parametrize("name", ["garden", "pair"])
def test_killed_at_every_write(name: str, request: pytest.FixtureRequest) -> None:
    session = load_conversation(request.getfixturevalue(name))[0]
    differences = set()
    writes = 0
    while True:
        with AgentMemory.from_url("sqlite:///:memory:") as memory:
            if not play_until(memory, session, writes):
                break
            progress = Player(memory).progress(session)
            differences.add((progress.chain - progress.graph, progress.interrupted is None))
            for _ in Player(memory).play(session):
                pass
            check_complete(memory, session)
        writes += stride()
    # LangGraph writes in threads of its own, so how many states a stride meets differs from run to run.
    assert len(differences) > (3 if stride() == 1 else 1)


def test_killed_again_and_again(garden: str) -> None:
    (session,) = load_conversation(garden)
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        runs = 0
        while play_until(memory, session, 4):
            runs += 1
        check_complete(memory, session)
    assert runs > 3


def test_step_that_was_done_but_not_saved(pair: str) -> None:
    # LangGraph's `state.next` is empty then, as at the end of a thread.
    session = load_conversation(pair)[0]
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        seen = []
        for writes in range(1, 12):
            memory.checkpointer.delete_thread(session.session_id)
            play_until(memory, session, writes)
            state = Player(memory)._graph.get_state({"configurable": {"thread_id": session.session_id}})
            seen.append(bool(state.tasks) and not state.next)
        assert any(seen)


def test_interrupted(
    url: str, garden: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play = Player.play

    def interrupted(self: Player, session: Session, progress: Progress | None = None) -> Iterator[Any]:
        for at, played in enumerate(play(self, session, progress)):
            if at == 2:
                raise KeyboardInterrupt
            yield played

    with monkeypatch.context() as patched:
        patched.setattr(Player, "play", interrupted)
        assert main(["--url", url, "--conversation", garden, "--turns", "9", "--restart"]) == 130
    shown = capsys.readouterr().err
    assert shown.startswith("Stopped. Nothing is lost. To continue: python -m langchain_agentmem --url")
    assert "--restart" not in shown
    assert main(["--url", url, "--conversation", garden]) == 0
    check_complete_file(url, garden)


def test_history_that_cannot_be_written_is_noticed(garden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (session,) = load_conversation(garden)
    with AgentMemory.from_url("sqlite:///:memory:") as memory:

        def fail(*_: Any) -> Any:
            msg = "disk full"
            raise StorageError(msg)

        monkeypatch.setattr(memory.backend.messages, "append", fail)
        with pytest.raises(StorageError, match=r"Turn 0 of .* was not stored"):
            next(Player(memory).play(session))
        monkeypatch.undo()
        assert len(list(Player(memory).play(session))) == 4
        check_complete(memory, session)


def real_model(monkeypatch: pytest.MonkeyPatch, *answers: str | Exception) -> ScriptedChatModel:
    model = ScriptedChatModel(answers)  # type: ignore[arg-type]  # it turns texts into messages
    monkeypatch.setattr("langchain.chat_models.init_chat_model", lambda name: model)
    return model


def test_real_model(url: str, garden: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model = real_model(monkeypatch, "c1", "g1", "c2", RuntimeError("no credit"))
    arguments = ["--url", url, "--conversation", garden, "--model", "acme:large"]
    assert main(arguments) == 1
    assert "The model failed (RuntimeError: no credit). What was played before is stored." in capsys.readouterr().err
    real_model(monkeypatch, "g2", "c3", "g3")
    assert main(arguments) == 0
    assert "--model acme:large" in capsys.readouterr().out
    (session,) = load_conversation(garden)
    people = ["You are a gardener.", "Good morning!", "I have a small garden.", "It is full of snails."]
    assert [message.content for message in model.requests[0]] == [people[0], OPENING, *people[1:]]
    with AgentMemory.from_url(url) as memory:
        history, thread, facts = stored(memory, session)
        for surface, answers in ((history, ["c1", "c2", "c3"]), (thread, ["g1", "g2", "g3"])):
            expected = [*people, answers[0], "Ducks!", answers[1], "Are you still there?", answers[2]]
            assert [message.content for message in surface] == expected
        assert len(facts) == 3
    assert main(["--url", url, "--conversation", garden]) == 0
    assert "All turns had been played before." in capsys.readouterr().out


def test_real_model_after_recorded_answers(url: str, garden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["--url", url, "--conversation", garden, "--turns", "3"]) == 0
    real_model(monkeypatch, "chain's", "graph's")
    assert main(["--url", url, "--conversation", garden, "--model", "acme:large"]) == 0
    (session,) = load_conversation(garden)
    with AgentMemory.from_url(url) as memory:
        history, thread, _ = stored(memory, session)
    assert history[:-1] == list(session.messages)
    assert (history[-1].content, thread[-1].content) == ("chain's", "graph's")


def test_model_without_langchain(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    assert main(["--url", url, "--model", "acme:large"]) == 2
    assert "pip install 'langchain-agentmem[agents]'" in capsys.readouterr().err


def test_window_of_the_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[BaseMessage]] = []
    invoke = ScriptedChatModel.invoke

    def spy(self: ScriptedChatModel, messages: Any, config: Any = None, **options: Any) -> AIMessage:
        asked.append(messages)
        return invoke(self, messages, config, **options)

    monkeypatch.setattr(ScriptedChatModel, "invoke", spy)
    path = tmp_path / "long.json"
    path.write_text(json.dumps([say(role, str(n)) for n in range(30) for role in ("user", "assistant")]))
    assert main(["--url", "sqlite:///:memory:", "--conversation", str(path)]) == 0
    assert max(len(messages) for messages in asked[0::2]) == 41
    assert max(len(messages) for messages in asked[1::2]) == 39  # the window begins with a message of the user


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--conversation", "nowhere.json"], "There is no file 'nowhere.json'."),
        (["--url", "carrier-pigeon://x"], "Unknown URL scheme 'carrier-pigeon'"),
        (["--url", "sqlite:////no/such/folder/x.db"], "the folder /no/such/folder does not exist"),
        (["--user", ""], "--user must not be empty."),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", "sqlite:///:memory:", *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.startswith("python -m langchain_agentmem demo: error: ")
    assert shown.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--turns", "-1"], ["--turns", "two"], ["--turns", "²"], ["--bogus"], ["stray"]])
def test_arguments_that_are_not_accepted(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_settings(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AGENTMEM_URL", url)
    assert main(["--turns", "1"]) == 0
    shown = capsys.readouterr().out
    assert "played.db" in shown
    assert "\n  python -m langchain_agentmem\n" in shown
    monkeypatch.setenv("AGENTMEM_TTL", "soon")
    assert main(["--turns", "1"]) == 2
    assert "AGENTMEM_TTL, in the environment or in .env, is empty or has a wrong value" in capsys.readouterr().err


def test_passwords_are_not_shown() -> None:
    assert command._stored_in("postgresql://me:secret@host/db") == "Stored in postgresql://me:***@host/db."
    again = command.Again("redis://:s3@h", None, None, "a b")
    assert again.command == "python -m langchain_agentmem --url 'redis://:***@h' --user 'a b'"


def test_foreign_sessions_raise_in_the_library_too(garden: str) -> None:
    (session,) = load_conversation(garden)
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        memory.history(session.session_id, user_id=session.user_id).add_user_message("mine")
        with pytest.raises(InvalidInputError):
            Player(memory).forget(session)
        assert memory.history(session.session_id, user_id=session.user_id).count() == 1


def test_as_a_process(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    arguments = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "langchain_agentmem",
        "--url",
        "sqlite:///played.db",
        "--turns",
        "3",
    ]
    outputs = []
    for _ in range(2):
        done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        outputs.append(done.stdout)
    for output, turns in zip(outputs, ("3 of 40", "6 of 40"), strict=True):
        assert "Played 3 turns in" in output
        assert turns in output
    assert "37 turns are left" in outputs[0]
    assert "34 turns are left" in outputs[1]


def test_importing_the_package_does_not_import_rich() -> None:
    code = "import sys, langchain_agentmem, langchain_agentmem.__main__; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"langchain-agentmem \d+\.\d+\S*\n", capsys.readouterr().out)
