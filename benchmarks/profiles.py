"""Profiles: what fifty writers at once lose, what a long conversation costs, and how long an answer waits.

* Fifty writers, each adding a fact to one profile on one Redis server: ours, and get-modify-save as guides write it (a JSON
  string a user, read, changed and written back). How many facts are there afterwards.
* A conversation in which the user tells something new in each turn, read after each turn: calls of the model and tokens
  sent to it (messages and tools, four characters a token), in turns 41 to 60 and in the last 20; langmem's memory manager
  beside it, given the state's messages as its documentation does, and given those of the turn alone.
* The time until a graph has answered, with the node in the background, in the turn, with langmem's manager as a node, and
  without any; the models take as long as `--seconds` says. Medians of runs that take turns.

The models are made up: they find one new fact in each turn.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import redis
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.memory import InMemoryStore
from pydantic import PrivateAttr
from rich.progress import track

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.shared import Figure

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import redis_server

WORDS = (Path(__file__).parent / "words.txt").read_text().split()
USER = "alice@example.com"
OURS = "change_profile"


class Finds(BaseChatModel):
    """Finds one new fact in what it is asked, by whatever tool it is given; counts calls and tokens."""

    _seconds: float = PrivateAttr(default=0.0)
    _tools: list[Any] = PrivateAttr(default_factory=list)
    _counts: list[int] = PrivateAttr(default_factory=list)
    _facts: list[int] = PrivateAttr(default_factory=lambda: [0])

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self._seconds = seconds

    @property
    def counts(self) -> list[int]:
        """The tokens of each call."""
        return self._counts

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Finds:
        from langchain_core.utils.function_calling import convert_to_openai_tool

        bound = Finds(self._seconds)
        bound._tools = [convert_to_openai_tool(tool) for tool in tools]
        bound._counts, bound._facts = self._counts, self._facts
        return bound

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        sent = sum(len(str(one.text)) + len(json.dumps(getattr(one, "tool_calls", []))) for one in messages)
        self._counts.append((sent + len(json.dumps(self._tools))) // 4)
        time.sleep(self._seconds)
        names = [tool["function"]["name"] for tool in self._tools]
        self._facts[0] += 1
        fact = f"Owns {WORDS[self._facts[0] % len(WORDS)]} number {self._facts[0]}"
        if OURS in names:
            args: dict[str, Any] = {"changes": [{"action": "add", "text": fact, "topics": ["things"], "messages": [1]}]}
            return self._calls(OURS, args)
        if "Memory" in names:
            return self._calls("Memory", {"content": fact})
        return ChatResult(generations=[ChatGeneration(message=AIMessage("I see."))])

    def _calls(self, name: str, args: dict[str, Any]) -> ChatResult:
        call = {"name": name, "args": args, "id": uuid.uuid4().hex}
        return ChatResult(generations=[ChatGeneration(message=AIMessage("", tool_calls=[call]))])

    @property
    def _llm_type(self) -> str:
        return "finds"


class GetModifySave:
    """A user's profile as one JSON string."""

    def __init__(self, client: redis.Redis) -> None:
        self.redis = client

    def get(self, user_id: str) -> dict[str, Any]:
        data = self.redis.get(f"user_profile:{user_id}")
        return json.loads(data) if data else {"facts": []}

    def add_fact(self, user_id: str, fact: str) -> None:
        profile = self.get(user_id)
        if fact not in profile["facts"]:
            profile["facts"].append(fact)
        self.redis.set(f"user_profile:{user_id}", json.dumps(profile))


def writers(number: int) -> None:
    with (
        redis_server() as server,
        redis.Redis.from_url(server.url) as client,
        AgentMemory.from_url(server.url) as memory,
    ):
        plain = GetModifySave(client)
        for name, add, count in (
            ("ours", memory.profiles.add_fact, lambda: len(memory.profiles.get(USER).facts)),
            ("get-modify-save", plain.add_fact, lambda: len(plain.get(USER)["facts"])),
        ):
            start = time.perf_counter()
            with ThreadPoolExecutor(number) as pool:
                list(pool.map(lambda at, add=add: add(USER, f"Owns book {at}"), range(number)))
            took = time.perf_counter() - start
            print(f"{number} writers at once, {name}: {count()} of {number} facts are there ({1000 * took:.0f} ms)")
        models = [Finds() for _ in range(number)]
        runs = [memory.profile_node(model) for model in models]

        def extract(at: int) -> None:
            models[at]._facts[0] = 1000 + at
            config: Any = {"configurable": {"user_id": "bob", "thread_id": f"t{at}"}}
            runs[at].invoke([HumanMessage("Guess what I bought!", id=str(at))], config)

        with ThreadPoolExecutor(number) as pool:
            list(pool.map(extract, range(number)))
        print(f"{number} extractions at once: {len(memory.profiles.get('bob').facts)} of {number} facts are there")


def turn(number: int) -> list[BaseMessage]:
    said = " ".join(WORDS[(number * 7 + at) % len(WORDS)] for at in range(30))
    return [HumanMessage(f"{said}.", id=f"h{number}"), AIMessage(f"I see. {said}?", id=f"a{number}")]


def conversation(turns: int) -> dict[str, list[int]]:
    """Print the tokens of a conversation, and return those of each turn, by the side that reads it."""
    from langmem import create_memory_store_manager

    def ours() -> tuple[Callable[[list[BaseMessage]], Any], Finds]:
        model = Finds()
        memory = AgentMemory.from_url("sqlite:///:memory:")
        node = memory.profile_node(model)
        config: Any = {"configurable": {"user_id": USER, "thread_id": "t"}}
        return lambda messages: node.invoke(messages, config), model

    def langmem() -> tuple[Callable[[list[BaseMessage]], Any], Finds]:
        model = Finds()
        manager = create_memory_store_manager(model, namespace=("memories",), store=InMemoryStore(), query_limit=20)
        return lambda messages: manager.invoke({"messages": messages}), model

    found: dict[str, list[int]] = {}
    print(f"\nA conversation of {turns} turns, read after each:")
    for name, make, whole in (
        ("ours, given the state", ours, True),
        ("ours, given the turn", ours, False),
        ("langmem, given the state", langmem, True),
        ("langmem, given the turn", langmem, False),
    ):
        read, model = make()
        told: list[BaseMessage] = []
        tokens: list[int] = []
        for number in track(range(turns), description=name, transient=True):
            told += turn(number)
            before = len(model.counts)
            read(list(told if whole else told[-2:]))
            tokens.append(sum(model.counts[before:]))
        early, late = (statistics.median(tokens[end - 20 : end]) for end in (min(60, turns), turns))
        calls = len(model.counts) / turns
        print(f"  {name}: {calls:.2f} calls a turn; tokens a turn {early:,.0f} (turns 41 to 60), {late:,.0f} (last 20)")
        found[name] = tokens
    return found


def figures(turns: int) -> list[Figure]:
    """Compare the tokens that the extraction of a profile sends, in the last turns of a conversation."""
    with contextlib.redirect_stdout(io.StringIO()):
        found = conversation(turns)
    sides = {name: [float(one) for one in tokens[-20:]] for name, tokens in found.items()}
    return [
        Figure.of(f"profile after {turns} turns: tokens of a turn, given {given}", "", "langmem", "tokens", mine, peer)
        for given in ("the state", "the turn")
        for mine, peer in [(sides[f"ours, given {given}"], sides[f"langmem, given {given}"])]
    ]


def latency(seconds: float, runs: int) -> None:
    from langmem import create_memory_store_manager

    memory = AgentMemory.from_url("sqlite:///:memory:")
    manager = create_memory_store_manager(Finds(seconds), namespace=("memories",), store=InMemoryStore())

    def langmem(state: MessagesState) -> dict[str, Any]:
        manager.invoke({"messages": state["messages"]})
        return {}

    def graph_with(node: Any) -> Any:
        answering = Finds(seconds)
        builder = StateGraph(MessagesState)
        builder.add_node("answer", lambda state: {"messages": [answering.invoke(state["messages"])]})
        builder.add_edge(START, "answer")
        if node is not None:
            builder.add_node("remember", node)
            builder.add_edge("answer", "remember")
        return builder.compile()

    nodes = {
        "without the node": None,
        "in the background": memory.profile_node(Finds(seconds), when="background"),
        "in the turn": memory.profile_node(Finds(seconds)),
        "langmem's manager as a node": langmem,
    }
    graphs = {name: graph_with(node) for name, node in nodes.items()}
    times: dict[str, list[float]] = {name: [] for name in graphs}
    for at in track(range(runs), description="answering", transient=True):
        for name, graph in graphs.items():
            config: Any = {"configurable": {"user_id": USER, "thread_id": f"{name} {at}"}}
            start = time.perf_counter()
            graph.invoke({"messages": turn(at)[:1]}, config)
            times[name].append(time.perf_counter() - start)
    memory.close()
    base = times["without the node"]
    print(f"\nThe time until the graph has answered, models of {1000 * seconds:.0f} ms, {runs} runs each:")
    for name, own in times.items():
        ratio = statistics.median(one / other for one, other in zip(own, base, strict=True))
        print(f"  {name}: {1000 * statistics.median(own):.1f} ms, {ratio:.3f} of that without")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=50)
    parser.add_argument("--turns", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--runs", type=int, default=40)
    args = parser.parse_args()
    writers(args.writers)
    conversation(args.turns)
    latency(args.seconds, args.runs)


if __name__ == "__main__":
    main()
