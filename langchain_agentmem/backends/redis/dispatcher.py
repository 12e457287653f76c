"""The dispatcher sends commands to the servers that hold their keys, and retries when a server is lost or data moves.

Every script may run twice with the effect of one run, so retries are safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import redis
import redis.asyncio
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, NoScriptError
from redis.exceptions import TimeoutError as NoAnswerError

from langchain_agentmem.backends.redis.connectors import Client, addresses_of
from langchain_agentmem.backends.redis.damage import raise_script_error
from langchain_agentmem.backends.redis.exchange import Exchange, Part, Result
from langchain_agentmem.backends.redis.failures import RETRY_CODES, check_open, code_of, is_lost
from langchain_agentmem.backends.redis.limits import TimeLimit
from langchain_agentmem.backends.redis.protocol import Words
from langchain_agentmem.backends.redis.routing import (
    ClusterRoute,
    Endpoint,
    Route,
    SentinelRoute,
    UnreachableError,
)
from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, InvokeEach, command_words
from langchain_agentmem.backends.redis.servers import Servers
from langchain_agentmem.backends.redis.settings import Settings
from langchain_agentmem.programs import Program, Sleep

_BACK_OFF = ExponentialWithJitterBackoff(1.0, 0.05)
_MAX_DOUBLINGS = 10
"""Number of failures after which the pauses between attempts grow no longer."""
_MAX_REDIRECTS = 16
"""Number of times that commands follow a moved slot before the attempt counts as failed."""

_KEYS_AT_ONCE = 500
"""The maximum number of keys of a script that takes several."""

_SCANNED_KEYS = 500
"""The approximate number of keys that one `SCAN` reads."""

Pending = dict[int, Endpoint | None]
"""The indexes of commands without an answer, each with the server that a cluster asked to use for it once."""


class Command(NamedTuple):
    """A command, and its first key or the server that it is for."""

    words: Words
    key: str | None = None
    server: Endpoint | None = None


class Dispatcher:
    """Sends commands and scripts to the servers of a database.

    Args:
        servers: The connections.
        settings: The settings.
        client: A client of the application, which names the servers. Default: None (the URL names them).
    """

    def __init__(self, servers: Servers, settings: Settings, client: Client | None = None) -> None:
        self._servers, self._settings, self._client = servers, settings, client
        self._route: Route | None = None
        self._divides = False
        """True if a script can have keys of one slot only, though one server answers for all slots."""
        self._reached = False
        """True after a server answered. A server that was reached before may be restarting."""

    def invoke(self, step: Invoke | InvokeAll, limit: TimeLimit, *, writes: bool) -> Program[Any]:
        """Perform one step of a storage program. A script that the server does not know is sent with its source.

        Raises:
            DamagedDataError: A script could not read stored data.
        """
        invocations = step.invocations if isinstance(step, InvokeAll) else [step]
        if not invocations:
            return []
        if isinstance(step, InvokeAll) and step.together and not self.route.scattered:
            answers = yield from self._transaction(invocations, limit, writes)
        else:
            answers = yield from self.send([_command("EVALSHA", one) for one in invocations], limit, writes=writes)
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            commands = [_command("EVAL", invocations[index]) for index in unknown]
            again = yield from self.send(commands, limit, writes=writes)
            for index, answer in zip(unknown, again, strict=True):
                answers[index] = answer
        failed = [isinstance(answer, Exception) for answer in answers]
        limit.partial = limit.partial or (writes and not all(failed))
        for invocation, answer in zip(invocations, answers, strict=True):
            if isinstance(answer, Exception):
                raise_script_error(invocation, answer)
        return answers if isinstance(step, InvokeAll) else answers[0]

    def invocations_of(self, step: Invoke | InvokeAll | InvokeEach) -> Sequence[Invoke]:
        """Return the scripts that a step runs."""
        if isinstance(step, InvokeAll):
            return step.invocations
        if isinstance(step, Invoke):
            return [step]
        size = 1 if self._divides or self.route.scattered else _KEYS_AT_ONCE
        parts = [slice(start, start + size) for start in range(0, len(step.keys), size)]
        return [Invoke(step.script, step.keys[part], step.arguments[part]) for part in parts]

    def divide(self, error: Exception) -> bool:
        """Return true if an error means that a script can have keys of one slot only; from now on, they have."""
        if self._divides or code_of(error) != "CROSSSLOT":
            return False
        self._divides = True
        return True

    def _transaction(self, invocations: Sequence[Invoke], limit: TimeLimit, writes: bool) -> Program[list[Any]]:
        """Run scripts as one transaction. The server must know all of them before the first one runs."""
        sources = dict.fromkeys(one.script.source for one in invocations)
        commands = [
            *(Command(("SCRIPT", "LOAD", source)) for source in sources),
            Command(("MULTI",)),
            *(_command("EVALSHA", one) for one in invocations),
            Command(("EXEC",)),
        ]
        (*queued, answers) = yield from self.send(commands, limit, writes=writes, whole=True)
        if isinstance(answers, Exception):
            raise next((one for one in queued if isinstance(one, Exception)), answers)
        return cast("list[Any]", answers)

    def send(
        self, commands: Sequence[Command], limit: TimeLimit, *, writes: bool, whole: bool = False
    ) -> Program[list[Any]]:
        """Send commands to their servers, and send them again if a server was lost.

        Args:
            commands: The commands.
            limit: The time limit of the operation.
            writes: True if the operation writes.
            whole: If true, one command that must be sent again causes all to be sent again.

        Returns:
            The answers. Errors of servers are answers.
        """
        answers: list[Any] = [None] * len(commands)
        pending: Pending = dict.fromkeys(range(len(commands)))
        failures = redirects = 0
        trouble: Exception | None = None
        while True:
            check_open(self._servers.closed, limit, writes=writes)
            earlier, trouble = trouble, None
            try:
                parts = yield from self._parts(commands, pending, limit)
                results = yield from Exchange(self._servers, parts, limit, writes)
                trouble = self._collect(parts, results, commands, answers, pending)
            except UnreachableError as error:
                trouble = error
            if not pending:
                return answers
            if trouble is None and redirects < _MAX_REDIRECTS:
                redirects += 1
                continue
            failures += 1
            pause = _BACK_OFF.compute(min(failures, _MAX_DOUBLINGS))
            if isinstance(trouble, NoAnswerError) and earlier is not None:
                trouble = earlier  # the last attempt had too little time to show it again
            if trouble is None or not self._may_retry(failures) or limit.left() <= pause:
                raise trouble or answers[next(iter(pending))]
            self.route.forget()
            if whole:
                pending = dict.fromkeys(range(len(commands)))
            yield from Sleep(pause)

    def scan(
        self, cursors: Mapping[Endpoint, Any] | None, limit: TimeLimit
    ) -> Program[tuple[list[bytes], dict[Endpoint, Any]]]:
        """Read the next keys of every server.

        Args:
            cursors: The cursors of the former call; None for the first one.
            limit: The time limit of the operation.

        Returns:
            The keys, and the cursors of the servers that have further keys.
        """
        if cursors is None:
            cursors = dict.fromkeys((yield from self.route.every(limit)), 0)
        commands = [Command(("SCAN", cursor, "COUNT", _SCANNED_KEYS), server=one) for one, cursor in cursors.items()]
        keys: list[bytes] = []
        following = {}
        for server, answer in zip(cursors, (yield from self.send(commands, limit, writes=False)), strict=True):
            if isinstance(answer, Exception):
                raise answer
            cursor, found = answer
            keys += found
            if cursor != b"0":
                following[server] = cursor
        return keys, following

    def _may_retry(self, failures: int) -> bool:
        """Return true if another attempt is allowed, apart from the time limit."""
        retries = self._settings.retries
        return self._reached if retries is None else failures <= retries

    def _collect(
        self,
        parts: Sequence[Part],
        results: Sequence[Result],
        commands: Sequence[Command],
        answers: list[Any],
        pending: Pending,
    ) -> Exception | None:
        """Store the answers of servers. Return an error that makes a server unusable for now."""
        trouble: Exception | None = None
        for part, result in zip(parts, results, strict=True):
            self._note(part.server, result)
            if not isinstance(result, Exception):
                for index, answer in zip(part.indexes, result[part.skipped :], strict=True):
                    answers[index] = answer
                    trouble = self._settle(index, answer, commands[index], pending) or trouble
            elif is_lost(result) and not isinstance(result, AuthenticationError):
                trouble = result
            else:
                raise result
        return trouble

    def _settle(self, index: int, answer: Any, command: Command, pending: Pending) -> Exception | None:
        """Mark a command as done, unless its answer says to send it again. Return an error that makes its server unusable."""
        code = code_of(answer)
        if code in ("MOVED", "ASK") and self.route.scattered:
            host, _, port = str(answer).split()[-1].rpartition(":")
            target = Endpoint(host, int(port))
            pending[index] = target if code == "ASK" else None
            if code == "MOVED" and command.key is not None:
                self.route.move(command.key, target)
            return None
        if code in RETRY_CODES or (code == "READONLY" and self.route.moves):
            return cast("Exception", answer)
        del pending[index]
        return None

    def _parts(self, commands: Sequence[Command], pending: Pending, limit: TimeLimit) -> Program[list[Part]]:
        """Group pending commands by server, in an order that is the same for all callers."""
        route = self.route
        only: Endpoint | None = None
        groups: dict[tuple[Endpoint, bool], list[int]] = {}
        for index, asked in pending.items():
            command = commands[index]
            server = asked or command.server or only
            if server is None:
                server = yield from route.locate(command.key, limit)
                only = None if route.scattered else server
            groups.setdefault((server, asked is not None), []).append(index)
        parts = []
        for (server, asking), group in sorted(groups.items()):
            # ASKING is valid for one command only.
            for some in [[index] for index in group] if asking else [group]:
                words = [commands[index].words for index in some]
                parts.append(Part(server, some, [("ASKING",), *words] if asking else words, int(asking)))
        return parts

    def _ask(self, server: Endpoint, words: Words, limit: TimeLimit) -> Program[Any]:
        """Send one command to one server, once. See `routing.Ask`."""
        (result,) = yield from Exchange(self._servers, [Part(server, [0], [words], 0)], limit, writes=False)
        self._note(server, result)
        if not isinstance(result, Exception):
            return result[0]
        if is_lost(result) and not isinstance(result, AuthenticationError):
            return result
        raise result

    def _note(self, server: Endpoint, result: Result) -> None:
        """Record if a server answered. Sentinels do not count: they hold no data."""
        answered = not isinstance(result, Exception) or isinstance(result, BusyLoadingError)
        self._reached = self._reached or (answered and not server.sentinel)

    @property
    def route(self) -> Route:
        """The route to the servers."""
        if self._route is None:
            self._route = self._new_route()
        return self._route

    def _new_route(self) -> Route:
        settings, client = self._settings, self._client
        if settings.kind == "sentinel":
            return SentinelRoute(settings.sentinels, settings.service, self._ask)
        if settings.kind == "cluster":
            known = self._servers.connector(asynchronous=False).servers.options
            return ClusterRoute([(known["host"], known.get("port", 6379))], self._ask)
        if isinstance(client, (redis.RedisCluster, redis.asyncio.RedisCluster)):
            manager: Any = client.nodes_manager
            nodes = [*manager.startup_nodes.values(), *manager.nodes_cache.values()]
            return ClusterRoute([(node.host, int(node.port)) for node in nodes], self._ask, manager.address_remap)
        pool: Any = getattr(client, "connection_pool", None)
        if pool is not None and hasattr(pool, "sentinel_manager"):
            return SentinelRoute(addresses_of(pool.sentinel_manager.sentinels), pool.service_name, self._ask)
        return Route()


def _command(name: str, invocation: Invoke) -> Command:
    return Command(command_words(name, invocation), invocation.keys[0])
