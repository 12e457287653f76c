"""The Lua scripts of the Redis backend, the steps that run them, and the keys they work on.

A `.lua` file holds several scripts, each after a line `-- name --`; what stands under `-- shared --` is part of each.
"""

from __future__ import annotations

import struct
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Any, NamedTuple

from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.programs import Step

_PACKAGE = "langchain_agentmem.backends.redis"
_LENGTH = struct.Struct(">I")

MOST_ARGUMENTS = 20_000
"""More arguments of a script are packed: a command may have 1,048,576."""
MOST_BYTES = 512 * 2**20
"""Redis' own limit for a value (`proto-max-bulk-len`)."""
_IN_BLOCK = 5_000


class Script(NamedTuple):
    """A script, and the digest that Redis knows it by once it has run it."""

    name: str
    kind: str
    """What its keys hold."""
    source: str
    digest: str


@dataclass(slots=True)
class Invoke(Step[Any]):
    """Storage step: run one script; the result is what it returns."""

    script: Script
    keys: Sequence[str]
    """All in one slot."""
    arguments: Sequence[Any] = ()


@dataclass(slots=True)
class InvokeAll(Step[list[Any]]):
    """Storage step: run several scripts, sent at once; the result is the list of what they return.

    With `together` all of them are done or none, where their keys may lie in one slot: always but in a cluster.
    """

    invocations: Sequence[Invoke]
    together: bool = False


def command_words(name: str, invocation: Invoke) -> list[Any]:
    """The command that runs a script: `EVALSHA` for one that the server knows, `EVAL` for any and for many arguments.

    Raises:
        InvalidInputError: An argument is too large for Redis.
    """
    script, keys, arguments = invocation.script, invocation.keys, invocation.arguments
    if len(arguments) > MOST_ARGUMENTS:
        name = "EVAL"  # so that they are never sent twice
        keys, arguments = [*keys, f"{keys[0].partition('}:')[0]}}}:packed"], _packed(arguments)
    total = 0
    for one in arguments:
        size = len(one) if isinstance(one, (bytes, str)) else 0
        total += size
        if size > MOST_BYTES or total > 2 * MOST_BYTES:
            msg = (
                f"Redis takes at most {MOST_BYTES // 2**20} MB as one value and {2 * MOST_BYTES // 2**20} MB in one call; "
                f"this call has at least {total:,} bytes, and nothing was stored. Store less at a time."
            )
            raise InvalidInputError(msg)
    return [name, script.digest if name == "EVALSHA" else script.source, len(keys), *keys, *arguments]


def _packed(arguments: Sequence[Any]) -> list[bytes]:
    """Arguments in blocks; see `common.lua`."""
    records = [framed(one if isinstance(one, bytes) else str(one).encode()) for one in arguments]
    return [b"".join(records[start : start + _IN_BLOCK]) for start in range(0, len(records), _IN_BLOCK)]


class Changed(Exception):  # noqa: N818 (it is caught by the driver, and never seen by others)
    """What a storage program was reading was changed meanwhile: it is to be begun anew."""


def load_scripts(file: str, kind: str) -> dict[str, Script]:
    """The scripts of a file, by name; `kind` says what their keys hold."""
    common = load_statements(_PACKAGE, "common.lua")["common"]
    parts = load_statements(_PACKAGE, file)
    shared = parts.pop("shared")
    scripts = {}
    for name, body in parts.items():
        source = "\n".join((common, shared, body))
        scripts[name] = Script(name, kind, source, sha1(source.encode(), usedforsecurity=False).hexdigest())
    return scripts


def slot(*ids: str) -> str:
    """What the keys begin with that belong to some ids, all in one slot of a cluster."""
    tag = urlsafe_b64encode(digest_of_ids(*ids, size=15)).decode()
    return f"agentmem:{{{tag}}}:"


def framed(data: bytes) -> bytes:
    """A record that says how long it is."""
    return _LENGTH.pack(len(data)) + data


def frames(data: bytes) -> Iterator[bytes]:
    """The records that lie one after the other."""
    at = 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += 4 + length
        yield data[at - length : at]


def pairs(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records that lie one after the other, two by two."""
    every = frames(data)
    return zip(every, every, strict=True)


def optional(value: Any) -> Any:
    """A value as a script takes it: the empty string for None, and numbers so that nothing of them is lost."""
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else value
