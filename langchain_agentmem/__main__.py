"""Command-line demo: `python -m langchain_agentmem`."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command-line demo; see `langchain_agentmem.command.demo`.

    Args:
        argv: The command-line arguments. Default: None (those of the process).

    Returns:
        The exit code.
    """
    from langchain_agentmem.command.demo import main as command

    return command(argv)


if __name__ == "__main__":
    raise SystemExit(main())
