"""The elements of a long value: an element that changed in place is noticed wherever it is."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.elements import Element, copies, unchanged

CODEC = Codec()


def messages(count: int = 300) -> list[Any]:
    return [(AIMessage if at % 2 else HumanMessage)(f"text {at}", id=f"{at}") for at in range(count)]


def kept(values: list[Any]) -> list[Element]:
    return [Element(value, CODEC.identify(value)) for value in values]


def change_text(values: list[Any], at: int) -> None:
    values[at].content = "another text"


def fill_dict(values: list[Any], at: int) -> None:
    values[at].additional_kwargs["new"] = 1


def add_field(values: list[Any], at: int) -> None:
    values[at].unknown = 1


def change_class(values: list[Any], at: int) -> None:
    other = AIMessage if type(values[at]) is HumanMessage else HumanMessage
    values[at] = other(values[at].content, id=values[at].id)


class Raising:
    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]


def add_object(values: list[Any], at: int) -> None:
    values[at].__dict__["name"] = Raising()


@pytest.mark.parametrize("change", [change_text, fill_dict, add_field, change_class, add_object])
@pytest.mark.parametrize("at", [0, 63, 64, 65, 191, 192, 299])
def test_a_changed_element_of_a_long_value_is_noticed(change, at):
    values = messages()
    elements = kept(values)
    change(values, at)
    head, tail = unchanged(values[: at + 1], elements[: at + 1], CODEC)
    assert (head, tail) == (at, 0)


def test_what_was_appended_is_new():
    values = messages(200)
    elements = kept(values)
    assert unchanged([*values, HumanMessage("new")], elements, CODEC) == (200, 0)
    assert unchanged(values[:150], elements, CODEC) == (150, 0)
    assert unchanged(values[50:], elements, CODEC) == (0, 150)


def test_an_element_that_is_kept_as_its_plain_form_is_compared_by_it():
    values = messages(200)
    values[10] = AIMessage([{"type": "text", "text": "a"}], id="10")
    elements = kept(values)
    assert unchanged(values, elements, CODEC) == (200, 0)
    values[10].content[0]["text"] = "b"
    assert unchanged(values[:150], elements[:150], CODEC)[0] == 10


def test_copies_share_nothing_with_each_other():
    elements = kept(messages(100))
    first, second = copies(elements, CODEC), copies(elements, CODEC)
    assert first == second == messages(100)
    for one in first:
        assert isinstance(one, BaseMessage)
        one.additional_kwargs["a"] = 1
        one.content = "changed"
    assert second == copies(elements, CODEC) == messages(100)
    assert all(one.model_fields_set == set(type(one).model_fields) & set(one.__dict__) for one in second)
