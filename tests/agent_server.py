"""LangGraph's agent server in a process of its own, without network, reload or browser."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from patience import PATIENCE
from servers import free_port

GRAPH = """
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore
from langgraph.types import interrupt


async def note(state: MessagesState, *, store: BaseStore) -> dict:
    text = state["messages"][-1].text
    await store.aput(("notes",), text, {"text": text})
    return {}


def answer(state: MessagesState) -> dict:
    text = state["messages"][-1].text
    if text.startswith("Delete"):
        return {"messages": [AIMessage(f"Approved: {interrupt('Really?')}")]}
    return {"messages": [AIMessage(f"You said: {text}")]}


graph = StateGraph(MessagesState).add_sequence([note, answer]).add_edge(START, "note").compile()
"""

OBJECTS = """
import os

from langchain_agentmem import AgentMemory

memory = AgentMemory.from_url(os.environ["AGENTMEM_URL"])
checkpointer = memory.checkpointer
store = memory.store
"""

DOCUMENT = Path(__file__).parents[1] / "docs" / "agent-server.md"
"""Its JSON blocks are `langgraph.json`, without and with the application."""

TTL = 7_200
"""The TTL of threads and items in seconds."""

PRIVATE = ("LANGSMITH_", "LANGCHAIN_", "LANGGRAPH_")
OFFLINE = {
    "LANGSMITH_TRACING": "false",
    "LANGGRAPH_NO_VERSION_CHECK": "true",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    # Every request to another host fails at once.
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "no_proxy": "127.0.0.1,localhost",
}


@contextlib.contextmanager
def agent_server(folder: Path, memory_url: str, *, objects: bool = False, application: bool = False) -> Iterator[str]:
    """Run `langgraph dev` on a memory for as long as the block runs.

    Args:
        folder: An empty folder for the application.
        memory_url: The URL of the memory that holds checkpoints and items.
        objects: Name module-level objects instead of the shipped context managers. Default: False.
        application: Add the application of the document by the setting `http`. Default: False.

    Yields:
        The server's URL.
    """
    document = DOCUMENT.read_text(encoding="utf-8")
    settings = json.loads(_blocks(document, "json")[1 if application else 0])
    if objects:
        (folder / "storage.py").write_text(OBJECTS, encoding="utf-8")
        settings |= {"checkpointer": {"path": "storage.checkpointer"}, "store": {"path": "storage.store"}}
    if application:
        (code,) = [one for one in _blocks(document, "python") if "create_app" in one]
        (folder / "served.py").write_text(code, encoding="utf-8")
    (folder / "graph.py").write_text(GRAPH, encoding="utf-8")
    (folder / "langgraph.json").write_text(json.dumps(settings), encoding="utf-8")
    with langgraph_dev(folder, {"AGENTMEM_URL": memory_url, "AGENTMEM_TTL": str(TTL)}) as url:
        yield url


@contextlib.contextmanager
def langgraph_dev(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run `langgraph dev` in the folder of an application for as long as the block runs.

    Yields:
        The server's URL.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}
    port = free_port()
    command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload", "--port", str(port)]
    output = folder / "output"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--n-jobs-per-worker", "2"],
            cwd=folder,
            env={**kept, **OFFLINE, **environment},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The agent server did not start: {output.read_text()[-4000:]}")
            time.sleep(0.1)
        yield url
    except Exception as error:
        error.add_note(output.read_text()[-4000:])
        raise
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _blocks(document: str, language: str) -> list[str]:
    """The blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ok", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:  # also a timeout
        return False
