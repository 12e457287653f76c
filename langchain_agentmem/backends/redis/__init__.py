"""Memory on plain Redis, Valkey and Redis Cluster: core commands and Lua scripts, nothing from modules."""

from langchain_agentmem.backends.redis.backend import RedisBackend

__all__ = ["RedisBackend"]
