"""The search for a user's ID in all keys of a Redis database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, ScanKeys, load_scripts, slot
from langchain_agentmem.backends.traces import DIGEST, FoundTrace, TraceForms, item_shown
from langchain_agentmem.programs import Program, storage_program

LUA = load_scripts("occurrences.lua", "a key")

_PREFIX = "agentmem:"
_ITEM = f"{_PREFIX}*:item"


@storage_program
def traces(
    tenant: str, user_id: str, root: str, after: Mapping[Any, Any] | None
) -> Program[tuple[list[FoundTrace], str, Mapping[Any, Any] | None]]:
    """Search some of the keys; see `Backend.traces`."""
    keys, cursors = yield from ScanKeys(after)
    forms = TraceForms(user_id)
    slots = [slot(kind, tenant, user_id) for kind in ("sessions", "records", "threads")]
    slots += [slot("root", tenant, one) for one in (user_id, root)]
    found: list[FoundTrace] = []
    for key in keys:
        name = key.decode(errors="backslashreplace")
        where = _kind_of(name)
        form = DIGEST if name.startswith(tuple(slots)) else forms.form_of(key)
        if form is not None:
            found.append(FoundTrace(f"{where} (key)", form, _example(name)))
    pending: dict[bytes, Any] = dict.fromkeys(keys, "")
    while pending:
        calls = [Invoke(LUA["search"], (key,), (cursor, *forms.needles)) for key, cursor in pending.items()]
        answers = yield from InvokeAll(calls)
        for key, (_, *values) in zip(pending, answers, strict=True):
            name = key.decode(errors="backslashreplace")
            matches = [form for value in values if (form := forms.form_of(value)) is not None]
            found += [FoundTrace(_kind_of(name), form, _example(name)) for form in matches]
        following = zip(pending, answers, strict=True)
        pending = {key: cursor for key, (cursor, *_) in following if cursor != b""}
    return found, "keys", cursors or None


def _example(name: str) -> str:
    """Return the namespace and key of a store item; other keys themselves."""
    if _kind_of(name) != _ITEM:
        return name
    *labels, key = name.partition("}:item:")[2].split("\0")
    return item_shown(tuple(labels), key)


def _kind_of(key: str) -> str:
    """Return the kind of one of this package's keys; other keys themselves."""
    if not key.startswith(_PREFIX):
        return key
    rest = key.partition("}:")[2]
    return f"{_PREFIX}*:{rest.partition(':')[0]}"
