"""Print a report on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from langchain_agentmem.command.report import Report, SessionLine, UserFacts

if TYPE_CHECKING:
    from rich.console import Console

_SESSIONS_SHOWN = 10


def show(console: Console, report: Report) -> None:
    """Print a report.

    Args:
        console: The console.
        report: The report.
    """
    from rich.padding import Padding
    from rich.text import Text

    def say(text: str, indent: int = 0) -> None:
        console.print(Padding(Text(text), (0, 0, 0, indent), expand=False))

    started = [line for line in report.sessions if line.messages or line.thread_messages]
    if not started:
        say("Nothing of this conversation is stored.")
        return
    _show_sessions(console, report.sessions, started)
    say("history: messages that the chain stored; thread: messages in the graph's newest checkpoint")
    if report.newest:
        console.print("\nNewest messages:")
        for message in report.newest:
            say(f"{message.name or message.type}: {one_line(str(message.text), 300)}", 2)
    for user in report.users:
        console.print()
        _show_facts(say, user)


def one_line(text: str, width: int) -> str:
    """Return a text as one line without control characters, at most `width` characters long.

    Args:
        text: The text.
        width: The maximum number of characters.

    Example:
        >>> from langchain_agentmem.command.display import one_line
        >>> one_line("two" + chr(10) + "lines" + chr(27) + "[31m, red", 14)
        'two lines [31…'
    """
    line = " ".join("".join(one if one.isprintable() else " " for one in text[: width * 4]).split())
    return line if len(line) <= width else line[: width - 1] + "…"


def _show_sessions(console: Console, sessions: Sequence[SessionLine], started: Sequence[SessionLine]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("session", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in ("turns", "history", "thread", "check-\npoints"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("first stored", "newest"):
        table.add_column(name, no_wrap=True)
    if len(started) > _SESSIONS_SHOWN:
        table.add_row(f"… {len(started) - _SESSIONS_SHOWN} more before")
    for line in started[-_SESSIONS_SHOWN:]:
        table.add_row(one_line(line.title, 60), *_numbers([line]), *_times(line))
    if len(sessions) > 1:
        table.add_section()
        table.add_row(f"all {len(sessions)}", *_numbers(sessions))
    console.print(table)


def _show_facts(say: Callable[[str, int], None], user: UserFacts) -> None:
    say(f"The store remembers {user.count:,} facts about {one_line(user.user_id, 80)}.", 0)
    if not user.count:
        say('The file lists no facts. Add "facts": ["…"] to a message: they are stored when it is played.', 0)
    for question, found in user.found.items():
        say(f"Search: {one_line(question, 200)}", 2)
        for score, fact in found:
            say(f"{score:.2f}  {one_line(fact, 200)}", 4)
        if not found:
            say("nothing found", 4)


def _numbers(lines: Sequence[SessionLine]) -> list[str]:
    turns = f"{sum(line.turns for line in lines):,} of {sum(line.total_turns for line in lines):,}"
    counts = (
        sum(line.messages for line in lines),
        sum(line.thread_messages for line in lines),
        sum(line.checkpoints for line in lines),
    )
    return [turns, *(f"{count:,}" for count in counts)]


def _times(line: SessionLine) -> tuple[str, str]:
    if line.first is None or line.newest is None:
        return "", ""
    first, newest = line.first.astimezone(), line.newest.astimezone()
    return f"{first:%Y-%m-%d %H:%M}", f"{newest:%H:%M}" if first.date() == newest.date() else f"{newest:%Y-%m-%d}"
