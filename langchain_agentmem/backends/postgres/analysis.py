"""The words of items that LangGraph's own store writes: a trigger notes the items, the next search by words analyses them."""

from __future__ import annotations

import json

from langchain_agentmem.backends.postgres.statements import statements
from langchain_agentmem.backends.postgres.store import text_vectors, unwrapped
from langchain_agentmem.programs import Fetch, Program, storage_program
from langchain_agentmem.text.words import searched, texts_in, words_of

NOT_ANALYZED = "AM001"
"""The code of the error of a search while such items exist."""

_ITEMS_AT_ONCE = 500


@storage_program
def analyze_items(schema: str | None, language: str) -> Program[bool]:
    """Analyse the words of some items, and return whether there may be more of these items.

    Args:
        schema: The schema of the tables; None for the first schema of the search path.
        language: The language of the texts.
    """
    sql = statements("store.sql", schema)
    rows = yield from Fetch(sql["lock_unanalyzed"], (_ITEMS_AT_ONCE,))
    texts = []
    for at, (_, _, value) in enumerate(rows, 1):
        words = words_of(searched("\n".join(texts_in(json.loads(unwrapped(value))))), language, characters=True)
        texts += [(at, part) for part in text_vectors(" ".join(words))]
    places = [prefix for prefix, _, _ in rows], [key for _, key, _ in rows]
    if rows:
        yield from Fetch(sql["add_texts"], (*places, [at for at, _ in texts], [text for _, text in texts]))
    return bool(rows)
