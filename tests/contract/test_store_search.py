"""The store's search: words without embeddings, words and meaning with them; pages that partition."""

from __future__ import annotations

import logging
import math
import zlib
from typing import Any

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage
from langgraph.store.base import PutOp, SearchOp

from langchain_agentmem import AgentMemory, AgentMemStore, EmbeddingsChangedError, InvalidInputError, InvalidTypeError

NS = ("memories",)


@pytest.fixture
def store(memory) -> AgentMemStore:
    return memory.store


def keys(items: list[Any]) -> list[str]:
    return [item.key for item in items]


async def fill(call: Any, store: AgentMemStore, texts: dict[str, Any], **options: Any) -> None:
    for key, text in texts.items():
        await call(store.put, NS, key, text if isinstance(text, dict) else {"text": text}, **options)


# Pages


@pytest.mark.parametrize("size", [1, 7, 10, 30, 59, 60, 61])
@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize("query", [None, "pizza and bread"])
@pytest.mark.parametrize("condition", [None, {"even": True}])
async def test_pages_partition_the_result(url, call, size, embedded, query, condition):
    with AgentMemory.from_url(url, embeddings=ToyEmbeddings() if embedded else None) as memory:
        store = memory.store
        words = ["pizza", "bread", "pizza bread", "bread pizza pizza", "pizza with a long tail of other words"]
        await call(store.batch, [PutOp(NS, str(n), {"text": words[n % 5], "even": n % 2 == 0}) for n in range(60)])
        options = {"query": query, "filter": condition}
        everything = await call(store.search, NS, limit=1000, **options)
        assert len(everything) == (60 if condition is None else 30)
        pages = [await call(store.search, NS, limit=size, offset=offset, **options) for offset in range(0, 65, size)]
        assert [item.key for page in pages for item in page] == keys(everything)
        assert [item.score for page in pages for item in page] == [item.score for item in everything]


# Words


TEXTS = {
    "food": "Alice loves eating pizza with mushrooms",
    "pet": "Her dog is called Rex and he runs fast",
    "city": "She moved to Berlin in the spring of 2019",
    "work": "The engineering team is building a database engine",
    "café": "Le café était fermé",
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("pizza", {"food"}),
        ("PIZZAS", {"food"}),
        ("love to eat", {"food"}),
        ("running", {"pet"}),
        ("dogs", {"pet"}),
        ("Which databases do engineers build?", {"work"}),
        ("pizza or the dog in Berlin", {"food", "pet", "city"}),
        ("2019", {"city"}),
        ("cafe etait", {"café"}),
        ("CAFÉ", {"café"}),
        ("rex.", {"pet"}),
        ("nothing like this zzz", set()),
        ("what is the", {"pet", "work", "city"}),
    ],
)
async def test_words_are_found_stemmed_and_any_of_them(store, call, query, expected):
    await fill(call, store, TEXTS)
    assert set(keys(await call(store.search, NS, query=query))) == expected


async def test_stop_words_find_nothing_when_there_are_other_words(store, call):
    await fill(call, store, TEXTS)
    assert keys(await call(store.search, NS, query="the of and pizza")) == ["food"]
    assert await call(store.search, NS, query="the of and zzz") == []


async def test_a_query_is_never_ignored(store, call):
    await fill(call, store, TEXTS)
    for query in ("zzz", "?!", "...", "😀", "\x00", " ", "\n"):
        assert await call(store.search, NS, query=query) == []
    assert len(await call(store.search, NS, query=None)) == len(TEXTS)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('"', ""),
        ('""', ""),
        ('"pizza', "both pizza"),
        ('pizza"', "both pizza"),
        ('"pizza dog"', "both pizza dog"),
        ("pizza*", "both pizza"),
        ("pizz*", ""),
        ("*", ""),
        ("pizza NEAR dog", "both pizza dog"),
        ("NEAR(pizza dog, 1)", "both pizza dog"),
        ("pizza AND dog", "both pizza dog"),
        ("dog NOT pizza", "both pizza dog"),
        ("text:zzz", ""),
        ("body:pizza", "both pizza dog other"),
        ("col:pizza", "both pizza"),
        ("rank:pizza", "both pizza"),
        ("-pizza", "both pizza"),
        ("^mushrooms", "pizza"),
        ("pizza + dog", "both pizza dog"),
        ("(pizza", "both pizza"),
        ("pizza)", "both pizza"),
        ("{pizza dog}: cat", "both pizza dog"),
        ("pizza; DROP TABLE agentmem_items; --", "both pizza"),
        ("pizza' OR '1'='1", "both pizza"),
        ("pizza\\", "both pizza"),
        ("%pizza%", "both pizza"),
        ("pi_za", ""),
        ("pizza\x00", "both pizza"),
        ("p\x00izza", ""),
        ("pizza OR", "both pizza"),
        ("OR pizza", "both pizza"),
        ("OR AND NOT", "both"),
        ("_", ""),
        ("__ pizza", "both pizza"),
        ("\u200bpizza", "both pizza"),
        ("😀 pizza", "both pizza"),
        ("pizza" * 5000, ""),
        ("pizza " * 5000, "both pizza"),
        (" ".join(f"word{n}" for n in range(5000)), ""),
    ],
    ids=lambda one: ascii(one)[:25],
)
async def test_nothing_in_a_query_is_an_operator(store, call, query, expected):
    texts = {"both": "pizza and a dog", "pizza": "pizza with mushrooms", "dog": "a dog", "other": "lemonade"}
    await fill(call, store, {key: {"body": text} for key, text in texts.items()})
    assert set(keys(await call(store.search, NS, query=query))) == set(expected.split())


@settings(deadline=None, max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    query=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    text=st.text(st.characters(exclude_categories=["Cs"])),
)
async def test_any_query_over_any_text_works(store, call, query, text):
    await call(store.put, NS, "k", {"text": text})
    for item in await call(store.search, NS, query=query):
        assert query == "" or 0 <= item.score <= 1
    assert (await call(store.get, NS, "k")).value == {"text": text}


@pytest.mark.parametrize(
    "text",
    [
        '"quoted" pizza',
        "pizza* AND NOT (x)",
        "NEAR(pizza)",
        "text:pizza -pizza",
        "pizza\x00after",
        "before\x00pizza",
        "'; DROP --pizza",
    ],
    ids=ascii,
)
async def test_nothing_in_a_text_is_an_operator(store, call, text):
    await fill(call, store, {"a": text, "b": "nothing"})
    assert keys(await call(store.search, NS, query="pizza")) == ["a"]


async def test_keys_and_nested_values_of_an_item_are_found(store, call):
    await call(store.put, NS, "a", {"favourite": {"foods": ["pizza", {"drink": "lemonade"}]}, "n": 42, "ok": True})
    for query in ("favourite", "pizzas", "drinks", "lemonade", "42"):
        assert keys(await call(store.search, NS, query=query)) == ["a"]


async def test_scores_lie_between_0_and_1_and_fall(store, call):
    texts = {"three": "pizza pizza pizza", "long": "pizza " + "word " * 200, "two": "pizza dog", "one": "dog"}
    await fill(call, store, texts)
    found = await call(store.search, NS, query="pizza")
    assert set(keys(found)) == {"three", "long", "two"}
    assert found[0].score == 1
    assert found[0].key == "three"
    assert found[-1].key == "long"
    assert all(0 <= item.score <= 1 for item in found)
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)


async def test_more_of_the_words_is_better(store, call):
    await fill(call, store, {"a": "pizza in Berlin", "b": "pizza in Rome", "c": "dogs in Berlin", "d": "cats"})
    found = await call(store.search, NS, query="pizza Berlin")
    assert keys(found)[0] == "a"
    assert set(keys(found)) == {"a", "b", "c"}


async def test_a_query_searches_at_and_below_the_namespace_only(store, call):
    for namespace in (("a",), ("a", "b"), ("ab",), ("b",), ("a.b",)):
        await call(store.put, namespace, "k", {"text": "pizza"})
    assert {item.namespace for item in await call(store.search, ("a",), query="pizza")} == {("a",), ("a", "b")}
    assert len(await call(store.search, (), query="pizza")) == 5


async def test_fields_of_the_index_are_found_and_others_are_not(url, call):
    store = AgentMemStore.from_url(
        url, index={"dims": 64, "embed": ToyEmbeddings(), "fields": ["text", "notes[*].body"]}
    )
    await call(store.put, NS, "a", {"text": "pizza", "hidden": "dragon", "notes": [{"body": "tea"}, {"body": "cake"}]})
    for query in ("pizza", "tea", "cake"):
        (found,) = await call(store.search, NS, query=query)
        assert found.score > 0.9
    (hidden,) = await call(store.search, NS, query="dragon")
    assert hidden.score < 0.9
    await call(store.close)


async def test_a_list_of_fields_can_be_given_for_one_item(store, call):
    value = {"title": "pizza", "body": {"text": "lemonade"}, "secret": "dragon"}
    await call(store.put, NS, "a", value, index=["title", "body.text"])
    assert keys(await call(store.search, NS, query="pizza")) == ["a"]
    assert keys(await call(store.search, NS, query="lemonade")) == ["a"]
    assert await call(store.search, NS, query="dragon") == []
    assert await call(store.search, NS, query="title") == []


async def test_an_item_can_be_left_out_of_the_index(store, call):
    await call(store.put, NS, "a", {"text": "pizza"}, index=False)
    assert await call(store.search, NS, query="pizza") == []
    assert keys(await call(store.search, NS)) == ["a"]
    assert keys(await call(store.search, NS, filter={"text": "pizza"})) == ["a"]


@pytest.mark.parametrize("index", ["text", 7, True, [1], [None], {"text": 1}], ids=repr)
async def test_an_index_that_makes_no_sense_is_refused(store, call, index):
    with pytest.raises(InvalidTypeError, match="index must be"):
        await call(store.put, NS, "a", {"text": "pizza"}, index=index)
    assert await call(store.search, ()) == []


@pytest.mark.parametrize("embedded", [False, True])
async def test_what_was_replaced_or_deleted_is_not_found_any_more(url, call, embedded):
    with AgentMemory.from_url(url, embeddings=ToyEmbeddings() if embedded else None) as memory:
        store = memory.store

        async def best(query: str) -> dict[str, float]:
            return {item.key: item.score for item in await call(store.search, NS, query=query)}

        for key in "abcd":
            await call(store.put, NS, key, {"text": "pizza"})
        before = await best("pizza")
        assert set(before) == set("abcd")
        assert min(before.values()) > 0.8
        await call(store.put, NS, "a", {"text": "lemonade"})
        await call(store.put, NS, "b", {"text": "pizza"}, index=False)
        await call(store.put, NS, "c", {"text": "pizza"}, index=["other"])
        await call(store.delete, NS, "d")
        found = await best("pizza")
        assert set(found) == ({"a"} if embedded else set())
        assert all(score < 0.8 for score in found.values())
        assert (await best("lemonade"))["a"] > 0.8
        await call(store.batch, [PutOp(NS, "a", {"text": "tea"}), PutOp(NS, "e", {"text": "pizza"})])
        assert (await best("pizza"))["e"] > 0.8
        assert (await best("lemonade")).get("a", 0) < 0.8
        await call(store.update, NS, "e", lambda value: {"text": "tea"})
        assert (await best("pizza")).get("e", 0) < 0.8


async def test_a_batch_can_hold_several_queries(store, call):
    await fill(call, store, TEXTS)
    found = await call(store.batch, [SearchOp(NS, query="pizza"), SearchOp(NS, query="dog"), SearchOp(NS, query="zzz")])
    assert [keys(one) for one in found] == [["food"], ["pet"], []]


@pytest.mark.parametrize("query", [7, b"pizza", ["pizza"]], ids=repr)
async def test_a_query_that_is_no_text_is_refused(store, call, query):
    with pytest.raises(InvalidTypeError, match="query must be a string"):
        await call(store.search, NS, query=query)
    with pytest.raises(InvalidInputError, match="query"):
        await call(store.search, NS, query="\ud800")


# Meaning


SYNONYMS = {"canine": "dog", "hound": "dog", "puppy": "dog", "meal": "food", "dinner": "food", "automobile": "car"}


class ToyEmbeddings(Embeddings):
    """A hashed bag of words in which synonyms share a place; it remembers what it was asked."""

    def __init__(self, dims: int = 64, error: Exception | None = None) -> None:
        self.dims, self.error = dims, error
        self.documents: list[list[str]] = []
        self.queries: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.documents.append(texts)
        if self.error:
            raise self.error
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.queries.append(text)
        if self.error:
            raise self.error
        return self._vector(text)

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dims
        for word in "".join(c if c.isalnum() else " " for c in text.lower()).split():
            vector[zlib.crc32(SYNONYMS.get(word, word).encode()) % self.dims] += 1.0
        length = math.sqrt(sum(x * x for x in vector)) or 1.0
        return [x / length for x in vector]


@pytest.fixture
def embeddings() -> ToyEmbeddings:
    return ToyEmbeddings()


@pytest.fixture
def meaning(url, embeddings):
    with AgentMemory.from_url(url, embeddings=embeddings) as memory:
        yield memory.store


async def test_meaning_is_found_where_the_words_differ(meaning, call):
    await fill(call, meaning, {"a": "the hound barks", "b": "a red automobile", "c": "tea"}, index=["text"])
    assert keys(await call(meaning.search, NS, query="dog"))[0] == "a"
    assert keys(await call(meaning.search, NS, query="car"))[0] == "b"


async def test_with_embeddings_every_indexed_item_is_ranked(meaning, call):
    await fill(call, meaning, {str(n): f"word{n}" for n in range(30)})
    await call(meaning.put, NS, "hidden", {"text": "word1"}, index=False)
    found = await call(meaning.search, NS, query="word3", limit=100)
    assert set(keys(found)) == {str(n) for n in range(30)}
    assert found[0].key == "3"
    assert all(0 <= item.score <= 1 for item in found)
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)


async def test_words_and_meaning_together_beat_either(meaning, call):
    await fill(
        call, meaning, {"both": "a puppy dog", "word": "dog house number seven in town", "other": "tea and cake"}
    )
    found = await call(meaning.search, NS, query="puppy dog")
    assert found[0].key == "both"
    assert found[-1].key == "other"


async def test_one_batch_asks_the_model_once(meaning, embeddings, call):
    await call(meaning.batch, [PutOp(NS, str(n), {"text": f"word {n % 3}"}, index=["text"]) for n in range(10)])
    assert [sorted(texts) for texts in embeddings.documents] == [["word 0", "word 1", "word 2"]]
    assert embeddings.queries == []


async def test_only_what_is_indexed_is_sent_to_the_model(meaning, embeddings, call):
    await call(meaning.put, NS, "a", {"text": "public", "secret": "dragon"}, index=["text"])
    await call(meaning.put, NS, "b", {"text": "dragon"}, index=False)
    await call(meaning.delete, NS, "a")
    await call(meaning.get, NS, "b")
    await call(meaning.search, NS, filter={"text": "dragon"})
    assert embeddings.documents == [["public"]]
    assert embeddings.queries == []


async def test_a_model_that_fails_loses_no_item_and_searches_go_by_words(url, call, caplog):
    broken = ToyEmbeddings(error=RuntimeError("quota exceeded"))
    with AgentMemory.from_url(url, embeddings=broken) as memory, caplog.at_level(logging.WARNING):
        await call(memory.store.put, NS, "a", {"text": "pizza"})
        await call(memory.store.batch, [PutOp(NS, "b", {"n": 1}, index=False), PutOp(NS, "c", {"text": "tea"})])
        await call(memory.store.update, NS, "d", lambda value: {"text": "pizza and tea"})
        assert caplog.text.count("The embedding model failed") == 3
        assert set(keys(await call(memory.store.search, NS, query="pizza"))) == {"a", "d"}
        assert set(keys(await call(memory.store.search, NS))) == {"a", "b", "c", "d"}
        await call(memory.close)


async def test_a_text_that_was_embedded_lately_is_not_embedded_again(url, call):
    model = ToyEmbeddings()
    with AgentMemory.from_url(url, embeddings=model) as memory:
        await call(memory.store.batch, [PutOp(NS, str(n), {"text": f"text {n % 3}"}) for n in range(9)])
        assert [len(batch) for batch in model.documents] == [3]
        await call(memory.store.batch, [PutOp(NS, str(n), {"text": f"text {n % 4}"}) for n in range(9)])
        assert [len(batch) for batch in model.documents] == [3, 1]
        for _ in range(3):
            assert len(await call(memory.store.search, NS, query="text 1")) == 9
        assert model.queries == ["text 1"]
        await call(memory.close)


SCRIPTS = {
    "Japanese": ("私は東京で寿司を食べました", "東京の寿司", "今日は雨です"),
    "Chinese": ("我昨天在北京吃了烤鸭", "北京烤鸭", "今天下雨了"),
    "Thai": ("ฉันรักสุนัขของฉัน", "สุนัข", "วันนี้ฝนตก"),
}


@pytest.mark.parametrize("script", SCRIPTS)
async def test_scripts_without_spaces_are_searched(url, call, script):
    text, query, other = SCRIPTS[script]
    with AgentMemory.from_url(url) as memory:
        await call(memory.store.put, NS, "it", {"text": f"Note: {text}!"})
        await call(memory.store.put, NS, "other", {"text": other})
        assert keys(await call(memory.store.search, NS, query=query))[0] == "it"
        await call(memory.close)


async def test_a_model_that_was_changed_is_a_clear_error(lasting_url, call):
    with AgentMemory.from_url(lasting_url, embeddings=ToyEmbeddings(64)) as memory:
        await call(memory.store.put, NS, "k", {"text": "pizza"})
    with AgentMemory.from_url(lasting_url, embeddings=ToyEmbeddings(32)) as memory:
        with pytest.raises(EmbeddingsChangedError, match=r"(?i)the embedding model was changed"):
            await call(memory.store.search, NS, query="pizza")
        assert (await call(memory.store.get, NS, "k")).value == {"text": "pizza"}


async def test_items_stored_without_embeddings_are_still_found_by_their_words(lasting_url, call):
    with AgentMemory.from_url(lasting_url) as memory:
        await call(memory.store.put, NS, "old", {"text": "pizza"})
    with AgentMemory.from_url(lasting_url, embeddings=ToyEmbeddings()) as memory:
        await call(memory.store.put, NS, "new", {"text": "tea"})
        assert set(keys(await call(memory.store.search, NS, query="pizza"))) == {"old", "new"}
        found = {item.key: item.score for item in await call(memory.store.search, NS, query="pizza")}
        assert found["old"] > found["new"]


async def test_texts_without_any_word_can_be_stored_and_searched(meaning, call):
    await fill(call, meaning, {"empty": "", "marks": "?!", "word": "pizza"})
    assert keys(await call(meaning.search, NS, query="pizza"))[0] == "word"
    for query in ("?!", "😀"):
        assert all(0 <= item.score <= 1 for item in await call(meaning.search, NS, query=query))


async def test_a_function_can_be_the_model(url, call):
    with AgentMemory.from_url(url, embeddings=ToyEmbeddings().embed_documents) as memory:
        await fill(call, memory.store, {"a": "the hound barks", "b": "a red automobile"})
        assert keys(await call(memory.store.search, NS, query="dog"))[0] == "a"


async def test_an_item_counts_by_its_best_part(meaning, call):
    await call(meaning.put, NS, "parts", {"notes": ["tea", "hound", "cake"]}, index=["notes[*]"])
    await call(meaning.put, NS, "whole", {"text": "hound tea cake house seven"}, index=["text"])
    found = await call(meaning.search, NS, query="canine")
    assert keys(found) == ["parts", "whole"]
    assert found[0].score > found[1].score


APOSTROPHES = ["What's up?", "What’s it?", "I don't", "That'd be she'll they've we're I'm"]


@pytest.mark.parametrize("query", APOSTROPHES)
async def test_what_is_left_of_a_word_at_an_apostrophe_is_no_word(memory, call, query):
    said = {"bike": "Bob's bike", "boat": "Bob’s boat", "swim": "I can't swim, I'd drown, you'll see"}
    await fill(call, memory.store, said)
    await call(memory.history("s").add_messages, [HumanMessage(text) for text in said.values()])
    assert keys(await call(memory.store.search, NS, query=query + " zeppelin")) == []
    assert await call(memory.history("s").search, query + " zeppelin") == []
    assert set(keys(await call(memory.store.search, NS, query="Which is Bob’s?"))) == {"bike", "boat"}
    assert keys(await call(memory.store.search, NS, query="bob boat's"))[0] == "boat"
    assert keys(await call(memory.store.search, NS, query="see")) == ["swim"]
    assert len(await call(memory.history("t").search, "see")) == 0
    assert (await call(memory.history("s").search, "boat's", 1))[0].position == 1


CHARACTERS = {"cat": "我有一只猫", "water": "水を飲みます", "cats": "猫", "tokyo": "東京都に住んでいます"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("猫", {"cat", "cats"}),
        ("水", {"water"}),
        ("都", {"tokyo"}),
        ("京都", {"tokyo"}),
        ("都京", set()),
        ("cat 猫?", {"cat", "cats"}),
    ],
)
async def test_words_of_one_character_are_found(memory, call, query, expected):
    await fill(call, memory.store, CHARACTERS)
    for key, text in CHARACTERS.items():
        await call(memory.history(key).add_messages, [HumanMessage(text)])
    assert set(keys(await call(memory.store.search, NS, query=query))) == expected
    assert {one.session_id for one in await call(memory.search_history, query)} == expected


async def test_fields_alone_say_what_is_searched_by_words(url, call):
    with AgentMemory.from_url(url, index={"fields": ["text"]}) as memory:
        await call(memory.store.put, NS, "k", {"text": "pizza", "note": "cake"})
        assert keys(await call(memory.store.search, NS, query="pizza")) == ["k"]
        assert keys(await call(memory.store.search, NS, query="cake")) == []
        await call(memory.close)


async def test_a_query_of_blanks_finds_nothing(url, call):
    for embeddings in (None, ToyEmbeddings()):
        with AgentMemory.from_url(url, embeddings=embeddings) as memory:
            await call(memory.store.put, NS, "k", {"text": "pizza"})
            assert await call(memory.store.search, NS, query=" \n\t") == []
            assert keys(await call(memory.store.search, NS, query="")) == ["k"]
            await call(memory.close)


class Corners(Embeddings):
    """Each word has a direction of its own; a text's is that of its first word."""

    def embed_query(self, text: str) -> list[float]:
        vector = [0.0] * 24
        vector[zlib.crc32(text.split(maxsplit=1)[0].encode()) % 24] = 1.0
        vector[23] = 0.123456  # so that similarities are no round numbers
        return vector

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


async def test_items_with_equal_best_fields_come_newest_first(url, call):
    index: Any = {"embed": Corners(), "dims": 24, "fields": ["title", "notes[*].body"]}
    store = AgentMemStore.from_url(url, index=index)
    best, others = "zebra one", ["apple", "banana", "cherry", "date", "elder"]
    values = []
    for at in range(15):
        fields = [best if at % 3 == one else others[(at + one) % 5] for one in range(3)]
        values.append({"title": fields[0], "notes": [{"body": fields[1]}, {"body": fields[2]}]})
    for at, value in enumerate(values[:7]):
        await call(
            store.put, ("a", str(at % 2)), f"k{at}", value, index=["title", "notes[*].body"] if at == 2 else None
        )
    await call(store.put, ("a", "0"), "k0", values[0])  # the first is now the newest of these
    last = [(("a", str(at % 2)), f"k{at:02}", value) for at, value in enumerate(values[7:], 7)]
    await call(store.batch, [PutOp(*one) for one in reversed(last)])
    found = await call(store.search, ("a",), query="zebra", limit=50)
    alone = [key for key, score in ((item.key, item.score) for item in found) if score == found[0].score]
    together = [key for *_, key in sorted((namespace, key) for namespace, key, _ in last)]
    assert alone == [*reversed(together), "k0", "k6", "k5", "k4", "k3", "k2", "k1"]
    assert [item.key for item in await call(store.search, ("a",), query="zebra", limit=5)] == alone[:5]
    assert [item.key for item in await call(store.search, ("a",), limit=50)] == alone
    await call(store.close)
