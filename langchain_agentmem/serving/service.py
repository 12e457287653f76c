"""What the requests of an application share: the memory, the keys, the agents and the limits."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.requests import Request

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.serving.access import (
    CHALLENGE,
    MISSING_KEY,
    UNKNOWN_KEY,
    Access,
    ApiKeys,
    api_key_in,
    refusal_without_key,
)
from langchain_agentmem.serving.agents import Agents
from langchain_agentmem.serving.callers import Caller
from langchain_agentmem.serving.limits import ServingLimits
from langchain_agentmem.serving.problems import ProblemError
from langchain_agentmem.serving.turns import RunningTurns

_WRONG_KEYS = parse("60/minute")
"""The maximum number of requests with unknown keys from one address."""


class Service:
    """What the requests of an application share.

    Args:
        memory: The memory.
        agents: The agents by name.
        api_keys: What each key may access; None to accept local clients without a key.
        limits: The limits of requests.
    """

    def __init__(
        self,
        memory: AgentMemory,
        agents: Mapping[str, Any] | None,
        api_keys: Mapping[str, Access] | None,
        limits: ServingLimits,
    ) -> None:
        self.memory = memory
        self.keys = None if api_keys is None else ApiKeys(api_keys)
        self.limits = limits
        self._rate = None if limits.rate is None else _parsed(limits.rate)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        tenants = {access.tenant for access in (api_keys or {}).values()} - {None}
        self._memories = {tenant: memory.for_tenant(tenant) for tenant in tenants if tenant is not None}
        others = {tenant: one for tenant, one in self._memories.items() if one is not memory}
        self.agents = Agents(agents, memory, others)
        self.turns = RunningTurns(limits.turns)

    async def close(self) -> None:
        """Finish the running turns and the background extraction, and close the memory."""
        await self.turns.finish(self.limits.shutdown_timeout)
        await self.memory.aclose()

    async def authenticate(self, request: Request) -> Caller:
        """Return the caller of a request.

        Raises:
            ProblemError: The key is missing or unknown, the request does not come from this machine, or there were too many.
        """
        client = None if request.client is None else request.client.host
        if self.keys is None:
            reason = refusal_without_key(client, request.headers)
            if reason is not None:
                raise ProblemError(403, reason)
            await self._count(self._rate, "local")
            return Caller(self.memory, Access())
        key = api_key_in(request.headers)
        number = self.keys.number(key)
        if key is None or number is None:
            if key is not None:
                await self._count(_WRONG_KEYS, f"wrong:{client}")
            raise ProblemError(401, MISSING_KEY if key is None else UNKNOWN_KEY, CHALLENGE)
        await self._count(self._rate, f"key:{number}")
        access = self.keys[number]
        return Caller(self.memory if access.tenant is None else self._memories[access.tenant], access)

    async def _count(self, rate: RateLimitItem | None, who: str) -> None:
        if rate is None or await self._limiter.hit(rate, who):
            return
        window = await self._limiter.get_window_stats(rate, who)
        seconds = max(1, math.ceil(window.reset_time - time.time()))
        raise ProblemError(429, f"Too many requests. Try again in {seconds} s.", {"Retry-After": str(seconds)})


def _parsed(rate: Any) -> RateLimitItem:
    try:
        return parse(rate)
    except (ValueError, TypeError, AttributeError):
        msg = f'rate must be a number of requests in a period such as "100/second", got {shown(rate)}.'
        raise InvalidInputError(msg) from None
