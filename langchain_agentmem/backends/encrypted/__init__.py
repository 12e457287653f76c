"""A backend that encrypts everything before another backend stores it.

Engines and backends know nothing about it: each table of `EncryptedBackend` has the methods of the contract. It encrypts the
arguments, runs the program of the other backend, and decrypts the result. The keys are in
`langchain_agentmem.encoding.encryption`.
"""

from langchain_agentmem.backends.encrypted.backend import EncryptedBackend
from langchain_agentmem.backends.encrypted.opening import require_unencrypted

__all__ = ["EncryptedBackend", "require_unencrypted"]
