"""Objects that hold an open database are not pickled: the error says what to do."""

from __future__ import annotations

import copy
import pickle

import pytest

from langchain_agentmem import InvalidTypeError


@pytest.mark.parametrize(
    "made",
    [
        lambda memory: memory,
        lambda memory: memory.store,
        lambda memory: memory.prompt("Hi {{name}}"),
        lambda memory: memory.as_retriever(user_id="alice"),
        lambda memory: memory.session("s"),
        lambda memory: memory.variables,
        lambda memory: memory.profiles,
    ],
    ids=["memory", "store", "prompt", "retriever", "session", "variables", "profiles"],
)
def test_pickling_an_object_of_a_memory_is_a_clear_error(memory, made):
    with pytest.raises(InvalidTypeError, match=r"A memory cannot be pickled or deep-copied.*create the memory again"):
        pickle.dumps(made(memory))


def test_a_prompt_can_be_copied(memory):
    memory.variables.set("name", "Ann", user_id="alice")
    prompt = memory.prompt("Hi {{name}}", user_id="alice")
    for one in (copy.copy(prompt), copy.deepcopy(prompt)):
        assert one.invoke({}).to_messages()[0].content == "Hi Ann"
