"""`MemoryPrompt` as a chat prompt template: what LangChain's own does, it does, with memory tags filled in."""

from __future__ import annotations

import asyncio
import copy
import threading
from operator import itemgetter
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import (
    ChatPromptTemplate,
    HumanMessagePromptTemplate,
    MessagesPlaceholder,
    PromptTemplate,
    SystemMessagePromptTemplate,
)
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.config import var_child_runnable_config

from langchain_agentmem import BudgetError, InvalidInputError
from langchain_agentmem.prompting.prompt import MemoryPrompt, PromptSettings, message_in
from langchain_agentmem.prompting.templates.budgets import Ranked
from langchain_agentmem.prompting.values import Subject
from langchain_agentmem.testing import ScriptedChatModel

VALUES = {"user_name": "Ann {x}", "pets": ["Rex", "Tom"], "mood": "{{user_name}}"}

IMAGE = ("human", [{"type": "text", "text": "{input} {style}"}, {"type": "image_url", "image_url": "{input}"}])


class Reader:
    """Answers with fixed values, and remembers what it was asked for."""

    def __init__(self, values=VALUES):
        self.values, self.asked = values, []

    def read(self, names, subject, message):
        self.asked.append((list(names), subject, message))
        yield from ()
        return {name: Ranked(self.values[name], rank) for rank, name in enumerate(sorted(names)) if name in self.values}


def prompt(messages, reader=None, **options):
    return MemoryPrompt(messages, settings=PromptSettings(reader or Reader(), **options))


@pytest.fixture(params=["sync", "async"])
def invoke(request):
    if request.param == "sync":
        return lambda runnable, *args: runnable.invoke(*args)
    return lambda runnable, *args: asyncio.run(runnable.ainvoke(*args))


def test_tags_and_inputs_are_filled_in(invoke):
    own = prompt([("system", "You help {{user_name}}."), MessagesPlaceholder("history"), ("human", "{input} {{mood}}")])
    assert own.input_variables == ["history", "input"]
    assert own.memory_variables == ["user_name", "mood"]
    value = invoke(own, {"input": "{{pets}} {y}", "history": [("ai", "{{user_name}}")]})
    assert value.to_messages() == [
        SystemMessage("You help Ann {x}."),
        AIMessage("{{user_name}}"),
        HumanMessage("{{pets}} {y} {{user_name}}"),
    ]


def test_inputs_within_sections_are_inputs(invoke):
    own = prompt("{{#pets}}{{.}} likes {food!r}. {{/pets}}")
    assert own.input_variables == ["food"]
    assert invoke(own, {"food": "{{.}}"}).to_messages() == [HumanMessage("Rex likes '{{.}}'. Tom likes '{{.}}'. ")]
    with pytest.raises(
        KeyError, match=r"needs the input 'food'; got 'other'\..*\{\{food\}\} for a variable of the memory"
    ):
        invoke(own, {"other": 1})
    assert own.partial(food="fish").invoke({}).to_messages()[0].content.startswith("Rex likes 'fish'")


@pytest.mark.parametrize(
    "messages",
    [
        [("system", "Be {style}."), ("human", "{input}")],
        [SystemMessage("literal {x} {{user_name}}"), ("human", [{"type": "text", "text": "{input} {style}"}])],
        [IMAGE],
        [("placeholder", "{history}"), MessagesPlaceholder("more", optional=True), "{input} {style}"],
        [HumanMessagePromptTemplate(prompt=PromptTemplate.from_template("{input} {{}} {style}"))],
    ],
)
def test_without_tags_it_is_a_chat_prompt_template(messages, invoke):
    theirs, own = ChatPromptTemplate(messages), prompt(messages)
    assert isinstance(own, ChatPromptTemplate)
    assert own.input_variables == theirs.input_variables
    assert own.optional_variables == theirs.optional_variables
    assert own.get_input_schema().model_json_schema() == theirs.get_input_schema().model_json_schema()
    inputs = {"style": "brief", "input": "http://x/{y}.png"}
    assert invoke(own, inputs) == theirs.invoke(inputs)
    assert own.partial(style="long").invoke({"input": "q"}) == theirs.partial(style="long").invoke({"input": "q"})
    assert own.partial(style=lambda: "long").input_variables == theirs.partial(style="long").input_variables
    assert own.format(**inputs) == theirs.format(**inputs)
    assert own._repr_html_().count("<tr>") == len(messages) + 1
    if messages[0] != IMAGE:
        assert own.pretty_repr() == theirs.pretty_repr()
    assert len(own) == len(theirs)
    assert own[0] == theirs[0]


def test_it_composes(invoke):
    own = prompt([("system", "{{user_name}}")])
    longer = own + [("human", "{{mood}} {input}")] + "bye {{pets}}" + prompt([("ai", "{{#pets}}{{.}}{{/pets}}")])
    longer = (
        longer + HumanMessage("{{mood}}") + ChatPromptTemplate([("human", "{{user_name}} {other}")]).partial(other="o")
    )
    assert isinstance(longer, MemoryPrompt)
    assert longer.input_variables == ["input"]
    texts = [message.content for message in invoke(longer, {"input": "i"}).to_messages()]
    assert texts == [
        "Ann {x}",
        "{{user_name}} i",
        "bye - Rex\n- Tom",
        "RexTom",
        "{{mood}}",
        "Ann {x} o",
    ]
    part = longer[1:3]
    assert part.memory_variables == ["mood", "pets"]
    assert [one.content for one in part.invoke({"input": "i"}).to_messages()] == texts[1:3]
    own.append(("human", "{{mood}} {input}"))
    own.extend(["{other}"])
    assert own.input_variables == ["input", "other"]
    assert invoke(own, {"input": 1, "other": 2}).to_messages()[1].content == "{{user_name}} 1"


def test_it_is_the_second_part_of_another_prompt(invoke):
    own = prompt("Hi {{user_name}}")
    both = ChatPromptTemplate([("system", "Be {style}.")]) + own
    assert (type(both), both.input_variables) == (MemoryPrompt, ["style"])
    assert invoke(both, {"style": "brief"}).to_messages() == [SystemMessage("Be brief."), HumanMessage("Hi Ann {x}")]
    nested = ChatPromptTemplate([("system", "Be {style}."), own])
    assert invoke(nested, {"style": "brief"}) == invoke(both, {"style": "brief"})
    # LangChain joins these two itself.
    for first in (SystemMessage("Be brief."), SystemMessagePromptTemplate.from_template("Be {style}.")):
        with pytest.raises(InvalidInputError, match="memory tag cannot be filled in"):
            invoke(first + own, {"style": "brief"})


def test_copies_share_the_memory(invoke):
    prompt = MemoryPrompt("Hi {{user_name}}, {input}", settings=PromptSettings(Reader({"user_name": threading.Lock()})))
    for one in (copy.copy(prompt), copy.deepcopy(prompt), prompt.model_copy(deep=True)):
        assert one.settings.reader is prompt.settings.reader
        assert one.partial(input="x").memory_variables == ["user_name"]


def test_it_is_a_runnable(invoke):
    own = prompt("{{user_name}} {input}")
    model = ScriptedChatModel(["one", "two", "three"])
    assert invoke(own | model, {"input": "a"}).content == "one"
    assert [value.to_string() for value in own.batch([{"input": "a"}, "b"])] == ["Human: Ann {x} a", "Human: Ann {x} b"]
    assert "".join(chunk.content for chunk in (own | model).stream("a")) == "two"

    async def stream():
        return "".join([chunk.content async for chunk in (own | model).astream({"input": "a"})])

    assert asyncio.run(stream()) == "three"
    chain = {"input": itemgetter("q")} | own | RunnableLambda(lambda value: value.to_string())
    assert invoke(chain, {"q": "x"}) == "Human: Ann {x} x"


class Runs(BaseCallbackHandler):
    """Remembers the runs of prompts."""

    def __init__(self):
        self.seen = []

    def on_chain_start(self, serialized, inputs, **kwargs):
        self.seen.append(("start", inputs, kwargs["tags"], kwargs["metadata"]))

    def on_chain_end(self, outputs, **kwargs):
        self.seen.append(("end", outputs.to_string()))

    def on_chain_error(self, error, **kwargs):
        self.seen.append(("error", type(error)))


def test_callbacks_see_the_run_and_change_nothing(invoke):
    own = prompt("{{user_name}} {input}")
    own.tags, own.metadata = ["mine"], {"version": 1}
    runs = Runs()
    config = {"callbacks": [runs], "configurable": {"user_id": "ann"}}
    assert invoke(own, {"input": "a"}, config) == invoke(own, {"input": "a"})
    assert runs.seen[0][:3] == ("start", {"input": "a"}, ["mine"])
    assert runs.seen[0][3]["version"] == 1
    assert runs.seen[1:] == [("end", "Human: Ann {x} a")]
    with pytest.raises(KeyError, match="needs the input"):
        invoke(own, {"other": "a", "more": "b"}, config)
    assert runs.seen[-1] == ("error", KeyError)


def test_what_formatting_calls_has_the_config_of_the_run(invoke):
    seen = []

    class Asking(Reader):
        def read(self, names, subject, message):
            seen.append(var_child_runnable_config.get()["configurable"])
            return (yield from super().read(names, subject, message))

    invoke(prompt("{{mood}}", Asking()), {}, {"configurable": {"user_id": "ann"}})
    assert seen == [{"user_id": "ann"}]
    assert var_child_runnable_config.get() is None


def test_templates_of_langchain_keep_their_tags(invoke):
    own = prompt(
        ChatPromptTemplate(
            [
                SystemMessagePromptTemplate.from_template("{{user_name}} {a}"),
                (
                    "human",
                    [{"type": "text", "text": "{{mood}}"}, {"type": "image_url", "image_url": {"url": "{{mood}}"}}],
                ),
            ]
        )
    )
    first, second = invoke(own, {"a": "b"}).to_messages()
    assert first.content == "Ann {x} b"
    assert second.content == [
        {"type": "text", "text": "{{user_name}}"},
        {"type": "image_url", "image_url": {"url": "{{user_name}}"}},
    ]


def test_the_run_names_user_and_session(invoke):
    reader = Reader()
    own = prompt("{{mood}} {input}", reader)
    config = {"configurable": {"user_id": "ann", "session_id": "s", "thread_id": "t"}}
    invoke(own, {"input": "hello"}, config)
    invoke(own, {"input": "hello"}, {"configurable": {"thread_id": "t", "user_id": ""}})
    invoke(RunnableLambda(lambda _: own.format_messages(input="x")), {}, config)
    for thread_id in (0, UUID(int=7)):  # as LangGraph's checkpointers accept
        invoke(own, {"input": "hello"}, {"configurable": {"thread_id": thread_id}})
    bound = prompt("{{mood}}", reader, subject=Subject("bob", None, "planner"))
    invoke(bound, {}, config)
    assert [subject for _, subject, _ in reader.asked] == [
        Subject("ann", "s"),
        Subject(None, "t"),
        Subject("ann", "s"),
        Subject(None, "0"),
        Subject(None, str(UUID(int=7))),
        Subject("bob", "s", "planner"),
    ]
    with pytest.raises(InvalidInputError, match="user_id"):
        invoke(own, {"input": "x"}, {"configurable": {"user_id": "a\0b"}})


@pytest.mark.parametrize(
    ("inputs", "question", "expected"),
    [
        ({"input": "hi"}, None, "hi"),
        ({"style": "brief", "question": " hi "}, None, "hi"),
        ({"messages": [HumanMessage("a"), AIMessage("b"), HumanMessage("c"), AIMessage("d")]}, None, "c"),
        ({"topic": "hi"}, None, "hi"),
        ({"a": "x", "b": "y"}, None, ""),
        ({"a": "x", "b": [HumanMessage("y")]}, "b", "y"),
        ({"a": "x"}, "missing", ""),
        ({}, None, ""),
    ],
)
def test_the_current_message_is_found(inputs, question, expected):
    assert message_in(inputs, question) == expected


def test_budgets(invoke):
    def tokens(messages):
        return sum(len(message.content) for message in messages)

    from langchain_agentmem import TokenCounter

    counter = TokenCounter.of(tokens)
    reader = Reader({"a": "x" * 50, "b": "y" * 50})
    own = prompt("{{a}} {{b}} {input}", reader, limits={"a": 20}, counter=counter)
    assert invoke(own, {"input": "i"}).to_messages()[0].content == f"{'x' * 19}… {'y' * 50} i"
    small = prompt("{{a}} {{b}} {input}", reader, max_tokens=60, counter=counter)
    (message,) = invoke(small, {"input": "i"}).to_messages()
    assert tokens([message]) <= 60
    assert "y" * 50 in message.content, "the more specific value stays"
    with pytest.raises(BudgetError, match="more than max_tokens=60"):
        invoke(small, {"input": "i" * 100})


def test_a_required_value_that_is_left_out_for_the_budget_is_no_error(invoke):
    def tokens(messages):
        return sum(len(message.content) for message in messages)

    from langchain_agentmem import TokenCounter

    reader = Reader({"a": ["x" * 50], "b": "y" * 50, "c": {"d": "z" * 50}})
    own = prompt("{{a}}{{b}}{{c}}{input}", reader, max_tokens=1, required=True, counter=TokenCounter.of(tokens))
    assert invoke(own, {"input": "i"}).to_messages()[0].content == "i"


def test_a_large_prompt_is_counted_off_the_event_loop():
    threads = []

    def tokens(messages):
        threads.append(threading.current_thread())
        return sum(len(message.content) for message in messages)

    from langchain_agentmem import TokenCounter

    reader = Reader({"a": ["word " * 20] * 1_000})
    large = prompt("{{a}} {input}", reader, max_tokens=500, counter=TokenCounter.of(tokens))
    message = asyncio.run(large.ainvoke({"input": "i"})).to_messages()[0]
    assert len(message.content) <= 500
    assert threading.main_thread() not in threads


def test_it_shows_itself():
    own = prompt([("system", "{{user_name|you}}"), ("human", "<b>{{#pets}}{{.}}{{/pets}} {input}")])
    assert repr(own) == "MemoryPrompt(input_variables=['input'], memory_variables=['user_name', 'pets'])"
    assert "{{user_name|you}}" in own.pretty_repr()
    assert "&lt;b&gt;{{#pets}}{{.}}{{/pets}} {input}" in own._repr_html_()
    assert "Ann" not in own._repr_html_()


def test_changed_message_templates_are_used():
    own = prompt([("system", "{{user_name}}"), ("human", "{input}")])
    assert [one.content for one in own.invoke({"input": "i"}).to_messages()] == ["Ann {x}", "i"]
    own.messages[1].prompt.template = "You said {input}."
    assert own.invoke({"input": "i"}).to_messages()[1].content == "You said i."
    copied = copy.deepcopy(own)
    copied.messages[1] = HumanMessage("constant")
    assert copied.invoke({"input": "i"}).to_messages()[1].content == "constant"
    assert own.invoke({"input": "i"}).to_messages()[1].content == "You said i."
