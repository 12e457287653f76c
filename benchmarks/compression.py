"""A conversation of 1,000 turns with tools, compressed before every model call: what that costs, and what it loses.

The conversation is scripted and deterministic: every second turn calls tools, some results are larger than half of the
budget. Needles (`item 12 has the code K-4711`) are planted in messages of the user and in the middle of tool results. The
summariser is scripted too and the same for all: it repeats the newest needles that it is shown, up to 400 tokens.

Beside this package's `memory.middleware`, in the same run and within the same budget of 8,000 tokens:

* LangMem's `summarize_messages`
* LangChain's `SummarizationMiddleware`, alone and with `ContextEditingMiddleware`
* Deep Agents' `SummarizationMiddleware`, with the tool `read_file` for the history that it moves to files

Each runs as middleware runs in `create_agent`: `before_model` changes the state, `wrap_model_call` the request. Columns:

* model calls, and calls of the summariser
* tokens sent to the model and to the summariser, in thousands
* unchanged: the share of prompt tokens in the longest common beginning with the request before; and the other tokens,
  which no prompt cache has, in thousands
* needles: the share of those planted so far that the request contains, or that the agent can read with a tool whose argument
  the request names; the mean of 10 probes. In user messages, and in tool results
* requests over the budget, and requests that a provider refuses (the rules in `tests/provider_rules.py`)
* seconds of CPU time of the method itself, with the scripted summariser

Then our own time per turn, the model aside, in conversations of 1,000 and 10,000 messages.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from deepagents.backends import FilesystemBackend
from deepagents.middleware.filesystem import FilesystemMiddleware
from deepagents.middleware.summarization import SummarizationMiddleware as DeepAgentsSummarization
from langchain.agents.middleware import (
    AgentMiddleware,
    ContextEditingMiddleware,
    ModelRequest,
    ModelResponse,
    SummarizationMiddleware,
)
from langchain.agents.middleware.context_editing import ClearToolUsesEdit
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, ToolException, tool
from langgraph.graph.message import add_messages
from provider_rules import PROVIDERS
from pydantic import PrivateAttr
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.shared import Figure
from langchain_agentmem import AgentMemory, MemoryCompressor
from langchain_agentmem.compression.excerpts import CONVERSATION
from langchain_agentmem.compression.reading import stored_result

WORDS = (Path(__file__).parent / "words.txt").read_text().split()
BUDGET = 8_000
SUMMARY_TOKENS = 400
KEEP = BUDGET // 4
PROBES = 10
SYSTEM = "You help with orders. Answer in one paragraph. Look things up before you state them."
NEEDLE = re.compile(r"item \d+ has the code K-\d+")
CONFIG: Any = {"configurable": {"user_id": "alice@example.com", "thread_id": "thread-1"}}


@tool
def look_up(query: str) -> str:
    """Look up orders, customers and deliveries. Returns the documents that match."""
    return query


class Summariser(BaseChatModel):
    """Repeats the newest needles that it is shown, up to a number of tokens."""

    _tokens: int = PrivateAttr(default=0)
    _calls: int = PrivateAttr(default=0)

    @property
    def tokens(self) -> int:
        return self._tokens

    @property
    def calls(self) -> int:
        return self._calls

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self._calls += 1
        self._tokens += count_tokens_approximately(messages)
        shown = "\n".join(text_of(message) for message in messages)
        summary = "They spoke about orders."
        for needle in reversed(dict.fromkeys(NEEDLE.findall(shown))):
            longer = f"{summary} {needle}."
            if len(longer) > 4 * (SUMMARY_TOKENS - 30):
                break
            summary = longer
        return ChatResult(generations=[ChatGeneration(message=AIMessage(summary))])

    @property
    def _llm_type(self) -> str:
        return "summariser"


def text_of(message: BaseMessage) -> str:
    """The content of a message and its calls as text."""
    calls = json.dumps(getattr(message, "tool_calls", None) or [])
    return f"{message.content if isinstance(message.content, str) else json.dumps(message.content)} {calls}"


# The conversation


@dataclass
class Script:
    """The messages of a conversation, and the needles planted so far.

    Args:
        turns: The number of turns.
    """

    turns: int
    said: list[str] = field(default_factory=list)
    """Needles in messages of the user."""
    found: list[str] = field(default_factory=list)
    """Needles in tool results."""
    source: random.Random = field(default_factory=lambda: random.Random(0))

    def steps(self) -> Iterator[tuple[list[BaseMessage], AIMessage]]:
        """The messages that are added, and the answer of the model to all of them."""
        for turn in range(self.turns):
            added: list[BaseMessage] = [HumanMessage(self._said(turn), id=f"h{turn}")]
            if turn % 2 == 0:
                for step in range(1 + (turn % 6 == 0)):
                    call = self._call(turn, step)
                    yield added, call
                    added = [
                        ToolMessage(self._found(turn, one["id"]), tool_call_id=one["id"], name="look_up", id=one["id"])
                        for one in call.tool_calls
                    ]
            yield added, AIMessage(self._words(50), id=f"a{turn}")

    def _said(self, turn: int) -> str:
        return self._words(40, self._needle(self.said) if turn % 20 == 3 else "")

    def _call(self, turn: int, step: int) -> AIMessage:
        count = 2 if turn % 10 == 0 else 1
        calls = [
            {"name": "look_up", "args": {"query": self._words(5)}, "id": f"c{turn}.{step}.{number}"}
            for number in range(count)
        ]
        return AIMessage("", tool_calls=calls, id=f"t{turn}.{step}")

    def _found(self, turn: int, id_: str) -> str:
        length = self.source.choices((60, 400, 1_500, 3_000), (50, 30, 15, 5))[0]
        is_planted = turn % 20 == 6 and id_.endswith(".0.0")
        return self._words(max(length, 400) if is_planted else length, self._needle(self.found) if is_planted else "")

    def _needle(self, planted: list[str]) -> str:
        needle = f"item {len(self.said) + len(self.found)} has the code K-{self.source.randrange(1_000, 10_000)}"
        planted.append(needle)
        return needle

    def _words(self, count: int, within: str = "") -> str:
        words = self.source.choices(WORDS, k=count)
        return " ".join([*words[: count // 2], *([f"{within}."] if within else []), *words[count // 2 :]])


# The methods


@dataclass
class Method:
    """A method of compression.

    Args:
        middlewares: The middlewares.
        tools: The tools that they add.
        is_readable: Returns true if the agent finds a needle with a tool whose argument the request names.
    """

    middlewares: list[Any]
    tools: list[BaseTool] = field(default_factory=list)
    is_readable: Callable[[str, str, dict[str, Any]], bool] = lambda needle, request, state: False


class LangMem(AgentMiddleware[Any, Any]):
    """LangMem's function before each call."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        from langmem.short_term import summarize_messages  # it warns of its own imports

        self._summarize = summarize_messages
        self._model = model
        self._running: Any = None

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        system = [] if request.system_message is None else [request.system_message]
        result = self._summarize(
            [*system, *request.messages],
            running_summary=self._running,
            model=self._model,
            max_tokens=BUDGET,
            max_summary_tokens=SUMMARY_TOKENS,
        )
        self._running = result.running_summary or self._running
        return handler(request.override(system_message=None, messages=list(result.messages)))


def langmem(model: Summariser, _: str) -> Method:
    return Method([LangMem(model)])


def langchain(model: Summariser, _: str) -> Method:
    return Method(
        [
            SummarizationMiddleware(
                model, trigger=("tokens", BUDGET), keep=("tokens", KEEP), trim_tokens_to_summarize=None
            )
        ]
    )


def langchain_editing(model: Summariser, folder: str) -> Method:
    edit = ClearToolUsesEdit(trigger=BUDGET // 2, keep=3)
    return Method([*langchain(model, folder).middlewares, ContextEditingMiddleware(edits=[edit])])


def deep_agents(model: Summariser, folder: str) -> Method:
    backend = FilesystemBackend(root_dir=folder, virtual_mode=True)
    own = DeepAgentsSummarization(
        model,
        backend=backend,
        trigger=("tokens", BUDGET),
        keep=("tokens", KEEP),
        trim_tokens_to_summarize=None,
        truncate_args_settings={"trigger": ("tokens", BUDGET // 2), "keep": ("tokens", KEEP)},
    )
    files = FilesystemMiddleware(backend=backend, tools=["read_file"])

    def is_readable(needle: str, request: str, _: dict[str, Any]) -> bool:
        paths = sorted(set(re.findall(r"/conversation_history/\w+\.md", request)))
        answers = backend.download_files(paths) if paths else []
        return any(needle in one.content.decode() for one in answers if one.content is not None)

    return Method([own], [one for one in files.tools if one.name == "read_file"], is_readable)


def ours(model: Summariser, _: str) -> Method:
    memory = AgentMemory.from_url("sqlite:///:memory:")
    compressor = memory.compressor(
        model, max_tokens=BUDGET, summary_tokens=SUMMARY_TOKENS, token_counter=count_tokens_approximately
    )
    middleware = memory.middleware(compressor=compressor, context_tools=True)

    def is_readable(needle: str, request: str, state: dict[str, Any]) -> bool:
        question = needle.partition(" K-")[0]
        found = set(re.findall(r'read_stored_result\(\\?"(\w+)\\?"', request))
        found = found & {CONVERSATION} or found  # the conversation contains all results
        return any(needle in read(state, one, question) for one in found)

    return Method([middleware], list(middleware.tools), is_readable)


def read(state: dict[str, Any], wanted: str, question: str) -> str:
    try:
        return str(stored_result(state, wanted, find=question))
    except ToolException:
        return ""


METHODS: dict[str, Callable[[Summariser, str], Method]] = {
    "LangMem": langmem,
    "LangChain": langchain,
    "LangChain + editing": langchain_editing,
    "Deep Agents": deep_agents,
    "this package": ours,
}


# The measurement


class Main(BaseChatModel):
    """Stands for the agent's model: the script has its answers."""

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError

    @property
    def _llm_type(self) -> str:
        return "main"


@dataclass
class Figures:
    """The costs of a method, and the share of the needles that it keeps."""

    calls: int = 0
    summariser_calls: int = 0
    tokens: int = 0
    summariser_tokens: int = 0
    unchanged: float = 0.0
    said: float = 0.0
    """The share of the needles in user messages that can be answered."""
    found: float = 0.0
    """The share of the needles in tool results that can be answered."""
    in_context: float = 0.0
    """The share of all needles that the requests contain."""
    over: int = 0
    invalid: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Agent:
    """Calls the model as `create_agent` does, without a graph.

    Args:
        method: The method.
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self.state: dict[str, Any] = {"messages": []}
        self.tools = [look_up, *method.tools]
        self.seconds = 0.0
        self._model = Main(profile={"max_input_tokens": BUDGET})

    def call(self, added: list[BaseMessage], answer: AIMessage) -> list[BaseMessage]:
        """Add messages to the conversation, and the model's answer; return the request."""
        sent: list[list[BaseMessage]] = []

        def handler(request: Any) -> Any:
            system = [] if request.system_message is None else [request.system_message]
            sent.append([*system, *request.messages])
            return ModelResponse(result=[answer])

        self.state["messages"] = add_messages(self.state["messages"], added)
        began = time.process_time()
        for one in self.method.middlewares:
            self._update(one.before_model(self.state, None))
        request: Any = ModelRequest(
            model=self._model,
            messages=list(self.state["messages"]),
            system_message=SystemMessage(SYSTEM),
            tools=list(self.tools),
            state=self.state,
        )
        wrapped = reduce(
            lambda inner, one: lambda given: one.wrap_model_call(given, inner),
            [one for one in reversed(self.method.middlewares) if wraps(one)],
            handler,
        )
        try:
            response = RunnableLambda(wrapped).invoke(request, CONFIG)
            command = getattr(response, "command", None)
            self._update(command.update if command is not None else None)
        except ContextOverflowError:  # a method finds the request too large itself
            sent.append([SystemMessage(SYSTEM), *self.state["messages"]])
        self.seconds += time.process_time() - began
        self.state["messages"] = add_messages(self.state["messages"], [answer])
        return sent[-1]

    def _update(self, update: Any) -> None:
        for key, value in (update or {}).items():
            self.state[key] = add_messages(self.state["messages"], value) if key == "messages" else value


def wraps(middleware: Any) -> bool:
    return type(middleware).wrap_model_call is not AgentMiddleware.wrap_model_call


def common(one: str, two: str) -> int:
    """The length of the longest common beginning of two texts."""
    low, high = 0, min(len(one), len(two))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == two[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def measured(make: Callable[[Summariser, str], Method], turns: int, name: str = "", check: bool = True) -> Figures:
    """Play the conversation with a method.

    Args:
        make: Creates the method.
        turns: The number of turns.
        name: The name for the progress bar.
        check: If true, check each request by the rules of the providers.
    """
    model, script, figures = Summariser(), Script(turns), Figures(invalid=dict.fromkeys(PROVIDERS, 0))
    shares: dict[str, list[float]] = {"said": [], "found": [], "in_context": []}
    same = characters = 0
    before = ""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agent = Agent(make(model, folder))
        schemas = json.dumps([one.args for one in agent.tools])
        for added, answer in track(list(script_steps(script)), description=name, disable=not name):
            request = agent.call(added.messages, answer)
            figures.calls += 1
            tokens = count_tokens_approximately(request, tools=agent.tools)
            figures.tokens += tokens
            figures.over += tokens > BUDGET
            text = "\n".join([schemas, *(f"{message.type}: {text_of(message)}" for message in request)])
            same += common(before, text)
            characters += len(text)
            before = text
            for provider, rules in PROVIDERS.items() if check else ():
                figures.invalid[provider] += bool(rules(request))
            if added.probes and (added.said or added.found):
                for planted, share in ((added.said, shares["said"]), (added.found, shares["found"])):
                    if planted:
                        reached = [one in text or agent.method.is_readable(one, text, agent.state) for one in planted]
                        share.append(sum(reached) / len(planted))
                every = [*added.said, *added.found]
                shares["in_context"].append(sum(one in text for one in every) / len(every))
    figures.summariser_calls, figures.summariser_tokens = model.calls, model.tokens
    figures.unchanged = same / characters
    figures.said, figures.found, figures.in_context = (
        statistics.fmean(shares[one]) if shares[one] else 1.0 for one in ("said", "found", "in_context")
    )
    figures.seconds = agent.seconds
    return figures


@dataclass
class Added:
    """The messages that a step adds, and the needles planted up to it."""

    messages: list[BaseMessage]
    said: list[str]
    found: list[str]
    probes: bool


def script_steps(script: Script) -> Iterator[tuple[Added, AIMessage]]:
    turn = 0
    for messages, answer in script.steps():
        ends = not answer.tool_calls
        turn += ends
        yield (
            Added(messages, [*script.said], [*script.found], ends and turn % max(1, script.turns // PROBES) == 0),
            answer,
        )


def own_time(length: int, turns: int) -> float:
    """Our own milliseconds of CPU time a turn in a conversation that has a number of messages already."""
    model = Summariser()
    compressor = MemoryCompressor(model, max_tokens=BUDGET, token_counter=count_tokens_approximately, time_limit=3_600)
    conversation: list[BaseMessage] = []
    source = Script(10 * length).steps()
    while len(conversation) < length:
        added, answer = next(source)
        conversation += [*added, answer]
    compressor.invoke(conversation)
    times: list[float] = []
    while len(times) < turns:
        added, answer = next(source)
        conversation += added
        calls = model.calls
        start = time.process_time()
        compressor.invoke(conversation)
        if model.calls == calls:
            times.append(time.process_time() - start)
        conversation.append(answer)
    return 1_000 * statistics.median(times)


def comparison(turns: int) -> list[Figure]:
    """Compare the tokens that the methods send."""
    found = {name: measured(make, turns, name) for name, make in METHODS.items()}
    mine = found.pop("this package")
    works: dict[str, Callable[[Figures], float]] = {
        "tokens sent": lambda one: one.tokens,
        "tokens sent that no cache of the provider has": lambda one: one.tokens * (1 - one.unchanged),
        "tokens sent to summarise": lambda one: one.summariser_tokens,
        "requests over the budget or invalid": lambda one: one.over + sum(one.invalid.values()),
    }
    return [
        Figure.of(f"{turns:,} turns: {what}", "", name, "", [work(mine)], [work(other)])
        for what, work in works.items()
        for name, other in found.items()
        if work(other)
    ]


def row(figures: Figures) -> list[str]:
    return [
        f"{figures.calls:,}",
        f"{figures.summariser_calls:,}",
        f"{figures.tokens / 1_000:,.0f}",
        f"{figures.summariser_tokens / 1_000:,.0f}",
        f"{figures.unchanged:.0%}",
        f"{figures.tokens * (1 - figures.unchanged) / 1_000:,.0f}",
        f"{figures.said:.0%}",
        f"{figures.found:.0%}",
        f"{figures.in_context:.0%}",
        f"{figures.over:,}",
        ", ".join(f"{name} {count:,}" for name, count in figures.invalid.items() if count) or "0",
        f"{figures.seconds:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=1_000, help="turns of the conversation (default 1,000)")
    parser.add_argument("--only", choices=METHODS, action="append", help="a method (default: all of them)")
    args = parser.parse_args()
    whole = [message for added, answer in Script(args.turns).steps() for message in (*added, answer)]
    console = Console(width=170)
    tokens = count_tokens_approximately(whole)
    table = Table(title=f"{args.turns:,} turns, {len(whole):,} messages, {tokens:,} tokens; budget {BUDGET:,}")
    names = (
        "calls", "summariser calls", "k tokens sent", "to the summariser", "unchanged", "k changed", "needles said",
        "needles found", "in context", "over budget", "invalid", "CPU seconds",
    )  # fmt: skip
    for name in ("", *names):
        table.add_column(name, no_wrap=not name, justify="left" if not name else "right")
    for name in args.only or METHODS:
        table.add_row(name, *row(measured(METHODS[name], args.turns, name)))
    console.print(table)
    if not args.only:
        pairs = [(own_time(1_000, 40), own_time(10_000, 40)) for _ in track(range(3), description="own time")]
        short, long = (statistics.median(column) for column in zip(*pairs, strict=True))
        console.print(f"own time a turn: {short:.2f} ms at 1,000 messages, {long:.2f} ms at 10,000")


if __name__ == "__main__":
    main()
