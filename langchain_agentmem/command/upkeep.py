"""The commands that maintain a database: reindex, migrate and rotate-key."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, cast

import typer

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.command.invocation import Invocation, add_folder, keys_in, operation
from langchain_agentmem.command.listings import no_thread
from langchain_agentmem.errors import InvalidInputError

_COUNTS = ("threads", "checkpoints", "writes", "unchanged")
"""The numbers in the result of a migration of checkpoints."""


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


@operation("agentmem migrate", "agentmem migrate app.state:convert --dry-run", "agentmem migrate app.state:convert")
def migrate(
    call: Invocation,
    function: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:FUNCTION]",
            help="The function for memory.checkpointer.migrate; modules of this folder count.",
        ),
    ] = None,
    thread: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="With a function: only this thread. Repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="With a function: only count what would change.")
    ] = False,
) -> None:
    """Bring the tables to the version of the package.

    With a function, it then rewrites the checkpoints of all threads in today's shape of your state. An interrupted call
    continues when you run it again.
    """
    if function is None and (dry_run or thread):
        msg = "--dry-run and --thread need a function: agentmem migrate MODULE:FUNCTION."
        raise InvalidInputError(msg)
    convert = None if function is None else _function(function)
    with call.memory(creates=function is None) as memory:
        known = {one.thread_id for one in memory.checkpointer.threads()} if thread else set()
        for one in thread or ():
            if one not in known:
                raise no_thread(one)
        if convert is None:
            memory.setup()
            if call.output.as_json:
                call.output.document({"backend": memory.backend.name, "up_to_date": True})
            call.output.say("The tables are up to date.")
            return
        with call.output.progress() as progress:
            done = memory.checkpointer.migrate(convert, dry_run=dry_run, thread_ids=thread, progress=progress)
    values: list[tuple[str, Any]] = [(name, getattr(done, name)) for name in _COUNTS]
    values += [(f"renamed {former}", name) for former, name in done.renamed.items()]
    values += [(f"converted {name}", number) for name, number in done.classes.items()]
    call.output.document(asdict(done), values)
    if dry_run:
        call.output.note("Nothing was changed, because of --dry-run.")


def _function(name: str) -> Callable[..., Any]:
    """Return the function that `MODULE:FUNCTION` names.

    Raises:
        InvalidInputError: There is no such function.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        msg = f"The function must be MODULE:FUNCTION, such as app.state:convert; got {shown(name)}."
        raise InvalidInputError(msg)
    add_folder()
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        msg = f"There is no module {shown(error.name or module)}, which {shown(name)} needs. Run the command in its folder."
        raise InvalidInputError(msg) from error
    if not callable(found):
        msg = f"The module {shown(module)} has no function {shown(attribute)}."
        raise InvalidInputError(msg)
    return cast("Callable[..., Any]", found)


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
    new key first, then the former one. It takes at least 45 seconds. An interrupted call continues when you run it again.
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
