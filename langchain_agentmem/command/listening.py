"""Commands that listen on a port: the file of API keys, and the HTTP server."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.command.invocation import Invocation
from langchain_agentmem.errors import InvalidInputError

if TYPE_CHECKING:
    from langchain_agentmem.serving.access import Access

LOCAL = ("127.0.0.1", "localhost", "::1")
"""The addresses that only this machine reaches."""

CLOSING = 10
"""The seconds within which running requests end at shutdown."""

KEPT_ALIVE = 75
"""The seconds for which idle connections stay open: longer than proxies and clients keep theirs, which else send a request on
a connection that is being closed."""


def api_keys_in(path: Path) -> dict[str, Access]:
    """Return what the API keys in a file may access. No error shows a key.

    Args:
        path: A JSON file that maps each key to an object with `users` and `tenant`.

    Raises:
        InvalidInputError: The file cannot be read, or has another form, or a key is not accepted.
        InvalidTypeError: `users` is not a list.
    """
    from langchain_agentmem.serving.access import Access, ApiKeys

    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repetitions)
    except InvalidInputError:
        msg = f"The file of API keys {shown(str(path))} has the same name twice in an object. Remove one of them."
        raise InvalidInputError(msg) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not JSON"
        msg = f"The file of API keys {shown(str(path))} cannot be read: {reason}."
        raise InvalidInputError(msg) from None
    form = '{"a-long-random-key": {"users": ["alice@example.com"]}}'
    if not isinstance(found, dict):
        msg = f"The file of API keys {shown(str(path))} must hold an object such as {form}."
        raise InvalidInputError(msg)
    keys = {}
    for number, (key, given) in enumerate(found.items(), 1):
        fault = _fault_of(given)
        if fault:
            msg = (
                f"Key {number} in {shown(str(path))} {fault}. Each name in the file is a key, and its value an object with "
                f"users (a list of IDs, default all) and tenant (a name, default the tenant of the memory), such as {form}."
            )
            raise InvalidInputError(msg)
        keys[key] = Access(**given)
    ApiKeys(keys)  # checks them
    return keys


def _fault_of(given: Any) -> str | None:
    """Return what is wrong with the value of a key; None if it is an object with known fields."""
    if not isinstance(given, dict):
        return f"has a value of type {type(given).__name__}"
    unknown = [shown(name) for name in given if name not in ("tenant", "users")]
    return f"has the unknown field {', '.join(unknown)}" if unknown else None


def _without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON. The last of several equal names would win, and nobody would see it.

    Raises:
        InvalidInputError: A name occurs twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidInputError
    return found


def serve_http(
    call: Invocation, app: Any, host: str, port: int, *, what: str, path: str = "", time_limit: int = CLOSING
) -> None:
    """Serve an application until it is stopped.

    Args:
        call: The call of the command.
        app: The application.
        host: The address to listen on.
        port: The port; 0 for any.
        what: The name of what is served.
        path: The path of its URL. Default: none.
        time_limit: The seconds within which running requests end at shutdown. Default: 10.

    Raises:
        InvalidInputError: The address cannot be used.
    """
    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        msg = f"Cannot listen on {host}:{port}: {reason_of(OSError(error.strerror))}. Choose another --port or --host."
        raise InvalidInputError(msg) from None
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=time_limit,
        timeout_keep_alive=KEPT_ALIVE,
    )
    shown_host = f"[{host}]" if ":" in host else host
    call.output.note(f"Serving {what} on http://{shown_host}:{listening.getsockname()[1]}{path}. Stop it with Ctrl-C.")
    with listening:
        uvicorn.Server(config).run(sockets=[listening])
