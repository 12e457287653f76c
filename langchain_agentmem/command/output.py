"""Output of a command: tables on a terminal, lines of tab-separated values in a pipe, or JSON."""

from __future__ import annotations

import json
import sys
import textwrap
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.text.escapes import visible

if TYPE_CHECKING:
    from rich.console import Console

    from langchain_agentmem.text.progress import Report

PROGRAM = "agentmem"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    """The name of the value in a record."""
    heading: str
    is_number: bool = False
    least_width: int = 0
    """The width of a terminal below which the column is left out."""


class Output:
    """The output of one command. Text of users is escaped, so that no terminal interprets it.

    Args:
        as_json: If true, results are printed as JSON and nothing else is printed on stdout. Default: False.
        program: The name of the command, for messages on stderr. Default: `"agentmem"`.
    """

    def __init__(self, *, as_json: bool = False, program: str = PROGRAM) -> None:
        self.as_json = as_json
        self.program = program

    @cached_property
    def console(self) -> Console:
        """The console for stdout."""
        return _console(stderr=False)

    @cached_property
    def errors(self) -> Console:
        """The console for stderr."""
        return _console(stderr=True)

    def say(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """Print a text on stdout, unless the output is JSON.

        Args:
            text: The text, which may have several lines.
            style: A style of rich. Default: "" (none).
            indent: The number of spaces before each line, also of lines that a terminal wraps. Default: 0.
        """
        if self.as_json:
            return
        shown = visible(text, lines=True)
        if self.console.is_terminal:
            from rich.padding import Padding
            from rich.text import Text

            if indent:
                self.console.print(Padding(Text(shown, style), (0, 0, 0, indent), expand=False))
            else:  # the terminal wraps it, so that it can be copied
                self.console.print(Text(shown, style), soft_wrap=True)
        else:
            print(textwrap.indent(shown, " " * indent))

    def note(self, text: str) -> None:
        """Print a note for the user on stderr."""
        if sys.stderr is not None:  # a closed one; `print` would write to stdout
            print(visible(text), file=sys.stderr)

    def warning(self, text: str) -> None:
        """Print a warning on one line of stderr."""
        self.note(f"{self.program}: warning: {_one_line(text)}")

    def error(self, text: str) -> None:
        """Print an error on one line of stderr."""
        self.note(f"{self.program}: error: {_one_line(text)}")

    def traceback(self, error: BaseException) -> None:
        """Print the traceback of an error on stderr."""
        for line in "".join(traceback.format_exception(error)).splitlines():
            self.note(line)

    def rows(self, columns: Sequence[Column], records: Iterable[Mapping[str, Any]], *, empty: str = "") -> None:
        """Print records: a table on a terminal; else a line for each record.

        Args:
            columns: The columns of the table, and of the tab-separated values.
            records: The records. As JSON, all their values are printed.
            empty: What a terminal shows if there are no records. Default: "" (nothing).
        """
        if self.as_json:
            for record in records:
                print(_json(record))
        elif not self.console.is_terminal:
            for record in records:
                print("\t".join(_cell(record.get(column.name)) for column in columns))
        else:
            self._table(columns, records, empty)

    def document(self, record: Mapping[str, Any], values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Print one record: two columns on a terminal; else a line for each value, or one JSON document.

        Args:
            record: The record, which JSON shows.
            values: The names and values that the columns show. Default: None (those of the record).
        """
        if self.as_json:
            print(_json(record))
            return
        pairs = list(record.items() if values is None else values)
        if not self.console.is_terminal:
            for name, value in pairs:
                print(f"{visible(name)}\t{_cell(value)}")
            return
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for name, value in pairs:
            number = isinstance(value, int) and not isinstance(value, bool)
            grid.add_row(Text(visible(name), "bold"), Text(_shown(value), justify="right" if number else "left"))
        self.console.print(grid)

    def _table(self, columns: Sequence[Column], records: Iterable[Mapping[str, Any]], empty: str) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        shown = [column for column in columns if self.console.width >= column.least_width]
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        for column in shown:
            table.add_column(column.heading, justify="right" if column.is_number else "left", overflow="fold")
        for record in records:
            table.add_row(*(Text(_shown(record.get(column.name))) for column in shown))
        if table.row_count:
            self.console.print(table)
        elif empty:
            self.say(empty)

    @contextmanager
    def progress(self) -> Iterator[Report | bool]:
        """Provide the `progress` argument of a long operation: a bar on stderr if that is a terminal, else False."""
        from langchain_agentmem.text.progress import progress_bar

        if not self.errors.is_terminal:
            yield False
            return
        with progress_bar(self.errors) as report:
            yield report

    def confirm(self, question: str, *, yes: bool) -> bool:
        """Ask a question on stderr.

        Args:
            question: The question, which names what is deleted.
            yes: If true, nothing is asked.

        Returns:
            True if the user agrees. If not, stderr says that nothing was done.

        Raises:
            InvalidInputError: There is no terminal to ask.
        """
        if yes:
            return True
        if not sys.stdin.isatty():
            msg = f"{question} There is no terminal to ask. Pass --yes to do it, or --dry-run to see what is affected."
            raise InvalidInputError(msg)
        print(f"{visible(question)} [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().casefold() in ("y", "yes"):
            return True
        self.note("Nothing was done.")
        return False


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    class OurConsole(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704  # rich calls it within `except BrokenPipeError`; the command ends silently

    return OurConsole(stderr=stderr, markup=False, emoji=False, highlight=False)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _json(value: Any) -> str:
    # ASCII alone: no encoding loses a character, and no terminal interprets one.
    return json.dumps(value, default=_json_value)


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else repr(value)


def _cell(value: Any) -> str:
    """Return a value of a line of tab-separated values."""
    if isinstance(value, datetime):
        return value.isoformat()
    return "" if value is None else visible(f"{value:.4f}" if isinstance(value, float) else str(value))


def _shown(value: Any) -> str:
    """Return a value of a table."""
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else visible(f"{value:.2f}" if isinstance(value, float) else str(value))


def one_line(text: str, width: int) -> str:
    r"""Return a text as one line of at most `width` characters, with escapes for control characters.

    Args:
        text: The text.
        width: The maximum number of characters.

    Example:
        >>> from langchain_agentmem.command.output import one_line
        >>> one_line("two" + chr(10) + "lines" + chr(27) + "[31m, red", 18)
        'two lines\\x1b[31m…'
    """
    line = visible(_one_line(text[: width * 4]))
    return line if len(line) <= width else line[: width - 1] + "…"
