"""The command `demo`: play a conversation through a chain and a graph, and print what the memory stores.

A second run continues where the first one ended.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from langchain_agentmem.arguments.urls import masked_url
from langchain_agentmem.command.invocation import INTERRUPTED, Invocation, operation, sqlite_path
from langchain_agentmem.command.output import one_line
from langchain_agentmem.errors import ConfigurationError, missing_extra

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from langchain_agentmem.command.demo.player import Played, Player, Progress
    from langchain_agentmem.command.demo.turns import Session


@operation(
    "agentmem demo",
    "agentmem demo --turns 10        (run it again to continue)",
    "agentmem demo --conversation talk.json --user bo",
    "agentmem demo --model openai:gpt-5-mini        (needs langchain and the provider's package)",
)
def demo(
    call: Invocation,
    conversation: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A conversation of your own: role/content JSON, or LoCoMo's layout."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER:NAME", help="A chat model that answers. By default, the recorded answers are played."
        ),
    ] = None,
    turns: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Play at most N turns; 0 only shows what is stored.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="ID", help="The user. By default, the user in the file.")] = None,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", metavar="", help="Delete what earlier runs of this conversation stored, and start again."
        ),
    ] = False,
) -> None:
    """Play a conversation, and show what the memory stores.

    A chain and a graph play it. It needs no model, key or network. A second run continues where the first one ended.
    """
    again = Again(call.url, conversation, model, user)
    try:
        _run(call, again, turns=turns, restart=restart)
    except KeyboardInterrupt:
        call.output.note(f"Stopped. Nothing is lost. To continue: {again.command}")
        raise typer.Exit(INTERRUPTED) from None


@dataclass(frozen=True)
class Again:
    """The options that continue this run."""

    url: str | None
    conversation: str | None
    model: str | None
    user: str | None

    @property
    def command(self) -> str:
        """The command that continues this run."""
        options = {
            "--url": self.url and masked_url(self.url),
            "--conversation": self.conversation,
            "--model": self.model,
            "--user": self.user,
        }
        given = (f"{name} {shlex.quote(value)}" for name, value in options.items() if value)
        return " ".join([program("demo"), *given])


def _run(call: Invocation, again: Again, *, turns: int | None, restart: bool) -> None:
    from langchain_agentmem.command.demo.conversations import load_conversation
    from langchain_agentmem.command.demo.display import show
    from langchain_agentmem.command.demo.player import Player
    from langchain_agentmem.command.demo.report import read_report

    say = call.output.say
    url = call.settings().url
    sessions = load_conversation(again.conversation, user_id=again.user)
    model = None if again.model is None else _model(again.model)
    with call.memory(creates=True) as memory:
        player = Player(memory, model=model)
        if restart:
            for session in sessions:
                player.forget(session)
        began = time.perf_counter()
        played = _play(call, player, sessions, turns)
        seconds = time.perf_counter() - began
        report = read_report(memory, player, sessions)
    if call.output.as_json:
        call.output.document({"turns_played": len(played), "seconds": seconds, **report.as_dict()})
        return
    say(_durations(played, seconds, report.turns_left))
    show(call.output, report)
    say(f"\n{_stored_in(url)}")
    if sqlite_path(url) == ":memory:":
        return
    if report.turns_left:
        say(f"{report.turns_left:,} turns are left. Run again to continue:\n  {again.command}")
    shown = shlex.quote(sessions[-1].session_id)
    where = f" --url {shlex.quote(masked_url(again.url))}" if again.url else ""
    say(f"To read what is stored:\n  {program('show')}{where} -- {shown}")
    say(f"To delete this conversation and start again:\n  {again.command} --restart")


def _play(call: Invocation, player: Player, sessions: Sequence[Session], limit: int | None) -> list[Played]:
    pending = [(session, player.progress(session)) for session in sessions]
    left = sum(len(progress.turns_left(session)) for session, progress in pending)
    total = left if limit is None else min(left, limit)
    played: list[Played] = []
    if not total:
        return played
    with _progress(call, total) as advance:
        for session, one in islice(_turns(player, pending), total):
            played.append(one)
            advance(session)
    return played


def _turns(player: Player, pending: list[tuple[Session, Progress]]) -> Iterator[tuple[Session, Played]]:
    for session, progress in pending:
        for played in player.play(session, progress):
            yield session, played


@contextmanager
def _progress(call: Invocation, total: int) -> Iterator[Callable[[Session], None]]:
    """Show the progress: a bar on a terminal."""
    if not call.output.errors.is_terminal:
        yield lambda _: None
        return
    import rich.progress

    columns = (
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=call.output.errors, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda session: bar.update(task, advance=1, description=one_line(session.title, 40))


def _durations(played: list[Played], seconds: float, left: int) -> str:
    """Return the line about the turns that were played and their durations."""
    if not played:
        return "Nothing was played." if left else "All turns had been played before."
    chain = sum(one.chain_seconds for one in played) / len(played) * 1000
    graph = sum(one.graph_seconds for one in played) / len(played) * 1000
    each = f"{chain:.1f} ms a turn in a chain, {graph:.1f} ms in a graph"
    return f"Played {len(played):,} turns in {seconds:.2f} s: {each}."


def _model(name: str) -> BaseChatModel:
    try:
        from langchain.chat_models import init_chat_model
    except ImportError:
        raise missing_extra(what="--model", extra="agents") from None
    try:
        model: BaseChatModel = init_chat_model(name)
    except Exception as error:  # each provider raises errors of its own
        msg = f"--model {name}: {error}"
        raise ConfigurationError(msg) from error
    return model


def _stored_in(url: str) -> str:
    """Return the line about the database, for the end of the output."""
    path = sqlite_path(url)
    if path is None:
        return f"Stored in {masked_url(url)}."
    if path == ":memory:":
        return (
            "The conversation was in memory only, and is gone now. To keep it, use a file: --url sqlite:///agentmem.db"
        )
    files = (Path(path), Path(f"{path}-wal"))
    size = sum(file.stat().st_size for file in files if file.is_file())
    return f"Stored in {path} ({size / 1000:,.0f} kB)."


def program(command: str) -> str:
    """Return a command as the user calls it: with the script, or with Python.

    Args:
        command: The name of the command.
    """
    own = Path(sys.argv[0]).stem
    if own in ("agentmem", "langchain-agentmem"):
        return f"{own} {command}"
    return "python -m langchain_agentmem" + ("" if command == "demo" else f" {command}")
