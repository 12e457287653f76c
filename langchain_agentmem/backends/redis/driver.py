"""The driver runs storage programs on Redis. Each step of a program is one or several Lua scripts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any, TypeVar

import redis
from redis.exceptions import ResponseError

from langchain_agentmem.backends.failures import Translated
from langchain_agentmem.backends.lifetimes import keep_inherited, refuse_closed
from langchain_agentmem.backends.redis.connectors import Client
from langchain_agentmem.backends.redis.damage import checked
from langchain_agentmem.backends.redis.dispatcher import Command, Dispatcher
from langchain_agentmem.backends.redis.failures import DRIVER_ERRORS, check_open, is_lost, translated
from langchain_agentmem.backends.redis.inspection import inspect
from langchain_agentmem.backends.redis.limits import TimeLimit
from langchain_agentmem.backends.redis.scripts import AskServers, Changed, Invoke, InvokeAll, InvokeEach, ScanKeys
from langchain_agentmem.backends.redis.servers import Servers
from langchain_agentmem.backends.redis.settings import Settings
from langchain_agentmem.errors import AgentMemError, StorageBusyError
from langchain_agentmem.programs import All, Program, StorageProgram, arun, run

T = TypeVar("T")

_ATTEMPTS = 10
"""Number of attempts of a program whose reads conflict with other writers."""


class RedisDriver:
    """Runs storage programs on one Redis server or cluster.

    Args:
        settings: The settings.
        client: A client of the application, whose options are used. The driver neither uses nor closes the client itself.
            Default: None.
    """

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        self.settings = settings
        self.client = client
        self.creates = True
        """False if a database without a memory is refused; see `Backend.never_create`."""
        self._reset()

    def _reset(self) -> None:
        self.servers = Servers(self.settings, self.client)
        self._dispatcher = Dispatcher(self.servers, self.settings, self.client)
        self._inspected = False

    @property
    def closed(self) -> bool:
        """True after the driver was closed."""
        return self.servers.closed

    def run(self, program: Program[T], *, writes: bool = False) -> T:
        """Run a storage program.

        Args:
            program: The program.
            writes: True if the program writes.
        """
        return run(self._attempts(program, writes))

    async def arun(self, program: Program[T], *, writes: bool = False) -> T:
        """Same as `run`, but without blocking the event loop."""
        if isinstance(self.client, (redis.Redis, redis.RedisCluster)):
            return await asyncio.to_thread(self.run, program, writes=writes)
        return await arun(self._attempts(program, writes))

    def _attempts(self, program: Program[T], writes: bool) -> Program[T]:
        self._check_usable()
        limit = TimeLimit(self.settings.timeout)
        with Translated(DRIVER_ERRORS, lambda error: self._translated(error, limit, writes=writes)):
            if not self._inspected:
                yield from inspect(self._dispatcher, self.settings, limit, creates=self.creates)
                self._inspected = True
            for _ in range(_ATTEMPTS):
                try:
                    return (yield from checked(program, lambda step: self._perform(step, limit, writes)))
                except Changed:
                    if not isinstance(program, StorageProgram):
                        raise
            msg = f"Could not read: other writers changed the data during each of {_ATTEMPTS} attempts. Try again."
            raise StorageBusyError(msg)

    def _perform(
        self, step: AskServers | ScanKeys | Invoke | InvokeEach | InvokeAll | All, limit: TimeLimit, writes: bool
    ) -> Program[Any]:
        if isinstance(step, AskServers):
            servers = yield from self._dispatcher.route.every(limit)
            commands = [Command(step.words, server=server) for server in servers]
            return (yield from self._dispatcher.send(commands, limit, writes=writes))
        if isinstance(step, ScanKeys):
            return (yield from self._dispatcher.scan(step.cursors, limit))
        if isinstance(step, (Invoke, InvokeAll)):
            return (yield from self._dispatcher.invoke(step, limit, writes=writes))
        steps: Sequence[Any] = step.steps if isinstance(step, All) else [step]
        every = [self._dispatcher.invocations_of(one) for one in steps]
        flat = InvokeAll([invocation for invocations in every for invocation in invocations])
        try:
            answers = iter((yield from self._dispatcher.invoke(flat, limit, writes=writes)))
        except ResponseError as error:
            if not self._dispatcher.divide(error):
                raise
            return (yield from self._perform(step, limit, writes))
        results = [
            _result(one, [next(answers) for _ in invocations]) for one, invocations in zip(steps, every, strict=True)
        ]
        return results if isinstance(step, All) else results[0]

    def _translated(self, error: Exception, limit: TimeLimit, *, writes: bool) -> AgentMemError:
        if is_lost(error):
            check_open(self.closed, limit, writes=writes)
        return translated(error, limit, self.settings.timeout, writes=writes)

    def _check_usable(self) -> None:
        refuse_closed(self.closed)
        if self.servers.process != os.getpid():
            keep_inherited(self.servers)
            self._reset()

    def close(self) -> None:
        """Close all connections. Connections of other event loops are closed without waiting."""
        self.servers.close()

    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
        await self.servers.aclose()


def _result(step: Invoke | InvokeAll | InvokeEach, answers: list[Any]) -> Any:
    """Return the result of a step from the answers of its scripts."""
    if isinstance(step, InvokeAll):
        return answers
    return b"".join(answers) if isinstance(step, InvokeEach) else answers[0]
