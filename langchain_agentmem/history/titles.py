"""The titles that messages suggest for their session."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage, HumanMessage

from langchain_agentmem.backends.contract import Title

TITLE_LENGTH = 80
"""The maximum number of characters of a title."""


def titles_of(messages: Sequence[BaseMessage], keep: int | None) -> list[Title]:
    """Return the titles that a session without a title may take when messages are added.

    The title is the beginning of the first human message that retention keeps.

    Args:
        messages: The messages to add.
        keep: The maximum number of messages that retention keeps; None for all.

    Returns:
        No title, one, or two: if retention keeps an older system message, it keeps one message fewer of these. The backend
        takes the first title whose message is stored.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage
        >>> from langchain_agentmem.history.titles import titles_of
        >>> titles_of([HumanMessage("Where shall we go?"), AIMessage("To Malta")], None)[0].text
        'Where shall we go?'
    """
    if keep is None:
        return _first_title(messages, 0)
    titles = [_first_title(messages, max(0, len(messages) - kept)) for kept in (keep, keep - 1)]
    return list(dict.fromkeys(title for found in titles for title in found))


def _first_title(messages: Sequence[BaseMessage], start: int) -> list[Title]:
    """Return the title from the first human message with text at or after `start`, in a list; [] if there is none."""
    for at in range(start, len(messages)):
        if isinstance(messages[at], HumanMessage):
            text = " ".join(str(messages[at].text).replace("\x00", " ").split())
            if text:
                return [Title(at, text if len(text) <= TITLE_LENGTH else text[: TITLE_LENGTH - 1] + "…")]
    return []
