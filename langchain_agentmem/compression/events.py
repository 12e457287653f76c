"""Events: reports of compressions."""

from __future__ import annotations

from collections import deque
from dataclasses import astuple, dataclass, fields

from langchain_agentmem.text.tables import FieldTable, html_table


@dataclass(frozen=True)
class CompressionEvent(FieldTable):
    """The report of one compression.

    Args:
        tokens_before: Tokens of the previous summary and of the messages after it.
        tokens_after: Tokens of the result.
        messages_before: The number of messages before: the summary and the messages after it.
        messages_after: The number of messages of the result.
        folded: The number of messages that became part of the summary.
        calls: The number of calls to the model.
        seconds: The duration.
        error: Why no summary was written; the result then omits the oldest messages. None if the compression succeeded.
        input_tokens: Input tokens of the calls, as their answers report them (`usage_metadata`), or counted. Failed calls are
            not included.
        output_tokens: Output tokens of the calls, likewise.
    """

    tokens_before: int
    tokens_after: int
    messages_before: int
    messages_after: int
    folded: int
    calls: int
    seconds: float
    error: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0


class CompressionEvents(deque[CompressionEvent]):
    """The most recent events. A notebook shows them as a table."""

    def _repr_html_(self) -> str:
        header = [field.name.replace("_", " ") for field in fields(CompressionEvent)]
        return html_table(map(astuple, self), header=header)
