"""Compression of documents, most of which are small and have the same names in them."""

from __future__ import annotations

import zlib

from langchain_agentmem.encoding import limits

_SMALL = 4096
"""The length up to which a small window is enough. Preparing a large one takes longer than compressing a small document."""

_DICTIONARY = b"".join(
    [
        b"\xad__pregel_tasks\xa8__root__\xa5agent\xa5model\xa5tools\xafbranch:to:agent\xafbranch:to:model\xafbranch:to:tools",
        b"\xabuser_id\xa9thread_id\xa6run_id\xadlanggraph_step\xaelanggraph_node\xb2langgraph_triggers\xaelanggraph_path",
        b"\xb9counters_since_delta_snapshot\x81\xa8messages\x92\xa4fork\xa6update\xa5input",
        b"\x84\xaacheckpoint\x86\xa1v\x04\xa2ts\xd9 2026-11-27T00:00:00.000000+00:00\xa2id\xd9$1f000000-0000-6000-8000-",
        b"\xb0channel_versions\x83\xa9__start__\xd9-00000000000000000000000000000001.\xa8messages",
        b"\xd9-00000000000000000000000000000002.\xafbranch:to:\xd9-00000000000000000000000000000003.",
        b"\xadversions_seen\x83\xa9__input__\x80\xa9__start__\x81\xa9__start__\xd9-00000000000000000000000000000000.",
        b"\xb0updated_channels\x91\xa8messages\xa8metadata\x83\xa6source\xa4loop\xa4step\xa7parents\x80\xa6inline\x80\xa6stored",
        b"\x81\xa8messages\xd9-0000000000000000000000000000000",
    ]
)
"""Stored documents depend on these bytes, so they never change."""


def compressed(data: bytes) -> bytes:
    """Return a document in compressed form.

    Example:
        >>> from langchain_agentmem.encoding.compression import compressed, decompressed
        >>> decompressed(compressed(b"channel_versions"))
        b'channel_versions'
    """
    if len(data) > _SMALL:
        deflater = zlib.compressobj(1, zdict=_DICTIONARY)
    else:
        deflater = zlib.compressobj(1, zlib.DEFLATED, 12, 5, zdict=_DICTIONARY)
    return deflater.compress(data) + deflater.flush()


def decompressed(data: bytes) -> bytes:
    """Return a document from `compressed`, or from `zlib.compress`, up to `MAX_VALUE_BYTES`.

    Raises:
        ValueError: The data was damaged, or is too large.
        zlib.error: The data was damaged.
    """
    most = limits.MAX_VALUE_BYTES
    inflater = zlib.decompressobj(zdict=_DICTIONARY)
    value = inflater.decompress(data, most + 1)
    if len(value) > most:
        msg = f"it is larger than {most:,} bytes once decompressed, the maximum size"
        raise ValueError(msg)
    if not inflater.eof:
        msg = "its compressed data is incomplete"
        raise ValueError(msg)
    return value
