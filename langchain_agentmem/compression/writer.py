"""`SummaryWriter`: extends a running summary by new messages, with a model or by selecting sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import RunnableConfig, merge_configs

from langchain_agentmem.compression.answers import message_of, read_answer, text_of
from langchain_agentmem.compression.prompts import INSTRUCTIONS, summary_request
from langchain_agentmem.compression.sentences import select_sentences
from langchain_agentmem.compression.summaries import LISTS, SessionSummary, summary_message
from langchain_agentmem.compression.transcript import transcribed
from langchain_agentmem.messages.callbacks import without_streaming
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import Ask, Program, Within
from langchain_agentmem.text.quoting import quoted
from langchain_agentmem.text.words import ENGLISH

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

_MARK = " […]"
"""The end of a truncated summary."""


class Part(NamedTuple):
    """The new messages of one call to the model."""

    text: str
    """The transcript of messages, or a piece of the transcript of one message that is too long for one call."""
    completes: int
    """The number of messages that are completely summarised after this part."""


class SummaryWriter(NamedTuple):
    """Extends summaries.

    Args:
        model: The model; None to select sentences of the conversation.
        counter: Counts tokens.
        summary_tokens: The maximum number of tokens of a summary.
        input_tokens: The maximum number of tokens of new messages in one call to the model.
        instructions: The instructions for the model.
        structured: If true, the model lists topics, decisions and open questions.
        seconds: The time limit of a call.
        language: The language of the conversation, without a model.
    """

    model: Runnable[Any, Any] | None
    counter: TokenCounter
    summary_tokens: int
    input_tokens: int
    instructions: str = INSTRUCTIONS
    structured: bool = False
    seconds: float = 60.0
    language: str = ENGLISH

    def parts(self, groups: Sequence[Sequence[BaseMessage]]) -> list[Part]:
        """Split messages into parts for one call each. A group stays in one part if it is short enough.

        Args:
            groups: The messages, in groups that belong together.
        """
        parts: list[Part] = []
        lines: list[str] = []
        size = count = 0
        for group in groups:
            text = "\n".join(map(transcribed, group))
            tokens = self.counter.text(text)
            if lines and size + tokens > self.input_tokens:
                parts.append(Part("\n".join(lines), count))
                lines, size, count = [], 0, 0
            if tokens > self.input_tokens:
                *pieces, last = self._pieces(text, tokens)
                parts += [Part(piece, 0) for piece in pieces]
                parts.append(Part(last, len(group)))
                continue
            lines.append(text)
            size += tokens
            count += len(group)
        if lines:
            parts.append(Part("\n".join(lines), count))
        return parts

    def extend(
        self,
        before: SessionSummary | None,
        part: Part,
        config: RunnableConfig | None,
        spend: Callable[[int, int], None] | None = None,
    ) -> Program[SessionSummary]:
        """Return a summary that also covers a part.

        Args:
            before: The summary so far; None if there is none.
            part: The new messages.
            config: The config of the run.
            spend: Called with the input and output tokens of the call. Default: None.

        Raises:
            SummaryError: The model returned no summary.
            TimeoutError: The call exceeded the time limit.
            Exception: The model raised it.
        """
        lists: dict[str, tuple[str, ...]] = {}
        if self.model is None:
            texts = [*(before.text.split("\n") if before else ()), *part.text.split("\n")]
            text = select_sentences(
                texts, lambda one: self._tokens(SessionSummary(one)) <= self.summary_tokens, self.language
            )
            text = text or part.text  # if no sentence is short enough, the beginning is used
        else:
            request = summary_request(
                self.instructions, before, part.text, self.summary_tokens, structured=self.structured
            )
            answer = yield from Within(Ask(self.model, request, _hidden(config)), self.seconds)
            if spend is not None:
                spend(*self._usage(request, answer))
            text, found = read_answer(answer, structured=self.structured)
            # A plain text has no lists: those of the summary so far are kept.
            lists = found if found is not None else {name: before.of(name) for name in LISTS} if before else {}
        count = (before.message_count if before else 0) + part.completes
        now = datetime.now(UTC)
        return self.bounded(SessionSummary(text, **lists, message_count=count, updated_at=now))

    def message_tokens(self, *, is_readable: bool = False) -> int:
        """Return the maximum number of tokens of the message with the summary.

        Args:
            is_readable: See `summary_message`. Default: False.
        """
        empty = summary_message(SessionSummary(""), is_readable=is_readable)
        return self.summary_tokens + self.counter.message(empty)

    def bounded(self, summary: SessionSummary) -> SessionSummary:
        """Return a summary without the last entries of its lists, and truncated at a sentence, until it is short enough."""
        if self._tokens(summary) <= self.summary_tokens:
            return summary
        lists = {name: list(summary.of(name)) for name in LISTS}
        while any(lists.values()) and self._tokens(SessionSummary("", **_tuples(lists))) > self.summary_tokens // 2:
            max(lists.values(), key=len).pop()
        text = summary.text
        while text:
            tokens = self._tokens(SessionSummary(text + _MARK, **_tuples(lists)))
            if tokens <= self.summary_tokens:
                break
            text = text[: min(len(text) - 1, len(text) * self.summary_tokens // tokens)]
        ends = [match.end() for match in re.finditer(r"[.!?。！？]\s|\n", text)]
        kept = text[: ends[-1]].rstrip() if ends and ends[-1] > len(text) // 2 else text
        return replace(summary, text=kept + _MARK, **_tuples(lists))

    def _tokens(self, summary: SessionSummary) -> int:
        return self.counter.text(quoted(summary.quotable))

    def _usage(self, request: Sequence[BaseMessage], answer: Any) -> tuple[int, int]:
        """Return the input and output tokens of a call: as its answer reports them, or counted."""
        usage = getattr(message_of(answer), "usage_metadata", None)
        if isinstance(usage, Mapping):
            sent, received = usage.get("input_tokens"), usage.get("output_tokens")
            if isinstance(sent, int) and isinstance(received, int):
                return sent, received
        return self.counter.messages(list(request)), self.counter.text(text_of(answer))

    def _pieces(self, text: str, tokens: int) -> list[str]:
        number = -(-tokens // max(1, self.input_tokens)) + 1
        size = -(-len(text) // number)
        pieces = []
        while len(text) > size:
            # Split between two words if possible.
            end = max(text.rfind(" ", size // 2, size), text.rfind("\n", size // 2, size)) + 1 or size
            pieces.append(text[:end])
            text = text[end:]
        return [*pieces, text]


def _hidden(config: RunnableConfig | None) -> RunnableConfig:
    """Return the config of a call that is not streamed."""
    from langgraph.constants import TAG_NOSTREAM

    own: RunnableConfig = {"tags": [TAG_NOSTREAM], "metadata": {"lc_source": "summarization"}, "run_name": "summarize"}
    return merge_configs(without_streaming(config), own)


def _tuples(lists: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {name: tuple(points) for name, points in lists.items()}
