"""The items that a process keeps in memory: applying changes gives the same ranking as reading everything."""

from __future__ import annotations

import random

import pytest

from langchain_agentmem.backends.contract import ItemChanges, ItemText
from langchain_agentmem.search.queries import Query
from langchain_agentmem.search.ranker import Ranker
from langchain_agentmem.store.corpora import ItemView, KeptItems
from langchain_agentmem.text.vectors import unit
from langchain_agentmem.text.words import analyze

WORDS = "tea coffee cats dogs paris rain music".split()  # noqa: SIM905


def item(source: random.Random, key: int, most_vectors: int) -> ItemText:
    vectors = [unit([source.random() - 0.5 for _ in range(4)]) for _ in range(source.randrange(most_vectors + 1))]
    namespace = ("a", source.choice("xy")) if key % 2 else ("a",)
    return ItemText(key, namespace, str(key), float(key), None, analyze(" ".join(source.choices(WORDS, k=3))), vectors)


def ranked(view: ItemView, query: bytes) -> list[tuple[str, float, float | None]]:
    best = Ranker(view, Query.of("tea in paris"), items=True).best(query, 100)
    return [(view._name_of(hit.row), hit.score, hit.similarity) for hit in best]


@pytest.mark.parametrize("most_vectors", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_changes_give_the_same_ranking_as_reading_everything(most_vectors, seed):
    source = random.Random(seed)
    known = {key: item(source, key, most_vectors) for key in range(40)}
    kept = KeptItems()
    assert kept.views(ItemChanges(0, list(known.values()), [], is_whole=True), None, [()], 0.0) is not None
    for step in range(1, 30):
        changed = [item(source, source.randrange(60), most_vectors) for _ in range(2)]
        gone = [source.randrange(60)]
        for key in gone:
            known.pop(key, None)
        # An item keeps its namespace: another one is another item.
        changed = [one._replace(namespace=known[one.id].namespace) if one.id in known else one for one in changed]
        known.update((one.id, one) for one in changed)
        views = kept.views(
            ItemChanges(step, list({one.id: one for one in changed}.values()), gone), step - 1, [(), ("a", "x")], 0.0
        )
        whole = KeptItems().views(ItemChanges(0, list(known.values()), [], is_whole=True), None, [(), ("a", "x")], 0.0)
        query = unit([source.random() - 0.5 for _ in range(4)])
        for view, fresh in zip(views, whole, strict=True):
            found, expected = ranked(view, query), ranked(fresh, query)
            assert [name for name, *_ in found] == [name for name, *_ in expected]
            assert [score for _, score, _ in found] == pytest.approx([score for _, score, _ in expected], abs=1e-4)
            assert [one for *_, one in found if one] == pytest.approx([one for *_, one in expected if one], abs=1e-4)


def test_an_item_with_several_vectors_is_found_once_with_the_most_similar_one():
    several = [unit([1.0, 0.0]), unit([0.0, 1.0])]
    items = [
        ItemText(1, ("a",), "both", 1.0, None, analyze("tea"), several),
        ItemText(2, ("a",), "one", 2.0, None, analyze("tea"), several[:1]),
    ]
    (view,) = KeptItems().views(ItemChanges(0, items, [], is_whole=True), None, [("a",)], 0.0)
    best = Ranker(view, Query.of("?"), items=True).best(unit([0.1, 1.0]), 10)
    assert [(view.id_of(hit.row), round(hit.similarity, 2)) for hit in best] == [(1, 1.0), (2, 0.1)]


def test_views_are_kept_until_the_items_change():
    source, kept = random.Random(1), KeptItems()
    first = kept.views(ItemChanges(0, [item(source, 1, 1)], [], is_whole=True), None, [("a",)], 0.0)
    assert kept.views(ItemChanges(1, [], []), 0, [("a",)], 0.0)[0] is first[0]
    assert kept.views(ItemChanges(2, [item(source, 2, 1)], []), 1, [("a",)], 0.0)[0] is not first[0]
    assert kept.views(ItemChanges(3, [], []), 0, [("a",)], 0.0) is None  # another search has read more
