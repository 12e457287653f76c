"""The commands that maintain a database: reindex, migrate and rotate-key."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from langchain_agentmem.command.invocation import Invocation, keys_in, operation
from langchain_agentmem.errors import InvalidInputError


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


@operation(
    "agentmem rotate-key --key-file old.txt --new-key-file new.txt",
    "AGENTMEM_KEY=… agentmem rotate-key --new-key-file -",
    name="rotate-key",
)
def rotate_key(
    call: Invocation,
    new_key_file: Annotated[
        str, typer.Option(metavar="FILE", help="The file with the new key; - asks for it.", show_default=False)
    ],
) -> None:
    """Encrypt a memory with another key.

    --key-file or AGENTMEM_KEY has the former key. Before you run it, open the memory with both keys in every process: the
    new key first, then the former one. It takes at least 30 seconds. An interrupted call continues when you run it again.
    """
    keys: Any = call.keys if call.key_file is not None else call.settings().options.get("key")
    if keys is None:
        msg = "The former key is missing. Pass --key-file, or set AGENTMEM_KEY."
        raise InvalidInputError(msg)
    new, *others = keys_in(new_key_file, "New key")
    old = [keys] if isinstance(keys, str) else [one for one in keys if one != new]
    if others or not old:
        msg = "The new key must be one key, and must differ from the former one."
        raise InvalidInputError(msg)
    with call.memory(key=[new, *old]) as memory, call.output.progress() as progress:
        done = memory.rotate_key(old[0], new, progress=progress)
    call.output.document({"values": done.values, "passes": done.passes}, [("values encrypted again", done.values)])
