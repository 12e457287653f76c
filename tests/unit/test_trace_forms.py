"""The forms in which a stored value may contain an ID."""

from __future__ import annotations

import json
from base64 import b64encode

import ormsgpack
import pytest

from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.backends.traces import TraceForms

ALICE = "alice@example.com"


@pytest.mark.parametrize("user", [ALICE, "1", "ä", 'a"\\b', "%", "a.b\x1a", "x" * 300, "\U0001f600"])
def test_each_form_is_found(user):
    forms = TraceForms(user, b"\x00digest")
    escaped = json.dumps({"text": f"\n{user}"})
    label = user.replace("\x1a", "\x1a0").replace(".", "\x1a1")
    found = [
        (user, "id"),
        (user.encode(), "id"),
        (f"user:{user}", "text"),
        (f"Ask {user}.", "text"),
        (f"user:{label}.facts", "text" if label == user else "label"),
        (escaped, "json" if json.dumps(user) != f'"{user}"' else "text"),
        (json.dumps({"twice": escaped}), None),
        (ormsgpack.packb([user, 65, "x"]), "id"),
        (ormsgpack.packb({"text": f"{user} " + "x" * 50, "n": 1.5}) + b"\xff", "text"),
        (b"\xff\x00digest\xff", "digest"),
        (f"of {digest_of_ids(user, size=9).hex()}", "digest"),
    ]
    for value, form in found:
        assert forms.form_of(value) is not None, value
        assert form in (None, forms.form_of(value)), value
    assert all(
        any(one in (value if isinstance(value, bytes) else value.encode()) for one in forms.needles)
        for value, _ in found
    )
    if len(user) > 8:
        for shift in range(3):
            assert forms.form_of(b64encode(b"x" * shift + user.encode() + b"yy").decode()) == "base64"


@pytest.mark.parametrize(
    "value", ["alice", "malice@example.com", "alice@example.comm", b"\xff1alice@example.com", "", b""]
)
def test_another_id_is_not_found(value):
    assert TraceForms(ALICE).form_of(value) is None
