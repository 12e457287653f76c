"""The command `agentmem mcp`: a process on stdio or HTTP, its shutdown, and its wrong usage."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from commands import WITH_CTRL_C, failure
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_clients import ALICE, BOB, converse, fill, process, read, refused, told
from patience import PATIENCE

from langchain_agentmem import AgentMemory

COMMAND = ("-m", "langchain_agentmem", "mcp")


def filled(url: str) -> str:
    with AgentMemory.from_url(url) as memory:
        fill(memory)
    return url


async def test_a_conversation_on_stdio(lasting_url: str, tmp_path: Path) -> None:
    arguments = ("--url", filled(lasting_url), "--user", ALICE)
    async with process(tmp_path / "stderr", "auto", *COMMAND, *arguments) as client:
        await converse(client)
    assert (tmp_path / "stderr").read_text() == ""


NOISY = """
import asyncio, logging, os, sys
from langchain_agentmem import AgentMemory
from langchain_agentmem.serving.mcp import create_mcp, serve_stdio

stdout = sys.stdout

def embed(texts):
    print("noise of the model")
    stdout.write("noise of a buffer")
    os.system("echo noise of a child")
    logging.getLogger("langchain_agentmem").error("noise of the log")
    return [[1.0, 0.0] for _ in texts]

async def main():
    async with AgentMemory.from_url(sys.argv[1], embeddings=embed, index={"dims": 2}) as memory:
        await serve_stdio(create_mcp(memory, user_id="alice@example.com"))

asyncio.run(main())
"""


async def test_stdout_carries_nothing_but_the_protocol(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(tmp_path / "stderr", "legacy", "-c", NOISY, sqlite_url) as client:
        await told(client, "save_memory", memory="Alice drinks tea")
        (found,) = (await told(client, "search_memory", query="tea"))["memories"]
        assert found["memory"] == "Alice drinks tea"
    assert "Failed to parse" not in caplog.text
    noise = (tmp_path / "stderr").read_text()
    assert all(f"noise of {one}" in noise for one in ("the model", "a buffer", "a child", "the log"))


HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


READ = {"jsonrpc": "2.0", "id": 2, "method": "resources/read", "params": {"uri": "agentmem://profile"}}


def is_open(url: str) -> bool:
    """Whether a process uses the database. SQLite deletes this file when the last connection is closed in order."""
    return Path(f"{url.removeprefix('sqlite:///')}-wal").exists()


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own; it is killed if it does not end."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, *WITH_CTRL_C, "mcp", *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_process_that_waits_for_stdin(sqlite_url: str, number: signal.Signals, code: int) -> None:
    with started("--url", sqlite_url, "--user", ALICE) as running:
        assert running.stdin
        assert running.stdout
        assert running.stderr
        running.stdin.write(json.dumps(HELLO) + "\n")
        running.stdin.flush()
        assert json.loads(running.stdout.readline())["result"]["serverInfo"]["name"] == "agentmem"
        running.stdin.write(json.dumps(READ) + "\n")
        running.stdin.flush()
        assert json.loads(running.stdout.readline())["id"] == 2
        assert is_open(sqlite_url)
        running.send_signal(number)
        assert running.wait(PATIENCE) == code
        assert (running.stdout.read(), running.stderr.read()) == ("", "")
    assert not is_open(sqlite_url)


def test_the_end_of_stdin_ends_the_process(sqlite_url: str) -> None:
    with started("--url", sqlite_url, "--user", ALICE) as running:
        assert running.stdin
        assert running.stdout
        running.stdin.write(json.dumps(HELLO) + "\n" + json.dumps(READ) + "\n")
        running.stdin.flush()
        assert {json.loads(running.stdout.readline())["id"] for _ in range(2)} == {1, 2}
        assert is_open(sqlite_url)
        running.stdin.close()
        assert running.wait(PATIENCE) == 0
    assert not is_open(sqlite_url)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_signal_ends_a_process_on_http(sqlite_url: str, number: signal.Signals, code: int) -> None:
    with started("--url", sqlite_url, "--user", ALICE, "--transport", "http", "--port", "0") as running:
        assert running.stderr
        url = running.stderr.readline().split()[3].removesuffix(".")
        headers = {"accept": "application/json, text/event-stream"}
        assert httpx2.post(url, json=READ, headers=headers).status_code == 200
        assert is_open(sqlite_url)
        running.send_signal(number)
        assert running.wait(PATIENCE) == code
        assert running.stderr.read() in {"", "Stopped.\n"}
    assert not is_open(sqlite_url)


async def test_a_process_on_http_serves_the_users_of_its_keys(sqlite_url: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"key-of-alice": {"users": [ALICE]}, "key-of-bob": {"users": [BOB]}}))
    arguments = ("--url", filled(sqlite_url), "--transport", "http", "--port", "0", "--api-keys", str(keys))
    with started(*arguments) as running:
        assert running.stderr
        assert running.stdout
        words = running.stderr.readline().split()
        assert words[:3] == ["Serving", "MCP", "on"]
        url = words[3].removesuffix(".")
        for key, texts in (("key-of-alice", ["Where is the hotel?", "In Plaka."]), ("key-of-bob", [])):
            async with (
                httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}) as http,
                Client(streamable_http_client(url, http_client=http)) as client,
            ):
                if texts:
                    await converse(client)
                    session = await read(client, "agentmem://sessions/trip%2FAthens%20%3F")
                    assert [one["text"] for one in session["messages"]] == texts
                else:
                    assert (await read(client, "agentmem://profile"))["facts"] == ["Bob's door has the code 1234"]
                    assert "There is no memory" in await refused(client, "forget_memory", memory_id="0" * 20)
        async with httpx2.AsyncClient() as http:
            assert (await http.post(url, json=HELLO)).status_code == 401
        running.send_signal(signal.SIGTERM)
        running.wait(PATIENCE)
        assert (running.stdout.read(), running.stderr.read()) == ("", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name the user whose memory is served: --user ID."),
        (("--user", ALICE, "--api-keys", "keys.json"), "--api-keys and --allowed-host belong to --transport http."),
        (("--user", ALICE, "--key-file", "-"), "--key-file - reads the key from stdin, which MCP uses."),
        (("--user", ""), "--user must not be empty"),
        (("--transport", "http"), "Pass either --user ID, to serve one user on this machine, or --api-keys FILE"),
        (("--transport", "http", "--user", ALICE, "--api-keys", "x"), "Pass either --user ID"),
        (("--transport", "http", "--user", ALICE, "--host", "0.0.0.0"), "--host must be 127.0.0.1, got '0.0.0.0'"),
        (
            ("--transport", "http", "--api-keys", "x", "--host", "0.0.0.0"),
            "Name the host in their URL with --allowed-host",
        ),
        (
            ("--transport", "http", "--api-keys", "missing.json"),
            "'missing.json' cannot be read: No such file or directory.",
        ),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...], message: str, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = failure(capsys, "mcp", "--url", sqlite_url, *arguments)
    assert code == 2
    assert message in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read: it is not JSON"),
        ("[]", "must hold an object such as"),
        ('{"secret-key": "alice"}', "Key 1 in"),
        ('{"secret-key": {"user": "alice"}}', "Key 1 in"),
        ('{"secret-key": {"users": "alice"}}', "users must be a list of user IDs"),
        ('{"secret-key": {"users": []}}', "users must not be empty"),
        ('{"secret-key": {}}', "must be bound to exactly one user"),
        ('{"a": {"users": ["alice"]}, "secret-key": {"users": ["alice", "bob"]}}', "Key 2 in"),
        ('{"secret-key": {"users": ["alice"]}, "secret-key": {"users": ["bob"]}}', "has the same name twice"),
        ('{"secret-key ": {"users": ["alice"]}}', "Key 1 of api_keys must be printable ASCII"),
        ("{}", "api_keys must not be empty"),
    ],
)
def test_wrong_files_of_keys(
    text: str, message: str, sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    code, shown = failure(capsys, "mcp", "--url", sqlite_url, "--transport", "http", "--api-keys", str(path))
    assert code == 2
    assert message in shown
    assert "secret-key" not in shown
    assert not Path(sqlite_url.removeprefix("sqlite:///")).exists(), "the file is checked before a database is made"


def test_a_port_that_is_in_use(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, shown = failure(
            capsys, "mcp", "--url", sqlite_url, "--user", ALICE, "--transport", "http", "--port", port
        )
    assert code == 2
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use" in shown
