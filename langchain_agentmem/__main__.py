"""The command line: `agentmem`, and `python -m langchain_agentmem`, which plays the demo if it is given no command."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see `langchain_agentmem.command.application`.

    Args:
        argv: The command-line arguments. Default: None (those of the process).

    Returns:
        The exit code.
    """
    try:
        from langchain_agentmem.command.application import main as command
    except KeyboardInterrupt:  # modules are still being loaded
        return 130
    return command(argv)


if __name__ == "__main__":
    raise SystemExit(main())
