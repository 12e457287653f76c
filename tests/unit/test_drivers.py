"""The modules that all drivers share: URL options, translated errors, and lifetimes of connections."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading

import pytest
from pydantic import Field

from langchain_agentmem.backends.failures import Rule, Translated, error_for
from langchain_agentmem.backends.lifetimes import PerLoop, refuse_closed
from langchain_agentmem.backends.postgres.options import PostgresOptions
from langchain_agentmem.backends.redis.options import SentinelOptions
from langchain_agentmem.backends.sqlite.options import SqliteOptions
from langchain_agentmem.backends.urls import Count, Flag, PooledOptions, parse_options
from langchain_agentmem.errors import ConfigurationError, StorageBusyError, StorageClosedError, StorageError


class Options(PooledOptions):
    retries: Count = Field(default=5, ge=0, description="a whole number")
    prepare: Flag = False
    schema_: str | None = Field(default=None, alias="schema", min_length=1, description="a name")


def test_options_are_parsed_from_texts():
    options = parse_options(Options, {"retries": "0", "prepare": "true", "schema": "s", "timeout": "0.5"}, "the URL")
    assert (options.retries, options.prepare, options.schema_, options.timeout) == (0, True, "s", 0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"speed": "9"},
            "Unknown option 'speed' in the URL. Known options are language, pool_size, prepare, retries, ",
        ),
        ({"schema_": "s"}, "Unknown option 'schema_'"),
        ({"retries": "-1"}, "The option retries must be a whole number, got '-1'."),
        ({"retries": "1_0"}, "The option retries must be a whole number, got '1_0'."),
        ({"prepare": "yes"}, "The option prepare must be true or false, got 'yes'."),
        ({"schema": ""}, "The option schema must be a name, got ''."),
        ({"timeout": "nan"}, "The option timeout must be a number of seconds up to 86400, got 'nan'."),
        ({"pool_size": "1001"}, "The option pool_size must be a whole number from 1 to 1000, got '1001'."),
    ],
)
def test_an_error_about_an_option_names_the_accepted_values(given, message):
    handled = sys.exception()  # of an earlier test in this process
    with pytest.raises(ConfigurationError) as caught:
        parse_options(Options, given, "the URL")
    assert message in str(caught.value)
    # No validation error is chained: it shows the given values, and so a password.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is handled


@pytest.mark.parametrize("model", [SqliteOptions, PostgresOptions, SentinelOptions])
def test_each_validated_option_describes_its_values(model):
    unchecked = {"language", "sentinel_password", "sentinel_username"}
    assert [name for name, field in model.model_fields.items() if not field.description and name not in unchecked] == []


RULES = [
    Rule(OSError, StorageBusyError, "Busy: {text}.", sign="busy"),
    Rule((OSError, ValueError), StorageError, "Failed: {text}."),
]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("it is busy"), StorageBusyError("Busy: x.")),
        (OSError("it is gone"), StorageError("Failed: x.")),
        (ValueError("busy"), StorageError("Failed: x.")),
        (KeyError("busy"), None),
    ],
)
def test_the_first_matching_rule_applies(error, expected):
    assert repr(error_for(RULES, error, text="x")) == repr(expected)


def test_other_exceptions_pass_unchanged():
    with (
        pytest.raises(ZeroDivisionError) as caught,
        Translated((OSError, ValueError), lambda error: StorageError(str(error))),
    ):
        raise ZeroDivisionError
    assert caught.value.__cause__ is None


def test_a_translated_error_has_its_cause():
    with pytest.raises(StorageError) as caught, Translated(OSError, lambda error: StorageError(str(error))):
        raise FileNotFoundError("gone")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_a_closed_memory_is_refused():
    refuse_closed(False)
    with pytest.raises(StorageClosedError, match="This memory is closed"):
        refuse_closed(True)


def test_each_loop_has_its_own_object_and_those_of_closed_loops_are_dropped():
    dropped: list[object] = []
    objects: PerLoop[object] = PerLoop(lambda loop, one: dropped.append((loop.is_closed(), one)))

    async def current() -> object:
        assert objects.current(object) is objects.current(object)
        return objects.current(object)

    first = asyncio.run(current())
    assert dropped == []
    second = asyncio.run(current())
    assert first is not second
    assert dropped == [(True, first)]
    assert len(objects) == 1
    objects.close()
    assert dropped[1:] == [(True, second)]


def test_objects_are_dropped_with_the_collection():
    dropped: list[object] = []
    objects: PerLoop[int] = PerLoop(lambda loop, one: dropped.append(one))

    async def use(objects: PerLoop[int]) -> None:
        objects.current(lambda: 7)

    asyncio.run(use(objects))
    del objects
    gc.collect()
    assert dropped == [7]


def test_threads_make_one_object_for_each_loop():
    objects: PerLoop[int] = PerLoop(lambda loop, one: None)
    made: list[int] = []

    async def use() -> None:
        objects.current(lambda: made.append(1) or len(made))
        barrier.wait()

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=asyncio.run, args=(use(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4


def test_a_process_that_inherited_objects_drops_none(monkeypatch):
    dropped: list[object] = []
    objects: PerLoop[int] = PerLoop(lambda loop, one: dropped.append(one))

    async def use() -> None:
        objects.current(lambda: 7)

    asyncio.run(use())
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    objects.close()
    assert dropped == []
