"""The backend on Postgres. It uses LangGraph's tables; `migrations` holds the objects that it adds."""

from langchain_agentmem.backends.postgres.backend import PostgresBackend

__all__ = ["PostgresBackend"]
