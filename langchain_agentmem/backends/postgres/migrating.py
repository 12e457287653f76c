"""Migrations: LangGraph's own migrations create its tables, the files in `migrations` ours.

The name of a file begins with the version that it migrates to. All migrations run in one transaction, which holds an advisory
lock. Any number of processes may start concurrently, and a process that is killed leaves no partial migration.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import NamedTuple

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.existing import SEARCH_VECTORS, Existing, imported_from
from langchain_agentmem.backends.postgres.statements import qualifier
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.programs import Execute, Fetch, Program, storage_program
from langchain_agentmem.text.words import check_language

VERSION = 4
"""The version of the tables that this package uses."""

_LOCK = 0x6167656E746D656D
"""The key of the advisory lock for migrations: "agentmem" in ASCII."""

_VECTORS_LOCK = 0x6167656E74766563
"""The key of the advisory lock of the first writer of vectors, who changes functions as well: "agentvec" in ASCII."""

UNSTEMMED = "simple"
"""The language of texts whose words are not stemmed."""

_PACKAGE = "langchain_agentmem.backends.postgres.migrations"
_MIGRATIONS = {
    file: load_statements(_PACKAGE, file)
    for file in sorted(entry.name for entry in files(_PACKAGE).iterdir() if re.fullmatch(r"\d+_\w+\.sql", entry.name))
}
"""The statements of each file. They are read on import, which never happens on an event loop."""


_FIND_TABLE = """
SELECT FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS schema ON schema.oid = class.relnamespace
WHERE class.relname = 'agentmem_schema'
  AND schema.nspname = coalesce(%s::name, current_schema())
"""
# `to_regclass` reads a cache, which may not contain another connection's changes yet.


_FIND_PATHS = """
SELECT function.oid::regprocedure::text, quote_ident(current_schema()) || CASE
    WHEN proname IN ('agentmem_put_items', 'agentmem_find', 'agentmem_changed_items')
    THEN %s || coalesce((SELECT ', ' || extnamespace::regnamespace FROM pg_extension WHERE extname = 'vector'), '')
    ELSE '' END, proname = ANY (%s)
FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_namespace AS schema ON schema.oid = pronamespace
WHERE schema.nspname = current_schema() AND proname ~ '^agentmem_'
  AND EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting ~ '^search_path=')
"""
# Our functions resolve names in their own schema only. Three of them need the type of pgvector, which may be in another.

_PLANNED_ONCE = [
    "agentmem_delete_items",
    "agentmem_add_values",
    "agentmem_ancestors",
    "agentmem_get",
    "agentmem_get_items",
    "agentmem_lock_items",
    "agentmem_note_paths",
    "agentmem_parts",
    "agentmem_parts_of",
    "agentmem_present",
    "agentmem_put",
    "agentmem_put_items",
    "agentmem_put_writes",
    "agentmem_read_variables",
    "agentmem_swap_items",
    "agentmem_touch_items",
    "agentmem_use_thread",
]
"""Functions whose statements have one good plan, by key. Without a setting, Postgres plans them in every call, because it
expects more elements in an unknown array than in a known one. Planning takes longer than the statement."""

_BY_KEY = ["plan_cache_mode = force_generic_plan", "enable_seqscan = off"]
"""The settings of the functions in `_PLANNED_ONCE`. A plan that Postgres made for an empty table must not read all of a large
one."""


class TablesState(NamedTuple):
    """The state of the tables."""

    version: int
    language: str


def tables_state(schema: str | None) -> Program[TablesState | None]:
    """Return the state of the tables; None if they do not exist."""
    if not (yield from Fetch(_FIND_TABLE, (schema,))):
        return None
    (state,) = yield from Fetch(f"SELECT version, language FROM {qualifier(schema)}agentmem_schema")
    return TablesState(*state)


@storage_program
def settled(schema: str | None, language: str) -> Program[TablesState | None]:
    """Return the state of the tables if this package can use them; None if they must be created or migrated.

    Raises:
        ConfigurationError: The tables have a newer version, or texts in another language.
    """
    state = yield from tables_state(schema)
    if state is None or state.version < VERSION:
        return None
    if state.version > VERSION:
        msg = (
            f"The tables in Postgres have version {state.version}, but this package supports version {VERSION}. Upgrade "
            f"langchain-agentmem to the release that wrote them."
        )
        raise ConfigurationError(msg)
    if state.language != language:
        msg = (
            f"The texts in Postgres are indexed in {shown(state.language)}, not {shown(language)}. Write "
            f"?language={state.language} in the URL."
        )
        raise ConfigurationError(msg)
    return state


@storage_program
def found_instead(schema: str | None) -> Program[list[Existing] | None]:
    """Return the data of other packages in a database without our tables; None if it has them, in any version."""
    if (yield from tables_state(schema)) is not None:
        return None
    if schema is not None:
        ((path,),) = yield from Fetch("SELECT current_setting('search_path')")
        yield from Fetch("SELECT set_config('search_path', quote_ident(%s) || ', ' || %s, true)", (schema, path))
    return (yield from _others())


@storage_program
def migrate(schema: str | None, language: str) -> Program[list[Existing]]:
    """Create the tables, or migrate them to `VERSION`, unless another process has done it.

    Args:
        schema: The schema of the tables, created if it does not exist; None for the first schema of the search path.
        language: The language of the texts, for tables that do not exist yet.

    Returns:
        If the tables were created, the data of other packages that a memory does not read.

    Raises:
        ConfigurationError: There is no stemmer for the language.
    """
    yield from Fetch("SELECT pg_advisory_xact_lock(%s), pg_advisory_xact_lock(%s)", (_LOCK, _VECTORS_LOCK))
    ((path,),) = yield from Fetch("SELECT current_setting('search_path')")
    if schema is not None:
        if not (yield from Fetch("SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s", (schema,))):
            yield from Execute(f"CREATE SCHEMA IF NOT EXISTS {qualifier(schema)[:-1]}")
        yield from Fetch("SELECT set_config('search_path', quote_ident(%s) || ', ' || %s, true)", (schema, path))
    ((wide,),) = yield from Fetch("SELECT current_setting('search_path')")
    state = yield from tables_state(schema)
    if state is not None and state.version >= VERSION:
        return []  # another process migrated the tables concurrently
    others: list[Existing] = []
    if state is None:
        if language != UNSTEMMED:
            check_language(language)
        others = yield from _others()
    # From here on, no name may be resolved in another schema: it may contain the tables of another memory.
    yield from Fetch("SELECT set_config('search_path', coalesce(quote_ident(current_schema()), ''), true)")
    if state is None:
        yield from _migrate_langgraph()
    for file, migration in _MIGRATIONS.items():
        if (state.version if state else 0) < int(file.partition("_")[0]) <= VERSION:
            for statement in migration.values():
                yield from Execute(statement.replace("%", "%%"))
    yield from _configure_functions(wide)
    if state is None:
        yield from Execute("INSERT INTO agentmem_schema (version, language) VALUES (%s, %s)", (VERSION, language))
    else:
        yield from Execute("UPDATE agentmem_schema SET version = %s", (VERSION,))
    yield from Fetch("SELECT set_config('search_path', %s, true)", (path,))
    return others


def _configure_functions(wide: str) -> Program[None]:
    """Set the search path of all functions, and how those in `_PLANNED_ONCE` are planned.

    Args:
        wide: The search path of the connection, which contains the schema of pgvector.
    """
    for function, path, planned_once in (yield from Fetch(_FIND_PATHS, (f", {wide}", _PLANNED_ONCE))):
        settings = [f"search_path = {path}", *(_BY_KEY if planned_once else [])]
        for setting in settings:
            yield from Execute(f"ALTER FUNCTION {function} SET {setting}".replace("%", "%%"))


_FIND_OTHERS = """
WITH found AS (
    SELECT schema.nspname, class.relname,
        class.relname = 'langchain_pg_embedding' OR bool_or(attname = 'langchain_id') AS vectors,
        bool_or(attname = 'session_id') AND bool_and(attname IN ('id', 'session_id', 'message', 'created_at'))
        AND bool_or(attname = 'message' AND (typname = 'jsonb' OR class.relname = 'message_store')) AS history,
        bool_or(attname = 'message' AND typname <> 'jsonb') AS texts
    FROM pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS schema ON schema.oid = class.relnamespace
    JOIN pg_catalog.pg_attribute ON attrelid = class.oid AND attnum > 0 AND NOT attisdropped
    JOIN pg_catalog.pg_type AS type ON type.oid = atttypid
    WHERE class.relkind IN ('r', 'p') AND schema.nspname = ANY (current_schemas(false))
      AND class.relname !~ '^agentmem_' AND has_table_privilege(class.oid, 'SELECT')
    GROUP BY schema.nspname, class.relname
)
SELECT format('%%I.%%I', nspname, relname), nspname || '.' || relname, vectors, texts FROM found WHERE vectors OR history
ORDER BY 1
"""
# Applications choose the names of these tables, so their columns identify them.


def _others() -> Program[list[Existing]]:
    """Return the data in tables of LangChain's packages, except LangGraph's tables, which a memory uses."""
    others = []
    for table, name, holds_vectors, holds_texts in (yield from Fetch(_FIND_OTHERS)):
        if (yield from Fetch(f"SELECT FROM {table} LIMIT 1".replace("%", "%%"))):
            kind, remedy = "vectors of langchain-postgres", SEARCH_VECTORS
            if not holds_vectors:
                kind = f"a {'SQLChatMessageHistory' if holds_texts else 'PostgresChatMessageHistory'}"
                form = "sql-history" if holds_texts else "postgres-history"
                remedy = imported_from("postgresql://…", form, table=name)
            others.append(Existing(f"{kind} (table {table})", remedy))
    return others


def _migrate_langgraph() -> Program[None]:
    from langgraph.checkpoint.postgres.base import MIGRATIONS as CHECKPOINTS
    from langgraph.store.postgres.base import MIGRATIONS as STORE

    for table, migrations in (("checkpoint_migrations", CHECKPOINTS), ("store_migrations", STORE)):
        yield from Execute(f"CREATE TABLE IF NOT EXISTS {table} (v INTEGER PRIMARY KEY)")
        ((done,),) = yield from Fetch(f"SELECT coalesce(max(v), -1) FROM {table}")
        for version, migration in enumerate(migrations):
            if version > done:
                # A transaction cannot create an index concurrently.
                yield from Execute(migration.replace("CONCURRENTLY", "").replace("%", "%%"))
                yield from Execute(f"INSERT INTO {table} (v) VALUES (%s)", (version,))
