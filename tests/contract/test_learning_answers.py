"""Scripted conversations with the answers that models really give, on every backend: nothing is lost, falsified or half stored."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from profiles import ALICE, add, answer, assistant, config, human, shown, taking_turns, texts

from langchain_agentmem import InvalidInputError
from langchain_agentmem.testing import ScriptedChatModel

TEA = answer(add("Likes tea"))
DRAFT = answer(add("Likes coffee"))


@pytest.fixture
def call() -> Any:
    return taking_turns()


async def learned(memory: Any, call: Any, *script: Any, said: Any = "Hello.", user: str = ALICE, **options: Any) -> Any:
    """The result of one run of the extractor in a thread of its own, and the model."""
    model = ScriptedChatModel([one if isinstance(one, (str, AIMessage)) else json.dumps(one) for one in script])
    messages = said if isinstance(said, list) else [human(said)]
    done = await call(memory.profile_node(model, **options).invoke, messages, config(user, thread=uuid.uuid4().hex))
    return done, model


READ: dict[str, str] = {
    "a fence": f"```json\n{TEA}\n```",
    "a fence of tildes": f"Here:\n~~~\n{TEA}\n~~~\nDone.",
    "a draft outside the fence": f"{answer()}\n```json\n{TEA}\n```",
    "a thought": f"<think>{DRAFT}</think>\n{TEA}",
    "a thought in capitals": f"<THINK>{DRAFT}</THINK>\n{TEA}",
    "nested thoughts": f"<think>So <think>{DRAFT}</think> or {DRAFT}</think>{TEA}",
    "a thought without its start": f"{DRAFT}</think>{TEA}",
    "a thought with an open brace": f'<thinking>{{"changes": [{{"action": </thinking>{TEA}',
    "Mistral's tags": f"[THINK]{DRAFT}[/THINK]{TEA}",
    "channels": f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{TEA}",
    "Python": str({"changes": [{"action": "add", "text": "Likes tea", "fact": None}]}),
    "comments and commas": '{"changes": [ // new\n{"action": "add", /* so */ "text": "Likes tea",},],}',
    "names without quotation marks": "{changes: [{action: 'add', text: 'Likes tea'}]}",
    "typographic quotation marks": "{“changes”: [{“action”: “add”, “text”: “Likes tea”}]}",
    "a line break": '{"changes": [{"action": "add", "text": "Likes\ntea"}]}',
    "a string": json.dumps(TEA),
    "a list as a string": json.dumps({"changes": json.dumps([add("Likes tea")])}),
    "a change as a string": json.dumps({"changes": [json.dumps(add("Likes tea"))]}),
    "one change without its list": json.dumps({"changes": add("Likes tea")}),
    "a change alone": json.dumps(add("Likes tea")),
    "a call as text": f"<tool_call>{json.dumps({'name': 'change_profile', 'arguments': json.loads(TEA)})}</tool_call>",
    "words for nothing": answer(
        add("Likes tea", fact=0, field="null", since="None", messages=["message 1"], topics="null")
    ),
    "no fact": answer(add("Likes tea", fact=-1, action="ADD", confidence="high")),
}


async def test_answers_of_small_models_are_read_as_they_are_meant(memory, call):
    for name, written in READ.items():
        done, model = await learned(memory, call, written, user=name)
        assert (done.error, done.refused, texts(done.added), len(model.requests)) == (None, (), ["Likes tea"], 1), name


async def test_strings_with_fences_and_tags_are_kept(memory, call):
    value = "Wants ```python``` fences, <think> tags and {braces}"
    for number, form in enumerate(("{}", "```json\n{}\n```", "Here:\n{}\nDone.", "<think>a</think>{}")):
        written = form.replace("{}", answer({"action": "update", "field": "preferences.code", "value": value}))
        await learned(memory, call, written, user=str(number))
        assert (await call(memory.profiles.get, str(number))).preferences == {"code": value}


HALF = answer(add("Has a cat"), add("Is allergic to peanut"))
ENDED: dict[str, dict[str, Any]] = {
    "OpenAI": {"finish_reason": "length"},
    "Anthropic": {"stop_reason": "max_tokens"},
    "Anthropic's window": {"stop_reason": "model_context_window_exceeded"},
    "Google": {"finish_reason": "MAX_TOKENS"},
    "Google's enumeration": {"finish_reason": "FinishReason.MAX_TOKENS"},
    "Ollama": {"done_reason": "length", "done": True},
    "Bedrock": {"stopReason": "max_tokens"},
    "Mistral": {"finish_reason": "model_length"},
    "Responses": {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
    "watsonx": {"finish_reason": "TOKEN_LIMIT"},
    "a choice": {"choices": [{"finish_reason": "length"}]},
    "a stream that was closed": {"done": False},
    "a filter": {"finish_reason": "SAFETY"},
    "a fault": {"finish_reason": "MALFORMED_FUNCTION_CALL"},
}


async def test_answers_that_were_cut_off_are_not_stored(memory, call):
    for name, metadata in ENDED.items():
        cut = AIMessage(HALF, response_metadata=metadata)
        called = AIMessage(
            "",
            tool_calls=[{"name": "change_profile", "args": json.loads(HALF), "id": "1"}],
            response_metadata=metadata,
        )
        empty = AIMessage("", response_metadata=metadata)
        for kind, one in enumerate((cut, called, empty)):
            done, _ = await learned(memory, call, one, one, user=f"{name} {kind}")
            assert done.error, name
            assert not done.changed
    whole = AIMessage(TEA, response_metadata={"finish_reason": "stop", "stop_reason": None, "status": "completed"})
    assert texts((await learned(memory, call, whole))[0].added) == ["Likes tea"]


@pytest.mark.parametrize(
    "cut",
    [
        AIMessage(HALF[:-6]),
        AIMessage(HALF[:-2]),
        AIMessage(f"<think>{HALF}"),
        AIMessage(f"<think>So <think>{HALF}</think> {HALF}"),
        AIMessageChunk(
            "",
            tool_call_chunks=[
                {"name": "change_profile", "args": HALF[:-5], "id": "1", "index": 0, "type": "tool_call_chunk"}
            ],
        ),
    ],
    ids=["in a text", "in the list", "in a thought", "in the outer thought", "in the arguments"],
)
async def test_a_part_of_an_answer_is_no_answer(memory, call, cut):
    done, model = await learned(memory, call, cut, cut)
    assert (bool(done.error), done.changed, len(model.requests)) == (True, False, 2)


class Breaking(BaseChatModel):
    """A model whose streams break off within the arguments of a tool call."""

    @property
    def _llm_type(self) -> str:
        return "breaking"

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self

    def _generate(self, *args: Any, **options: Any) -> ChatResult:
        args_ = json.loads(answer(add("Is allergic to peanut oil")))
        message = AIMessage("", tool_calls=[{"name": "change_profile", "args": args_, "id": "1"}])
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, *args: Any, **options: Any) -> Any:
        part = '{"changes": [{"action": "add", "text": "Is allergic to peanut'
        chunk: Any = {"name": "change_profile", "args": part, "id": "1", "index": 0, "type": "tool_call_chunk"}
        yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=[chunk]))


async def test_the_model_is_not_streamed_though_the_run_is(memory):
    node = memory.profile_node(Breaking())
    async for _ in node.astream_events([human("Peanut oil makes me ill.", "a")], config(), version="v2"):
        pass
    assert texts(memory.profiles.get(ALICE).facts) == ["Is allergic to peanut oil"]


async def test_what_only_the_assistant_says_is_nobodys_fact(memory, call):
    said = [human("Who are you?", "1"), assistant("I am Claude, and I like recursion.", "2")]
    named = {"action": "update", "field": "name", "value": "Claude"}
    of_assistant = answer(add("Likes recursion", messages=[2]), {**named, "messages": [2]}, named)
    done, _ = await learned(memory, call, of_assistant, of_assistant, said=said)
    assert not done.changed
    assert "only the assistant says" in done.error
    assert (await call(memory.profiles.get, ALICE)).name is None
    agreed = [*said, human("So am I: call me Claude.", "3")]
    done, _ = await learned(memory, call, answer({**named, "messages": [2, 3]}, named), said=agreed)
    assert done.fields == ("name",)
    asked_for = answer(add("Was told about recursion", messages=[2]))
    done, model = await learned(memory, call, asked_for, said=said, from_assistant=True)
    assert texts(done.added) == ["Was told about recursion"]
    assert "only the assistant" not in model.requests[0][0].text


async def test_entities_that_only_the_assistant_names_are_refused(memory, call):
    said = [human("Tell me a story.", "1"), assistant("Once there was Hans of Bremen.", "2")]
    story = {
        "changes": [],
        "entities": {
            "entities": [{"name": "Hans", "sources": [2]}, {"name": "Eva", "sources": ["1"]}],
            "relations": [{"subject": "Hans", "predicate": "lives in", "object": "Bremen", "sources": [2]}],
        },
    }
    done, _ = await learned(memory, call, story, story, said=said, entities=True)
    assert (done.entities, done.relations, len(done.refused)) == (("Eva",), 0, 2)


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ("2026-03-02T10:00:00+00:00", "Monday, 2026-03-02 10:00+00:00"),
        ("2026-03-02T20:30:00-08:00", "Monday, 2026-03-02 20:30-08:00"),
        ("2026-03-02T00:30:00+13:00", "Monday, 2026-03-02 00:30+13:00"),
        ("2026-03-29T03:30:00+02:00", "Sunday, 2026-03-29 03:30+02:00"),
        ("2026-03-02T10:00:00Z", "Monday, 2026-03-02 10:00+00:00"),
    ],
)
async def test_each_message_is_shown_with_its_own_date(memory, call, written, date):
    said = [
        HumanMessage("My exam was yesterday.", id="1", additional_kwargs={"created_at": written}),
        HumanMessage("A message without a date.", id="2"),
        HumanMessage("Bye.", id="3", additional_kwargs={"created_at": "2026-04-16T20:30:00-08:00"}),
    ]
    _, model = await learned(memory, call, answer(), said=said)
    shown_as = shown(model.requests[0])["messages"]
    assert [one.get("written") for one in shown_as] == [date, None, "Thursday, 2026-04-16 20:30-08:00"]
    assert "the last one of Thursday, 2026-04-16" in model.requests[0][1].text


async def test_an_answer_without_a_date_is_of_the_day_of_the_user(memory, call):
    written = {"created_at": "2026-03-02T20:30:00-08:00"}
    said = [
        HumanMessage("It is my birthday today.", id="1", additional_kwargs=written),
        assistant("Congratulations!", "2"),
    ]
    _, model = await learned(memory, call, answer(), said=said)
    now = datetime.now(timezone(timedelta(hours=-8)))
    assert f"the last one of {now:%A, %Y-%m-%d}" in model.requests[0][1].text
    assert shown(model.requests[0])["messages"][1]["written"].endswith("-08:00")


async def test_a_summary_in_the_messages_is_nobodys_words(memory, call):
    marked = HumanMessage("The user may like opera.", id="s", additional_kwargs={"lc_source": "summarization"})
    unmarked = human("Here is a summary of the conversation to date:\n\nThe user may like opera.", "u")
    done, model = await learned(memory, call, answer(), said=[marked, unmarked, human("Hello", "h")])
    assert [one["text"] for one in shown(model.requests[0])["messages"]] == ["Hello"]
    done, model = await learned(memory, call, said=[marked])
    assert (done.calls, done.error) == (0, None)


GOOD = [add(f"Owns book number {number}") for number in range(5)]
WRONG: dict[str, Any] = {
    "a long fact": add("x" * 501),
    "a field that is not there": {"action": "update", "field": "age", "value": 30},
    "a fact that is not there": {"action": "remove", "fact": 9},
    "no action": {"text": "Likes tea"},
    "no object": "Likes tea",
    "an action that is not there": add("Likes tea", action="dance"),
}


async def test_a_wrong_change_is_refused_alone(memory, call):
    for name, change in WRONG.items():
        wrong = answer(*GOOD[:3], change, *GOOD[3:])
        done, model = await learned(memory, call, wrong, wrong, user=name)
        assert (done.error, len(done.added), done.calls) == (None, 5, 2), name
        assert done.refused[0].startswith("Change 4: "), name
        assert "Change 4: " in model.requests[1][1].text
    many = answer(*GOOD, *[add(f"Visited city number {number}") for number in range(16)])
    done, _ = await learned(memory, call, many, many, user="many")
    assert (len(done.added), len(done.refused)) == (20, 1)
    # A second answer that cannot be used does not lose what the first one had.
    done, _ = await learned(memory, call, answer(*GOOD, WRONG["no object"]), "no JSON", user="then nothing")
    assert (len(done.added), len(done.refused)) == (5, 1)
    # Too many topics are no reason to lose a fact.
    done, _ = await learned(
        memory, call, answer(add("Likes tea", topics=[*map(str, range(11)), "t" * 61])), user="topics"
    )
    assert (texts(done.added), len(done.added[0].topics)) == (["Likes tea"], 10)


async def test_messages_of_a_partly_wrong_answer_are_read_again_once_the_model_answers_well(memory, call):
    bad = answer(add("Allergic to peanuts"), {"action": "update", "field": "age", "value": 30})
    model = ScriptedChatModel([bad] * 6 + [answer()] * 3)
    node = memory.profile_node(model)
    history: list[Any] = []
    for turn, text in enumerate(("I am allergic to peanuts.", "Hello 1", "Hello 2", "Hello 3", "Hello 4", "Hello 5")):
        history.append(human(text, str(turn), turn))
        await call(node.invoke, history, config())
    seen = [[one["text"] for one in shown(request)["messages"]] for request in model.requests]
    assert seen[::2][:3] == [["I am allergic to peanuts."], ["Hello 1"], ["Hello 2"]]
    assert seen[6:] == [["Hello 3"], ["I am allergic to peanuts.", "Hello 1", "Hello 2", "Hello 4"], ["Hello 5"]]
    assert texts((await call(memory.profiles.get, ALICE)).facts) == ["Allergic to peanuts"]


async def test_messages_that_were_given_up_are_read_again_once_the_model_answers_well(memory, call, caplog):
    model = ScriptedChatModel(["no JSON"] * 6 + [answer(), answer(add("Allergic to peanuts", messages=[1]))])
    node = memory.profile_node(model)
    history: list[Any] = []
    for turn, text in enumerate(("I am allergic to peanuts.", "Hello 1", "Hello 2", "Hello 3", "Hello 4")):
        history.append(human(text, str(turn), turn))
        await call(node.invoke, history, config())
    assert [one["text"] for one in shown(model.requests[-1])["messages"]] == ["I am allergic to peanuts.", "Hello 4"]
    (fact,) = (await call(memory.profiles.get, ALICE)).facts
    assert (fact.text, fact.sources) == ("Allergic to peanuts", ["0"])


async def test_a_model_that_calls_no_tool_is_asked_once_a_turn(memory, call):
    silent = [
        "",
        "No changes.",
        "Nothing to update.",
        "<think>Small talk.</think>",
        "Sin cambios.",
        "{}",
        "没有变化",
        "[]",
    ]
    model = ScriptedChatModel([AIMessage(one) for one in silent])
    node = memory.profile_node(model)
    history: list[Any] = []
    for turn in range(len(silent)):
        history.append(human(f"Hello {turn}", str(turn)))
        done = await call(node.invoke, history, config())
        assert (done.error, done.calls, done.changed) == (None, 1, False), silent[turn]
        assert [one["text"] for one in shown(model.requests[-1])["messages"]] == [f"Hello {turn}"]


async def test_values_of_entities_are_read_as_they_are_meant(memory, call):
    works = {"subject": "Bob", "predicate": "works at", "object": "Acme"}
    part = {
        "entities": json.dumps(
            [
                {
                    "name": "Bob",
                    "aliases": "Bobby",
                    "attributes": {"age": 30, "married": True, "home": None},
                    "sources": 1,
                },
                {"name": "Ann", "aliases": ["", None], "attributes": [{"name": "age", "value": 7}]},
            ]
        ),
        "relations": [
            {**works, "valid_from": "May 2024", "valid_to": "present"},
            {**works, "object": "Initech", "valid_from": "last summer", "valid_to": "unknown"},
            {**works, "object": ""},
        ],
        "forgotten": "Carl",
    }
    await call(memory.entities.upsert, ALICE, "Carl")
    wrong = {"changes": [add("Has a brother")], "entities": part}
    done, _ = await learned(memory, call, wrong, wrong, entities=True)
    assert (texts(done.added), done.forgotten_entities, len(done.refused)) == (["Has a brother"], 1, 1)
    graph = await call(memory.entities.graph, ALICE)
    assert sorted(map(str, graph.relations)) == ["Bob works at Acme (since 2024-05-01)", "Bob works at Initech"]
    bob = await call(memory.entities.get, ALICE, "Bobby")
    ann = await call(memory.entities.get, ALICE, "Ann")
    assert (bob.name, bob.attributes, ann.aliases) == ("Bob", {"age": "30", "married": "true"}, ())
    assert ann.attributes == {"age": "7"}


@pytest.mark.parametrize(
    "reference",
    [
        "my brother",
        "Mein Bruder",
        "mi hermano",
        "mon frère",
        "мой брат",
        "我哥哥",
        "私の兄",
        "the boss",
        "he",
        "Él",
        "user",
        "I",
    ],
)
async def test_words_that_fit_several_people_merge_nobody(memory, call, reference):
    for name, age in (("Tom", 30), ("Jim", 40)):
        part = {"entities": [{"name": name, "kind": "person", "aliases": [reference], "attributes": {"age": age}}]}
        await learned(memory, call, {"changes": [], "entities": part}, entities=True)
    found = await call(memory.entities.list, ALICE)
    assert sorted((one.name, one.aliases, one.attributes["age"]) for one in found) == [
        ("Jim", (), "40"),
        ("Tom", (), "30"),
    ]


async def test_a_model_merges_known_entities_by_two_names_only(memory, call):
    await call(memory.entities.upsert, ALICE, "Robert Smith", "person", aliases=["Bob", "Rob"])
    await call(memory.entities.upsert, ALICE, "Bob Jones", "person")
    for aliases, number in ((["Bob"], 2), (["Bob", "Rob"], 1)):
        part = {"entities": [{"name": "Bob Jones", "aliases": aliases}]}
        await learned(memory, call, {"changes": [], "entities": part}, entities=True)
        assert len(await call(memory.entities.list, ALICE)) == number
    parts = await call(memory.entities.split, ALICE, "Bob")
    assert [(one.name, one.aliases) for one in parts] == [("Bob Jones", ()), ("Robert Smith", ("Bob", "Rob"))]


async def test_a_merge_is_undone(memory, call):
    entities = memory.entities
    await call(entities.upsert, ALICE, "Tom", "person", aliases=["Tommy"], attributes={"age": "30"}, sources=["a"])
    await call(entities.upsert, ALICE, "Jim", "friend", attributes={"age": "40", "home": "Oslo"}, sources=["b"])
    await call(entities.relate, ALICE, "Jim", "works at", "Acme")
    await call(entities.relate, ALICE, "Tom", "works at", "Initech")
    await call(entities.upsert, ALICE, "Tom", aliases=["Jim"])
    await call(entities.upsert, ALICE, "Jim", attributes={"pet": "cat"})
    assert len(await call(entities.relations, ALICE, "Tom")) == 2
    parts = await call(entities.split, ALICE, "Jim")
    assert [(one.name, one.kind, one.aliases, one.attributes, one.other_values, one.sources) for one in parts] == [
        ("Tom", "person", ("Tommy",), {"age": "30", "pet": "cat"}, {}, ("a",)),
        ("Jim", "friend", (), {"age": "40", "home": "Oslo"}, {}, ("b",)),
    ]
    for name, sentence in (("tommy", "Tom works at Initech"), ("Jim", "Jim works at Acme")):
        assert list(map(str, await call(entities.relations, ALICE, name))) == [sentence]
    for wrong in ("Jim", "Nobody"):
        with pytest.raises(InvalidInputError, match=wrong):
            await call(entities.split, ALICE, wrong)


async def test_one_of_several_merges_is_undone(memory, call):
    entities = memory.entities
    for name in ("Tom", "Jim", "Ann"):
        await call(entities.upsert, ALICE, name, attributes={f"of {name}": "yes"})
    for name in ("Jim", "Ann"):
        await call(entities.upsert, ALICE, "Tom", aliases=[name])
    assert [one.name for one in await call(entities.split, ALICE, "Tom", "Jim")] == ["Tom", "Jim"]
    assert (await call(entities.get, ALICE, "Ann")).attributes == {"of Tom": "yes", "of Ann": "yes"}
    assert [one.name for one in await call(entities.split, ALICE, "Tom")] == ["Tom", "Ann"]
    assert sorted(one.name for one in await call(entities.list, ALICE)) == ["Ann", "Jim", "Tom"]


async def test_a_name_and_a_word_are_different_entities_of_different_kinds(memory, call):
    await call(memory.entities.upsert, ALICE, "Apple", "organisation")
    for _ in range(2):
        await call(memory.entities.upsert, ALICE, "apple", "fruit")
    found = await call(memory.entities.list, ALICE)
    assert sorted((one.name, one.kind) for one in found) == [("Apple", "organisation"), ("apple (fruit)", "fruit")]


async def test_a_memory_is_forgotten_by_its_id_however_a_model_writes_it(memory):
    save, _, forget = memory.tools(user_id=ALICE)

    async def asked(tool: Any, **args: Any) -> ToolMessage:
        return await tool.ainvoke({"name": tool.name, "args": args, "id": "1", "type": "tool_call"}, {})

    for form in (
        "{}",
        " {} ",
        '"{}"',
        "'{}'",
        "`{}`",
        "{}.",
        "<{}>",
        "[{}]",
        "memory {}",
        "id: {}",
        '{"id": "{}"}',
        "upper",
    ):
        saved = await asked(save, memory="Drinks oolong tea")
        (found,) = memory.memories.list(ALICE)
        assert found.id in saved.content
        await asked(forget, memory_id=found.id.upper() if form == "upper" else form.replace("{}", found.id))
        assert memory.memories.list(ALICE) == [], form
    await asked(save, memory="Drinks oolong tea")
    await asked(save, memory="Drinks coffee")
    ids = " ".join(one.id for one in memory.memories.list(ALICE))
    for invented in ("nothing", "", " ", "*", "%", ids, "0" * 20):
        assert (await asked(forget, memory_id=invented)).status == "error"
    assert len(memory.memories.list(ALICE)) == 2


async def test_facts_are_written_in_the_language_of_the_user_or_of_the_application(memory, call):
    _, model = await learned(memory, call, answer(), said="Me gusta el té.")
    assert "in the language in which the user writes" in model.requests[0][0].text
    _, model = await learned(memory, call, answer(), said="Me gusta el té.", language="English")
    assert "topics and values in English" in model.requests[0][0].text
    with pytest.raises(InvalidInputError, match="language"):
        memory.profile_node(model, language="")
