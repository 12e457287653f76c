"""The commands that delete: cleanup and forget."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from langchain_agentmem.arguments.cleaning import DEFAULT_KINDS
from langchain_agentmem.command.invocation import FAILED, Invocation, operation
from langchain_agentmem.command.output import Column
from langchain_agentmem.errors import InvalidInputError

if TYPE_CHECKING:
    from langchain_agentmem.lifecycle.cleaning.results import Cleanup

Yes = Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask before deleting.")]
DryRun = Annotated[bool, typer.Option("--dry-run", metavar="", help="Only show what would be deleted.")]

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@operation(
    "agentmem cleanup --older-than 90d --dry-run",
    "agentmem cleanup --older-than 90d --archive archive.jsonl",
    "agentmem cleanup --older-than 2026-01-01 --kind sessions --kind threads --yes",
)
def cleanup(
    call: Invocation,
    older_than: Annotated[
        str,
        typer.Option(
            metavar="AGE", help="The age: 90d, 12h, 30m, 2w, an ISO 8601 duration (P90D), or a date (in UTC)."
        ),
    ],
    archive: Annotated[
        str | None, typer.Option(metavar="FILE", help="Append everything to this file before it is deleted.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND", help=f"Only this kind of data: {', '.join(DEFAULT_KINDS)}, variables. Repeatable."
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Delete data that was not used for a long time.

    Sessions, messages, threads, items, records and what threads left behind; knowledge about users stays.
    """
    age = age_of(older_than)
    if isinstance(age, timedelta) and not age:
        msg = f"--older-than must be greater than zero; got {older_than[:100]!r}."
        raise InvalidInputError(msg)
    kinds = tuple(kind or DEFAULT_KINDS)
    with call.memory() as memory:

        def run(dry_run: bool) -> Cleanup:
            with call.output.progress() as progress:
                given = None if dry_run else archive
                return memory.cleanup(age, dry_run=dry_run, archive=given, kinds=kinds, progress=progress)

        if dry_run or not yes:
            done = run(dry_run=True)
        if not dry_run:
            if not yes:
                counts = ", ".join(f"{name}: {count:,}" for name, count in done.counts.items() if count)
                if not call.output.confirm(f"Delete this ({counts})?", yes=not counts):
                    raise typer.Exit(FAILED)
            done = run(dry_run=False)
    record = {"dry_run": dry_run, **done.counts, "archived": done.archived, "seconds": done.duration}
    call.output.document(record, done.counts.items())
    if dry_run:
        call.output.note("Nothing was deleted, because of --dry-run.")
    if done.archived:
        call.output.note(f"Archived in {done.archived}.")


@operation(
    "agentmem forget alice@example.com --dry-run",
    "agentmem forget alice@example.com",
    "agentmem forget alice@example.com --shared delete --yes --json",
)
def forget(
    call: Invocation,
    user: Annotated[str, typer.Argument(metavar="USER", help="The user.")],
    shared: Annotated[
        Literal["keep", "delete"], typer.Option(help="Threads with other users: keep or delete them.")
    ] = "keep",
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Delete everything that is stored about a user.

    Prints the receipt: what was deleted, and what was kept for which reason.

    --dry-run counts what would be deleted. With --json or --debug, it also lists the places of the database that hold the
    user's ID, also those of other applications.
    """
    if not user:
        msg = "USER must not be empty."
        raise InvalidInputError(msg)
    traces: list[dict[str, Any]] | None = None
    with call.memory() as memory:
        if dry_run and (call.output.as_json or call.debug):
            with call.output.progress() as progress:
                traces = [vars(one) for one in memory.find_traces(user, progress=progress)]
        if not yes and not dry_run:
            sessions, threads = memory.sessions.list(user_id=user), memory.checkpointer.threads(user_id=user)
            messages = sum(one.message_count for one in sessions)
            counts = (
                f"sessions: {len(sessions):,}, messages: {messages:,}, threads: {len(threads):,}, and all knowledge"
            )
            if not call.output.confirm(f"Delete everything about {user} ({counts})?", yes=False):
                raise typer.Exit(FAILED)
        receipt = memory.forget(user, shared=shared, dry_run=dry_run)
    kept = [one._asdict() for one in receipt.kept]
    deleted = dict(receipt.deleted)
    record: dict[str, Any] = {
        "dry_run": dry_run,
        "user_id": user,
        "forgotten_at": receipt.forgotten_at,
        "deleted": deleted,
        "kept": kept,
    }
    if traces is not None:
        record["traces"] = traces
    values = [(f"{'' if dry_run else 'deleted '}{name.replace('_', ' ')}", number) for name, number in deleted.items()]
    call.output.document(record, [*values, *((f"kept {one['kind']} {one['name']}", one["reason"]) for one in kept)])
    if not dry_run:
        return
    if traces is not None and not call.output.as_json:
        columns = [
            Column("where", "where"),
            Column("form", "form"),
            Column("count", "values", is_number=True),
            Column("example", "example", least_width=70),
        ]
        call.output.rows(columns, traces, empty="No place of the database holds the ID.")
    call.output.note("Nothing was deleted, because of --dry-run.")


def age_of(text: str) -> timedelta | datetime:
    """Return the age or the date in the value of `--older-than`.

    Args:
        text: Such as `90d`, `1.5h`, `P90D` or `2026-01-01`.

    Raises:
        InvalidInputError: It is neither.

    Example:
        >>> from langchain_agentmem.command.deletions import age_of
        >>> age_of("90d"), age_of("P1DT12H")
        (datetime.timedelta(days=90), datetime.timedelta(days=1, seconds=43200))
    """
    if found := _AGE.fullmatch(text.strip().lower()):
        try:
            return timedelta(**{_UNITS[found[2]]: float(found[1])})
        except OverflowError:
            pass
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(timedelta).validate_python(text if text.strip().upper().startswith("P") else None)
    except ValidationError:
        pass
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        msg = f"--older-than must be an age such as 90d, 12h, 2w or P90D, or a date such as 2026-01-01; got {text[:100]!r}."
        raise InvalidInputError(msg) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
