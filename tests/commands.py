"""What the tests of commands share: a memory with data, and what a command printed."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import AgentMemory
from langchain_agentmem.__main__ import main

ALICE = "alice@example.com"

Run = Callable[..., str]
"""Runs a command that succeeds; returns what it prints on stdout."""

_AS_IN_THE_FOREGROUND = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("langchain_agentmem", run_name="__main__", alter_sys=True)
"""

WITH_CTRL_C = ("-c", _AS_IN_THE_FOREGROUND)
"""Arguments of Python that run the command. Processes in the background of a shell, and their children, ignore Ctrl-C."""


def fill(url: str) -> None:
    with AgentMemory.from_url(url) as memory:
        memory.history("trip", user_id=ALICE).add_messages(
            [HumanMessage("Where is the hotel in Athens?"), AIMessage("In the old town.")]
        )
        memory.history("trip", user_id="bob").add_user_message("Ferry to Aegina")
        memory.history("-x").add_user_message("An ID like an option")
        memory.profiles.add_fact(ALICE, "Loves ferries")
        graph = StateGraph(MessagesState).add_node("reply", lambda state: {"messages": [AIMessage("Hello Alice")]})
        config = {"configurable": {"thread_id": "thread-1", "user_id": ALICE}}
        graph.add_edge(START, "reply").compile(checkpointer=memory.checkpointer).invoke(
            {"messages": [("user", "Hi")]}, config
        )


def lines(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run a command that fails; return its exit code and the one line on stderr."""
    capsys.readouterr()
    code = main([*arguments])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err
    return code, shown.err.rstrip("\n")


def plain(printed: str) -> str:
    """What a terminal shows, without our bold and dim headings. Other escape sequences stay."""
    return re.sub(r"\x1b\[(0|1|2|1;2)m", "", printed)


class Terminal(io.StringIO):
    """A terminal at which somebody types an answer."""

    def isatty(self) -> bool:
        return True


def exported(url: str) -> bytes:
    with AgentMemory.from_url(url) as memory:
        file = io.BytesIO()
        memory.export(file)
    return file.getvalue()
