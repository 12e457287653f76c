"""The check of a session as a JSON object: damage at any place is refused with an error of ours, or changes nothing else."""

from __future__ import annotations

import copy
from typing import Any

from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langchain_agentmem import AgentMemory, InvalidInputError, InvalidTypeError
from langchain_agentmem.history.documents import checked_document

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["\ud800", "human"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def document() -> dict[str, Any]:
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        call = {"name": "f", "args": {"a": 1}, "id": "1"}
        memory.history("s", user_id="alice", agent="writer").add_messages(
            [
                HumanMessage("Hi", id="1"),
                AIMessage("", tool_calls=[call]),
                ToolMessage("42", tool_call_id="1", artifact=b"\x00"),
            ],
            metadata={"a": {"b": [1]}},
        )
        return memory.history("s", user_id="alice").to_dict()


DOCUMENT = document()


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a JSON object."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, one in inner for path in ((*before, key), *paths(one, (*before, key)))]


@settings(deadline=None, max_examples=examples(1_000))
@given(st.sampled_from(paths(DOCUMENT)), JUNK)
def test_damage_at_any_place_is_refused_or_harmless(path, junk):
    damaged = copy.deepcopy(DOCUMENT)
    owner = damaged
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = junk
    try:
        found = checked_document(damaged)
    except InvalidInputError as error:
        assert str(path[0]) in str(error)  # noqa: PT017 (the other outcome is none)
    else:
        assert path == ("messages",) or len(found.messages) == len(DOCUMENT["messages"])


@settings(deadline=None, max_examples=examples(200))
@given(JUNK)
def test_any_other_data_is_refused(junk):
    try:
        checked_document(junk)
    except (InvalidInputError, InvalidTypeError):
        return
    raise AssertionError
