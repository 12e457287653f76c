"""The compression of documents: it is exact, reads what earlier versions wrote, and its dictionary never changes."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_agentmem.encoding import compression, limits
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.compression import compressed, decompressed

DOCUMENT = {
    "checkpoint": {
        "v": 4,
        "ts": "2026-11-27T17:52:09.101135+00:00",
        "id": "1f1ea8b4-4371-69fc-80b2-3312919e75f3",
        "channel_versions": {
            "__start__": "00000000000000000000000000000179.2ca699ddf915",
            "messages": "00000000000000000000000000000180.84fa069551b5",
            "branch:to:reply": "00000000000000000000000000000180.84fa069551b5",
        },
        "versions_seen": {
            "__input__": {},
            "__start__": {"__start__": "00000000000000000000000000000178.96488f438362"},
            "reply": {"branch:to:reply": "00000000000000000000000000000179.2ca699ddf915"},
        },
        "updated_channels": ["messages"],
    },
    "metadata": {"source": "loop", "step": 178, "parents": {}},
    "inline": {},
    "stored": {"messages": "00000000000000000000000000000180.84fa069551b5"},
}


@given(st.binary(max_size=6000))
def test_a_document_comes_back_equal(data):
    assert decompressed(compressed(data)) == data


def test_documents_of_earlier_versions_are_read():
    assert decompressed(zlib.compress(b"channel_versions" * 100, 1)) == b"channel_versions" * 100


def test_a_checkpoint_is_smaller_than_without_the_dictionary():
    stored = Codec().dump_document(DOCUMENT)
    assert Codec().load_document(stored) == DOCUMENT
    assert len(stored.data) < 0.75 * len(zlib.compress(Codec().pack_document(DOCUMENT), 1))


@pytest.mark.parametrize("data", [b"", compressed(b"words")[:-3], b"\x00" + compressed(b"words")])
def test_damaged_documents_are_refused(data):
    with pytest.raises((ValueError, zlib.error)):
        decompressed(data)


def test_a_document_that_grows_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "MAX_VALUE_BYTES", 1000)
    with pytest.raises(ValueError, match="larger than 1,000 bytes"):
        decompressed(compressed(b"x" * 1001))


def test_the_dictionary_is_that_of_all_stored_documents():
    digest = hashlib.sha256(compression._DICTIONARY).hexdigest()
    assert digest == "e9a37bd210a5f1860ea0a1750d3653e0c679dea034e71e142d17804eb8cbf511"
