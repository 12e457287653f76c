"""`python -m langchain_agentmem`: play a conversation and show what is remembered."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see `langchain_agentmem.command.demo`.

    Args:
        argv: The arguments. Default: None (those of the process).

    Returns:
        The exit code.
    """
    from langchain_agentmem.command.demo import main as command

    return command(argv)


if __name__ == "__main__":
    raise SystemExit(main())
