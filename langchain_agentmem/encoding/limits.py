"""The size and nesting that stored values may have."""

from __future__ import annotations

from langchain_agentmem.arguments.nesting import MAX_DEPTH

MAX_VALUE_BYTES = 256 * 1024 * 1024
"""The size of the largest single value that any backend accepts, in bytes.

A stored value that is larger than this after decompression raises `DamagedDataError`. To raise the bound, assign to this
module attribute before the first use: `langchain_agentmem.encoding.limits.MAX_VALUE_BYTES = 2**30`.
"""

MAX_JSON_DEPTH = MAX_DEPTH
"""The deepest nesting of a store value: the JSON readers of all backends accept it."""

MAX_INTEGER_BITS = 14_000
"""The largest integer in JSON, about 4,200 digits: Python does not convert longer ones to text."""
