"""The limits of requests to the HTTP API."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.values import check_count


@dataclass(frozen=True)
class ServingLimits:
    """The limits of requests to the HTTP API.

    Args:
        body_bytes: The maximum size of a request's body. Default: 1,000,000.
        import_bytes: The maximum size of an import. Default: 1,000,000,000.
        timeout: The time limit of a request, in seconds; None for no limit. Default: 30.
        run_timeout: The time limit of a turn of an agent, an export or an import, in seconds; None for no limit. Default:
            600.
        shutdown_timeout: The time in which running turns are finished at the end of the application, in seconds; None for no
            limit. Default: 30.
        turns: The maximum number of turns of agents in a process that run, or wait for another turn of their thread; None
            for no limit. Default: 1,000.
        rate: The maximum number of requests of each API key, such as `"100/second"`; None for no limit. Each process counts
            by itself. Default: `"6000/minute"`.

    Example:
        >>> from langchain_agentmem.serving import ServingLimits
        >>> ServingLimits(rate="10/second").body_bytes
        1000000
    """

    body_bytes: int = 1_000_000
    import_bytes: int = 1_000_000_000
    timeout: float | None = 30.0
    run_timeout: float | None = 600.0
    shutdown_timeout: float | None = 30.0
    turns: int | None = 1_000
    rate: str | None = "6000/minute"

    def __post_init__(self) -> None:
        for name in ("body_bytes", "import_bytes"):
            check_count(name, getattr(self, name))
        if self.turns is not None:
            check_count("turns", self.turns)
        for name in ("timeout", "run_timeout", "shutdown_timeout"):
            seconds(name, getattr(self, name))
