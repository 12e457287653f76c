"""Whose knowledge it is, and how what was written by others stands in a prompt."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_agentmem import InvalidInputError
from langchain_agentmem.knowledge.namespaces import user_namespace, user_of
from langchain_agentmem.text.quoting import quoted


@given(st.text(), st.text())
def test_quoted_text_cannot_end_its_quotation(text, more):
    whole = quoted({"text": text, "more": [more]})
    inner = whole.removeprefix("<data>").removesuffix("</data>")
    assert "<" not in inner
    assert ">" not in inner
    assert json.loads(inner) == {"text": text, "more": [more]}


def test_the_user_is_who_the_config_names_then_the_context_then_the_state():
    config = {"configurable": {"user_id": "c"}}
    assert user_of(config, {"user_id": "s"}, {"user_id": "x"}) == "c"
    assert user_of({}, {"user_id": "s"}, SimpleNamespace(user_id="x")) == "x"
    assert user_of(None, SimpleNamespace(user_id="s")) == "s"
    assert user_of({"configurable": {"__pregel_runtime": SimpleNamespace(context={"user_id": "r"})}}) == "r"


@pytest.mark.parametrize("config", [None, {}, {"configurable": {}}, {"configurable": {"user_id": None}}])
def test_without_a_user_there_is_an_error(config):
    with pytest.raises(InvalidInputError, match="The run names no user"):
        user_of(config, {"messages": []})


def test_the_spaces_of_two_users_share_no_label():
    assert user_namespace("a")[0] != user_namespace("a:b")[0]
    with pytest.raises(InvalidInputError):
        user_namespace("")
