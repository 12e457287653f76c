"""Command-line demo: play a conversation through a chain and a graph, and print what the memory stores.

A second run continues where the first one ended.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote, urlsplit

from langchain_agentmem.arguments.urls import masked_url
from langchain_agentmem.errors import AgentMemError, ConfigurationError, missing_extra

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from rich.console import Console

    from langchain_agentmem.command.player import Played, Player, Progress
    from langchain_agentmem.command.turns import Session
    from langchain_agentmem.settings import AgentMemSettings

_INTERRUPTED = 130
_REFUSED = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments. Default: None (those of the process).

    Returns:
        The exit code: 0; 2 after an error, which is printed on one line of stderr; 130 after an interrupt.

    Raises:
        SystemExit: The arguments are invalid (2), or `--help` or `--version` was passed (0).

    Example:
        >>> from langchain_agentmem.command.demo import main
        >>> main(["--conversation", "no-such-file.json"])
        2
    """
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A character that the terminal's encoding lacks is printed as a question mark.
            stream.reconfigure(errors="replace")
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print(f"Stopped. Nothing is lost. To continue: {_command(arguments)}", file=sys.stderr)
        return _INTERRUPTED
    except AgentMemError as error:
        print(f"{_program()}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return _REFUSED


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(_REFUSED, f"{self.prog}: error: {message} (see --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=_program(),
        description="Play a conversation through a chain and a graph, and show what the memory stores. "
        "A second run continues where the first one ended.",
    )
    parser.add_argument("--url", help="the database (default: AGENTMEM_URL, or else sqlite:///agentmem.db)")
    parser.add_argument(
        "--conversation", metavar="FILE", help="a conversation of your own: role/content JSON, or LoCoMo's layout"
    )
    parser.add_argument(
        "--model", metavar="PROVIDER:NAME", help="a chat model that answers (default: play the recorded answers)"
    )
    parser.add_argument("--turns", type=_count, metavar="N", help="play at most N turns; 0 only shows what is stored")
    parser.add_argument("--user", metavar="ID", help="the user (default: the user in the file)")
    parser.add_argument(
        "--restart", action="store_true", help="delete what earlier runs of this conversation stored, and start again"
    )
    parser.add_argument("--version", action="version", version=f"langchain-agentmem {_version()}")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from langchain_agentmem.command.conversations import load_conversation
    from langchain_agentmem.command.display import show
    from langchain_agentmem.command.player import Player
    from langchain_agentmem.command.report import read_report
    from langchain_agentmem.memory import AgentMemory

    console = Console(markup=False, emoji=False, highlight=False)
    settings = _settings(arguments.url)
    sessions = load_conversation(arguments.conversation, user_id=arguments.user)
    model = None if arguments.model is None else _model(arguments.model)
    with AgentMemory.from_settings(settings) as memory:
        player = Player(memory, model=model)
        if arguments.restart:
            for session in sessions:
                player.forget(session)
        began = time.perf_counter()
        played = _play(console, player, sessions, arguments.turns)
        seconds = time.perf_counter() - began
        report = read_report(memory, player, sessions)
    console.print(_durations(played, seconds, report.turns_left), soft_wrap=True, end="\n\n")
    show(console, report)
    console.print(f"\n{_stored_in(settings.url)}", soft_wrap=True)
    if _path(settings.url) == ":memory:":
        return 0
    if report.turns_left:
        console.print(
            f"{report.turns_left:,} turns are left. Run again to continue:\n  {_command(arguments)}", soft_wrap=True
        )
    console.print(f"To delete this conversation and start again:\n  {_command(arguments)} --restart", soft_wrap=True)
    return 0


def _play(console: Console, player: Player, sessions: Sequence[Session], limit: int | None) -> list[Played]:
    pending = [(session, player.progress(session)) for session in sessions]
    left = sum(len(progress.turns_left(session)) for session, progress in pending)
    total = left if limit is None else min(left, limit)
    played: list[Played] = []
    if not total:
        return played
    with _progress(console, total) as advance:
        for session, one in islice(_turns(player, pending), total):
            played.append(one)
            advance(session)
    return played


def _turns(player: Player, pending: list[tuple[Session, Progress]]) -> Iterator[tuple[Session, Played]]:
    for session, progress in pending:
        for played in player.play(session, progress):
            yield session, played


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[Session], None]]:
    """Show the progress: a bar on a terminal, or one line for each session."""
    from langchain_agentmem.command.display import one_line

    if not console.is_terminal:
        announced: set[str] = set()

        def say(session: Session) -> None:
            if session.session_id not in announced:
                announced.add(session.session_id)
                console.print(f"Playing {one_line(session.title, 70)}", soft_wrap=True)

        yield say
        return
    import rich.progress

    columns = (
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=total)
        yield lambda session: bar.update(task, advance=1, description=one_line(session.title, 40))


def _durations(played: list[Played], seconds: float, left: int) -> str:
    """Return the line about the turns that were played and their durations."""
    if not played:
        return "Nothing was played." if left else "All turns had been played before."
    chain = sum(one.chain_seconds for one in played) / len(played) * 1000
    graph = sum(one.graph_seconds for one in played) / len(played) * 1000
    each = f"a turn took {chain:.1f} ms in the chain and {graph:.1f} ms in the graph"
    return f"Played {len(played):,} turns in {seconds:.2f} s; {each}."


def _settings(url: str | None) -> AgentMemSettings:
    from langchain_agentmem.settings import settings_of_environment

    return settings_of_environment(url)


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
    path = _path(url)
    if path is None:
        return f"Stored in {masked_url(url)}."
    if path == ":memory:":
        return (
            "The conversation was in memory only, and is gone now. To keep it, use a file: --url sqlite:///agentmem.db"
        )
    files = (Path(path), Path(f"{path}-wal"))
    size = sum(file.stat().st_size for file in files if file.is_file())
    return f"Stored in {path} ({size / 1000:,.0f} kB)."


def _path(url: str) -> str | None:
    """Return the path in the URL of a SQLite database; None for another database."""
    parts = urlsplit(url)
    return unquote(parts.path.removeprefix("/")) if parts.scheme == "sqlite" else None


def _command(arguments: argparse.Namespace) -> str:
    """Return the command that continues this run."""
    options = {
        "--url": arguments.url and masked_url(arguments.url),
        "--conversation": arguments.conversation,
        "--model": arguments.model,
        "--user": arguments.user,
    }
    return " ".join([_program(), *(f"{name} {shlex.quote(value)}" for name, value in options.items() if value)])


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        msg = f"must be a whole number, 0 or more, got {text[:100]!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _program() -> str:
    own = "langchain-agentmem"
    return own if Path(sys.argv[0]).stem == own else "python -m langchain_agentmem"


def _version() -> str:
    try:
        return version("langchain-agentmem")
    except PackageNotFoundError:
        return "(not installed)"
