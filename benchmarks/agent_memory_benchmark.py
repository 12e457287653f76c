"""Run the open harness `vectorize-io/agent-memory-benchmark` with this package as its memory.

Install the harness and this package in one environment (Python 3.11 or later), and run the harness' own command line from
here. It answers and judges with a language model, so it needs `GEMINI_API_KEY`:

    git clone https://github.com/vectorize-io/agent-memory-benchmark && pip install ./agent-memory-benchmark
    pip install 'langchain-agentmem[postgres,redis]'
    python benchmarks/agent_memory_benchmark.py run --dataset locomo --split locomo10 --memory agentmem

`retrieval` runs the retrieval step alone, without a language model. It prints the share of the documents with the answer that
the results contain, and the time of a search:

    python benchmarks/agent_memory_benchmark.py retrieval --dataset locomo --split locomo10

A document of the harness is a session of its user, and each turn in it is a message with its speaker and its date. A
document of plain text is stored in paragraphs of at most 1,000 characters. A query returns the best messages with the message
before and the one after each.

Environment variables:

- `AGENTMEM_URL`: the database. Default: a SQLite file in the harness' folder for this run. On a server, one tenant per run.
- `AGENTMEM_EMBEDDINGS`: the name of a model of `sentence-transformers`, or `none` to search by words alone.
  Default: `sentence-transformers/all-MiniLM-L6-v2`.
- `AGENTMEM_RESULTS`: the number of messages that a query returns. Default: 30.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from memory_bench.memory import REGISTRY
from memory_bench.memory.base import MemoryProvider
from memory_bench.models import Document

from langchain_agentmem import AgentMemory

NAME = "agentmem"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
EVERYBODY = "everybody"
"""The user of documents without a user."""
PARAGRAPH = 1_000
"""The number of characters of plain text in one message, at most, unless a line is longer."""
SPEAKERS, TEXTS = ("speaker", "role", "name"), ("text", "content", "message")
"""The fields of a turn, by data set."""
ROLES = ("user", "assistant", "system")
"""The speakers that are roles, not names."""


class Sentences(Embeddings):
    """A model of `sentence-transformers`, which the harness installs."""

    def __init__(self, name: str) -> None:
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(name)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.model.encode(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class AgentMemoryProvider(MemoryProvider):
    """The chat histories of this package as a memory of the harness.

    Args:
        url: The database. Default: None (`AGENTMEM_URL`, or a SQLite file in the folder that `prepare` is given).
        embeddings: The embedding model. Default: None (that of `AGENTMEM_EMBEDDINGS`).
        k: The number of messages that a query returns. Default: None (`AGENTMEM_RESULTS`).
    """

    name = NAME
    description = "langchain-agentmem: chat histories, searched by words and vectors. No language model."
    kind = "local"
    concurrency = 8

    def __init__(self, url: str | None = None, embeddings: Embeddings | None = None, k: int | None = None) -> None:
        self._url = url or os.environ.get("AGENTMEM_URL")
        self._embeddings = embeddings
        self.k = k or int(os.environ.get("AGENTMEM_RESULTS", "30"))
        self._memory: AgentMemory | None = None

    def prepare(self, store_dir: Path, unit_ids: set[str] | None = None) -> None:  # noqa: ARG002 -- the harness passes it
        """Open the database. Users need no preparation, so `unit_ids` is not used."""
        self.cleanup()
        store_dir.mkdir(parents=True, exist_ok=True)
        name = os.environ.get("AGENTMEM_EMBEDDINGS", MODEL)
        if self._embeddings is None and name != "none":
            self._embeddings = Sentences(name)
        url = self._url or f"sqlite:///{store_dir.resolve()}/agentmem.db"
        self._memory = AgentMemory.from_url(url, tenant=str(store_dir), embeddings=self._embeddings)

    def cleanup(self) -> None:
        """Close the database."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    @property
    def memory(self) -> AgentMemory:
        """The open database."""
        if self._memory is None:
            msg = "The memory is not open: call prepare(store_dir) before ingest() and retrieve()."
            raise RuntimeError(msg)
        return self._memory

    def ingest(self, documents: list[Document]) -> None:
        """Store each document as a session. A document that was stored before is replaced."""
        for document in documents:
            history = self.memory.history(document.id, user_id=document.user_id or EVERYBODY)
            history.clear()
            history.add_messages(messages_of(document))

    async def async_ingest(self, documents: list[Document]) -> None:
        """Same as `ingest`, but without blocking the event loop."""
        for document in documents:
            history = self.memory.history(document.id, user_id=document.user_id or EVERYBODY)
            await history.aclear()
            await history.aadd_messages(messages_of(document))

    def retrieve(
        self,
        query: str,
        k: int | None = None,
        user_id: str | None = None,
        query_timestamp: str | None = None,  # noqa: ARG002
    ) -> tuple[list[Document], dict[str, Any] | None]:
        """Return the best messages of a user as documents with the IDs of their sessions; see `MemoryProvider.retrieve`."""
        found = self.memory.search_history(query, k or self.k, user_id=user_id or EVERYBODY, around=1)
        return self._answer(found, user_id)

    async def async_retrieve(
        self,
        query: str,
        k: int | None = None,
        user_id: str | None = None,
        query_timestamp: str | None = None,  # noqa: ARG002
    ) -> tuple[list[Document], dict[str, Any] | None]:
        """Same as `retrieve`, but without blocking the event loop."""
        found = await self.memory.asearch_history(query, k or self.k, user_id=user_id or EVERYBODY, around=1)
        return self._answer(found, user_id)

    @staticmethod
    def _answer(found: Sequence[Any], user_id: str | None) -> tuple[list[Document], dict[str, Any]]:
        documents, raw, told = [], [], set[tuple[str, str]]()
        for one in found:
            text = "\n".join(message.text for message in one.around) or one.message.text
            date = one.message.additional_kwargs.get("created_at")
            raw.append({"session": one.session_id, "date": date, "text": text, "score": one.score})
            if (one.session_id, text) not in told:
                told.add((one.session_id, text))
                content = f"{date}\n{text}" if date else text
                documents.append(Document(id=one.session_id, content=content, user_id=user_id, timestamp=date))
        return documents, {"results": raw}


def messages_of(document: Document) -> list[BaseMessage]:
    """Return the turns of a document as messages; the paragraphs of plain text."""
    turns: Any = document.messages
    if not turns:
        try:
            turns = json.loads(document.content)
        except ValueError:
            turns = None
    parts = [_turn(turn) for turn in turns] if isinstance(turns, list) else []
    spoken = [part for part in parts if part is not None]
    if not spoken:
        spoken = [("user", text) for text in paragraphs(document.content)]
    date = _date(document.timestamp)
    dated = {} if date is None else {"created_at": date}
    return [
        (AIMessage if role == "assistant" else HumanMessage)(text, additional_kwargs=dict(dated))
        for role, text in spoken
    ]


def _turn(turn: Any) -> tuple[str, str] | None:
    """Return the role and the text of a turn, which begins with the name of its speaker; None for a turn without text."""
    if isinstance(turn, str):
        return ("user", turn) if turn.strip() else None
    if not isinstance(turn, dict):
        return None
    text = next((str(turn[name]) for name in TEXTS if turn.get(name)), "")
    if turn.get("blip_caption"):
        text += f" [image: {turn['blip_caption']}]"
    speaker = next((str(turn[name]) for name in SPEAKERS if turn.get(name)), "user")
    if not text.strip():
        return None
    return (speaker, text) if speaker in ROLES else ("user", f"{speaker}: {text}")


def _date(timestamp: str | None) -> str | None:
    """Return a date in ISO 8601; None for another format."""
    try:
        return None if timestamp is None else datetime.fromisoformat(timestamp).isoformat()
    except ValueError:
        return None


def paragraphs(text: str) -> list[str]:
    """Divide plain text between its lines, into parts of at most `PARAGRAPH` characters unless a line is longer."""
    parts: list[str] = []
    for line in filter(str.strip, text.splitlines()):
        if parts and len(parts[-1]) + len(line) < PARAGRAPH:
            parts[-1] += f"\n{line}"
        else:
            parts.append(line)
    return parts


def retrieval(dataset: Any, split: str, provider: MemoryProvider, folder: Path, limit: int | None = None) -> str:
    """Return a line: the share of the documents with the answer that the results contain, and the time of a search.

    Args:
        dataset: A data set of the harness.
        split: One of its splits.
        provider: The memory.
        folder: A folder for the memory's files.
        limit: The maximum number of questions. Default: None (all).
    """
    questions = [query for query in dataset.load_queries(split, limit=limit) if query.gold_ids]
    documents = dataset.load_documents(split)
    provider.initialize()
    provider.prepare(folder, {one.user_id for one in documents if one.user_id})
    provider.ingest(documents)
    shares, times = [], []
    for question in questions:
        start = time.perf_counter()
        found, _ = provider.retrieve(question.meta.get("retrieval_query") or question.query, user_id=question.user_id)
        times.append(time.perf_counter() - start)
        shares.append(len({one.id for one in found} & set(question.gold_ids)) / len(set(question.gold_ids)))
    provider.cleanup()
    return (
        f"{dataset.name} {split}: {len(questions)} questions, {len(documents)} documents, recall "
        f"{statistics.mean(shares):.3f}, median {statistics.median(times) * 1e3:.1f} ms"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if arguments is None else arguments)
    REGISTRY[NAME] = AgentMemoryProvider
    if given[:1] != ["retrieval"]:
        from memory_bench.cli import app

        app(given)
        return
    from memory_bench.dataset import get_dataset

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--query-limit", type=int)
    parser.add_argument("--memory", default=NAME, help="another memory of the harness, for comparison")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"))
    args = parser.parse_args(given[1:])
    folder = args.output_dir / args.dataset / args.memory / "_store" / args.split
    print(retrieval(get_dataset(args.dataset), args.split, REGISTRY[args.memory](), folder, args.query_limit))


if __name__ == "__main__":
    main()
