"""Print a report on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_agentmem.command.demo.report import Fitted, Learned, Report, SessionLine, UserFacts
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
    output.say("history: messages that the chain stored. thread: messages in the graph's newest checkpoint.", indent=2)
    if report.newest:
        output.say("\nThe newest messages", "bold")
        for message in report.newest:
            output.say(f"{message.name or message.type}: {one_line(str(message.text), 300)}", indent=2)
    for learned in report.learned:
        _show_learned(output, learned)
    for user in report.users:
        _show_facts(output, user)
    if not (report.learned or report.users):
        output.say('\nThe file lists no facts. Add "facts": ["…"] to a message: they are stored when it is played.')
    if report.fitted is not None:
        _show_fitted(output, report.fitted)


def _show_sessions(output: Output, sessions: Sequence[SessionLine], started: Sequence[SessionLine]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("Stored", overflow="fold")
    for name in ("turns", "history", "thread", "checkpoints"):
        table.add_column(name, justify="right", overflow="fold")
    if len(started) > _SESSIONS_SHOWN:
        table.add_row(f"… {len(started) - _SESSIONS_SHOWN} more before")
    for line in started[-_SESSIONS_SHOWN:]:
        table.add_row(Text(f"  {one_line(line.title, 60)}"), *_numbers([line]))
    if len(sessions) > 1:
        table.add_row(f"  all {len(sessions)}", *_numbers(sessions))
    output.console.print(table)


def _show_learned(output: Output, learned: Learned) -> None:
    output.say(f"\nLearned about {one_line(learned.user_id, 80)}", "bold")
    output.say("A scripted model proposed it; an application passes a chat model.", "dim", indent=2)
    output.say(
        f"{learned.facts:,} facts, and {learned.superseded:,} that were true before and are superseded", indent=2
    )
    for name, value in learned.fields.items():
        output.say(f"{one_line(name, 40)}: {one_line(str(value), 80)}", indent=2)
    if learned.answers:
        output.say("\nA correction wins over what was said first", "bold")
    for question, answers in learned.answers.items():
        output.say(one_line(question, 200), indent=2)
        for one in answers:
            output.say(f"{one.score:.2f}  {one_line(one.fact, 200)}", indent=4)
            for before in one.before:
                output.say(f"superseded: {one_line(before, 200)}", "dim", indent=10)
        if not answers:
            output.say("nothing is known", indent=4)


def _show_facts(output: Output, user: UserFacts) -> None:
    output.say(f"\nThe store remembers {user.count:,} facts about {one_line(user.user_id, 80)}", "bold")
    for question, found in user.found.items():
        output.say(f"Search: {one_line(question, 200)}", indent=2)
        for score, fact in found:
            output.say(f"{score:.2f}  {one_line(fact, 200)}", indent=4)
        if not found:
            output.say("nothing found", indent=4)


def _show_fitted(output: Output, fitted: Fitted) -> None:
    output.say(f"\nA request of at most {fitted.max_tokens:,} tokens", "bold")
    output.say(f"The {fitted.messages:,} messages of the history have {fitted.tokens:,} tokens.", indent=2)
    output.say(
        f"The request has {fitted.request_tokens:,} tokens in {fitted.request_messages:,} messages: "
        f"one is a summary of {fitted.folded:,} messages.",
        indent=2,
    )


def _numbers(lines: Sequence[SessionLine]) -> list[str]:
    turns = f"{sum(line.turns for line in lines):,} of {sum(line.total_turns for line in lines):,}"
    counts = (
        sum(line.messages for line in lines),
        sum(line.thread_messages for line in lines),
        sum(line.checkpoints for line in lines),
    )
    return [turns, *(f"{count:,}" for count in counts)]
