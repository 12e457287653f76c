"""Listing checkpoints page by page."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from langchain_agentmem.arguments.ids import check_name, check_optional_id
from langchain_agentmem.arguments.values import check_count
from langchain_agentmem.backends.contract import CheckpointTable, LoadedCheckpoint
from langchain_agentmem.checkpointing.arguments import configurable_of, thread_id_of
from langchain_agentmem.checkpointing.containment import checked_filter, contains
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.programs import Program, storage_program

PAGE = 50
"""The number of checkpoints that one page reads."""


class Scan(NamedTuple):
    """The conditions of a listing, and the position that it has reached."""

    thread_id: str | None
    namespace: str | None
    checkpoint_id: str | None
    filter: dict[str, Any]
    before: str | None
    limit: int | None
    """The number of checkpoints still to return; None for all."""
    after: tuple[str, str, str] | None = None
    """Checkpoint ID, thread ID and namespace of the last checkpoint that was read."""

    @classmethod
    def of(cls, config: Any, condition: Any, before: Any, limit: Any) -> Scan:
        """Check the arguments of a listing.

        Args:
            config: The config of the threads, or None for all.
            condition: The filter on metadata, or None.
            before: The config of the first checkpoint that is too new, or None.
            limit: The maximum number of checkpoints, or None.
        """
        if limit is not None:
            limit = check_count("limit", limit, least=0)
        wanted = {} if config is None else configurable_of(config)
        older = {} if before is None else configurable_of(before, "before")
        namespace = wanted.get("checkpoint_ns")
        return cls(
            thread_id_of("thread_id", wanted["thread_id"]) if wanted.get("thread_id") is not None else None,
            None if namespace is None else check_name("checkpoint_ns", namespace),
            check_optional_id("checkpoint_id", wanted.get("checkpoint_id") or None),
            checked_filter(condition),
            check_optional_id("checkpoint_id", older.get("checkpoint_id") or None),
            limit,
        )


@storage_program
def read_page(
    table: CheckpointTable, tenant: str, scan: Scan, codec: Codec, most: int = PAGE
) -> Program[tuple[list[LoadedCheckpoint], Scan | None]]:
    """Read one page of a listing.

    Args:
        table: The checkpoints.
        tenant: The tenant.
        scan: The listing.
        codec: The codec of the metadata.
        most: The maximum number of checkpoints in a page. Default: `PAGE`.

    Returns:
        The page's checkpoints that pass the filter, and the scan of the next page (None after the last one).
    """
    size = most if scan.limit is None or scan.filter else min(most, scan.limit)
    rows = yield from table.page(
        tenant,
        scan.thread_id,
        scan.namespace,
        scan.checkpoint_id,
        scan.before,
        scan.after,
        size,
        codec,
        time.time(),
    )
    wanted = [row for row in rows if contains(row.metadata, scan.filter)]
    loaded = yield from table.load(tenant, wanted[: scan.limit])
    left = None if scan.limit is None else scan.limit - len(loaded)
    if len(rows) < size or left == 0:
        return loaded, None
    last = rows[-1]
    after = (last.key.checkpoint_id, last.thread_id, last.key.namespace)
    return loaded, scan._replace(after=after, limit=left)
