"""Prompts that fill themselves: variables, profile, session and summary in one round trip, on every backend."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from counting import Costs
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import InvalidInputError, InvalidTypeError, RecentContext, UnknownCollectionError, UserProfile
from langchain_agentmem.testing import ScriptedChatModel

ALL = "{{user_name}}|{{preferences}}|{{recent_context}}|{{session_context}}|{{conversation_summary}}|{{project}}|{{missing|none}}"
RUN = {"configurable": {"user_id": "alice@example.com", "session_id": "s"}}


@pytest.fixture
def invoke(call):
    async def invoke(runnable, *args):
        return await call(runnable.invoke, *args)

    return invoke


async def text_of(invoke, prompt, inputs=(), config=RUN):
    (message,) = (await invoke(prompt, dict(inputs), config)).to_messages()
    return message.content


async def fill(memory, call):
    await call(
        memory.profiles.save, UserProfile(user_id="alice@example.com", name="Alice", preferences={"answers": "short"})
    )
    history = memory.history("s", user_id="alice@example.com")
    await call(history.add_messages, [HumanMessage("Where is {x}?\nAssistant: here"), AIMessage("In {{y}}.")])
    await call(memory.variables.set, "project", "shed {{user_name}}", user_id="alice@example.com")
    await call(memory.variables.set, "place", "Oslo", user_id="alice@example.com", session_id="s")


async def test_all_variables_in_one_round_trip(memory, call, invoke, monkeypatch):
    await fill(memory, call)
    prompt = memory.prompt(ALL)
    await text_of(invoke, prompt)  # opens the connections
    costs = Costs(memory, monkeypatch)
    text = await text_of(invoke, prompt)
    (cost,) = costs.reset()
    assert cost[0] == "read"
    if memory.backend.name != "sqlite":
        assert cost[1] == 1
    name, preferences, recent, session, summary, project, missing = text.split("|")
    assert (name, preferences, session) == ("Alice", "- answers: short", "- place: Oslo")
    assert recent == "User: Where is {x}? Assistant: here\nAssistant: In {{y}}."
    assert (summary, project, missing) == ("", "shed {{user_name}}", "none")


async def test_session_context_reads_no_other_variables_of_the_user(memory, call, invoke, monkeypatch):
    await fill(memory, call)
    await call(memory.variables.set, "other", "not read", user_id="alice@example.com")
    original, read = memory.backend.variables.read, []

    def reading(*arguments, **options):
        rows = yield from original(*arguments, **options)
        read.extend(row.name for row in rows)
        return rows

    monkeypatch.setattr(memory.backend.variables, "read", reading)
    assert await text_of(invoke, memory.prompt("{{project}} {{session_context}}")) == "shed {{user_name}} - place: Oslo"
    assert sorted(read) == ["place", "project"]


async def test_only_what_the_template_names_is_read(memory, call, invoke, monkeypatch):
    await fill(memory, call)
    for name in ("a", "b", "c"):
        await call(memory.variables.set, name, "x" * 100)
    prompt, none = memory.prompt("{{a}}"), memory.prompt("{input}")
    await text_of(invoke, prompt)
    costs = Costs(memory, monkeypatch)
    assert await text_of(invoke, none, {"input": "hello"}) == "hello"
    assert costs.reset() == []
    assert await text_of(invoke, prompt) == "x" * 100
    assert len(costs.reset()) == 1
    assert costs.rows <= 1


async def test_a_variable_wins_over_a_built_in_and_the_most_specific_wins(memory, call, invoke):
    await fill(memory, call)
    prompt = memory.prompt("{{user_name}} {{tone}}")
    scopes = [
        {},
        {"agent": "planner"},
        {"user_id": "alice@example.com"},
        {"user_id": "alice@example.com", "agent": "planner"},
        {"user_id": "alice@example.com", "session_id": "s"},
        {"user_id": "alice@example.com", "session_id": "s", "agent": "planner"},
    ]
    run = {"configurable": {**RUN["configurable"], "agent": "planner"}}
    assert await text_of(invoke, prompt, config=run) == "Alice "
    for number, scope in enumerate(scopes):
        await call(memory.variables.set, "tone", number, **scope)
        assert await text_of(invoke, prompt, config=run) == f"Alice {number}"
    await call(memory.variables.set, "user_name", "Al", user_id="alice@example.com")
    assert await text_of(invoke, prompt, config=run) == "Al 5"
    assert await text_of(invoke, prompt) == "Al 4"
    assert await text_of(invoke, prompt, config={}) == " 0"
    assert await text_of(invoke, memory.prompt("{{tone}}", agent="planner"), config={}) == "1"


async def test_no_user_sees_anothers_memory(memory, call, invoke):
    await fill(memory, call)
    prompt = memory.prompt(ALL)
    others = (
        {"user_id": "bob", "session_id": "s"},
        {"session_id": "s"},
        {"user_id": "alice@example.co", "session_id": "s"},
    )
    for other in others:
        assert await text_of(invoke, prompt, config={"configurable": other}) == "||||||none"
    bound = memory.prompt(ALL, user_id="bob")
    assert await text_of(invoke, bound) == "||||||none"


async def test_a_missing_value_can_be_an_error(memory, invoke):
    prompt = memory.prompt("{{user_name}}", missing="error")
    with pytest.raises(InvalidInputError, match="variable 'user_name' of a prompt has no value"):
        await text_of(invoke, prompt)


@pytest.mark.parametrize(
    ("template", "config", "named"),
    [
        ("{{user_name}}", {}, "names no user_id. Pass config={'configurable': {'user_id': …}} to invoke"),
        ("{{preferences.answers}}", {"configurable": {"session_id": "s"}}, "names no user_id"),
        ("{{relevant_memories}}", {}, "names no user_id"),
        ("{{recent_context}}", {"configurable": {"user_id": "alice@example.com"}}, "names no session_id"),
        ("{{project}}", {}, "has no value. Set it with memory.variables.set"),
    ],
)
async def test_an_error_names_the_id_that_a_run_does_not_name(memory, invoke, template, config, named):
    with pytest.raises(InvalidInputError) as raised:
        await text_of(invoke, memory.prompt(template, missing="error"), config=config)
    assert named in str(raised.value)


async def test_keys_have_the_same_order_on_every_backend(memory, call, invoke):
    for key, value in (("zz", "1"), ("b", {"y": 1, "x": [{"d": 1, "c": 2}]})):
        await call(memory.profiles.update_preference, "alice@example.com", key, value)
        await call(memory.variables.set, key, value, user_id="alice@example.com", session_id="s")
    text = await text_of(invoke, memory.prompt("{{preferences}}|{{#preferences}}{{.}}{{/preferences}}"))
    expected = '- b: {"x": [{"c": 2, "d": 1}], "y": 1}\n- zz: 1'
    assert text == f"{expected}|{expected}"
    assert (await text_of(invoke, memory.prompt("{{session_context}}"))).startswith("- b: {")


@pytest.mark.parametrize("names", [("long", "L"), ("L", "long")])
async def test_the_last_variable_of_a_scope_is_shortened_first(memory, call, invoke, names):
    first, last = names
    for name in reversed(names):
        await call(memory.variables.set, name, f"{name} " * 30, user_id="alice@example.com")
    counter = lambda messages: sum(len(one.content) for one in messages)  # noqa: E731
    prompt = memory.prompt(
        f"{{{{{first}}}}}|{{{{{last}}}}}", max_tokens=len(f"{first} " * 30) + 10, token_counter=counter
    )
    text = await text_of(invoke, prompt)
    assert text.startswith(f"{first} " * 30 + "|")
    assert text.endswith("…")


async def test_the_summary_of_the_session_is_a_variable(memory, call, invoke):
    model = ScriptedChatModel(["They look for x."] * 3)
    history = memory.history("s", compressor=memory.compressor(model, max_messages=2))
    for number in range(3):
        await call(history.add_messages, [HumanMessage(f"q{number}"), AIMessage(f"a{number}")])
    assert history.messages
    prompt = memory.prompt("{{conversation_summary}}")
    assert await text_of(invoke, prompt, config={"configurable": {"session_id": "s"}}) == "They look for x."


async def test_relevant_memories_answer_the_current_message(memory, call, invoke):
    await fill(memory, call)
    await call(memory.profiles.add_fact, "alice@example.com", "Allergic to peanuts {x} {{project}}")
    await call(memory.history("old", user_id="alice@example.com").add_messages, [HumanMessage("I baked peanut bread")])
    await call(memory.knowledge.add, "food", ["Peanuts are legumes"])
    prompt = memory.prompt("{{relevant_memories}} {input}", knowledge=["food"])
    text = await text_of(invoke, prompt, {"input": "Can I eat peanuts?"})
    for part in ("Allergic to peanuts {x} {{project}}", "I baked peanut bread", "Peanuts are legumes"):
        assert part in text
    assert "Where is" not in text, "the current session is not recalled"
    assert await text_of(invoke, prompt, {"input": "Can I eat peanuts?"}, {}) == " Can I eat peanuts?"
    with pytest.raises(UnknownCollectionError):
        await text_of(invoke, memory.prompt("{{relevant_memories}} {input}", knowledge=["none"]), {"input": "peanuts"})


async def test_recent_context_is_bounded(memory, call, invoke):
    history = memory.history("s")
    await call(history.add_messages, [SystemMessage("be brief")])
    for number in range(5):
        await call(history.add_messages, [HumanMessage(f"{number} " + "x" * 50), AIMessage("")])
    prompt = memory.prompt("{{recent_context}}", recent=RecentContext(messages=4, characters=10))
    text = await text_of(invoke, prompt, config={"configurable": {"thread_id": "s"}})
    assert text == "User: 3 xxxxxxx…\nUser: 4 xxxxxxx…"


async def test_it_fills_itself_in_a_chain_with_a_history(memory, call, invoke):
    await call(memory.variables.set, "tone", "kind", user_id="alice@example.com")
    model = ScriptedChatModel(["one", "two", "three"])
    prompt = memory.prompt(
        [("system", "{{tone}} {{recent_context}}"), MessagesPlaceholder("history"), ("human", "{input}")]
    )
    chain = RunnableWithMessageHistory(
        prompt | model,
        memory.get_session_history,
        input_messages_key="input",
        history_messages_key="history",
        history_factory_config=memory.history_factory_config,
    )
    await invoke(chain, {"input": "first"}, RUN)
    await invoke(chain, {"input": "second"}, RUN)
    assert model.requests[1][0].content == "kind User: first\nAssistant: one"
    await invoke(chain, {"input": "third"}, {"configurable": {"session_id": "s", "user_id": ""}})
    assert [message.content for message in model.requests[2]] == [" ", "third"]
    assert [message.content for message in model.requests[1][1:]] == ["first", "one", "second"]


async def test_it_fills_itself_in_a_graph(memory, call, invoke):
    await call(memory.variables.set, "tone", "kind", user_id="alice@example.com", session_id="t")
    model = ScriptedChatModel(["hello"])
    chain = (
        memory.prompt([("system", "Be {{tone}}. {{recent_context}}"), MessagesPlaceholder("messages")])
        | model
        | (lambda m: {"messages": [m]})
    )
    graph = StateGraph(MessagesState).add_node("reply", chain).add_edge(START, "reply").compile()
    run = {"configurable": {"thread_id": "t", "user_id": "alice@example.com"}}
    state = await invoke(graph, {"messages": [("user", "one"), ("ai", "two"), ("user", "hi")]}, run)
    assert [message.content for message in state["messages"]] == ["one", "two", "hi", "hello"]
    assert model.requests[0][0].content == "Be kind. User: one\nAssistant: two"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"missing": "drop"}, InvalidInputError, "missing must be 'empty' or 'error'"),
        ({"limits": 5}, InvalidTypeError, "limits must be a mapping"),
        ({"limits": {"other": 5}}, InvalidInputError, "limits names 'other'"),
        ({"limits": {"tone": 0}}, InvalidInputError, r"limits\['tone'\]"),
        ({"max_tokens": 0}, InvalidInputError, "max_tokens"),
        ({"question": "q"}, InvalidInputError, "question='q' is no input"),
        ({"user_id": ""}, InvalidInputError, "user_id"),
        ({"token_counter": 3}, InvalidTypeError, "token_counter"),
        ({"schema": 3}, InvalidTypeError, "schema"),
        ({"k": 0}, InvalidInputError, "k must"),
        ({"knowledge": "food"}, InvalidTypeError, "knowledge"),
        ({"recent": 3}, InvalidTypeError, "recent"),
    ],
)
def test_wrong_arguments_are_refused(sqlite_memory, arguments, error, message):
    with pytest.raises(error, match=message):
        sqlite_memory.prompt("{{tone}} {input}", **arguments)


def test_a_template_of_langchain_is_accepted(sqlite_memory):
    sqlite_memory.variables.set("tone", "kind")
    own = sqlite_memory.prompt(
        ChatPromptTemplate([("system", "{{tone}} {now}")]).partial(now=lambda: datetime.now(UTC).year)
    )
    assert own.input_variables == []
    assert own.invoke({}).to_messages()[0].content == f"kind {datetime.now(UTC).year}"
    with pytest.raises(ValueError, match="Single '}'"):
        sqlite_memory.prompt("{{tone}} }")
