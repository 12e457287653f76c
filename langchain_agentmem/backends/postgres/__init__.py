"""The backend on Postgres, beside LangGraph's own tables: see `migrations` for what it adds to them."""

from langchain_agentmem.backends.postgres.backend import PostgresBackend

__all__ = ["PostgresBackend"]
