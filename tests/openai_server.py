"""A server that speaks the OpenAI API, for tests: it gives the answers of a script, and keeps what it was asked.

with OpenAIServer() as server:
    server.will(says("Hello!"), calls("search", {"query": "a"}), fails(429), says("late", after=0.2))
    model = ChatOpenAI(base_url=server.url, api_key="none", model="test", max_retries=0)
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What the server answers once."""

    message: dict[str, Any] = field(default_factory=dict)
    finish: str = "stop"
    status: int = 200
    after: float = 0.0
    """Seconds that it takes."""
    body: str | None = None
    """What is sent as it stands, instead of a message."""


def says(text: str, *, after: float = 0.0) -> Answer:
    """A text."""
    return Answer({"content": text}, after=after)


def cut_off(text: str) -> Answer:
    """A text that ended because it became too long."""
    return Answer({"content": text}, finish="length")


def refuses(text: str) -> Answer:
    """A refusal, as structured output has it."""
    return Answer({"content": None, "refusal": text})


def calls(name: str, arguments: Any, *, finish: str = "tool_calls") -> Answer:
    """A tool call; arguments that are a text are sent as they stand."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": written}}
    return Answer({"content": None, "tool_calls": [call]}, finish=finish)


def fails(status: int) -> Answer:
    """An error of the server."""
    return Answer(status=status)


def garbles(body: str) -> Answer:
    """Something that is no answer at all."""
    return Answer(body=body)


class OpenAIServer:
    """The server; a context manager. `requests` are the bodies of what it was asked, in order."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.default: Callable[[dict[str, Any]], Answer] | None = None
        """What it answers when the script has ended."""
        self._script: deque[Answer] = deque()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def will(self, *answers: Answer) -> None:
        """Go on with these answers."""
        self._script.extend(answers)

    def reset(self) -> None:
        """Forget the script and what was asked."""
        self._script.clear()
        self.requests.clear()
        self.default = None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> OpenAIServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self, request: dict[str, Any]) -> Answer:
        with self._lock:
            self.requests.append(request)
            if self._script:
                return self._script.popleft()
        return self.default(request) if self.default else fails(501)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            # HTTP 1.0: no connection is kept, so that no client has one left in an event loop that has ended.

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = server._next(request)
                time.sleep(answer.after)
                try:
                    if answer.body is not None:
                        self._send(200, answer.body)
                    elif answer.status != 200:
                        error = {"message": f"scripted {answer.status}", "type": "error", "code": None, "param": None}
                        self._send(answer.status, json.dumps({"error": error}))
                    elif request.get("stream"):
                        self._send(200, "".join(_chunks(request, answer)), kind="text/event-stream")
                    else:
                        self._send(200, json.dumps(_completion(request, answer)))
                except OSError:
                    pass  # who asked has not waited

            def _send(self, status: int, body: str, kind: str = "application/json") -> None:
                sent = body.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def _completion(request: dict[str, Any], answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "refusal": None, **answer.message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish, "logprobs": None}],
        "usage": {
            "prompt_tokens": len(json.dumps(request["messages"])) // 4,
            "completion_tokens": 1,
            "total_tokens": 1,
        },
    }


def _chunks(request: dict[str, Any], answer: Answer) -> list[str]:
    """An answer as a stream of events: a word each."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": part} for part in re.findall(r"\S*\s*", answer.message.get("content") or "") if part]
    for at, call in enumerate(answer.message.get("tool_calls") or ()):
        deltas.append({"tool_calls": [{"index": at, **call}]})
    events = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    events.append({"index": 0, "delta": {}, "finish_reason": answer.finish})
    whole = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": request["model"]}
    return [f"data: {json.dumps({**whole, 'choices': [event]})}\n\n" for event in events] + ["data: [DONE]\n\n"]
