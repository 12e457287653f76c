"""The commands in `docs/serving.md` reach a server."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from langchain.agents import create_agent

from langchain_agentmem import AgentMemory
from langchain_agentmem.__main__ import main
from langchain_agentmem.command.listening import api_keys_in
from langchain_agentmem.serving import create_app
from langchain_agentmem.testing import ScriptedChatModel

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
OF_SESSION, OF_VARIABLES, OF_AGENTS, OF_THREADS, OF_GROUPS = BLOCKS
ANSWERS = re.findall(r"^```jsonl\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
VARYING = re.compile(r'"(lc_run--|[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f]{24}-|20\d\d-\d\d-\d\dT)[^"]*"')
"""Values that differ at each run: IDs and times."""


def sent(block: str, port: int) -> list[httpx.Response]:
    """Send the requests of the curl commands in a block."""
    answers = []
    files: dict[str, bytes | None] = {}
    words = shlex.split(block.replace("\\\n", " "), comments=True)
    starts = [at for at, word in enumerate(words) if word == "curl"]
    for start, end in zip(starts, [*starts[1:], len(words)], strict=True):
        given = iter(words[start + 1 : end])
        method, url, headers, data = "GET", "", {}, None
        for word in given:
            if word == "-X":
                method = next(given)
            elif word == "-H":
                name, _, value = next(given).partition(": ")
                headers[name] = value
            elif word == "-d":
                data = next(given)
            elif word == "--data-binary":
                data = files[next(given).removeprefix("@")]
            elif word == "-o":
                files[next(given)] = None
            else:
                url = word
        assert url.startswith("http://localhost:7777/")
        url = url.replace("localhost:7777", f"127.0.0.1:{port}")
        answers.append(httpx.request(method, url, headers=headers, content=data, timeout=60))
        files = {name: answers[-1].content if content is None else content for name, content in files.items()}
    return answers


def without_varying(answer: str) -> str:
    """Return an answer in which the IDs and times of a run are replaced by their kind."""
    return VARYING.sub(
        lambda found: '"lc"' if found[1] == "lc_run--" else '"time"' if found[1][-1] == "T" else '"id"', answer
    )


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server with the agent of the document, without keys."""
    memory = AgentMemory.from_url("sqlite:///:memory:")
    model = ScriptedChatModel(["Nice to meet you, Alice.", "Which library?", "Where do you hike?"])

    def rag_agent(memory: AgentMemory):
        return create_agent(model, memory.tools(), middleware=[memory.middleware()], checkpointer=memory.checkpointer)

    memory.profiles.add_fact("alice@example.com", "User name is Alice", topics=["personal"])
    app = create_app(memory, agents={"rag-agent": rag_agent})
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, proxy_headers=False))
        thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listening]),))
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def test_the_commands_have_the_answers_of_the_document(port):
    for block, shown in zip(BLOCKS[:-1], ANSWERS, strict=True):
        answers = sent(block, port)
        assert all(one.is_success for one in answers)
        assert [without_varying(one.text) for one in answers] == [without_varying(one) for one in shown.splitlines()]
    sessions = httpx.get(f"http://127.0.0.1:{port}/v1/sessions?user_id=alice@example.com", timeout=60).json()
    assert sessions["items"] == [], "the turns of an agent are in threads only"


def test_there_is_a_command_for_each_group_of_routes(port):
    answers = sent(OF_GROUPS, port)
    assert [one.text for one in answers if not one.is_success] == []
    paths = httpx.get(f"http://127.0.0.1:{port}/openapi.json", timeout=60).json()["paths"]
    groups = {name: {tag for one in methods.values() for tag in one["tags"]} for name, methods in paths.items()}
    called = {tag for one in answers for tag in groups[one.url.path]}
    of_other_blocks = {"agents", "agent memory", "threads"}
    assert called | of_other_blocks == set().union(*groups.values())
    preview, forgotten = [one.json()["deleted"] for one in answers if one.url.path == "/v1/forget"]
    (imported,) = [one.json()["counts"] for one in answers if one.url.path == "/v1/import"]
    assert preview["messages"] == forgotten["messages"] == imported["messages"] == 1


def test_the_file_of_keys(tmp_path):
    (found,) = re.findall(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    path = tmp_path / "keys.json"
    path.write_text(found)
    keys = api_keys_in(path)
    assert {key: (one.tenant, one.users) for key, one in keys.items()} == {
        "key-of-the-back-end": (None, None),
        "key-of-the-shop": ("shop", None),
        "key-of-alices-assistant": (None, {"alice@example.com"}),
    }
    assert json.loads(found).keys() == keys.keys()


def test_the_extras_are_named():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for extra in ("api", "mcp"):
        assert f"| `pip install -e '.[{extra}]'` | `pip install 'langchain-agentmem[{extra}]'` |" in readme
    before_the_agent = TEXT.partition("from langchain.agents import create_agent")[0]
    assert "pip install 'langchain-agentmem[api,agents]'" in before_the_agent


def test_the_options_exist(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["agentmem"])
    assert main(["serve", "--help"]) == 0
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    of_others = {"--no-access-log", "--no-proxy-headers", "--data-binary", "--timeout-keep-alive"}
    assert set(re.findall(r"--[a-z][a-z-]+", TEXT)) - of_others <= known | {"--port"}
