"""A conversation of a hundred turns, with the mistakes that models make, ends in exactly the expected knowledge."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from learning import outcome
from learning.talks import TALKS, Talk, Turn
from learning.turns import TURNS
from profiles import Clock, config, shown, texts
from pydantic import BaseModel, PrivateAttr

from langchain_agentmem import AgentMemory
from langchain_agentmem.knowledge.extraction.results import Extraction
from langchain_agentmem.knowledge.namespaces import user_namespace
from langchain_agentmem.testing import ScriptedChatModel

BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)


class Script(ScriptedChatModel):
    """Answers as the turn says, with the numbers under which it is shown facts and messages."""

    _turn: Any = PrivateAttr(default=None)
    _left: list[Any] = PrivateAttr(default_factory=list)

    @property
    def left(self) -> list[Any]:
        """The answers of the turn that were not asked for."""
        return self._left

    def begin(self, turn: Turn) -> None:
        self._turn, self._left = turn, list(turn.answers)
        self._requests.clear()

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> ChatResult:
        self._requests.append(list(messages))
        form, given = self._left.pop(0), None
        if not isinstance(form, str):
            form, given = form if isinstance(form, tuple) else (str, form)
            seen = shown(messages)
            whole = given if isinstance(given, dict) else {"changes": given}
            changes = [self._numbered(one, seen) for one in whole["changes"]]
            form = form(json.dumps({**whole, "changes": changes}, ensure_ascii=False))
        message = AIMessage(form) if isinstance(form, str) else form
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _numbered(self, change: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
        facts = {one["text"]: one["number"] for one in seen["facts"]} if "facts" in seen else {}
        said = {"reply": seen["messages"][-1]["number"]}
        said[self._turn.said] = next(
            one["number"] for one in reversed(seen["messages"]) if one["text"] == self._turn.said
        )
        change = {"messages": self._turn.said, **change}
        if isinstance(change["messages"], str):
            change["messages"] = [said[change["messages"]]]
        if change["messages"] is None:
            del change["messages"]
        if isinstance(change.get("fact"), str):
            change["fact"] = facts[change["fact"]]
        return change


class Replies(ScriptedChatModel):
    """The model that answers the user, as the turn says."""

    def begin(self, number: int, turn: Turn) -> None:
        replies = [AIMessage(turn.reply)] if isinstance(turn.reply, str) else turn.reply
        self._answers = [one.model_copy(update={"id": f"a{number}.{at}"}) for at, one in enumerate(replies)]
        self._requests.clear()


class Stage:
    """The graphs of the talks, and the reports of their nodes."""

    def __init__(self, memory: AgentMemory) -> None:
        self.memory = memory
        self.script = Script()
        self.replies = Replies()
        self.reports: list[Extraction] = []
        self.graphs = {name: self._graph(talk) for name, talk in TALKS.items()}

    def _graph(self, talk: Talk) -> Any:
        memory = self.memory
        node = memory.profile_node(self.script, talk.schema, on_extraction=self.reports.append, **talk.options)
        if talk.summarises:
            summaries = SummarizationMiddleware(
                ScriptedChatModel(["The user may like opera."] * 9), trigger=("messages", 6), keep=("messages", 2)
            )
            middleware = [summaries, memory.middleware(extractor=node, max_tokens=100_000)]
            return create_agent(self.replies, memory.tools(), checkpointer=memory.checkpointer, middleware=middleware)
        builder = StateGraph(MessagesState)
        builder.add_node("answer", lambda _: {"messages": self.replies.invoke("")})
        builder.add_node("remember", node)
        builder.add_edge(START, "answer")
        builder.add_edge("answer", "remember")
        return builder.compile(checkpointer=memory.checkpointer)

    async def play(self, number: int, turn: Turn, at: datetime, call: Any) -> Extraction:
        """Play a turn, and return what its node reports."""
        user = TALKS[turn.talk].user
        for method, *args in turn.first:
            more = args.pop() if isinstance(args[-1], dict) else {}
            await call(attrgetter(method)(self.memory), user, *args, **more)
        self.script.begin(turn)
        self.replies.begin(number, turn)
        self.reports.clear()
        said = HumanMessage(turn.said, id=f"m{number}", additional_kwargs={"created_at": at.isoformat()})
        graph = self.graphs[turn.talk]
        await call(graph.invoke, {"messages": [*turn.earlier, said]}, config(user, thread=turn.talk))
        (report,) = self.reports
        return report


def told(report: Extraction) -> dict[str, Any]:
    """A report as the turns write it."""
    found = {one.name: getattr(report, one.name) for one in fields(report) if one.name != "user_id"}
    found |= {name: texts(found[name]) for name in ("added", "updated", "ended")}
    found |= {name: list(one) for name, one in found.items() if isinstance(one, tuple)}
    usual = {"messages": 2, "calls": 1}
    return {name: one for name, one in found.items() if one != usual.get(name, type(one)())}


def profile(found: Any) -> Any:
    """A profile as JSON, with its facts as rows."""
    if not isinstance(found, BaseModel):
        return found
    whole = found.model_dump(mode="json")
    named = {one["id"]: one["text"] for one in (*whole.get("facts", ()), *whole.get("past", ()))}
    for part in {"facts", "past"} & whole.keys():
        whole[part] = sorted(row(one, named) for one in whole[part])
    if "sizes" in whole:
        whole["sizes"].sort()
    return whole


def row(fact: dict[str, Any], named: dict[str, str]) -> list[Any]:
    """The text, topics and sources of a fact, when it was said first and last, its period, and the facts around it."""
    times = [
        fact[name] and fact[name].removesuffix(":00Z") for name in ("first_seen", "last_seen", "valid_from", "valid_to")
    ]
    return [
        fact["text"],
        fact["topics"],
        fact["sources"],
        *times,
        *(named.get(fact[name]) for name in ("replaces", "replaced_by")),
    ]


def times() -> list[datetime]:
    """When each turn is said."""
    said = [BEGINNING]
    for turn in TURNS:
        said.append(datetime.fromisoformat(turn.at) if turn.at else said[-1].astimezone(UTC) + timedelta(hours=1))
    return said[1:]


async def test_a_hundred_turns_end_in_exactly_what_they_tell(memory, call, monkeypatch):
    clock, stage, calls = Clock(monkeypatch), Stage(memory), 0
    for number, (turn, at) in enumerate(zip(TURNS, times(), strict=True)):
        clock.now = at
        report = await stage.play(number, turn, at, call)
        assert told(report) == turn.report, (number, turn.said)
        assert stage.script.left == [], (number, turn.said)
        calls += report.calls
        await check_requests(stage, turn)
        if turn.context is not None:
            text = await call(memory.profiles.context, TALKS[turn.talk].user, max_tokens=1_000)
            assert json.loads(text.splitlines()[1].removeprefix("<data>").removesuffix("</data>")) == turn.context
    assert (len(TURNS), calls) == (100, outcome.CALLS)
    await check_outcome(memory, call)


async def check_requests(stage: Stage, turn: Turn) -> None:
    """The model is shown the messages that it has to read, with their dates, and the language to write in."""
    language = TALKS[turn.talk].options.get("language", "the language in which the user writes")
    for request in stage.script.requests:
        messages = shown(request)["messages"]
        assert [one["text"] for one in messages] == list(turn.shown or (turn.said, turn.reply))
        if turn.written is not None:
            assert [one.get("written") for one in messages] == turn.written
            assert f"the last one of {turn.written[-1][:-12]}" in request[1].text
        assert f"values in {language}" in request[0].text


async def check_outcome(memory: AgentMemory, call: Any) -> None:
    """Everything that is stored is as expected, and nothing of what was forgotten."""
    for name, expected in outcome.PROFILES.items():
        talk = TALKS[name]
        assert profile(await call(memory.profiles.get, talk.user, schema=talk.schema)) == expected
    for name, moment, expected in outcome.FORMER:
        talk = TALKS[name]
        former = await call(memory.profiles.get, talk.user, schema=talk.schema, as_of=moment)
        assert {key: getattr(former, key) for key in expected} == expected, (name, moment)
    graph = await call(memory.entities.graph, TALKS["eva"].user)
    assert [
        (one.name, one.kind, list(one.aliases), one.attributes, list(one.sources)) for one in graph.entities
    ] == outcome.ENTITIES
    assert sorted((str(one), list(one.sources)) for one in graph.relations) == sorted(outcome.RELATIONS)
    users = {talk.user for talk in TALKS.values()}
    for user in users - {TALKS["eva"].user}:
        assert await call(memory.entities.list, user) == []
    for user in users:
        saved = [(one.text, one.times) for one in await call(memory.memories.list, user)]
        assert saved == (outcome.MEMORIES if user == TALKS["agent"].user else [])
    for name, query, text in outcome.SEARCHES:
        assert texts(await call(memory.profiles.search, TALKS[name].user, query, 1)) == [text], query
    for name, words in outcome.FORGOTTEN.items():
        items = await call(memory.store.search, user_namespace(TALKS[name].user), limit=1000)
        assert items
        stored = json.dumps([item.value for item in items], ensure_ascii=False)
        assert [word for word in words if word in stored] == []


def test_every_requirement_occurs_in_the_conversation():
    shown_by = {entry for turn in TURNS for entry in turn.entries.split()}
    assert shown_by == {*(f"A{number}" for number in range(1, 11)), *(f"B{number}" for number in range(11, 19))}
