"""What the demo shows beyond the turns: corrections, a profile, a budget; and that its knowledge survives any interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from langchain_agentmem import AgentMemory
from langchain_agentmem.__main__ import main
from langchain_agentmem.command.demo.conversations import load_conversation
from langchain_agentmem.command.demo.player import Player
from langchain_agentmem.command.demo.turns import Session


def say(role: str, content: str, *lessons: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "content": content, **({"learn": [*lessons]} if lessons else {})}


CAT = {
    "title": "A cat",
    "user_id": "ines@example.org",
    "ask": ["How old is the cat?"],
    "messages": [
        say("user", "I'm Ines.", {"field": "name", "value": "Ines"}),
        say("user", "My cat is two.", {"fact": "Has a cat that is two years old", "topics": ["pets"]}),
        say("assistant", "Lovely."),
        say(
            "user",
            "She is three!",
            {"fact": "Has a cat that is three years old", "instead_of": "Has a cat that is two years old"},
        ),
        say("assistant", "Noted."),
    ],
}


@pytest.fixture
def cat(tmp_path: Path) -> str:
    path = tmp_path / "cat.json"
    path.write_text(json.dumps(CAT), encoding="utf-8")
    return str(path)


def known(memory: AgentMemory) -> tuple[str | None, list[tuple[str, bool, list[str]]]]:
    """The name and the facts, with whether they are true and their sources."""
    facts = memory.profiles.timeline("ines@example.org")
    found = sorted((fact.text, fact.valid_to is None, fact.sources) for fact in facts)
    return memory.profiles.get("ines@example.org").name, found


KNOWN = (
    "Ines",
    [
        ("Has a cat that is three years old", True, ["A cat#3"]),
        ("Has a cat that is two years old", False, ["A cat#1"]),
    ],
)


def test_the_demo_shows_a_correction_a_profile_and_a_budget(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--url", "sqlite:///:memory:", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["turns_played"], report["turns_left"]) == (40, 0)
    (learned,) = report["learned"]
    first = learned["answers"]["What is Alice allergic to?"][0]
    assert first["fact"] == "Is allergic to walnuts and pecans; hazelnuts are fine"
    assert first["before"] == ["Is allergic to hazelnuts and walnuts"]
    assert learned["fields"] == {"name": "Alice Verrane", "diet": "vegetarian", "rent": "at most £780 a month"}
    assert all(answers[0]["before"] for answers in learned["answers"].values())
    budget = report["budget"]
    assert budget["request_tokens"] <= budget["max_tokens"] < budget["tokens"]
    assert budget["folded"] + budget["request_messages"] - 1 == budget["messages"] == 105


def test_what_the_demo_prints_of_what_it_learned(tmp_path: Path, cat: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'cat.db'}"
    assert main(["--url", url, "--conversation", cat]) == 0
    shown = capsys.readouterr().out
    assert "1 facts, and 1 that were true before and are superseded" in shown
    assert "  name: Ines\n" in shown
    assert "Has a cat that is three years old\n          superseded: Has a cat that is two years old\n" in shown
    assert "A request of at most" not in shown  # the conversation fits
    assert f"show --url {url} -- 'A cat'" in shown


def test_restart_forgets_what_was_learned_and_learns_it_again(tmp_path: Path, cat: str) -> None:
    url = f"sqlite:///{tmp_path / 'cat.db'}"
    for arguments in ([], ["--restart", "--turns", "0"], [], ["--restart"], []):
        assert main(["--url", url, "--conversation", cat, *arguments]) == 0
        with AgentMemory.from_url(url) as memory:
            assert known(memory) == ((None, []) if "0" in arguments else KNOWN)


def test_restart_keeps_knowledge_from_elsewhere(tmp_path: Path, cat: str) -> None:
    url = f"sqlite:///{tmp_path / 'cat.db'}"
    with AgentMemory.from_url(url) as memory:
        memory.profiles.add_fact("ines@example.org", "Sails")
        assert main(["--url", url, "--conversation", cat]) == 0
        assert main(["--url", url, "--conversation", cat, "--restart", "--turns", "0"]) == 0
        assert known(memory) == (None, [("Sails", True, [])])


class KilledError(BaseException):
    """The process ends here."""


def test_killed_at_every_write(cat: str) -> None:
    (session,) = load_conversation(cat)
    kills = 0
    while True:
        with AgentMemory.from_url("sqlite:///:memory:") as memory:
            killed = play_until(memory, session, kills)
            for _ in Player(memory).play(session):
                pass
            assert known(memory) == KNOWN
        if not killed:
            break
        kills += 1
    assert kills > 10


def play_until(memory: AgentMemory, session: Session, writes: int) -> bool:
    """Play, and end at a write to the database as `kill -9` would. Whether that happened."""
    backend, write = memory.backend, memory.backend.write
    count = 0

    def limited(program: Any) -> Any:
        nonlocal count
        count += 1
        if count > writes:
            iter(program).close()
            raise KilledError
        return write(program)

    backend.write = limited  # type: ignore[method-assign]
    try:
        for _ in Player(memory).play(session):
            pass
    except KilledError:
        pass
    finally:
        backend.write = write  # type: ignore[method-assign]
    return count > writes


@pytest.mark.parametrize(
    ("lesson", "message"),
    [
        ({}, 'must have "fact", or "field" and "value"'),
        ({"fact": "x", "field": "name"}, 'must have "fact", or "field" and "value"'),
        ({"fact": "x", "subject": "y"}, "has the unknown key 'subject'"),
        ({"fact": 3}, "fact must be a string"),
        ({"field": "height", "value": 3}, "height"),
        ("x", "it must be an object"),
    ],
)
def test_lessons_that_cannot_be_learned(
    lesson: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "talk.json"
    path.write_text(json.dumps([say("user", "Hi", lesson)]), encoding="utf-8")
    assert main(["--url", "sqlite:///:memory:", "--conversation", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_the_assistant_teaches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "talk.json"
    path.write_text(json.dumps([say("user", "Hi"), say("assistant", "Hi", {"fact": "x"})]), encoding="utf-8")
    assert main(["--url", "sqlite:///:memory:", "--conversation", str(path)]) == 2
    assert "only messages of the user may have learn" in capsys.readouterr().err
