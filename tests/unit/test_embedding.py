"""What an embedding model says is checked before it is kept."""

from __future__ import annotations

import math
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings

from langchain_agentmem import InvalidVectorsError
from langchain_agentmem.programs import run
from langchain_agentmem.search.embeddings import Embedder
from langchain_agentmem.text.vectors import unit

BROKEN: dict[str, Any] = {
    "none": None,
    "number": 1.0,
    "empty": [],
    "none within": [None, 1.0],
    "nan": [math.nan, 1.0],
    "infinite": [math.inf, 1.0],
    "huge": [1e300, 1e300],
    "words": ["a", "b"],
    "matrix": [[1.0, 2.0]],
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_is_no_vector_is_refused(broken):
    with pytest.raises((ValueError, TypeError)):
        unit(broken)


class Says(Embeddings):
    def __init__(self) -> None:
        self.said: Any = [1.0, 0.0]

    def embed_documents(self, texts: list[str]) -> Any:
        return [self.said for _ in texts]

    def embed_query(self, text: str) -> Any:
        return self.said


@pytest.mark.parametrize("broken", [*BROKEN.values(), [1.0]], ids=[*BROKEN, "shorter"])
def test_what_is_no_vector_is_not_remembered(broken):
    model = Says()
    embedder = Embedder(model)
    right = {"a": unit([1.0, 0.0])}
    assert run(embedder.documents(["a"])) == right
    model.said = broken
    for asked in (
        lambda: embedder.documents(["b"]),
        lambda: embedder.documents(["a", "b"]),
        lambda: embedder.query("b"),
    ):
        with pytest.raises(InvalidVectorsError, match=r"embedding model 'Says' must return"):
            run(asked())
    model.said = [0.0, 2.0]
    assert run(embedder.documents(["a", "b"])) == {**right, "b": unit([0.0, 1.0])}
    assert run(embedder.query("b")) == unit([0.0, 1.0])


def test_a_model_that_was_forgotten_is_asked_anew():
    model = Says()
    embedder = Embedder(model)
    run(embedder.documents(["a"]))
    model.said = [0.0, 1.0, 0.0]
    assert run(embedder.documents(["a"])) == {"a": unit([1.0, 0.0])}
    embedder.forget()
    assert run(embedder.documents(["a"])) == {"a": unit([0.0, 1.0, 0.0])}
