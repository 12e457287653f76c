"""Threads of other checkpointers: a saver, or the database of a `PostgresSaver`, `SqliteSaver` or `ValkeySaver`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langchain_agentmem.arguments.urls import shown_location
from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.checkpointing.models import CopiedThreads
from langchain_agentmem.checkpointing.transfer.copying import copy_threads
from langchain_agentmem.encoding.missing import with_placeholders
from langchain_agentmem.errors import AgentMemError, InvalidInputError, MissingClassError
from langchain_agentmem.lifecycle.importers.arguments import Options
from langchain_agentmem.lifecycle.importers.rows import missing_package
from langchain_agentmem.lifecycle.importers.stores import sqlite_path
from langchain_agentmem.lifecycle.progress import reporting
from langchain_agentmem.lifecycle.transfer.results import Imported, nonzero
from langchain_agentmem.programs import Compute, Program
from langchain_agentmem.programs.signals import came_by_signal

FORMAT = "saver"

_POSTGRES = ("postgresql://", "postgres://")
_REDIS = ("redis://", "rediss://", "unix://", "valkey://", "valkeys://")


def has_threads(source: Any, format: str | None) -> bool:
    """Return true if a source is a checkpointer, or the format is that of one."""
    return format == FORMAT or (format is None and isinstance(source, BaseCheckpointSaver))


def import_threads(
    saver: AgentMemSaver,
    source: Any,
    options: Options,
    existing: str,
    progress: bool | Callable[[Imported], Any],
    *,
    dry_run: bool,
) -> Program[Imported]:
    """Copy threads with `copy_from`, and return the result of an import.

    Args:
        saver: The checkpointer of the memory.
        source: A checkpointer, or the URL or path of the database of one.
        options: With `thread_ids`, to copy only these threads.
        existing: Only `"error"`: a thread that continued here is never replaced.
        progress: Reports the progress; see `reporting`.
        dry_run: If true, write nothing, and count what would be stored.

    Raises:
        InvalidInputError: The source cannot be read, or an argument is not accepted.
        MissingClassError: A value in a database has a class that cannot be read. Threads before it were copied.
        ThreadInUseError: A thread of the same ID continued here, or is another one. Threads before it were copied.
    """
    for one in fields(Options):
        if one.name != "thread_ids":
            options.refuse(one.name, "threads are copied as they are")
    if existing != "error":
        msg = (
            f"existing={existing!r} has no effect: a thread that continued here is neither replaced nor left out. Leave "
            f"it out, or pass thread_ids."
        )
        raise InvalidInputError(msg)
    is_location = isinstance(source, (str, os.PathLike))
    name = f"the threads at {shown_location(str(source))}" if is_location else f"the {type(source).__name__}"
    try:
        with ExitStack() as stack:
            report = stack.enter_context(reporting(progress))
            if is_location:
                source = yield from Compute(True, stack.enter_context, _opened(str(source), saver.serde))
            program = copy_threads(
                source,
                saver,
                options.thread_ids,
                lambda done: report(_imported(done)),
                dry_run=dry_run,
                strict=is_location,
            )
            return _imported((yield from program))
    except MissingClassError as error:
        msg = f"{error} Import where the modules of the application are found, or call memory.checkpointer.copy_from(saver)."
        raise MissingClassError(msg) from error
    except (AgentMemError, ImportError):
        raise
    except Exception as error:  # each saver and driver raises errors of its own
        if came_by_signal(error):
            raise
        msg = f"Could not read {name}: {reason_of(error)}. Check the source, and import again."
        raise InvalidInputError(msg) from error


def _imported(done: CopiedThreads) -> Imported:
    counts = {"threads": done.threads, "checkpoints": done.checkpoints, "pending_writes": done.writes}
    return Imported(nonzero(counts), nonzero({"checkpoints": done.skipped}), missing_threads=done.missing)


@contextmanager
def _opened(location: str, serde: Any) -> Iterator[Any]:
    """Provide the saver of a database, which only reads.

    Args:
        location: The URL or the path of the database.
        serde: The serializer of the memory's checkpointer, which reads the values.

    Raises:
        ConfigurationError: The package of the saver is not installed.
        InvalidInputError: There is no such file, or the database has other data.
    """
    openers = ((_POSTGRES, _postgres), (_REDIS, _valkey), (("",), _sqlite))
    opened = next(opener for schemes, opener in openers if location.startswith(schemes))
    with opened(location) as saver:
        saver.serde = _reader(serde)
        yield saver


def _reader(serde: Any) -> Any:
    """Return a serializer that reads values of classes that do not exist, or are not allowed, as `MissingClass`."""
    if isinstance(serde, EncryptedSerializer):
        return EncryptedSerializer(serde.cipher, _reader(serde.serde))
    return with_placeholders(serde, blocked=True) if isinstance(serde, JsonPlusSerializer) else serde


@contextmanager
def _postgres(url: str) -> Iterator[Any]:
    try:
        from langgraph.checkpoint.postgres import PostgresSaver
    except ImportError:
        raise missing_package(source="a PostgresSaver", package="langgraph-checkpoint-postgres") from None
    with PostgresSaver.from_conn_string(url) as saver:
        yield saver


@contextmanager
def _sqlite(location: str) -> Iterator[Any]:
    import sqlite3

    try:
        from langgraph.checkpoint.sqlite import SqliteSaver
    except ImportError:
        raise missing_package(source="a SqliteSaver", package="langgraph-checkpoint-sqlite") from None
    path = sqlite_path(location)
    if "://" in path:
        msg = (
            f"Could not read the threads at {shown_location(location)}: the URL must begin with postgresql://, redis:// or "
            f"sqlite:///. For another checkpointer, call memory.checkpointer.copy_from(saver)."
        )
        raise InvalidInputError(msg)
    if not Path(path).is_file():
        msg = f"Could not read the threads at {shown(path)}: there is no such file. Check the path."
        raise InvalidInputError(msg)
    uri = f"file:{quote(str(Path(path).resolve()))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, check_same_thread=False)) as connection:
        saver = SqliteSaver(connection)
        saver.is_setup = True  # `setup` would write
        columns = connection.execute("SELECT name FROM pragma_table_info('writes')").fetchall()
        saver._has_task_path = ("task_path",) in columns
        yield saver


@contextmanager
def _valkey(url: str) -> Iterator[Any]:
    try:
        from langgraph_checkpoint_aws.checkpoint.valkey.saver import ValkeySaver
    except ImportError:
        raise missing_package(source="a ValkeySaver", package="'langgraph-checkpoint-aws[valkey]'") from None
    with ValkeySaver.from_conn_string(url) as saver:
        if next(saver.client.scan_iter(match="thread:{*", count=1_000), None) is None and (
            next(saver.client.scan_iter(match="checkpoint:[^{]*", count=1_000), None) is not None
        ):
            msg = (
                f"Could not read the threads at {shown_location(url)}: they are those of langgraph-checkpoint-redis. Call "
                f"memory.checkpointer.copy_from(saver) with its RedisSaver."
            )
            raise InvalidInputError(msg)
        yield saver
