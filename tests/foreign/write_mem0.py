"""Write `mem0_get_all.json` and `mem0_history.json` with the installed mem0ai: `python tests/foreign/write_mem0.py`."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import FakeListChatModel


def main(folder: str) -> None:
    os.environ |= {"MEM0_TELEMETRY": "False", "MEM0_DIR": folder}
    from mem0 import Memory

    vectors = {"collection_name": "memories", "embedding_model_dims": 16, "path": f"{folder}/vectors"}
    embeddings, model = DeterministicFakeEmbedding(size=16), FakeListChatModel(responses=["-"])
    memory = Memory.from_config(
        {
            "vector_store": {"provider": "qdrant", "config": vectors},
            "embedder": {"provider": "langchain", "config": {"model": embeddings}},
            "llm": {"provider": "langchain", "config": {"model": model}},
            "history_db_path": f"{folder}/history.db",
        }
    )
    memory.add("She drinks tea, never coffee.", user_id="alice", metadata={"channel": "phone"}, infer=False)
    said = [{"role": "user", "content": "I live in Athens."}]
    added = memory.add(said, user_id="alice", agent_id="travel", run_id="run-1", infer=False)
    memory.add("Tickets are booked.", user_id="alice", expiration_date="2025-01-31", infer=False)
    number = added["results"][0]["id"]
    memory.update(number, text="I live in Patras.")
    found = memory.get_all(filters={"user_id": "alice"}, top_k=1_000, show_expired=True)
    for name, document in (("mem0_get_all", found), ("mem0_history", memory.history(number))):
        Path(__file__).with_name(f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(temporary)
