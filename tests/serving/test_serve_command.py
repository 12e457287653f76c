"""The command `agentmem serve`: a process that serves, its shutdown, and its wrong usage."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import uvicorn
from commands import failure
from patience import PATIENCE

from langchain_agentmem.__main__ import main

AGENTS = """
import time
from langchain_core.runnables import RunnableLambda

def slow(messages):
    open("started", "w").close()
    time.sleep(0.5)
    return "Done"

agents = {"slow": RunnableLambda(slow)}
not_agents = 5
"""


def test_a_process_serves_with_keys_and_ends_after_its_running_turns(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "app_of_agents.py").write_text(AGENTS)
    (tmp_path / "keys.json").write_text(json.dumps({"key-of-alice": {"users": ["alice@example.com"]}}))
    command = ("-m", "langchain_agentmem", "serve", "--url", sqlite_url, "--port", "0")
    options = ("--api-keys", "keys.json", "--agents", "app_of_agents:agents")
    with subprocess.Popen(
        [sys.executable, *command, *options], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr
        assert running.stdout
        words = running.stderr.readline().split()
        assert words[:4] == ["Serving", "the", "memory", "on"]
        url = words[4].removesuffix(".")
        assert httpx.get(f"{url}/v1/sessions").status_code == 401
        headers = {"X-API-Key": "key-of-alice"}
        assert httpx.get(f"{url}/v1/sessions", headers=headers).json()["items"] == []
        with httpx.stream(
            "POST",
            f"{url}/v1/agents/slow/run",
            headers=headers,
            json={"message": "Hi", "stream": True},
            timeout=PATIENCE,
        ) as answer:
            running.send_signal(signal.SIGTERM)
            assert '"content":"Done"' in answer.read().decode()
        assert running.wait(PATIENCE) == -signal.SIGTERM
        assert (running.stdout.read(), running.stderr.read()) == ("", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "0.0.0.0"), "Without --api-keys, only this machine is served: --host must be 127.0.0.1"),
        (("--agents", "app"), "--agents must name a module and a mapping in it, such as app:agents, got 'app'."),
        (("--agents", "no_such_module:agents"), "--agents no_such_module:agents cannot be loaded: No module named"),
        (("--agents", "json:nothing"), "--agents json:nothing cannot be loaded: module 'json' has no attribute"),
        (("--agents", "json:loads"), "--agents json:loads must be a mapping of names to agents, got function."),
        (("--api-keys", "missing.json"), "'missing.json' cannot be read: No such file or directory."),
        (("--rate", "often"), "rate must be a number of requests in a period"),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...], message: str, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = failure(capsys, "serve", "--url", sqlite_url, *arguments)
    assert code == 2
    assert message in shown


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ('{"tenants": ["hunter2"]}', "Key 1 in 'keys.json' has a value of type list. Each name in the file is a key"),
        ('{"hunter2": {"tenants": ["shop"]}}', "Key 1 in 'keys.json' has the unknown field 'tenants'. Each name"),
        ('{"hunter2": {}, "other": {"user": "ann"}}', "Key 2 in 'keys.json' has the unknown field 'user'."),
    ],
)
def test_a_file_of_keys_of_another_form_is_told_what_is_allowed(
    given: str,
    fault: str,
    tmp_path: Path,
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("keys.json").write_text(given)
    code, shown = failure(capsys, "serve", "--url", sqlite_url, "--api-keys", "keys.json")
    assert (code, fault in shown, "users (a list of IDs, default all) and tenant (a name" in shown) == (2, True, True)
    assert "hunter2" not in shown


@pytest.mark.parametrize("command", [("serve",), ("mcp", "--transport", "http", "--user", "alice")])
def test_idle_connections_stay_open_for_longer_than_those_of_proxies(
    command: tuple[str, ...], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, **_: seen.append(self.config.timeout_keep_alive))
    assert main([*command, "--url", sqlite_url, "--port", "0"]) == 0
    (seconds,) = seen
    assert seconds > 60
