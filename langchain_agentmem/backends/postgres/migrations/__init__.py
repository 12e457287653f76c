"""The tables and functions of the Postgres backend, by version: see `langchain_agentmem.backends.postgres.migrating`."""
