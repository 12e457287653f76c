"""Mistakes in arguments are refused with an error of ours that names the argument and the value, and nothing is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from profiles import ALICE

from langchain_agentmem import (
    AgentMemory,
    AgentMemSaver,
    AgentMemStore,
    Fact,
    InvalidInputError,
    InvalidTypeError,
    MemoryCompressor,
    UserProfile,
    errors,
)
from langchain_agentmem.arguments import options
from langchain_agentmem.testing import ScriptedChatModel

BROKEN = "\ud800"


@pytest.fixture
def memory() -> Iterator[AgentMemory]:
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        yield memory


MODEL = ScriptedChatModel([])

MISTAKES: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    # A string where a list is meant
    "facts": (lambda m: m.profiles.add_facts(ALICE, "abc"), InvalidTypeError, "facts must be a list .*'abc'"),
    "one fact": (lambda m: m.profiles.add_facts(ALICE, Fact(text="a")), InvalidTypeError, "facts must be a list"),
    "a fact as dict": (lambda m: m.profiles.add_facts(ALICE, {"text": "a"}), InvalidTypeError, "facts must be a list"),
    "sources": (lambda m: m.profiles.add_fact(ALICE, "a", sources="m1"), InvalidTypeError, "sources must .*'m1'"),
    "sources in a dict": (
        lambda m: m.profiles.add_facts(ALICE, ["a", {"text": "b", "sources": "m1"}]),
        InvalidTypeError,
        "sources must .*'m1'",
    ),
    "topics": (lambda m: m.profiles.add_fact(ALICE, "a", topics="food"), InvalidTypeError, "topics must .*'food'"),
    "topics as dict": (lambda m: m.profiles.add_fact(ALICE, "a", topics={"food": 1}), InvalidTypeError, "topics must"),
    "aliases": (lambda m: m.entities.upsert(ALICE, "Bob", aliases="Rob"), InvalidTypeError, "aliases must .*'Rob'"),
    "sources of an entity": (lambda m: m.entities.upsert(ALICE, "Bob", sources="m1"), InvalidTypeError, "sources must"),
    "a number as source": (lambda m: m.entities.upsert(ALICE, "Bob", sources=[5]), InvalidTypeError, "A source .*5"),
    "sources of changes": (
        lambda m: m.entities.apply(ALICE, {"entities": [{"name": "Bob"}]}, sources="m1"),
        InvalidTypeError,
        "sources must .*'m1'",
    ),
    "texts": (lambda m: m.knowledge.add("guide", "one text"), InvalidTypeError, "texts must .*'one text'"),
    "ids": (lambda m: m.knowledge.delete("guide", "id"), InvalidTypeError, "ids must .*'id'"),
    "names": (lambda m: m.knowledge.search("q", names="guide"), InvalidTypeError, "names must .*'guide'"),
    "knowledge of tools": (lambda m: m.tools(knowledge="guide"), InvalidTypeError, "knowledge must .*'guide'"),
    "knowledge of a middleware": (
        lambda m: m.middleware(knowledge="guidelines"),
        InvalidTypeError,
        "knowledge must .*'guidelines'",
    ),
    "tools of a compressor": (
        lambda m: m.compressor(max_tokens=999, tools="search"),
        InvalidTypeError,
        "tools must .*'search'",
    ),
    "names of tools": (
        lambda m: m.compressor(max_tokens=999, tools=["search"]),
        InvalidTypeError,
        "tools must hold .*'search'",
    ),
    # Names that are not known
    "a collection": (lambda m: m.knowledge.search("q", names=["guid"]), InvalidInputError, "no collection 'guid'"),
    "a tool": (lambda m: m.tools(include=["save"]), InvalidInputError, "unknown tool 'save'"),
    "changes": (
        lambda m: m.entities.apply(ALICE, {"entites": [{"name": "Bob"}]}),
        InvalidInputError,
        "unknown 'entites': known are entities, relations",
    ),
    "a part of a change": (
        lambda m: m.entities.apply(ALICE, {"entities": [{"name": "Bob", "alias": ["Rob"]}]}),
        InvalidInputError,
        r"entities\.0: unknown 'alias': known are name",
    ),
    "a part of a relation": (
        lambda m: m.entities.apply(
            ALICE, {"relations": [{"subject": "a", "predicate": "b", "object": "c", "since": "2024"}]}
        ),
        InvalidInputError,
        "unknown 'since'",
    ),
    "an attribute as dict": (
        lambda m: m.entities.apply(ALICE, {"entities": [{"name": "Bob", "attributes": {"a": "b"}}]}),
        InvalidInputError,
        r"entities\.0\.attributes",
    ),
    "no changes": (lambda m: m.entities.apply(ALICE, None), InvalidTypeError, "changes must be .*None"),
    "a key of a fact": (
        lambda m: m.profiles.add_facts(ALICE, [{"text": "a", "topic": "food"}]),
        InvalidInputError,
        "A fact as a dict .*'topic'",
    ),
    "when": (lambda m: m.middleware(when="later"), InvalidInputError, "when must be .*'later'"),
    # Arguments that do nothing beside others
    "max_tokens of a middleware": (
        lambda m: m.middleware(MODEL, max_tokens=999, compressor=m.compressor(max_tokens=999)),
        InvalidInputError,
        "max_tokens=999 has no effect beside compressor",
    ),
    "when beside an extractor": (
        lambda m: m.middleware(MODEL, when="turn", extractor=m.profile_node(MODEL)),
        InvalidInputError,
        "when='turn' has no effect beside extractor",
    ),
    "an extractor that does not learn": (
        lambda m: m.middleware(MODEL, learn=False, extractor=m.profile_node(MODEL)),
        InvalidInputError,
        "learn=False",
    ),
    "max_tokens of a history": (
        lambda m: m.history("s", max_tokens=9, compressor=m.compressor(max_tokens=999)),
        InvalidInputError,
        "max_tokens=9 has no effect beside compressor",
    ),
    "max_messages of a factory": (
        lambda m: m.session_history(max_messages=9, compressor=m.compressor(max_tokens=999)),
        InvalidInputError,
        "max_messages=9 has no effect beside compressor",
    ),
    # Values of the wrong kind
    "a flag": (lambda m: m.middleware(tools=["save_memory"]), InvalidTypeError, "tools must be True or False"),
    "entities as text": (
        lambda m: m.profile_node(MODEL, entities="people"),
        InvalidTypeError,
        "entities must .*'people'",
    ),
    "a budget of nothing": (lambda m: m.middleware(max_tokens=0), InvalidInputError, "max_tokens must be at least 32"),
    "a compressor": (lambda m: m.middleware(compressor="c"), InvalidTypeError, "compressor must be a MemoryCompressor"),
    "an extractor": (lambda m: m.middleware(extractor=MODEL), InvalidTypeError, "extractor must be a ProfileExtractor"),
    "a kind": (lambda m: m.entities.list(ALICE, kind=5), InvalidTypeError, "kind must be a string, got int: 5"),
    "an empty time": (lambda m: m.entities.neighbours(ALICE, "Bob", as_of=""), InvalidInputError, "as_of must be"),
    "no name of an entity": (
        lambda m: m.entities.upsert(ALICE, None),
        InvalidTypeError,
        "^name must be a string; got None",
    ),
    "no object": (
        lambda m: m.entities.relate(ALICE, "a", "b", None),
        InvalidTypeError,
        "^object must be a string; got None",
    ),
    "no subject": (
        lambda m: m.entities.relate(ALICE, None, "b", "c"),
        InvalidTypeError,
        "^subject must be a string; got None",
    ),
    "no number": (
        lambda m: m.entities.upsert(ALICE, "Bob", attributes={"age": float("nan")}),
        InvalidTypeError,
        "attribute 'age' is nan, which JSON cannot express",
    ),
    "an infinite number": (
        lambda m: m.entities.upsert(ALICE, "Bob", attributes={"age": float("-inf")}),
        InvalidTypeError,
        "attribute 'age' is -inf, which JSON cannot express",
    ),
    "an endless number": (
        lambda m: m.entities.upsert(ALICE, "Bob", attributes={"age": 10**5_000}),
        InvalidInputError,
        "attribute 'age' is an integer of .* bits",
    ),
    "an endless preference": (
        lambda m: m.profiles.update_preference(ALICE, "a", [10**5_000]),
        InvalidInputError,
        r"^preferences\.a\[0\] is an integer of .* bits",
    ),
    "half a character in a preference": (
        lambda m: m.profiles.update_preference(ALICE, "a", {"b": [BROKEN]}),
        InvalidInputError,
        r"^preferences\.a\['b'\]\[0\] contains half of a surrogate pair at character 0",
    ),
    "half a character in an item": (
        lambda m: m.store.put(("a",), "k", {"b": [1, {"c": f"x{BROKEN}"}]}),
        InvalidInputError,
        r"^value\['b'\]\[1\]\['c'\] contains half of a surrogate pair at character 1",
    ),
    "half a character in a key of an item": (
        lambda m: m.store.put(("a",), "k", {"b": [{BROKEN: 1}]}),
        InvalidInputError,
        r"^A key of value\['b'\]\[0\] contains half of a surrogate pair",
    ),
    "an endless key": (
        lambda m: m.store.get(("a",), 10**5_000),
        InvalidInputError,
        "key must have at most 1,024 bytes",
    ),
    "seconds before 1970": (lambda m: m.profiles.get(ALICE, as_of=-1), InvalidInputError, "as_of must .* got -1"),
    "bytes": (lambda m: m.entities.upsert(ALICE, b"Bob"), InvalidInputError, "name: .*b'Bob'"),
    "a filter": (lambda m: m.knowledge.search("q", filter="lang"), InvalidTypeError, "filter must be .*'lang'"),
    "a key": (lambda m: m.profiles.update_preference(ALICE, BROKEN, 1), InvalidInputError, "key contains half"),
    "no key": (
        lambda m: m.profiles.update_preference(ALICE, 5, 1),
        InvalidTypeError,
        "key must be a string, got int: 5",
    ),
    "a time far away": (lambda m: m.profiles.get(ALICE, as_of=1e20), InvalidInputError, r"as_of must .* 1e\+20"),
    "no time": (lambda m: m.profiles.get(ALICE, as_of=float("nan")), InvalidInputError, "as_of must .* nan"),
    "a time before all": (lambda m: m.profiles.get(ALICE, as_of=-1e15), InvalidInputError, "as_of must .* -10000"),
    "a time in words": (lambda m: m.profiles.get(ALICE, as_of="now"), InvalidInputError, "as_of must .* 'now'"),
    "a flag as time": (lambda m: m.profiles.get(ALICE, as_of=True), InvalidTypeError, "as_of must .* True"),
    "an empty end": (lambda m: m.profiles.end_fact(ALICE, "a-1", at=""), InvalidInputError, "at must be .* ''"),
    "a model's name": (
        lambda m: m.middleware("no such model"),
        errors.ConfigurationError,
        "Could not create the model 'no such model'",
    ),
    "no name": (lambda m: m.profile_node(""), InvalidInputError, "model must not be empty"),
    "an async function": (
        lambda m: m.compressor(max_tokens=999, on_event=m.asweep),
        InvalidTypeError,
        "on_event must be a plain function",
    ),
    "a language": (lambda m: m.compressor(max_tokens=999, language=[]), errors.ConfigurationError, "Unknown language"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_with_its_argument_and_value_and_nothing_is_written(memory: Any, mistake: str) -> None:
    call, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=message):
        call(memory)
    assert memory.store.search(()) == []


@pytest.mark.parametrize("make", [redis.Redis, redis.asyncio.Redis], ids=["sync", "async"])
def test_a_pipeline_of_redis_is_refused_with_the_right_call(make: Any) -> None:
    for surface in (AgentMemory, AgentMemStore, AgentMemSaver):
        with pytest.raises(InvalidTypeError, match=r"Pipeline as a connection.*from_connection\(client\)"):
            surface.from_connection(make().pipeline())


def cycle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


BAD: list[Callable[[], Any]] = [
    lambda: None,
    lambda: True,
    lambda: -1,
    lambda: 2**63,
    lambda: 10**30,
    lambda: 1e20,
    lambda: float("nan"),
    lambda: float("-inf"),
    lambda: 1j,
    lambda: "",
    lambda: " ",
    lambda: BROKEN,
    lambda: "a\x00b",
    lambda: "x" * 3_000,
    lambda: "2024-13-45",
    lambda: b"x",
    lambda: [5],
    lambda: [None],
    lambda: [BROKEN],
    dict,
    lambda: {"a": 1},
    lambda: {BROKEN: 1},
    lambda: {1: 2},
    lambda: object(),
    lambda: len,
    lambda: int,
    cycle,
]
"""Each is made anew, so that none is used up."""

GOOD: dict[str, Any] = {
    "changes": {},
    "fact": "0123-1",
    "facts": ["Likes tea"],
    "field": "preferences.drink",
    "key": "drink",
    "memory_id": "m",
    "model": MODEL,
    "name": "Bob",
    "names_or_query": "Bob",
    "object": "Acme",
    "predicate": "works at",
    "profile": UserProfile(user_id=ALICE),
    "query": "tea",
    "subject": "Bob",
    "text": "Likes tea",
    "texts": ["Serve tea."],
    "topic": "food",
    "user_id": ALICE,
    "value": "tea",
}


def methods() -> list[str]:
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        found = [
            f"{part}.{name}"
            for part in ("profiles", "entities", "memories", "knowledge")
            for name in dir(getattr(memory, part))
            if not name.startswith("_") and hasattr(getattr(memory, part), f"a{name}")
        ]
    return [*found, "tools", "middleware", "profile_node", "compressor", "recall", "as_retriever"]


def calls(function: Callable[..., Any], known: type | None) -> Iterator[dict[str, Any]]:
    """Calls of a function in which one argument is bad."""
    parameters = [one for one in inspect.signature(function).parameters.values() if one.kind is not one.VAR_KEYWORD]
    needed = {one.name: GOOD[one.name] for one in parameters if one.default is one.empty}
    if known is options.CompressorOptions:
        needed["max_tokens"] = 999
    for name in (*(one.name for one in parameters), *(known.__annotations__ if known else ())):
        for bad in BAD:
            yield {**needed, name: bad()}


@pytest.mark.parametrize("method", methods())
async def test_no_argument_leads_to_an_error_that_is_not_ours(memory: Any, method: str) -> None:
    owner, _, name = method.rpartition(".")
    holder = getattr(memory, owner) if owner else memory
    known = {
        "compressor": options.CompressorOptions,
        "profile_node": options.ExtractorOptions,
        "learn": options.LearnOptions,
    }.get(name)
    for at, arguments in enumerate(calls(getattr(holder, name), known)):
        try:
            if at % 2 and owner:
                await getattr(holder, f"a{name}")(**arguments)
            else:
                getattr(holder, name)(**arguments)
        except errors.AgentMemError:
            pass
        except Exception as error:
            msg = f"{method}({arguments!a}) raised {type(error).__name__}"
            raise AssertionError(msg) from error


def test_a_compressor_beside_no_other_budget_is_accepted(memory: Any) -> None:
    compressor = memory.compressor(max_tokens=999)
    assert isinstance(memory.middleware(MODEL, compressor=compressor).compressor, MemoryCompressor)
    with AgentMemory.from_url("sqlite:///:memory:", max_messages=9) as bounded:
        assert bounded.history("s", compressor=bounded.compressor(max_tokens=999)).messages == []


NO_MESSAGES: list[Any] = [
    [5],
    [None],
    [b"x"],
    [[]],
    [("user",)],
    [("nobody", "x")],
    [("user", 5)],
    [{"role": "user"}],
    [{"role": "x", "content": "y"}],
    {"messages": [5]},
]


@pytest.mark.parametrize("given", NO_MESSAGES)
def test_what_is_no_message_is_refused_by_nodes_and_compressors(memory: Any, given: Any) -> None:
    config: Any = {"configurable": {"user_id": ALICE, "thread_id": "t"}}
    for runnable in (memory.profile_node(ScriptedChatModel([])), memory.compressor(max_tokens=999)):
        with pytest.raises((InvalidInputError, InvalidTypeError), match=r"messages\[0\] is not a message, got "):
            runnable.invoke(given, config)
    assert memory.store.search(()) == []


def test_a_message_with_half_a_surrogate_pair_stops_no_extraction(memory: Any) -> None:
    config: Any = {"configurable": {"user_id": ALICE, "thread_id": "t"}}
    learned = '{"changes": [{"action": "add", "text": "Likes tea", "messages": [1]}]}'
    for when in ("turn", "background"):
        node = memory.profile_node(ScriptedChatModel([learned]), when=when)
        node.invoke([("user", f"I like tea {BROKEN} and {when}")], config)
        node.flush()
    assert [fact.text for fact in memory.profiles.get(ALICE).facts] == ["Likes tea"]


def test_a_tool_may_be_called_with_a_text_alone(memory: Any) -> None:
    save, search, forget = memory.tools(user_id=ALICE)
    assert save.invoke("Likes tea.").startswith("Saved as memory ")
    assert "Likes tea." in search.invoke("tea")
    assert forget.invoke(memory.memories.list(ALICE)[0].id).endswith("is forgotten.")
    with pytest.raises(InvalidTypeError, match="output_key must be a string, got int: 5"):
        memory.compressor(max_tokens=999).as_node(5)
