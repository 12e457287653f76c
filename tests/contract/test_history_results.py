"""What a search in chat histories says of each result, and the options that narrow or reorder results."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage

from langchain_agentmem import AgentMemory, ConfigurationError, InvalidInputError, InvalidTypeError

NOW = datetime(2024, 3, 13, 15, 30, tzinfo=UTC)


class Pets(Embeddings):
    """One dimension for dogs, one for cats, one for all texts."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[float("dog" in text or "puppy" in text), float("cat" in text), 0.1] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


async def test_a_result_says_how_similar_it_is_and_what_matched(url, call):
    with AgentMemory.from_url(url, embeddings=Pets()) as memory:
        history = memory.history("s")
        await call(history.add_messages, [HumanMessage("My dog sleeps"), AIMessage("I see"), HumanMessage("A cat!")])
        (first, *_) = await call(history.search, "Does a puppy sleep?")
        assert (first.message.text, first.matched, first.passage) == ("My dog sleeps", ["sleep"], "My dog sleeps")
        assert first.similarity == pytest.approx(1.0, abs=1e-5)
        by_text = {str(one.message.text): one for one in await call(memory.search_history, "Does a puppy sleep?")}
        assert by_text["A cat!"].similarity == pytest.approx(0.0099, abs=1e-3)
        assert by_text["I see"].matched == []
        assert by_text["I see"].passage is None
        await call(memory.close)


async def test_without_vectors_a_result_has_no_similarity(memory, call):
    await call(memory.history("s").add_messages, [HumanMessage("My dog sleeps")])
    (found,) = await call(memory.search_history, "dogs")
    assert (found.similarity, found.matched) == (None, ["dogs"])


async def test_a_least_similarity_tells_that_nothing_relevant_was_found(url, call):
    with AgentMemory.from_url(url, embeddings=Pets()) as memory:
        await call(memory.history("s").add_messages, [HumanMessage("My dog sleeps"), HumanMessage("A cat!")])
        found = await call(memory.search_history, "A puppy?", min_similarity=0.8)
        assert [one.message.text for one in found] == ["My dog sleeps"]
        assert await call(memory.history("s").search, "Trains sleep", min_similarity=0.8) == []
        await call(memory.close)


async def test_a_least_similarity_without_embeddings_is_refused(memory, call):
    with pytest.raises(ConfigurationError, match="min_similarity needs embeddings"):
        await call(memory.search_history, "dog", min_similarity=0.5)


async def test_a_long_text_says_which_part_matched(memory, call):
    text = "It rained all day. " * 40 + "Then the owl sang in the oak. " + "It rained all night. " * 40
    await call(memory.history("s").add_messages, [AIMessage(text)])
    (found,) = await call(memory.search_history, "Where did the owl sing?")
    assert "the owl sang in the oak" in found.passage
    assert found.passage in text
    assert len(found.passage.split()) <= 75


async def test_an_exact_match_is_before_messages_near_others(memory, call):
    texts = ["hello", "which order?", "cancel order 4712", "cancelled 4712", "ok"]
    await call(memory.history("s").add_messages, [HumanMessage(text) for text in texts])
    found = await call(memory.search_history, "cancel order 4712")
    assert found[0].message.text == "cancel order 4712"
    assert found[0].score > found[1].score


async def test_messages_of_other_users_and_tenants_change_nothing(url, call):
    with AgentMemory.from_url(url, embeddings=Pets()) as memory:
        texts = ["My dog sleeps", "A cat and a dog", "owls", "the owl and the cat"]
        await call(memory.history("s", user_id="alice").add_messages, [HumanMessage(text) for text in texts])
        before = await call(memory.search_history, "Does the dog see an owl?", user_id="alice")
        for other in (memory, memory.for_tenant("other")):
            name = "bob" if other is memory else "alice"
            noise = [HumanMessage(f"owl owl {number}") for number in range(20)]
            await call(other.history("s", user_id=name).add_messages, noise)
        assert await call(memory.search_history, "Does the dog see an owl?", user_id="alice") == before
        await call(memory.close)


async def test_an_answer_is_found_by_the_name_of_its_agent(memory, call):
    for agent in ("critic", "planner"):
        history = memory.history(agent, agent=agent)
        await call(history.add_messages, [HumanMessage("Well?"), AIMessage("The owl flies at night")])
    for agent in ("critic", "planner"):
        (first, *_) = await call(memory.search_history, f"What did the {agent} say of the owl at night?")
        assert (first.agent, first.message.type) == (agent, "ai")


async def filled(memory: AgentMemory, call: Any) -> None:
    for day in ("2023-05-08", "2023-06-01", "2024-02-27", "2024-03-12", "2024-03-13"):
        message = HumanMessage(f"An owl on {day}", additional_kwargs={"created_at": f"{day}T12:00:00"})
        await call(memory.history(day).add_messages, [message])


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("last May", ["2023-05-08"]),
        ("yesterday", ["2024-03-12"]),
        ("two weeks ago", ["2024-02-27"]),
        ("in March 2024", ["2024-03-12", "2024-03-13"]),
        ("since June 2023", ["2023-06-01", "2024-02-27", "2024-03-12", "2024-03-13"]),
        ("in 2022", []),
    ],
)
async def test_a_time_in_words_narrows_a_search(memory, call, when, expected):
    await filled(memory, call)
    found = await call(memory.search_history, "owl", when=when, now=NOW)
    assert sorted(one.session_id for one in found) == expected


async def test_a_time_in_words_and_bounds_are_combined(memory, call):
    await filled(memory, call)
    since = datetime(2024, 3, 13, tzinfo=UTC)
    found = await call(memory.search_history, "owl", when="in March", now=NOW, since=since)
    assert [one.session_id for one in found] == ["2024-03-13"]
    history = memory.history("2023-05-08")
    assert len(await call(history.search, "owl", when="last May", now=NOW)) == 1


class Longest(BaseDocumentCompressor):
    """Keeps the two longest documents."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return sorted(documents, key=lambda one: -len(one.page_content))[:2]


class Scored(Longest):
    """Keeps all documents, with scores."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        scored = [
            Document(one.page_content, metadata={**one.metadata, "relevance_score": 1 / len(one.page_content)})
            for one in documents
        ]
        return sorted(scored, key=lambda one: -one.metadata["relevance_score"])


class Forgetful(Longest):
    """Returns new documents."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return [Document(one.page_content) for one in documents]


SAID = ["owl", "owl owl tree", "an owl in a house of wood", "the owl"]


def lengths(query: str, texts: list[str]) -> list[float]:
    assert query == "owl"
    return [float(len(text)) for text in texts]


async def alengths(query: str, texts: list[str]) -> list[float]:
    return lengths(query, texts)


async def test_a_function_orders_the_best_messages_again(memory, call):
    await call(memory.history("s").add_messages, [HumanMessage(text) for text in SAID])
    found = await call(memory.search_history, "owl", 3, reranker=lengths)
    assert [one.message.text for one in found] == sorted(SAID, key=len, reverse=True)[:3]
    assert found[0].score == 1.0
    assert all(0 <= one.score <= 1 for one in found)
    assert await call(memory.search_history, "zeppelin", reranker=lengths) == []
    assert await call(memory.search_history, "owl", 0, reranker=lengths) == []


async def test_a_coroutine_function_orders_messages_in_asynchronous_searches(memory):
    memory.history("s").add_messages([HumanMessage(text) for text in SAID])
    found = await memory.asearch_history("owl", 1, reranker=alengths)
    assert [one.message.text for one in found] == [SAID[2]]
    with pytest.raises(InvalidTypeError, match="coroutine function"):
        memory.search_history("owl", reranker=alengths)


async def test_a_document_compressor_orders_the_best_messages_again(memory, call):
    history = memory.history("s")
    await call(history.add_messages, [HumanMessage(text) for text in SAID])
    found = await call(history.search, "owl", 3, reranker=Longest())
    assert [(one.message.text, one.score) for one in found] == [(SAID[2], 1.0), (SAID[1], 0.5)]
    found = await call(history.search, "owl", 3, reranker=Scored())
    assert [one.message.text for one in found] == sorted(SAID, key=len)[:3]
    assert found[0].score == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("reranker", "error"),
    [
        (7, InvalidTypeError),
        (Longest, InvalidTypeError),
        (lambda query, texts: [1.0], ConfigurationError),
        (lambda query, texts: None, ConfigurationError),
        (lambda query, texts: [float("nan")] * len(texts), ConfigurationError),
        (Forgetful(), ConfigurationError),
    ],
    ids=["number", "class", "too few", "nothing", "not finite", "new documents"],
)
async def test_a_reranker_that_returns_something_else_is_refused(memory, call, reranker, error):
    await call(memory.history("s").add_messages, [HumanMessage(text) for text in SAID])
    with pytest.raises(error, match="reranker"):
        await call(memory.search_history, "owl", reranker=reranker)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"when": "soon"}, InvalidInputError),
        ({"when": 7}, InvalidTypeError),
        ({"when": "today", "now": 7}, InvalidTypeError),
        ({"min_similarity": "high"}, InvalidTypeError),
        ({"min_similarity": 1.5}, InvalidInputError),
        ({"min_similarity": True}, InvalidTypeError),
    ],
)
async def test_wrong_options_are_refused(memory, call, options, error):
    with pytest.raises(error):
        await call(memory.search_history, "owl", **options)
    with pytest.raises(error):
        await call(memory.history("s").search, "owl", **options)
