"""Texts in other languages than English, in the store and in histories, on every backend."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_agentmem import AgentMemory, ConfigurationError
from langchain_agentmem.text.words import analyze, stemmed

NS = ("facts",)


numbers = itertools.count()


@pytest.fixture
def speaking(lasting_url: str) -> Iterator[Callable[[str], str]]:
    """What makes the URL of a new database, each time the same, with a language."""
    base, _, schema = lasting_url.partition("?schema=")
    fresh = f"{base}?schema={schema}_{next(numbers)}" if schema else base
    yield lambda language: f"{fresh}{'&' if schema else '?'}language={language}"
    if schema:  # the tables that tests share are searched in English
        with psycopg.connect(base, autocommit=True) as connection:
            connection.execute(f'DROP SCHEMA IF EXISTS "{fresh.rpartition("=")[2]}" CASCADE')


SAYINGS = {
    "german": ("Ich liebe Katzen", "Katze", "Der Zug kommt"),
    "french": ("Elle mangeait des pommes", "manger une pomme", "Il dort"),
    "spanish": ("Los niños cantaban", "cantar", "Llueve mucho"),
    "russian": ("Мы читали книги", "книга", "Идёт дождь"),
}


@pytest.mark.parametrize("language", SAYINGS)
async def test_words_are_found_in_any_form_of_the_language(speaking, call, language):
    text, query, other = SAYINGS[language]
    with AgentMemory.from_url(speaking(language)) as memory:
        await call(memory.store.put, NS, "it", {"text": text})
        await call(memory.store.put, NS, "other", {"text": other})
        assert [item.key for item in await call(memory.store.search, NS, query=query)] == ["it"]
        await call(memory.history("s").add_messages, [AIMessage(other)])
        await call(memory.history("t").add_messages, [HumanMessage(text)])
        assert [one.session_id for one in await call(memory.search_history, query)] == ["t"]
        await call(memory.close)


ASKED = {
    "german": (
        "Die Katze schläft",
        "Was ist mit der Katze?",
        "Der Zug ist mit dem Wagen da, was die freut",
        "ist mit was",
    ),
    "french": (
        "L'homme mange des pommes",
        "Qu'est-ce que l'homme ?",
        "Qu'il est là, c'est que l'on a ce qui est",
        "qu'est-ce que",
    ),
    "spanish": ("Los niños cantaban", "¿Qué hacen los niños?", "Los que están con las de ella", "que con las de"),
    "russian": ("Мы читали книги", "Что же была за книга?", "Он что же был с ним", "что он"),
}


@pytest.mark.parametrize("language", ASKED)
async def test_words_that_say_nothing_find_nothing_unless_there_are_no_others(speaking, call, language):
    text, query, other, idle = ASKED[language]
    with AgentMemory.from_url(speaking(language)) as memory:
        await call(memory.store.put, NS, "it", {"text": text}, ["text"])
        await call(memory.store.put, NS, "other", {"text": other}, ["text"])
        assert [item.key for item in await call(memory.store.search, NS, query=query)] == ["it"]
        # A query that has no other words is looked for as it is.
        assert (await call(memory.store.search, NS, query=idle))[0].key == "other"
        await call(memory.history("s").add_messages, [AIMessage(other)])
        await call(memory.history("t").add_messages, [HumanMessage(text)])
        assert [one.session_id for one in await call(memory.search_history, query)] == ["t"]
        await call(memory.close)


async def test_the_language_is_settled_by_the_first_use(speaking, call):
    with AgentMemory.from_url(speaking("german")) as memory:
        await call(memory.store.put, NS, "it", {"text": "Katzen"})
        await call(memory.close)
    with AgentMemory.from_url(speaking("english")) as memory:
        with pytest.raises(ConfigurationError, match=r"in 'german', not 'english'.*language=german"):
            await call(memory.store.search, NS, query="Katze")
        await call(memory.close)


async def test_a_language_that_is_not_known_is_refused(speaking, call):
    with pytest.raises(ConfigurationError, match="klingon"):
        async with AgentMemory.from_url(speaking("klingon")) as memory:
            await call(memory.store.search, NS, query="a")


def test_what_is_no_language_leaves_words_as_they_are():
    assert analyze("dogs", "simple") != analyze("dog", "simple")
    assert stemmed("The dogs ran", "english") == "the dog ran"
