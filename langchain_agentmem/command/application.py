"""The command `agentmem`: its commands, and how it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.main import get_command

from langchain_agentmem.command.deletions import cleanup, forget
from langchain_agentmem.command.demo.run import demo
from langchain_agentmem.command.invocation import (
    BROKEN_PIPE,
    FAILED,
    INTERRUPTED,
    Operation,
    silence_stdout,
    with_shared_options,
)
from langchain_agentmem.command.listings import search, sessions, show, stats, threads, users
from langchain_agentmem.command.mcp import mcp
from langchain_agentmem.command.moves import copy, export, import_
from langchain_agentmem.command.output import PROGRAM, Output
from langchain_agentmem.command.serve import serve
from langchain_agentmem.command.upkeep import migrate, reindex, rotate_key

_PANELS: dict[str, tuple[Operation, ...]] = {
    "Try it": (demo,),
    "Look": (stats, users, sessions, show, search, threads),
    "Move data": (export, import_, copy),
    "Delete": (cleanup, forget),
    "Maintain": (reindex, migrate, rotate_key),
    "Serve": (serve, mcp),
}
_OF_PYTHON = "python -m langchain_agentmem"
_SCRIPTS = (PROGRAM, "langchain-agentmem")
_NO_DEMO = ("-h", "--help", "--version", "--install-completion", "--show-completion")
"""Options before a command that do not play the demo."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments. Default: None (those of the process).

    Returns:
        The exit code: 0; 1 after an operation that failed; 2 after wrong usage; 130 after Ctrl-C; 141 after the reader of the
        output has ended.

    Example:
        >>> from langchain_agentmem.command.application import main
        >>> main(["--version"])
        langchain-agentmem 0.1.0
        0
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    program = _program()
    if program in _SCRIPTS:
        arguments = arguments or ["--help"]
    elif not arguments or (arguments[0].startswith("-") and not {*_NAMES, *_NO_DEMO}.intersection(arguments)):
        arguments.insert(0, demo.name)
    try:
        code = get_command(build(is_terminal=bool(sys.stdout and sys.stdout.isatty()))).main(
            arguments, prog_name=program, standalone_mode=False
        )
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        silence_stdout()
        return BROKEN_PIPE
    except OSError as error:  # of the help text, such as a full disk
        silence_stdout()
        Output(program=program).error(f"{error.strerror}.")
        return FAILED
    except Exception as error:
        if not callable(message := getattr(error, "format_message", None)):
            raise
        context = getattr(error, "ctx", None)
        path = program if context is None else context.command_path
        text = str(message()).removesuffix(".")
        Output(program=path).error(f"{text}{'' if text.endswith('?') else '.'} See {path} --help.")
        return int(getattr(error, "exit_code", 2))
    return code if isinstance(code, int) else 0


def build(*, is_terminal: bool = False) -> typer.Typer:
    """Build the application.

    Args:
        is_terminal: If true, help has panels and colours. Default: False (plain text).
    """
    app = typer.Typer(
        name=PROGRAM,
        help="Look at the memory of an application, move it, clean it up, maintain it and serve it.",
        epilog=_epilog(
            is_terminal,
            f"Run {PROGRAM} COMMAND --help for the options and examples of a command.",
            "Exit codes: 0 done, 1 the operation failed, 2 wrong usage, 130 stopped by Ctrl-C.",
        ),
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="rich" if is_terminal else None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for panel, operations in _PANELS.items():
        for one in operations:
            examples = _epilog(is_terminal, "Examples:", *(f"  {example}" for example in one.examples))
            app.command(one.name, epilog=examples, rich_help_panel=panel)(one.function)
    return app


_NAMES = {one.name for operations in _PANELS.values() for one in operations}


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"langchain-agentmem {_version()}")
        raise typer.Exit


@with_shared_options
def _options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  # its callback prints it
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
    **shared: Any,
) -> None:
    # The options that all commands share may stand before the command, too.
    context.obj = shared


def _epilog(is_terminal: bool, *lines: str) -> str:
    """Return lines as the end of a help text. Neither form of the help joins them."""
    return "\n".join(map(escape, lines)) if is_terminal else "\b\n" + "\n".join(lines)


def _program() -> str:
    name = Path(sys.argv[0]).stem
    return name if name in _SCRIPTS else _OF_PYTHON


def _version() -> str:
    try:
        return version("langchain-agentmem")
    except PackageNotFoundError:
        return "(not installed)"
