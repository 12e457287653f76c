"""The template of an application: its tests pass, it talks in a terminal, and LangGraph's agent server runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from agent_server import langgraph_dev
from langgraph_sdk import get_client

from langchain_agentmem import AgentMemory

TEMPLATE = Path(__file__).parents[2] / "templates" / "langgraph-app"


@pytest.fixture
def application(tmp_path: Path) -> Path:
    folder = tmp_path / "application"
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    shutil.copy(folder / ".env.example", folder / ".env")
    return folder


def run(folder: Path, *arguments: str, said: str = "") -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTMEM_", "MODEL"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        input=said,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_tests_pass(application: Path) -> None:
    assert "2 passed" in run(application, "-m", "pytest", "-q", "-p", "no:cacheprovider")


def test_it_talks_in_a_terminal_and_keeps_the_conversation(application: Path) -> None:
    printed = run(application, "-m", "my_agent", "alice@example.com", said="Hello\n\n")
    assert "I have no model yet" in printed
    with AgentMemory.from_url(f"sqlite:///{application / 'agentmem.db'}") as memory:
        assert len(memory.checkpointer.threads(user_id="alice@example.com")) == 1


async def test_the_agent_server_runs_it(application: Path) -> None:
    url = f"sqlite:///{application / 'agentmem.db'}"
    with langgraph_dev(application, {"AGENTMEM_URL": url}) as server:
        async with get_client(url=server, api_key=None) as client:
            thread = (await client.threads.create())["thread_id"]
            config = {"configurable": {"user_id": "alice@example.com"}}
            asked = {"messages": [{"role": "user", "content": "Hello"}]}
            state = await client.runs.wait(thread, "agent", input=asked, config=config)
    assert "I have no model yet" in state["messages"][-1]["content"]
    with AgentMemory.from_url(url) as memory:
        assert [one.thread_id for one in memory.checkpointer.threads(user_id="alice@example.com")] == [thread]
