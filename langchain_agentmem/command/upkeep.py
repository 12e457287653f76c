"""The commands that maintain a database: reindex and migrate."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from langchain_agentmem.command.invocation import Invocation, operation


@operation("agentmem reindex", "AGENTMEM_EMBEDDINGS=openai:text-embedding-3-small agentmem reindex --everything")
def reindex(
    call: Invocation,
    everything: Annotated[
        bool,
        typer.Option("--everything", metavar="", help="Embed all items and messages again, with the same model, too."),
    ] = False,
    batch_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="The number of items or messages in one call to the model.")
    ] = 100,
) -> None:
    """Bring the search index up to date.

    Run it after the embedding model was changed or added. AGENTMEM_EMBEDDINGS names the model.
    An interrupted call continues when you run it again.
    """
    with call.memory() as memory:
        if memory.store.engine.indexer is None:
            call.output.note("AGENTMEM_EMBEDDINGS names no embedding model: only the words of texts are indexed.")
        with call.output.progress() as progress:
            done = memory.reindex(batch_size=batch_size, everything=everything, progress=progress)
    call.output.document(asdict(done))


@operation("agentmem migrate")
def migrate(call: Invocation) -> None:
    """Bring the tables to the version of the package."""
    with call.memory(creates=True) as memory:
        memory.setup()
        backend = memory.backend.name
    call.output.document({"backend": backend, "up_to_date": True}, [("The tables are up to date.", "")])
