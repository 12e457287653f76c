"""The command that serves the HTTP API: serve."""

from __future__ import annotations

import importlib
import logging
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.command.invocation import Invocation, operation
from langchain_agentmem.command.listening import LOCAL, api_keys_in, serve_http
from langchain_agentmem.errors import InvalidInputError, missing_extra


@operation(
    "agentmem serve",
    "agentmem serve --agents app:agents",
    "agentmem serve --host 0.0.0.0 --api-keys keys.json",
)
def serve(
    call: Invocation,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="The port; 0 for any.")] = 7777,
    api_keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A JSON file that maps API keys to what they may access; see docs/serving.md."
        ),
    ] = None,
    agents: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="A mapping of names to agents in a module of the working directory."),
    ] = None,
    rate: Annotated[
        str, typer.Option(metavar="RATE", help="The maximum number of requests of each key, such as 100/second.")
    ] = "6000/minute",
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN", help="The origin of web pages that may call the API, such as https://app.example."
        ),
    ] = None,
) -> None:
    """Serve the HTTP API and the page of the memory.

    Without --api-keys, only clients on this machine are accepted.
    """
    try:
        import uvicorn  # noqa: F401

        from langchain_agentmem.serving import ServingLimits, create_app
    except ImportError:
        raise missing_extra(what="The HTTP API", extra="api") from None
    if api_keys is None and host not in LOCAL:
        msg = f"Without --api-keys, only this machine is served: --host must be 127.0.0.1, got {shown(host)}."
        raise InvalidInputError(msg)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    limits = ServingLimits(rate=rate)
    keys = None if api_keys is None else api_keys_in(api_keys)
    with call.memory(creates=True) as memory:
        app = create_app(
            memory,
            agents=None if agents is None else _agents_in(agents),
            api_keys=keys,
            limits=limits,
            cors_origins=cors_origin or (),
        )
        time_limit = math.ceil(limits.shutdown_timeout or 0)
        serve_http(call, app, host, port, what="the memory", time_limit=time_limit)


def _agents_in(place: str) -> Mapping[str, Any]:
    """Return the agents in a module of the working directory.

    Args:
        place: The module and the name of the mapping, such as `app:agents`.

    Raises:
        InvalidInputError: There is no such mapping.
    """
    module, separator, name = place.partition(":")
    if not (module and separator and name):
        msg = f"--agents must name a module and a mapping in it, such as app:agents, got {shown(place)}."
        raise InvalidInputError(msg)
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        msg = f"--agents {place} cannot be loaded: {reason_of(error)}."
        raise InvalidInputError(msg) from None
    if not isinstance(found, Mapping):
        msg = f"--agents {place} must be a mapping of names to agents, got {type(found).__name__}."
        raise InvalidInputError(msg)
    return found
