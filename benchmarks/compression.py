"""A conversation of 1,000 turns, compressed before every model call: what that costs, and what it loses.

2,400 messages, every fifth turn with a tool call, about 250,000 tokens by `count_tokens_approximately`; the summariser counts
what it is sent and answers with 150 words. Beside ours, in the same run: LangMem's `summarize_messages` (summary 400),
LangChain's `SummarizationMiddleware` (trigger 4,000, keep 2,000), and what guides to chat memory write by hand: when there
are more than 20 messages, summarise all but the newest 10, anew each time. Then our own time per turn, the model aside.

LangMem is no dependency of the project: without it its line is left out.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph.message import add_messages
from pydantic import PrivateAttr
from rich.console import Console
from rich.progress import track
from rich.table import Table

from langchain_agentmem import MemoryCompressor

WORDS = (Path(__file__).parent / "words.txt").read_text().split()
BUDGET = 4_000
Compress = Callable[[list[BaseMessage]], list[BaseMessage]]


class Summariser(BaseChatModel):
    """Counts what it is sent, and answers with 150 words."""

    _tokens: int = PrivateAttr(default=0)
    _calls: int = PrivateAttr(default=0)
    _shown: set[str] = PrivateAttr(default_factory=set)
    _random: random.Random = PrivateAttr(default_factory=lambda: random.Random(1))

    @property
    def tokens(self) -> int:
        return self._tokens

    @property
    def calls(self) -> int:
        return self._calls

    @property
    def shown(self) -> set[str]:
        """The numbers of the messages that it was shown."""
        return self._shown

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self._calls += 1
        self._tokens += count_tokens_approximately(messages)
        self._shown |= numbers_in(messages)
        answer = AIMessage(" ".join(self._random.choices(WORDS, k=150)))
        return ChatResult(generations=[ChatGeneration(message=answer)])

    @property
    def _llm_type(self) -> str:
        return "counting"


def numbers_in(messages: list[BaseMessage]) -> set[str]:
    return {number for message in messages for number in re.findall(r"#\d+#", str(message.content))}


def steps(turns: int) -> Iterator[tuple[list[BaseMessage], bool]]:
    """What is added to the conversation, and whether the model is called then."""
    source = random.Random(0)
    number = 0

    def text(words: int) -> str:
        nonlocal number
        number += 1
        return f"#{number}# {' '.join(source.choices(WORDS, k=words))}"

    for turn in range(turns):
        yield [HumanMessage(text(59), id=f"h{turn}")], True
        if turn % 5 == 0:
            call = {"name": "search", "args": {"query": " ".join(source.choices(WORDS, k=5))}, "id": f"c{turn}"}
            yield [AIMessage(text(3), tool_calls=[call], id=f"t{turn}")], False
            yield [ToolMessage(text(64), tool_call_id=f"c{turn}", id=f"r{turn}")], True
        yield [AIMessage(text(59), id=f"a{turn}")], False


def ours(model: Summariser) -> Compress:
    compressor = MemoryCompressor(model, max_tokens=BUDGET, token_counter=count_tokens_approximately)
    return compressor.invoke


def langmem(model: Summariser) -> Compress | None:
    try:
        from langmem.short_term import summarize_messages
    except ImportError:
        return None
    running: Any = None

    def compress(messages: list[BaseMessage]) -> list[BaseMessage]:
        nonlocal running
        result = summarize_messages(
            messages, running_summary=running, model=model, max_tokens=BUDGET, max_summary_tokens=400
        )
        running = result.running_summary or running
        return list(result.messages)

    return compress


def middleware(model: Summariser) -> Compress:
    """It rewrites the state, so the state is kept here."""
    inner: Any = SummarizationMiddleware(model, trigger=("tokens", BUDGET), keep=("tokens", 2_000))
    state: list[BaseMessage] = []
    seen = 0

    def compress(messages: list[BaseMessage]) -> list[BaseMessage]:
        nonlocal state, seen
        state = add_messages(state, messages[seen:])
        seen = len(messages)
        update = inner.before_model({"messages": state}, None)
        if update:
            assert isinstance(update["messages"][0], RemoveMessage)
            state = add_messages(state, update["messages"])
        return list(state)

    return compress


def by_hand(model: Summariser) -> Compress:
    def compress(messages: list[BaseMessage]) -> list[BaseMessage]:
        if len(messages) <= 20:
            return list(messages)
        told = "\n".join(f"{message.type}: {message.content}" for message in messages[:-10])
        summary = model.invoke(f"Summarise this conversation:\n{told}")
        return [SystemMessage(f"Previous conversation: {summary.content}"), *messages[-10:]]

    return compress


def broken(request: list[BaseMessage]) -> bool:
    """Whether a provider refuses the request: a call without its result, or a result without its call."""
    waiting: set[str] = set()
    for message in request:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in waiting:
                return True
            waiting.discard(message.tool_call_id)
        elif waiting:
            return True
        elif isinstance(message, AIMessage):
            waiting = {call["id"] for call in message.tool_calls}
    return bool(waiting)


def play(compress: Compress, model: Summariser, turns: int, name: str) -> list[str]:
    conversation: list[BaseMessage] = []
    requests = over = pairs = 0
    least = BUDGET
    request: list[BaseMessage] = []
    for added, asked in track(list(steps(turns)), description=name):
        conversation += added
        if not asked:
            continue
        request = compress(list(conversation))
        requests += 1
        over += count_tokens_approximately(request) > BUDGET
        pairs += broken(request)
        if model.calls:
            texts = {str(message.content) for message in conversation[-60:]}
            least = min(least, count_tokens_approximately([one for one in request if str(one.content) in texts]))
    lost = numbers_in(conversation) - model.shown - numbers_in(request) - numbers_in(conversation[-1:])
    share = model.tokens / count_tokens_approximately(conversation)
    return [name, str(model.calls), f"{share:.2f}", f"{over} of {requests}", str(pairs), str(len(lost)), str(least)]


def own_time(length: int, turns: int) -> float:
    """Our own milliseconds a turn in a conversation that is so long already."""
    model = Summariser()
    compress = ours(model)
    conversation: list[BaseMessage] = []
    source = steps(10 * length)
    while len(conversation) < length:
        conversation += next(source)[0]
    compress(conversation)
    times: list[float] = []
    while len(times) < turns:
        added, asked = next(source)
        conversation += added
        if asked:
            calls = model.calls
            start = time.perf_counter()
            compress(conversation)
            if model.calls == calls:
                times.append(time.perf_counter() - start)
    return 1_000 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=1_000, help="turns of the conversation (default 1,000)")
    args = parser.parse_args()
    whole = [message for added, _ in steps(args.turns) for message in added]
    console = Console(width=130)
    table = Table(title=f"{len(whole):,} messages, {count_tokens_approximately(whole):,} tokens, budget {BUDGET:,}")
    names = ("calls", "tokens sent / all", "over budget", "broken pairs", "messages lost", "least verbatim tokens")
    for name in ("", *names):
        table.add_column(name, no_wrap=not name)
    for name, make in (
        ("LangMem summarize_messages", langmem),
        ("SummarizationMiddleware", middleware),
        ("by hand, stateless", by_hand),
        ("ours", ours),
    ):
        model = Summariser()
        compress = make(model)
        if compress is not None:
            table.add_row(*play(compress, model, args.turns, name))
    console.print(table)
    pairs = [(own_time(1_000, 40), own_time(10_000, 40)) for _ in track(range(5), description="own time")]
    short, long = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(long / short for short, long in pairs)
    console.print(f"own time a turn: {short:.2f} ms at 1,000 messages, {long:.2f} ms at 10,000; ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
