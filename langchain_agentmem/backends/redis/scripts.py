"""The Lua scripts of the Redis backend, the steps that run them, and their keys and arguments.

A `.lua` file contains several scripts, each after a line `-- name --`. A script begins with `common.lua` and the code under
`-- shared --`, without the functions that it does not call.
"""

from __future__ import annotations

import re
import struct
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1
from typing import Any, NamedTuple

from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.backends.redis.protocol import Packed, pack_words
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.programs import Step

_PACKAGE = "langchain_agentmem.backends.redis"
_LENGTH = struct.Struct(">I")
_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_FUNCTION = re.compile(r"^local function (\w+).*?^end\n", re.MULTILINE | re.DOTALL)

MAX_ARGUMENTS = 20_000
"""Maximum number of arguments of a command; more are packed. Redis allows 1,048,576."""
MAX_BYTES = 512 * 2**20
"""Redis' limit for a value (`proto-max-bulk-len`)."""
_IN_BLOCK = 5_000


class Script(NamedTuple):
    """A script, or a command of Redis that needs none; see `command`."""

    name: str
    kind: str
    """Description of the data in its keys, for errors: "a session"."""
    source: str
    digest: str
    """The SHA-1 digest by which a server finds a script that it has run before."""


def command(name: str, kind: str) -> Script:
    """Return a command of Redis in the form of a script without source. Its words are its name, the keys and the arguments.

    Args:
        name: The name of the command.
        kind: Description of the data in its keys, as in `Script`.
    """
    return Script(name, kind, "", "")


@dataclass(slots=True)
class Invoke(Step[Any]):
    """Storage step: run one script or command and return its result."""

    script: Script
    keys: Sequence[Any]
    """The keys, all in one slot: texts, or bytes for keys of other applications."""
    arguments: Sequence[Any] = ()


@dataclass(slots=True)
class InvokeAll(Step[list[Any]]):
    """Storage step: run several scripts in one round trip and return their results.

    If `together` is true, the server runs all of them or none, except in a cluster.
    """

    invocations: Sequence[Invoke]
    together: bool = False


@dataclass(slots=True)
class InvokeEach(Step[bytes]):
    """Storage step: run one script, which reads, for several keys in any slots. Return the answers for all keys.

    The script returns bytes, a part of the same length for each of its keys. In a cluster it runs once for each key.
    """

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Any]
    """One argument for each key."""


@dataclass(slots=True)
class AskServers(Step[list[Any]]):
    """Storage step: send one command to every server, and return their answers. An answer may be an error."""

    words: Sequence[Any]


@dataclass(slots=True)
class ScanKeys(Step[tuple[list[bytes], Mapping[Any, Any]]]):
    """Storage step: read the next keys of every server. Return the keys, and the cursors of the servers with further keys."""

    cursors: Mapping[Any, Any] | None
    """The cursors of the former step, by server; None for the first step."""


def command_words(name: str, invocation: Invoke) -> list[Any]:
    """Return the words that a server is sent for a script or a command.

    Args:
        name: `EVALSHA` to name the script by its digest, or `EVAL` to send its source. Packed arguments are always sent with
            `EVAL`, because a retry would send them a second time.
        invocation: The script with its keys and arguments.

    Raises:
        InvalidInputError: An argument is too large for Redis.
    """
    script, keys, arguments = invocation.script, invocation.keys, invocation.arguments
    if not script.source:
        return [script.name, *keys, *arguments]
    if len(arguments) > MAX_ARGUMENTS:
        name = "EVAL"
        keys, arguments = [*keys, f"{keys[0].partition('}:')[0]}}}:packed"], _packed(arguments)
    total = 0
    for one in arguments:
        if isinstance(one, (bytes, str)):
            total += len(one)
    if total > MAX_BYTES:
        largest = max(len(one) for one in arguments if isinstance(one, (bytes, str)))
        if largest > MAX_BYTES or total > 2 * MAX_BYTES:
            msg = (
                f"Redis accepts at most {MAX_BYTES // 2**20} MB as one value and {2 * MAX_BYTES // 2**20} MB in one call; "
                f"this call has at least {total:,} bytes. Nothing was stored. Store less at a time."
            )
            raise InvalidInputError(msg)
    if name == "EVALSHA" and type(keys) is tuple:
        return [_head(script.digest, keys), *arguments]
    return [name, script.digest if name == "EVALSHA" else script.source, len(keys), *keys, *arguments]


@lru_cache(4096)
def _head(digest: str, keys: tuple[Any, ...]) -> Packed:
    """Return the words of a command before its arguments. Many commands have the same ones."""
    return pack_words(["EVALSHA", digest, len(keys), *keys])


def _packed(arguments: Sequence[Any]) -> list[bytes]:
    """Return arguments as blocks of framed records. See common.lua."""
    records = [framed(one if isinstance(one, bytes) else str(one).encode()) for one in arguments]
    return [b"".join(records[start : start + _IN_BLOCK]) for start in range(0, len(records), _IN_BLOCK)]


class Changed(Exception):  # noqa: N818 (only the driver catches it)
    """Another writer changed the data that a storage program was reading. The driver starts the program again."""


def load_scripts(file: str, kind: str, *bases: str) -> dict[str, Script]:
    """Return the scripts of a file, by name.

    Args:
        file: The name of the file.
        kind: Description of the data in the scripts' keys, for errors: "a session".
        *bases: The files whose shared functions the scripts use as well, in this order.
    """
    common = load_statements(_PACKAGE, "common.lua")["common"]
    for base in bases:
        common += "\n" + load_statements(_PACKAGE, base)["shared"]
    parts = load_statements(_PACKAGE, file)
    shared = parts.pop("shared", "")
    scripts = {}
    for name, body in parts.items():
        source = _without_unused("\n".join((common, shared, body)))
        scripts[name] = Script(name, kind, source, sha1(source.encode(), usedforsecurity=False).hexdigest())
    return scripts


def _without_unused(source: str) -> str:
    """Return a script without comments and unused functions: a server would create all functions at every run."""
    source = _COMMENT.sub("", source)
    for found in reversed(list(_FUNCTION.finditer(source))):
        below = source[found.end() :]
        if not re.search(rf"\b{found[1]}\b", below):  # code above a local function cannot call it
            source = source[: found.start()] + below
    return source


@lru_cache(4096)
def slot(*ids: str) -> str:
    """Return the prefix of the keys for some IDs. All keys with one prefix are in one slot of a cluster."""
    tag = urlsafe_b64encode(digest_of_ids(*ids, size=15)).decode()
    return f"agentmem:{{{tag}}}:"


def framed(data: bytes) -> bytes:
    """Return a record: the length of the data, and the data."""
    return _LENGTH.pack(len(data)) + data


def frames(data: bytes) -> Iterator[bytes]:
    """Yield the data of consecutive records."""
    at = 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += 4 + length
        yield data[at - length : at]


def pairs(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the data of consecutive records as pairs."""
    every = frames(data)
    return zip(every, every, strict=True)


def optional(value: Any) -> Any:
    """Return an argument of a script: the empty string for None, and a float with all its digits."""
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else value
