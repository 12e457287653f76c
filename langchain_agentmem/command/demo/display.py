"""Print a report on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_agentmem.command.demo.report import Report, SessionLine, UserFacts
from langchain_agentmem.command.output import Output, one_line

_SESSIONS_SHOWN = 10


def show(output: Output, report: Report) -> None:
    """Print a report.

    Args:
        output: The output of the command.
        report: The report.
    """
    started = [line for line in report.sessions if line.messages or line.thread_messages]
    if not started:
        output.say("Nothing of this conversation is stored.")
        return
    output.say("")
    _show_sessions(output, report.sessions, started)
    output.say("history: messages that the chain stored; thread: messages in the graph's newest checkpoint")
    if report.newest:
        output.say("\nNewest messages:", "bold")
        for message in report.newest:
            output.say(f"{message.name or message.type}: {one_line(str(message.text), 300)}", indent=2)
    for user in report.users:
        output.say("")
        _show_facts(output, user)


def _show_sessions(output: Output, sessions: Sequence[SessionLine], started: Sequence[SessionLine]) -> None:
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
    output.console.print(table)


def _show_facts(output: Output, user: UserFacts) -> None:
    output.say(f"The store remembers {user.count:,} facts about {one_line(user.user_id, 80)}.")
    if not user.count:
        output.say('The file lists no facts. Add "facts": ["…"] to a message: they are stored when it is played.')
    for question, found in user.found.items():
        output.say(f"Search: {one_line(question, 200)}", indent=2)
        for score, fact in found:
            output.say(f"{score:.2f}  {one_line(fact, 200)}", indent=4)
        if not found:
            output.say("nothing found", indent=4)


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
