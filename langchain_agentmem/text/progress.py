"""Progress reports of a long operation: a progress bar, calls of a function, or none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.text.escapes import visible

if TYPE_CHECKING:
    from rich.console import Console

Report = Callable[[Any], Any]
"""Called after each batch with the result so far. Under `arun`, it may be a coroutine function."""


class Progress(Protocol):
    """The result of an operation so far."""

    @property
    def description(self) -> str:
        """The text beside the progress bar."""


@contextlib.contextmanager
def reporting(progress: bool | Report) -> Iterator[Report]:
    """Provide the function to call after each batch.

    Args:
        progress: True shows a progress bar, False reports nothing; a function is called itself.

    Raises:
        InvalidTypeError: `progress` is neither a bool nor a function.
    """
    if not callable(progress) and not isinstance(progress, bool):
        msg = f"progress must be True, False or a function, got {type(progress).__name__}: {shown(progress)}."
        raise InvalidTypeError(msg)
    if not isinstance(progress, bool):
        yield progress
    elif not progress:
        yield lambda _: None
    else:
        with progress_bar() as report:
            yield report


@contextlib.contextmanager
def progress_bar(console: Console | None = None) -> Iterator[Report]:
    """Show a progress bar, and provide the function to call after each batch.

    Args:
        console: The console, from which the bar disappears at the end. Default: None (rich's own, which a notebook shows).
    """
    import rich.progress

    columns = (
        rich.progress.SpinnerColumn(),
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.TimeElapsedColumn(),
    )
    with rich.progress.Progress(*columns, console=console, transient=console is not None) as bar:
        task = bar.add_task("Starting")

        def report(done: Progress) -> None:
            bar.update(task, description=visible(done.description))

        yield report
