"""The format of encrypted values: bound to a place, and re-encrypted without knowing the place."""

import base64
import json
import os

import pytest

from langchain_agentmem.encoding.sealing import MARK, Sealer
from langchain_agentmem.errors import TamperedDataError

OLD, NEW = b"old..", b"new.."
KEYS = {OLD: os.urandom(32), NEW: os.urandom(32)}
PLACES = os.urandom(32)
BEFORE, AFTER, ONLY_NEW = Sealer(KEYS, OLD, PLACES), Sealer(KEYS, NEW, PLACES), Sealer({NEW: KEYS[NEW]}, NEW, PLACES)


def test_the_mark_begins_the_base64_form() -> None:
    assert base64.b64encode(MARK) == b"agM1"


def test_each_altered_bit_is_refused() -> None:
    sealed = BEFORE.seal(b"pizza", "items", "a")
    for at in range(len(sealed)):
        with pytest.raises(TamperedDataError):
            BEFORE.open(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], "items", "a")


@pytest.mark.parametrize("place", [("items", "b"), ("items",), ("itemsa",), ("items", "a", ""), ("item", "sa")])
def test_another_place_is_refused(place: tuple[str, ...]) -> None:
    with pytest.raises(TamperedDataError, match="moved here from another row"):
        BEFORE.open(BEFORE.seal(b"pizza", "items", "a"), *place)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 100, 5000])
def test_a_cell_is_resealed_in_the_same_length(size: int) -> None:
    first, second = os.urandom(size), os.urandom(size + 1)
    raw, text = BEFORE.seal(first, "a"), BEFORE.seal_text(second.hex(), "b")
    cell = b"head\x00" + raw + json.dumps({"value": text, "other": "agM1 pizza"}).encode() + b"\x00tail"
    changed = AFTER.resealed(cell)
    assert changed is not None
    assert len(changed) == len(cell)
    assert ONLY_NEW.open(changed[5 : 5 + len(raw)], "a") == first
    assert ONLY_NEW.open_text(json.loads(changed[5 + len(raw) : -5])["value"], "b") == second.hex()
    assert AFTER.resealed(changed) is None
    assert BEFORE.resealed(cell) is None


def test_unencrypted_values_and_unknown_keys_are_refused() -> None:
    with pytest.raises(TamperedDataError, match="is not encrypted"):
        BEFORE.open(b"pizza" * 20, "a")
    with pytest.raises(TamperedDataError, match="its data key is not known"):
        ONLY_NEW.open(BEFORE.seal(b"pizza", "a"), "a")
