"""The compact layout: any value taken apart comes back exactly, from few rows that hold few references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from examples import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from langchain_agentmem import DamagedDataError, UnsupportedValueError
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import (
    DICT,
    ITEM,
    LIST,
    SMALL_BYTES,
    Known,
    Split,
    StoredValue,
    ValueKey,
    join,
    resolve,
    splice,
    split,
)
from langchain_agentmem.encoding.references import REFERENCE_BYTES, each_reference

CODEC = Codec()
LONG = "a text that is longer than what is stored whole " * 7

moderate = settings(max_examples=examples(150), deadline=None)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text("aü€😀\x00", max_size=6)
)
big = st.sampled_from([LONG, LONG + "b", b"\x00" * 400])
elements = st.recursive(
    scalars | big,
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text("abc\x00", max_size=2), inner, max_size=10),
    max_leaves=25,
)
numbers = st.lists(st.integers(0, 5), max_size=40)
"""Few different elements, so that versions have much in common and many duplicates."""


def key(version: Any) -> ValueKey:
    return ValueKey("", "c", str(version))


def parts_of(numbers: Sequence[int]) -> Split:
    """A list of elements whose references are their numbers."""
    references = b"".join(number.to_bytes(REFERENCE_BYTES, "big") for number in numbers)
    return Split(LIST, "", references, list(numbers))


def numbers_of(references: bytes) -> list[int]:
    return [int.from_bytes(reference, "big") for reference in each_reference(references)]


def chain_of(key: ValueKey, rows: dict[ValueKey, StoredValue]) -> list[StoredValue]:
    chain = [rows[key]]
    while chain[-1].base is not None:
        chain.append(rows[chain[-1].base])
    return chain


def restored(value: Any, codec: Codec = CODEC, secret: bytes = b"") -> Any:
    """The value, taken apart, every element through its bytes, and put together again."""
    parts = split(value, codec, secret)
    assert parts is not None
    stored = {
        reference: codec.store(element, parts.identities[at])
        for at, (reference, element) in enumerate(zip(each_reference(parts.references), parts.elements, strict=True))
    }
    return join(parts.kind, parts.shape, [codec.load(stored[r]) for r in each_reference(parts.references)])


# Taking apart and putting together


@moderate
@given(st.lists(elements, max_size=12) | st.dictionaries(st.text("abü\x00", max_size=3), elements, max_size=12))
@example([])
@example({})
@example({"": LONG, "\x00": [LONG] * 9, "a": {str(n): LONG for n in range(9)}})
@example({"a": [LONG] * 7, "b": [LONG] * 8, "c": [LONG] * 8})
@example({str(n): list(range(9)) for n in range(60)})
def test_a_list_or_dict_comes_back_equal_and_in_order(value):
    if split(value, CODEC, b"") is None:
        assert sum(len(CODEC.identify(element).data) for element in value) <= SMALL_BYTES
        return
    back = restored(value)
    assert back == value
    assert repr(back) == repr(value)  # also the order of keys, and 1 against True against 1.0


@pytest.mark.parametrize("secret", [b"", b"key" * 10])
@pytest.mark.parametrize(
    "value",
    [
        [HumanMessage("a", id="1"), AIMessage(LONG, id="2"), HumanMessage("a", id="1")],
        HumanMessage(LONG, id="1", additional_kwargs={"a": [None]}),
        {"messages": [SystemMessage(LONG)] * 12, "n": 1},
        _DeltaSnapshot([LONG, LONG]),
        _DeltaSnapshot({"a": LONG, "b": [LONG] * 20}),
        _DeltaSnapshot(HumanMessage(LONG)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_messages_and_snapshots_come_back_equal_and_of_their_type(value, secret):
    back = restored(value, secret=secret)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        LONG,
        (LONG, LONG),
        {1: LONG},
        {1, 2},
        b"\x00" * 400,
        ["short"],
        {"a": 1},
        [],
        {},
        _DeltaSnapshot([]),
        _DeltaSnapshot(LONG),
        HumanMessage("short"),
        type("OwnList", (list,), {})([LONG]),
    ],
    ids=repr,
)
def test_what_is_small_or_neither_list_nor_dict_nor_message_is_stored_whole(value):
    assert split(value, CODEC, b"") is None


def test_an_element_that_cannot_be_stored_is_refused():
    with pytest.raises(UnsupportedValueError):
        split([LONG, object()], CODEC, b"")


def test_an_element_that_an_own_serializer_may_know_is_stored_whole():
    codec = Codec(EncryptedSerializer.from_pycryptodome_aes(key=b"k" * 32))
    assert split([LONG, object()], codec, b"s") is None


def test_references_differ_with_the_content_the_type_and_the_secret():
    def reference(element: Any, secret: bytes = b"") -> bytes:
        parts = split([element, LONG], CODEC, secret)
        assert parts is not None
        return next(iter(each_reference(parts.references)))

    different = [
        1,
        True,
        1.0,
        "1",
        b"1",
        None,
        [1],
        {"1": 1},
        HumanMessage("1"),
        AIMessage("1"),
        HumanMessage("1", id="1"),
    ]
    assert len({reference(element) for element in different} | {reference(1, b"a"), reference(1, b"b")}) == 13
    assert reference(HumanMessage("1")) == reference(HumanMessage("1"))


def test_a_long_entry_of_a_dict_is_taken_apart_so_that_it_may_grow():
    small, large = ({"log": [f"{n} {LONG}" for n in range(count)], "n": count} for count in (50, 51))
    before, after = split(small, CODEC, b""), split(large, CODEC, b"")
    assert before is not None
    assert after is not None
    _, known, _ = splice(key(1), before, None)
    _, _, fresh = splice(key(2), after, known)
    assert [after.elements[at] for at in fresh] == [f"50 {LONG}", ["n", 51]]


def test_a_message_that_was_mutated_in_place_is_another_element():
    message = HumanMessage(LONG)
    first = split([message, message], CODEC, b"")
    message.content += "!"
    second = split([message, message], CODEC, b"")
    assert first is not None
    assert second is not None
    assert first.references != second.references


def test_a_kind_that_is_not_known_is_refused():
    with pytest.raises(DamagedDataError, match="newer version"):
        join("tree", "", [])


# Storing versions


@moderate
@given(st.lists(st.tuples(numbers, st.integers(0, 30)), min_size=1, max_size=30))
@example([([1, 1, 1], 0), ([1, 1], 0), ([1, 1, 1, 1], 1), ([], 0), ([1], 0), ([1, 1, 1], 2)])
@example([(list(range(20)), 0), (list(range(5, 20)), 0), (list(range(19, 4, -1)), 0)])
def test_every_version_resolves_exactly_whatever_it_was_made_from(versions):
    """Each version is made from any earlier one, as when branches fork and caches are cold."""
    rows: dict[ValueKey, StoredValue] = {}
    learned: list[Known] = []
    stored: list[set[int]] = []
    for at, (value, back) in enumerate(versions):
        origin = None if not learned else len(learned) - 1 - back % len(learned)
        known = None if origin is None else learned[origin]
        if known is not None and back % 3 == 0:
            known = resolve(known.key, rows)[1]  # what another process knows, which read it
        row, new, fresh = splice(key(at), parts_of(value), known)
        rows[row.key] = row
        learned.append(new)
        held = set() if origin is None else stored[origin]
        stored.append(set(value))
        assert {value[n] for n in range(len(value)) if n not in fresh} <= held
    for at, (value, _) in enumerate(versions):
        row, known = resolve(key(at), rows)
        assert numbers_of(known.references) == value
        assert known == learned[at]._replace(elements=(), size=0)
        assert row.number.bit_count() == len(chain_of(row.key, rows))


values_with_much_in_common = st.lists(
    st.sampled_from([LONG, f"{LONG}!", 1, True, 1.0, b"1", None, [LONG], HumanMessage(LONG)])
)


@moderate
@given(values_with_much_in_common, values_with_much_in_common, st.sampled_from([b"", b"key"]))
def test_what_is_known_saves_work_and_changes_nothing(before, after, secret):
    old, new = (split([LONG, *value], CODEC, secret) for value in (before, after))
    assert old is not None
    _, known, _ = splice(key(1), old, None)
    warm = split([LONG, *after], CODEC, secret, known)
    assert warm is not None
    assert new is not None
    assert warm._replace(identities=new.identities, kept=new.kept) == new
    copies = [element.copy(CODEC) for element in warm.kept]
    assert repr(copies) == repr([LONG, *after])
    assert warm.identities.items() <= new.identities.items()


@moderate
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), numbers), min_size=1, max_size=40))
def test_head_and_tail_put_random_edits_together_exactly(edits):
    rows: dict[ValueKey, StoredValue] = {}
    known: Known | None = None
    value: list[int] = []
    values: list[list[int]] = []
    for at, (start, length, new) in enumerate(edits):
        value = value[:start] + new + value[start + length :]
        row, known, _ = splice(key(at), parts_of(value), known)
        rows[row.key] = row
        values.append(value)
        base = [] if row.base is None else values[int(row.base.version)]
        middle = numbers_of(row.data)
        assert base[: row.head] + middle + base[len(base) - row.tail :] == value
    assert [numbers_of(resolve(key(at), rows)[1].references) for at in range(len(edits))] == values


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 100, 127, 128, 1000])
def test_n_appends_store_at_most_n_log_n_references_in_chains_of_log_n_rows(count):
    rows: dict[ValueKey, StoredValue] = {}
    known: Known | None = None
    for version in range(1, count + 1):
        row, known, fresh = splice(key(version), parts_of(range(version)), known)
        rows[row.key] = row
        assert list(fresh) == [version - 1]
    total = sum(len(row.data) // REFERENCE_BYTES for row in rows.values())
    assert total <= count * (math.log2(count) + 2)
    for version in range(1, count + 1):
        assert len(chain_of(key(version), rows)) <= math.log2(version) + 1
        assert numbers_of(resolve(key(version), rows)[1].references) == list(range(version))


@pytest.mark.parametrize("from_front", [True, False])
def test_shortening_stores_few_references_a_version(from_front):
    rows: dict[ValueKey, StoredValue] = {}
    known: Known | None = None
    for version in range(1000):
        value = range(version, 1000) if from_front else range(1000 - version)
        row, known, fresh = splice(key(version), parts_of(value), known)
        rows[row.key] = row
        assert version == 0 or list(fresh) == []
    # Versions that are stored in full are those whose number is a power of two.
    assert sum(len(row.data) // REFERENCE_BYTES for row in rows.values()) <= 10 * 1000
    for version in (1, 511, 512, 999):
        assert numbers_of(resolve(key(version), rows)[1].references) == (
            list(range(version, 1000)) if from_front else list(range(1000 - version))
        )


def test_a_window_that_moves_on_stores_at_most_its_length_a_version():
    """The newest 100 elements of a list that grows: one is added, and one goes from the front."""
    known: Known | None = None
    for version in range(1000):
        row, known, _ = splice(key(version), parts_of(range(version, version + 100)), known)
        assert len(row.data) <= 100 * REFERENCE_BYTES


@pytest.mark.parametrize("kind", [DICT, ITEM, "snapshot.list"])
def test_a_value_that_changes_its_kind_is_stored_in_full(kind):
    _, known, _ = splice(key(1), parts_of([1, 2, 3]), None)
    row, after, fresh = splice(key(2), parts_of([1, 2, 3])._replace(kind=kind), known)
    assert (row.base, row.head, row.tail, list(fresh)) == (None, 0, 0, [0, 1, 2])
    assert (after.number, after.kind) == (1, kind)


@given(st.integers(1, 40), st.data())
@settings(max_examples=examples(60), deadline=None)
def test_a_missing_row_of_a_chain_is_an_error(count, data):
    rows: dict[ValueKey, StoredValue] = {}
    known: Known | None = None
    for version in range(1, count + 1):
        row, known, _ = splice(key(version), parts_of(range(version)), known)
        rows[row.key] = row
    chain = chain_of(key(count), rows)
    gone = data.draw(st.sampled_from(chain))
    del rows[gone.key]
    with pytest.raises(DamagedDataError, match=f"'{gone.key.version}', which is missing"):
        resolve(key(count), rows)


def test_rows_that_refer_to_each_other_in_a_circle_are_an_error():
    rows = {key(n): StoredValue(key(n), LIST, "", b"", n, key(1 - n)) for n in (0, 1)}
    with pytest.raises(DamagedDataError):
        resolve(key(0), rows)
