"""The selection of collected tests: the full matrix where backends differ, one representative where only the engine runs.

A contract test exists for each backend, for the sync method and its async twin, and for each of its own parameters. The
operations are written once, as programs, so most of that matrix repeats what another test has shown. `pytest` runs:

1. **Twins.** A test runs sync on one backend and async on the next, in turns. Each test runs both ways, and each backend runs about
   half of its tests each way. Tests of one backend (`tests/sqlite`, `tests/postgres`, `tests/redis`) and tests that choose their
   backends run both ways with their first parameters, and take turns with the others.
2. **Engine.** Files in `ENGINE` test programs composed of storage operations that other files test everywhere. Each test
   runs once, on one of SQLite, Postgres and Redis, sync or async; which one it is differs from test to test.
3. **Parameters.** SQLite, Postgres and Redis each run a test with its first parameters, and take turns with the others. In
   `VALUES`, each runs all of them.
4. **Redis Cluster** runs every fourth test once, with its first parameters: it runs the scripts of a single server, and what
   differs is the node that a key is on. It runs all of `EVERY_SCRIPT`, and nothing of `ONE_NODE`.
5. **Keys.** Files in `KEYED` repeat tests on memories with a key. Encryption is written once, above the backends, so each of
   these tests runs one way on SQLite, and every fourth also on Postgres or Redis.
6. **SQLite in memory** differs from a file in its connections, so it runs `IN_MEMORY` only, each test once.

`--full-matrix` runs every combination (and SQLite in memory in `IN_MEMORY` only). Run it before a release.
`--core` runs each test function once, on one backend, without notebooks and documents. `.ci/versions` runs it on other Python versions.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

BACKENDS = ("sqlite-file", "sqlite-memory", "postgres", "redis", "redis-cluster")
"""What a contract test can run on."""

SEVERAL = ("sqlite-file", "postgres", "redis")
"""Those that differ in all they do."""

TWINS = ("sync", "async")

IN_MEMORY = {
    "test_checkpoints_conformance.py",
    "test_checkpoints_writes.py",
    "test_history.py",
    "test_history_opening.py",
    "test_store.py",
    "test_store_batches.py",
    "test_store_graph.py",
    "test_store_update.py",
}

ENGINE = {
    "test_agent_memory.py",
    "test_checkpoint_sizes.py",
    "test_checkpoints_conformance.py",
    "test_checkpoints_delta.py",
    "test_checkpoints_encryption.py",
    "test_checkpoints_graphs.py",
    "test_checkpoints_growth.py",
    "test_checkpoints_rewriting.py",
    "test_checkpoints_warm.py",
    "test_cleanup_background.py",
    "test_cleanup_processes.py",
    "test_compression.py",
    "test_compression_lifetimes.py",
    "test_deep_agents.py",
    "test_embedding_options.py",
    "test_encryption_transfer.py",
    "test_entities.py",
    "test_event_loops.py",
    "test_existing_data.py",
    "test_extraction.py",
    "test_extraction_entities.py",
    "test_extraction_exit.py",
    "test_extraction_users.py",
    "test_forget.py",
    "test_forgetting.py",
    "test_found_items.py",
    "test_guard.py",
    "test_handover.py",
    "test_history_agents.py",
    "test_history_arguments.py",
    "test_history_chains.py",
    "test_history_forms.py",
    "test_history_malformed.py",
    "test_history_retention.py",
    "test_history_search.py",
    "test_history_windows.py",
    "test_importing_histories.py",
    "test_importing_memories.py",
    "test_importing_stores.py",
    "test_key_rotation.py",
    "test_knowledge_sources.py",
    "test_languages.py",
    "test_learning_answers.py",
    "test_learning_changes.py",
    "test_learning_conversation.py",
    "test_long_ids.py",
    "test_mcp_command.py",
    "test_memory_tools.py",
    "test_model_requests.py",
    "test_pickling.py",
    "test_profile_story.py",
    "test_profiles.py",
    "test_prompts.py",
    "test_provenance.py",
    "test_read_cache.py",
    "test_recall.py",
    "test_recalling.py",
    "test_records.py",
    "test_reindexing.py",
    "test_reindexing_concurrency.py",
    "test_reindexing_fingerprints.py",
    "test_runs_without_user.py",
    "test_search_corpora.py",
    "test_session_contexts.py",
    "test_shared_knowledge.py",
    "test_store_bursts.py",
    "test_store_graph.py",
    "test_store_update_many.py",
    "test_summaries.py",
    "test_summary_failures.py",
    "test_surfaces_alone.py",
    "test_thread_copies.py",
    "test_titles.py",
    "test_tracing.py",
    "test_transfer.py",
    "test_transfer_existing.py",
    "test_transfer_files.py",
    "test_variables.py",
}

VALUES = {"test_checkpoints_values.py", "test_history_values.py", "test_store_values.py"}
"""Files whose parameters are values that a backend may store in its own way."""

KEYED = {
    "test_encrypted_contract.py",
    "test_encrypted_store.py",
    "test_encrypted_histories.py",
    "test_encryption_tampering.py",
    "test_memory_integrity.py",
}

ONE_NODE = {
    "test_cache.py",
    "test_deep_agents.py",
    "test_checkpoints_damage.py",
    "test_checkpoints_graphs.py",
    "test_checkpoints_growth.py",
    "test_checkpoints_processes.py",
    "test_history_processes.py",
}
"""Files about bytes, graphs and processes, which are the same on a node of a cluster as on a single server."""

EVERY_SCRIPT = {"test_backend_contract.py"}
"""Files that call every script of Redis, so they show that each one finds its keys on a cluster."""

NOT_CORE = {"test_agent_server.py", "test_documents.py", "test_licences.py", "test_notebooks.py"}


class Case(NamedTuple):
    """A collected test.

    Attributes:
        file: The name of its file.
        function: The name of its function.
        backend: One of `BACKENDS`; None if it runs on no backend or on a certain one.
        twin: One of `TWINS`, from the fixture `call` or the end of the class name (`…Async`); None if it has no twin.
        number: The index of its other parameters among those of its function.
    """

    file: str
    function: str
    backend: str | None = None
    twin: str | None = None
    number: int = 0

    @property
    def turn(self) -> int:
        """Differs from test to test, and by one for its next parameters."""
        return crc32(self.function.encode()) + self.number


def backends(file: str, candidates: tuple[str, ...], *, full: bool) -> list[str]:
    """The backends that tests of a file can run on, among those that their fixture offers."""
    excluded = set() if file in IN_MEMORY else {"sqlite-memory"}
    if not full and file in ENGINE | KEYED | ONE_NODE:
        excluded.add("redis-cluster")
    return [one for one in candidates if one not in excluded]


def in_default(case: Case) -> bool:
    """Whether `pytest` runs a test without a flag."""
    twin = 0 if case.twin is None else TWINS.index(case.twin)
    if case.backend is None:
        return case.twin is None or not case.number or twin == case.turn % 2
    if case.file in KEYED:
        if case.backend == SEVERAL[0]:
            return case.twin is None or twin == case.turn % 2
        return case.turn % 8 == 4 * SEVERAL.index(case.backend) - 4 and (
            case.twin is None or twin == case.turn // 8 % 2
        )
    if case.file in ENGINE and case.backend in SEVERAL:
        chosen, way = case.turn % len(SEVERAL), case.turn // len(SEVERAL) % 2
        return SEVERAL.index(case.backend) == chosen and (case.twin is None or twin == way)
    if case.backend not in SEVERAL and case.number:
        return False
    if case.backend == "redis-cluster" and case.file not in EVERY_SCRIPT and case.turn // 2 % 4:
        return False
    if case.number and case.file not in VALUES and case.backend != SEVERAL[case.turn // 2 % len(SEVERAL)]:
        return False
    return case.twin is None or twin == (case.turn + BACKENDS.index(case.backend)) % 2


def in_core(case: Case) -> bool:
    """Whether `pytest --core` runs a test."""
    if case.number or case.file in NOT_CORE:
        return False
    if case.backend is None:
        return case.twin is None or case.twin == TWINS[case.turn % 2]
    twin = 0 if case.twin is None else TWINS.index(case.twin)
    return case.backend == SEVERAL[case.turn % len(SEVERAL)] and (case.twin is None or twin == case.turn // 3 % 2)
