"""Texts in other languages than English, in the store and in histories, on every backend."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_agentmem import AgentMemory, ConfigurationError
from langchain_agentmem.words import analyze, stemmed

NS = ("facts",)


def speaking(url: str, language: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}language={language}"


SAYINGS = {
    "german": ("Ich liebe Katzen", "Katze", "Der Zug kommt"),
    "french": ("Elle mangeait des pommes", "manger une pomme", "Il dort"),
    "spanish": ("Los niños cantaban", "cantar", "Llueve mucho"),
    "russian": ("Мы читали книги", "книга", "Идёт дождь"),
}


@pytest.mark.parametrize("language", SAYINGS)
async def test_words_are_found_in_any_form_of_the_language(url, call, language):
    text, query, other = SAYINGS[language]
    with AgentMemory.from_url(speaking(url, language)) as memory:
        await call(memory.store.put, NS, "it", {"text": text})
        await call(memory.store.put, NS, "other", {"text": other})
        assert [item.key for item in await call(memory.store.search, NS, query=query)] == ["it"]
        await call(memory.history("s").add_messages, [AIMessage(other)])
        await call(memory.history("t").add_messages, [HumanMessage(text)])
        assert [one.session_id for one in await call(memory.search_history, query)] == ["t"]
        await call(memory.close)


async def test_the_language_is_settled_by_the_first_use(lasting_url, call):
    with AgentMemory.from_url(speaking(lasting_url, "german")) as memory:
        await call(memory.store.put, NS, "it", {"text": "Katzen"})
        await call(memory.close)
    with AgentMemory.from_url(lasting_url) as memory:
        with pytest.raises(ConfigurationError, match=r"in 'german', not 'english'.*language=german"):
            await call(memory.store.search, NS, query="Katze")
        await call(memory.close)


async def test_a_language_that_is_not_known_is_refused(url, call):
    with (
        pytest.raises(ConfigurationError, match="klingon"),
        AgentMemory.from_url(speaking(url, "klingon")) as memory,
    ):
        await call(memory.store.search, NS, query="a")
    if url.startswith("postgresql"):
        await call(memory.close)


def test_what_is_no_language_leaves_words_as_they_are():
    assert analyze("dogs", "simple") != analyze("dog", "simple")
    assert stemmed("The dogs ran", "english") == "the dog ran"
