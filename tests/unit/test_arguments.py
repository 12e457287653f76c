"""Arguments: durations in two units, omitted IDs, and the limits in a model's profile."""

from __future__ import annotations

from datetime import timedelta

import pytest
from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel

from langchain_agentmem import InvalidInputError, InvalidTypeError
from langchain_agentmem.arguments.durations import minutes, required_seconds, seconds
from langchain_agentmem.arguments.omitted import OMITTED, check_id_or_omitted
from langchain_agentmem.messages.limits import input_limit, tool_calling


def test_numbers_have_the_unit_of_the_argument_and_timedeltas_need_none():
    assert seconds("ttl", timedelta(minutes=2)) == seconds("ttl", 120) == 120.0
    assert minutes("ttl", timedelta(hours=1)) == minutes("ttl", 60) == 60.0
    assert seconds("ttl", None) is None
    assert minutes("ttl", None) is None


@pytest.mark.parametrize(
    "value", [0, -5, float("nan"), float("inf"), timedelta(0), timedelta(days=-1), 10**400], ids=repr
)
@pytest.mark.parametrize(("function", "unit"), [(seconds, "seconds"), (minutes, "minutes")])
def test_durations_must_be_positive_and_shorter_than_the_calendar(function, unit, value):
    with pytest.raises(InvalidInputError, match=f"^ttl must be more than 0 {unit} and less than 3,000 years, got "):
        function("ttl", value)


@pytest.mark.parametrize("value", ["60", True, [1], object()], ids=["text", "bool", "list", "object"])
@pytest.mark.parametrize(
    ("function", "unit"), [(seconds, "seconds"), (minutes, "minutes"), (required_seconds, "seconds")]
)
def test_other_types_are_refused_as_durations(function, unit, value):
    with pytest.raises(InvalidTypeError, match=f"^ttl must be a timedelta or a number of {unit}, got "):
        function("ttl", value)


def test_a_required_duration_is_refused_if_it_is_none():
    with pytest.raises(InvalidTypeError, match="got NoneType"):
        required_seconds("older_than", None)  # type: ignore[arg-type]


def test_an_omitted_id_differs_from_none_and_is_checked_if_it_is_given():
    assert check_id_or_omitted("user_id", OMITTED) is OMITTED
    assert check_id_or_omitted("user_id", None) is None
    assert not OMITTED
    assert repr(OMITTED) == "OMITTED"
    with pytest.raises(InvalidInputError, match="user_id must not be empty"):
        check_id_or_omitted("user_id", "")


@pytest.mark.parametrize(
    ("profile", "limit"),
    [
        ({"max_input_tokens": 128_000}, 128_000),
        ({"max_input_tokens": 0}, None),
        ({"max_input_tokens": True}, None),
        ({"max_input_tokens": "many"}, None),
        ({}, None),
        (None, None),
    ],
    ids=str,
)
def test_the_input_limit_is_a_positive_number_in_the_profile(profile, limit):
    model = ParrotFakeChatModel()
    object.__setattr__(model, "profile", profile)
    assert input_limit(model) == limit


@pytest.mark.parametrize(
    ("profile", "supported"), [({"tool_calling": False}, False), ({"tool_calling": True}, True), ({}, None)]
)
def test_tool_calling_is_unknown_unless_the_profile_states_it(profile, supported):
    assert tool_calling(ParrotFakeChatModel(profile=profile)) is supported
    assert tool_calling("gpt-4o") is None
