"""The embedded backend: one SQLite file, through the standard library's `sqlite3`."""

from langchain_agentmem.backends.sqlite.backend import SqliteBackend

__all__ = ["SqliteBackend"]
