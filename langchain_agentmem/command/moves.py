"""The commands that move data: export, import and copy."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from langchain_agentmem.arguments.urls import shown_location
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.command.invocation import (
    Invocation,
    OperationFailedError,
    add_folder,
    in_options,
    keys_in,
    operation,
    option_of,
    sqlite_path,
)
from langchain_agentmem.command.listings import NoUser, user_of
from langchain_agentmem.errors import ExistingDataWarning, InvalidInputError

if TYPE_CHECKING:
    from langchain_agentmem.lifecycle.transfer.results import Imported

_FOREIGN = "Data of another package"

_OPTIONS_OF_FORMATS = {
    "table": ("postgres-history", "sql-history"),
    "prefix": ("redis-history", "redis-strings"),
    "namespace": ("store", "langmem"),
    "thread_ids": ("saver",),
}
"""The formats that use an option."""

Session = Annotated[str | None, typer.Option("--session", metavar="ID", help="Only this session.")]
User = Annotated[str | None, typer.Option("--user", metavar="ID", help="Only the data of this user.")]
Thread = Annotated[str | None, typer.Option("--thread", metavar="ID", help="Only this thread.")]
Existing = Annotated[
    Literal["error", "keep", "replace"],
    typer.Option(help="If something else is stored under an ID: refuse the import, keep it, or replace it."),
]


@operation(
    "agentmem export backup.jsonl",
    "agentmem export alice.jsonl --user alice@example.com",
    "agentmem export - --session trip --user alice@example.com | gzip > trip.jsonl.gz",
)
def export(
    call: Invocation,
    file: Annotated[str, typer.Argument(help="The file to write, or - for stdout.")],
    session: Session = None,
    user: User = None,
    no_user: NoUser = False,
    thread: Thread = None,
) -> None:
    """Write what the memory stores to a file of JSON Lines.

    A file that exists is replaced when the export is complete.
    """
    if file == "-" and call.output.as_json:
        msg = "--json and - exclude each other: both print on stdout."
        raise InvalidInputError(msg)
    with call.memory() as memory, call.output.progress() as progress:
        done = memory.export(
            sys.stdout.buffer if file == "-" else file,
            session_id=session,
            user_id=user_of(user, no_user),
            thread_id=thread,
            progress=progress,
        )
    if done.shared_threads:
        names = ", ".join(done.shared_threads)
        call.output.warning(f"Left out threads in which other users have turns: {names}.")
    if not any(done.counts.values()):
        call.output.note("There was nothing to export.")
    if file == "-":
        call.output.note(f"{done.description}.")
    else:
        record = {"target": file, "counts": dict(done.counts), "shared_threads": done.shared_threads}
        call.output.document(record, [(kind.replace("_", " "), number) for kind, number in done.counts.items()])


@operation(
    "agentmem import backup.jsonl",
    "gunzip -c trip.jsonl.gz | agentmem import -",
    "agentmem import backup.jsonl --existing keep",
    "agentmem import sqlite:///old.db --format sql-history",
    "agentmem import postgresql://user@host/old --format saver --thread trip --dry-run",
    name="import",
)
def import_(
    call: Invocation,
    source: Annotated[str, typer.Argument(help="The file to read, - for stdin, or the URL of a database.")],
    format: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The format of data of another package.", rich_help_panel=_FOREIGN),
    ] = None,
    existing: Existing = "error",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Check everything, store nothing, and count what is new.")
    ] = False,
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="The user of all data.", rich_help_panel=_FOREIGN)
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The session of the messages, if it is one.", rich_help_panel=_FOREIGN),
    ] = None,
    agent: Annotated[
        str | None, typer.Option(metavar="NAME", help="The agent of all messages.", rich_help_panel=_FOREIGN)
    ] = None,
    table: Annotated[
        str | None, typer.Option(metavar="NAME", help="The table in a database.", rich_help_panel=_FOREIGN)
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The beginning of the keys in Redis.", rich_help_panel=_FOREIGN)
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL", help="The namespace in a store; repeat it for more labels.", rich_help_panel=_FOREIGN
        ),
    ] = None,
    thread: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only this thread of a checkpointer. Repeatable.", rich_help_panel=_FOREIGN),
    ] = None,
) -> None:
    """Store what an export wrote, or the data of another package.

    Run an import that was interrupted again: what is stored already is skipped.
    """
    from langchain_agentmem.lifecycle.importers import FORMAT_NAMES

    if format is not None and format not in FORMAT_NAMES:
        msg = f"--format must be one of {', '.join(FORMAT_NAMES)}; got {shown(format)}."
        raise InvalidInputError(msg)
    if format is None and "://" in source:
        msg = "Name the format of the database with --format. For a memory of this package, use agentmem copy."
        raise InvalidInputError(msg)
    given: dict[str, Any] = {"user_id": user, "session_id": session, "agent": agent, "table": table, "prefix": prefix}
    given |= {"namespace": tuple(namespace) if namespace else None, "thread_ids": thread or None}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if format is None and options:
        msg = f"{in_options(next(iter(options)))} is for the data of other packages. Name its format with --format."
        raise InvalidInputError(msg)
    for name, formats in _OPTIONS_OF_FORMATS.items():
        if name in options and format not in formats:
            msg = (
                f"{option_of(name)} has no effect with --format {format}; it is for {', '.join(formats)}. Leave it out."
            )
            raise InvalidInputError(msg)
    if format is not None:  # the warning names this command
        warnings.simplefilter("ignore", ExistingDataWarning)
    if format == "saver":
        add_folder()
    path = sqlite_path(call.settings().url)
    unwritten = "sqlite:///:memory:" if dry_run and path is not None and not Path(path).exists() else None
    with call.memory(unwritten, creates=True) as memory, call.output.progress() as progress:
        data = _stdin(format) if source == "-" else source
        with _refusing_data():
            done = memory.import_from(
                data, format=format, existing=existing, dry_run=dry_run, progress=progress, **options
            )
    _show(call, done, dry_run=dry_run)
    if dry_run:
        call.output.note("Nothing was stored, because of --dry-run.")


@operation(
    "agentmem copy sqlite:///agentmem.db postgresql://user@host/app",
    "agentmem copy sqlite:///agentmem.db redis://localhost:6379/0 --user alice@example.com",
    "agentmem copy sqlite:///plain.db sqlite:///encrypted.db --to-key-file key.txt",
)
def copy(
    call: Invocation,
    source: Annotated[str, typer.Argument(metavar="FROM", help="The URL of the database to read.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The URL of the database to write.")],
    session: Session = None,
    user: User = None,
    no_user: NoUser = False,
    thread: Thread = None,
    existing: Existing = "error",
    to_tenant: Annotated[
        str | None, typer.Option(metavar="NAME", help="The tenant of the copy. By default, that of the source.")
    ] = None,
    to_key_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The key of the copy. By default, that of the source. - asks for it."),
    ] = None,
    to_plain: Annotated[bool, typer.Option("--to-plain", metavar="", help="Do not encrypt the copy.")] = False,
) -> None:
    """Copy a memory into another database, for example from SQLite to Postgres.

    The source stays as it is. Run a copy that was interrupted again: what is stored already is skipped.
    """
    if call.url is not None:
        msg = "agentmem copy takes its databases as FROM and TO, not with --url."
        raise InvalidInputError(msg)
    for name, url in (("FROM", source), ("TO", target)):
        if "://" not in url:
            got = shown(shown_location(url))
            msg = f"{name} must be the URL of a database, such as sqlite:///agentmem.db; got {got}."
            raise InvalidInputError(msg)
    if source == target and to_tenant is None:
        msg = "FROM and TO are the same database. Name another one, or another tenant with --to-tenant."
        raise InvalidInputError(msg)
    if to_plain and to_key_file is not None:
        msg = "--to-plain and --to-key-file exclude each other."
        raise InvalidInputError(msg)
    changed: dict[str, Any] = {}
    if to_plain or to_key_file is not None:
        changed["key"] = None if to_key_file is None else keys_in(to_key_file, "Key of the copy")
    if to_tenant is not None:
        changed["tenant"] = to_tenant
    with (
        call.memory(source) as memory,
        call.memory(target, creates=True, **changed) as other,
        call.output.progress() as progress,
        _refusing_data(),
    ):
        done = memory.copy_to(
            other,
            session_id=session,
            user_id=user_of(user, no_user),
            thread_id=thread,
            existing=existing,
            progress=progress,
        )
    _show(call, done)


def _stdin(format: str | None) -> Any:
    """Return stdin for an export, or the JSON value in it for the formats that are files."""
    from langchain_agentmem.lifecycle.importers.documents import MESSAGES, ROLES
    from langchain_agentmem.lifecycle.importers.mem0 import FORMAT
    from langchain_agentmem.lifecycle.importers.rows import document_of, importing

    if format is None:
        return sys.stdin.buffer
    if format not in (MESSAGES, ROLES, FORMAT):
        msg = f"--format {format} reads a database. Pass its URL or path instead of -."
        raise InvalidInputError(msg)
    with _refusing_data(), importing("stdin, which must be JSON"):
        return document_of(sys.stdin.buffer.read())


@contextmanager
def _refusing_data() -> Iterator[None]:
    """Turn the refusal of data into the failure of the operation: the command was used correctly."""
    try:
        yield
    except InvalidInputError as error:
        raise OperationFailedError(str(error)) from error


def _show(call: Invocation, done: Imported, *, dry_run: bool = False) -> None:
    parts = {"stored": done.counts, "unchanged": done.unchanged, "kept": done.kept, "expired": done.expired}
    record: dict[str, Any] = {name: dict(counts) for name, counts in parts.items()}
    record |= {"without_vectors": done.without_vectors, "missing_threads": done.missing_threads}
    labels = {"stored": "would store", "kept": "would keep"} if dry_run else {}
    values = [
        (f"{labels.get(name, name)} {kind.replace('_', ' ')}", number)
        for name, counts in parts.items()
        for kind, number in counts.items()
        if number
    ]
    if values or call.output.as_json:
        call.output.document(record, values)
    else:
        call.output.say("There was nothing to store.")
    if done.missing_threads:
        call.output.warning(f"The source has no threads of these IDs: {', '.join(map(shown, done.missing_threads))}.")
    if done.without_vectors:
        done_so = "would be" if dry_run else "were"
        call.output.note(f"Some texts {done_so} stored without vectors. agentmem reindex embeds them.")
