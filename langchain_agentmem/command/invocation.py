"""One call of a command: the options that all commands share, the memory that it opens, and its exit code."""

from __future__ import annotations

import functools
import getpass
import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from langchain_agentmem.arguments.urls import masked_url
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.command.output import Output
from langchain_agentmem.errors import (
    AgentMemError,
    ConfigurationError,
    InvalidInputError,
    InvalidTypeError,
    UnknownSelectionError,
)

if TYPE_CHECKING:
    from langchain_agentmem.memory import AgentMemory
    from langchain_agentmem.settings import AgentMemSettings

FAILED = 1
"""The exit code of an operation that failed."""
WRONG_USAGE = 2
"""The exit code of a command that cannot be carried out as it was given: a wrong option, value, URL or setting."""
INTERRUPTED = 130
"""The exit code after Ctrl-C."""
BROKEN_PIPE = 141
"""The exit code after the reader of the output has ended, as `head` does."""

_PANEL = "Database and output"

_SHARED: dict[str, tuple[Any, Any]] = {
    "url": (
        Annotated[
            str | None,
            typer.Option(
                metavar="URL",
                help="The database. By default AGENTMEM_URL, or else sqlite:///agentmem.db.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    "tenant": (
        Annotated[
            str | None,
            typer.Option(
                metavar="NAME",
                help="The application, if several share the database. By default AGENTMEM_TENANT.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    "key_file": (
        Annotated[
            str | None,
            typer.Option(
                metavar="FILE",
                help="The file with the key of an encrypted memory; - asks for the key. By default AGENTMEM_KEY.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    "as_json": (
        Annotated[
            bool,
            typer.Option(
                "--json",
                metavar="",
                help="Print JSON: one document, or a line for each result.",
                rich_help_panel=_PANEL,
            ),
        ],
        False,
    ),
    "debug": (
        Annotated[
            bool, typer.Option("--debug", metavar="", help="Show the traceback of an error.", rich_help_panel=_PANEL)
        ],
        False,
    ),
}
"""The annotations and default values of the options that all commands have."""


_OPTIONS = {
    "user_id": "--user",
    "session_id": "--session",
    "thread_id": "--thread",
    "thread_ids": "--thread",
    "path_or_file": "FILE",
    "key": "--key-file",
}
"""The options whose names differ from the argument in Python."""

_QUOTES = "\"'"
_WITH_VALUE = re.compile(
    r"(?<![\w/?&-])(user_id|session_id|thread_ids?|agent|table|prefix|namespace|format|existing|shared|key)="
    r"(\"[^\"]*\"|'[^']*'|…|)"
)
_NAME = re.compile(
    r"(?<![\w/?&'-])'?(user_id|session_id|thread_ids?|path_or_file|older_than|batch_size)\b'?"
    r"|^(agent|table|prefix|namespace|existing)\b(?= (?:must|is|has)\b)"
)


class OperationFailedError(AgentMemError):
    """A command cannot do what it was asked for, although it was used correctly."""


@dataclass
class Invocation:
    """One call of a command."""

    output: Output = field(default_factory=Output)
    url: str | None = None
    tenant: str | None = None
    key_file: str | None = None
    debug: bool = False

    def settings(self, url: str | None = None) -> AgentMemSettings:
        """Return the settings of the environment and `.env`, with the URL of the command.

        Args:
            url: A URL instead. Default: None.

        Raises:
            ConfigurationError: A variable of the environment has a wrong value.
        """
        from langchain_agentmem.settings import settings_of_environment

        return settings_of_environment(url or self.url)

    @cached_property
    def keys(self) -> list[str]:
        """The keys in the file of `--key-file`, which is read once.

        Raises:
            InvalidInputError: The file cannot be read, or is empty.
        """
        return keys_in(str(self.key_file), "Key")

    @contextmanager
    def memory(self, url: str | None = None, *, creates: bool = False, **changed: Any) -> Iterator[AgentMemory]:
        """Open the memory, and close it at the end of the block. It never cleans up in the background.

        Args:
            url: A URL instead of that of the command. Default: None.
            creates: If true, the memory is created if it does not exist. Default: False.
            **changed: Keyword arguments of `AgentMemory` that take precedence over the options of the command.

        Raises:
            OperationFailedError: There is no such file, or no memory in the database.
            ConfigurationError: The URL or a setting is wrong.
        """
        from langchain_agentmem.backends.existing import NoMemoryError
        from langchain_agentmem.memory import AgentMemory

        settings = self.settings(url)
        path = sqlite_path(settings.url)
        if not creates and path is not None and path != ":memory:" and not Path(path).exists():
            where = "" if url or self.url else f" in {Path.cwd()}" if not Path(path).is_absolute() else ""
            advice = "Check the URL." if url else "Pass --url, or set AGENTMEM_URL."
            msg = f"There is no database {path}{where}. {advice}"
            raise OperationFailedError(msg)
        options: Any = {"cleanup": None}
        if self.tenant is not None:
            options["tenant"] = self.tenant
        if self.key_file is not None and "key" not in changed:
            options["key"] = self.keys
        with AgentMemory.from_settings(settings, **(options | changed)) as memory:
            if creates:
                yield memory
                return
            memory.backend.never_create()
            try:
                yield memory
            except NoMemoryError as error:
                msg = f"There is no memory at {masked_url(settings.url)} yet."
                raise OperationFailedError(msg) from error


@dataclass(frozen=True)
class Operation:
    """A command: its function as Typer calls it, and examples for its help."""

    name: str
    function: Callable[..., None]
    examples: tuple[str, ...]


def operation(*examples: str, name: str | None = None) -> Callable[[Callable[..., None]], Operation]:
    """Make a command of a function whose first parameter is the `Invocation`.

    The command gets the options that all commands share, and turns errors into a line on stderr and an exit code.

    Args:
        *examples: Command lines for its help.
        name: The name of the command. Default: None (that of the function).
    """

    def decorate(function: Callable[..., None]) -> Operation:
        @functools.wraps(function)
        def command(context: typer.Context, **given: Any) -> None:
            before = context.find_root().obj or {}
            options = {one: given.pop(one) or before.get(one) for one in _SHARED}
            output = Output(as_json=bool(options["as_json"]), program=context.command_path)
            invocation = Invocation(
                output, options["url"], options["tenant"], options["key_file"], bool(options["debug"])
            )
            code = exit_code(invocation, lambda: function(invocation, **given))
            if code:
                raise typer.Exit(code)

        return Operation(name or function.__name__.rstrip("_"), with_shared_options(command), examples)

    return decorate


def with_shared_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a function, as Typer calls it, the options that all commands share, after its own.

    Args:
        function: The function, whose first parameter is the context or an `Invocation`. It takes the options as keywords.
    """
    parameters = [
        inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        *(
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for one in list(inspect.signature(function, eval_str=True).parameters.values())[1:]
            if one.kind is not inspect.Parameter.VAR_KEYWORD
        ),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in _SHARED.items()
        ),
    ]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # Typer reads it
    function.__annotations__ = {one.name: one.annotation for one in parameters}
    return function


def exit_code(invocation: Invocation, run: Callable[[], None]) -> int:
    """Run a command, print its error or its warnings on stderr, and return its exit code.

    Args:
        invocation: The call of the command.
        run: Runs it.
    """
    output = invocation.output
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # characters that the terminal's encoding lacks

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        output.warning(str(message))

    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            run()
        print(end="", flush=True)  # an error of stdout is raised here
    except KeyboardInterrupt:
        output.note("Stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        silence_stdout()
        return BROKEN_PIPE
    except Exception as error:  # the last resort: a command never ends with a traceback, unless it is asked for
        return _failure(error, invocation)
    return 0


def _failure(error: Exception, invocation: Invocation) -> int:
    if isinstance(error, (typer.Exit, typer.Abort)):
        raise error
    if invocation.debug:
        invocation.output.traceback(error)
    if isinstance(error, AgentMemError):
        invocation.output.error(in_options(str(error)))
        wrong = isinstance(error, (ConfigurationError, InvalidInputError, InvalidTypeError))
        return WRONG_USAGE if wrong and not isinstance(error, UnknownSelectionError) else FAILED
    if isinstance(error, OSError) and error.strerror:
        name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        invocation.output.error(f"{name}{error.strerror}.")
        return FAILED
    hint = "" if invocation.debug else " Pass --debug to see where it was raised."
    invocation.output.error(f"{type(error).__name__}: {error}.{hint}")
    return FAILED


def in_options(text: str) -> str:
    """Return the message of an error with options of the command instead of arguments in Python.

    Args:
        text: The message.

    Example:
        >>> from langchain_agentmem.command.invocation import in_options
        >>> in_options('user_id is missing. Pass user_id=… or existing="keep".')
        '--user is missing. Pass --user … or --existing keep.'
    """
    text = _WITH_VALUE.sub(lambda found: f"{option_of(found[1])} {found[2].strip(_QUOTES)}".rstrip(), text)
    return _NAME.sub(lambda found: option_of(found[1] or found[2]), text)


def option_of(name: str) -> str:
    """Return the option for the name of an argument in Python."""
    return _OPTIONS.get(name) or f"--{name.replace('_', '-')}"


def keys_in(path: str, prompt: str) -> list[str]:
    """Return the keys in a file, which spaces, commas or line breaks separate.

    Args:
        path: The file; `-` asks for the key on the terminal, or reads it from stdin.
        prompt: The name of the key, for the question.

    Raises:
        InvalidInputError: The file cannot be read, or holds no key.
    """
    if path == "-":
        text = getpass.getpass(f"{prompt}: ") if sys.stdin.isatty() else sys.stdin.readline()
    else:
        try:
            text = Path(path).read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not ASCII text"
            msg = f"The key file {shown(path)} cannot be read: {reason}."
            raise InvalidInputError(msg) from None
    keys = text.replace(",", " ").split()
    if not keys:
        msg = f"There is no key in {'the input' if path == '-' else shown(path)}."
        raise InvalidInputError(msg)
    return keys


def add_folder() -> None:
    """Let modules in the current folder be imported, as `python -m` does."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)


def silence_stdout() -> None:
    """Send later output to nowhere, so that Python does not report a broken pipe when it ends."""
    if hasattr(sys.stdout, "fileno"):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


def sqlite_path(url: str) -> str | None:
    """Return the path in the URL of a SQLite database; None for another database.

    Args:
        url: The URL.

    Example:
        >>> from langchain_agentmem.command.invocation import sqlite_path
        >>> sqlite_path("sqlite:///agentmem.db"), sqlite_path("redis://localhost")
        ('agentmem.db', None)
    """
    parts = urlsplit(url)
    return unquote(parts.path.removeprefix("/")) if parts.scheme == "sqlite" else None
