"""Plans of prompts: they make the messages that LangChain's templates make, and notice changes of the templates."""

from __future__ import annotations

import copy

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.prompts import (
    ChatPromptTemplate,
    HumanMessagePromptTemplate,
    PromptTemplate,
    SystemMessagePromptTemplate,
)

from langchain_agentmem.prompting.templates.plans import Plan


class Name:
    """Formats itself in its own way."""

    def __format__(self, spec):
        return f"a name{spec}"


@pytest.mark.parametrize(
    "messages",
    [
        [("system", "Be {style}."), ("human", "{input}{input}"), ("ai", "{{}} {style}")],
        [("human", "{input!r:>8} {input:x^9}"), HumanMessage("{input}")],
        [("placeholder", "{history}"), ("human", [{"type": "text", "text": "{input}"}])],
        [HumanMessagePromptTemplate.from_template("{input}", additional_kwargs={"one": {"two": 1}})],
        [SystemMessagePromptTemplate(prompt=PromptTemplate.from_template("{style} {x}", partial_variables={"x": "y"}))],
        [("human", "")],
    ],
)
@pytest.mark.parametrize("style", ["plain", 7, None, Name(), "{input} {{x}} \ud800"])
def test_a_plan_makes_the_messages_of_the_templates(messages, style):
    theirs = ChatPromptTemplate(messages)
    inputs = {"style": style, "input": "text", "history": [("human", "{style}")]}
    expected, found = theirs.format_messages(**inputs), Plan(theirs.messages).messages(inputs)
    assert found == expected
    for one, other in zip(found, expected, strict=True):
        assert type(one) is type(other)
        assert one.model_fields_set == other.model_fields_set
        assert list(one.__dict__) == list(other.__dict__)


def test_messages_share_no_value():
    plan = Plan(ChatPromptTemplate([("ai", "{input}")]).messages)
    (one,), (other,) = plan.messages({"input": "a"}), plan.messages({"input": "a"})
    one.additional_kwargs["x"] = one.response_metadata["x"] = 1
    one.tool_calls.append({"name": "f", "args": {}, "id": "1", "type": "tool_call"})
    assert (other.additional_kwargs, other.response_metadata, other.tool_calls) == ({}, {}, [])
    assert plan.messages({"input": "a"}) == [other]


def test_a_plan_notices_changed_templates():
    prompt = ChatPromptTemplate([("system", "{input}"), ("human", "{input}")])
    plan = Plan(prompt.messages)
    assert plan.is_of(prompt.messages)
    assert not plan.is_of(prompt.messages[:1])
    assert not plan.is_of(copy.deepcopy(prompt.messages))
    assert not copy.deepcopy(plan).is_of(prompt.messages)
    prompt.messages[0].prompt.template = "now {input}"
    assert not plan.is_of(prompt.messages)
    plan = Plan(prompt.messages)
    prompt.messages[1].prompt = PromptTemplate.from_template("{input}!")
    assert not plan.is_of(prompt.messages)
    assert [one.content for one in Plan(prompt.messages).messages({"input": "a"})] == ["now a", "a!"]
