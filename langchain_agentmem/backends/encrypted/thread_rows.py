"""The rows of an encrypted thread: checkpoints, values, elements and pending writes, each bound to its place."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import ormsgpack

from langchain_agentmem.backends.contract import CheckpointKey, CheckpointRow, Parts, StoredWrite
from langchain_agentmem.backends.encrypted.thread_heads import TAG_BYTES, Head
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.encoding.layout import PLAIN, VALUE, Known, StoredValue, ValueKey
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.errors import TamperedDataError

SEALED = "sealed"
"""The format of encrypted data."""

_PLACE_CHARACTERS = 16
"""The length of the digest of a value's place, which follows `StoredValue.digest`."""
_MARK = "#"
"""Separates the shape of a pending write from its seal."""


class SealedDocuments(Codec):
    """The codec of encrypted checkpoints, which the other backend uses in place of the caller's.

    A decrypted document is in the field `checkpoint` of a row, under `SEALED`, until `ThreadSeal.plain_checkpoint`.

    Args:
        ring: The keys.
    """

    def __init__(self, ring: KeyRing) -> None:
        super().__init__(keyed=True)
        self._ring = ring

    def dump_document(self, document: Mapping[str, Any]) -> Typed:
        """Return the encrypted form of a checkpoint."""
        return Typed(SEALED, self._ring.sealer.seal(document["checkpoint"][SEALED], "checkpoint"))

    def load_document(self, typed: tuple[str, bytes]) -> dict[str, Any]:
        """Return an encrypted checkpoint.

        Raises:
            TamperedDataError: The checkpoint is not encrypted, or was altered.
        """
        place, tag, parent_id, stored, document = ormsgpack.unpackb(self._ring.sealer.open(typed[1], "checkpoint"))
        opened = {"place": place, "tag": tag, "parent": parent_id, "document": document}
        return {"checkpoint": {"channel_versions": {}, SEALED: opened}, "metadata": {}, "inline": {}, "stored": stored}

    @staticmethod
    def belongs(row: CheckpointRow, head: Head) -> bool:
        """Return true if a row belongs to the thread with a head, and is not another row of its key."""
        opened = row.checkpoint[SEALED]
        return bool(opened["place"][0] == head.origin) and head.accepts(row.key, opened["tag"])

    @staticmethod
    def tag_of(row: CheckpointRow) -> bytes:
        """Return the tag in the encrypted part of a row."""
        tag: bytes = row.checkpoint[SEALED]["tag"]
        return tag

    @staticmethod
    def parent_of(row: CheckpointRow) -> str | None:
        """Return the parent in the encrypted part of a row."""
        parent: str | None = row.checkpoint[SEALED]["parent"]
        return parent

    @classmethod
    def lost_parent(cls, row: CheckpointRow) -> bool:
        """Return true if the row has no parent any more, as after a deletion of the parent."""
        return row.parent_id is None and cls.parent_of(row) is not None


class ThreadSeal:
    """Encrypts and decrypts the rows of a thread.

    Args:
        ring: The keys.
        origin: The origin of the thread's head, which its copies share.
    """

    def __init__(self, ring: KeyRing, origin: bytes) -> None:
        self._ring = ring
        self._sealer = ring.sealer
        self._origin = origin

    # Checkpoints

    def sealed_checkpoint(self, row: CheckpointRow, thread_id: str, tag: bytes, codec: Codec) -> CheckpointRow:
        """Return the row of a checkpoint for `SealedDocuments`.

        Args:
            row: The checkpoint.
            thread_id: The encrypted ID of the thread.
            tag: The tag of the row.
            codec: The codec of the caller.
        """
        document = codec.dump_document({"checkpoint": row.checkpoint, "metadata": row.metadata, "inline": row.inline})
        place = [self._origin, *row.key]
        packed = ormsgpack.packb([place, tag, row.parent_id, dict(row.stored), list(document)])
        return CheckpointRow(thread_id, row.key, row.parent_id, {SEALED: packed}, {}, {}, row.stored)

    def plain_checkpoint(self, thread_id: str, row: CheckpointRow, codec: Codec, head: Head) -> CheckpointRow:
        """Return the checkpoint in a row of `SealedDocuments`.

        Raises:
            TamperedDataError: The row belongs to another place, or was replaced by an earlier one.
        """
        opened = row.checkpoint[SEALED]
        if opened["place"] != [self._origin, *row.key]:
            msg = f"Checkpoint {row.key.checkpoint_id!r} was moved here from another place: the database was altered."
            raise TamperedDataError(msg)
        if row.parent_id not in (None, opened["parent"]):
            msg = f"The parent of checkpoint {row.key.checkpoint_id!r} was replaced: the database was altered."
            raise TamperedDataError(msg)
        head.check_tag(row.key, opened["tag"])
        document = codec.load_document(Typed(*opened["document"]))
        return CheckpointRow(thread_id, row.key, row.parent_id, **document, stored=row.stored)

    # Values

    def sealed_values(self, values: Sequence[StoredValue]) -> list[StoredValue]:
        """Encrypt values. References of elements stay, because the backend reads them."""
        return [self._sealed_value(value) for value in values]

    def _sealed_value(self, value: StoredValue) -> StoredValue:
        if value.kind != PLAIN:
            return value._replace(digest=self._placed(value.key, value.digest))
        return value._replace(type=SEALED, data=self._seal(Typed(value.type, value.data), "value", *value.key))

    def sealed_requirements(self, requires: Mapping[ValueKey, str]) -> dict[ValueKey, str]:
        """Return the required values with the digests that `sealed_values` stores."""
        return {key: digest and self._placed(key, digest) for key, digest in requires.items()}

    def sealed_known(self, known: Mapping[ValueKey, Known]) -> dict[ValueKey, Known]:
        """Return known values with the digests that `sealed_values` stores."""
        return {
            key: value._replace(
                digest=self._placed(key, value.digest),
                ancestors=tuple(one._replace(digest=self._placed(one.key, one.digest)) for one in value.ancestors),
            )
            for key, value in known.items()
        }

    def sealed_elements(self, elements: Mapping[bytes, Typed]) -> dict[bytes, Typed]:
        """Encrypt elements."""
        return {one: Typed(SEALED, self._seal(typed, "element", one)) for one, typed in elements.items()}

    def plain_element(self, reference: bytes, typed: Typed) -> Typed:
        """Decrypt an element."""
        return self._open(typed.data, "element", reference)

    def plain_stored_value(self, value: StoredValue) -> StoredValue:
        """Decrypt a value without what it is spliced from."""
        if value.kind != PLAIN:
            return self._unplaced(value)
        type_, data = self._open(value.data, "value", *value.key)
        return value._replace(type=type_, data=data)

    def plain_parts(self, parts: Parts, head: Head) -> Parts:
        """Decrypt the parts of values.

        Raises:
            TamperedDataError: A part was altered, or belongs to another place.
        """
        return Parts(
            {key: self._plain_value(*one) for key, one in parts.values.items()},
            {one: self._open(typed.data, "element", one) for one, typed in parts.elements.items()},
            head.secret,
        )

    def _plain_value(self, value: StoredValue, known: Known) -> tuple[StoredValue, Known]:
        plain = self.plain_stored_value(value)
        if value.kind == PLAIN:
            return plain, known
        ancestors = tuple(one._replace(digest=one.digest[:-_PLACE_CHARACTERS]) for one in known.ancestors)
        return plain, known._replace(digest=plain.digest, ancestors=ancestors)

    def _unplaced(self, value: StoredValue) -> StoredValue:
        digest = value.digest[:-_PLACE_CHARACTERS]
        if value.digest != self._placed(value.key, digest):
            msg = f"Version {value.key.version!r} of channel {value.key.channel!r} was altered or moved."
            raise TamperedDataError(msg)
        return value._replace(digest=digest)

    def _placed(self, key: ValueKey, digest: str) -> str:
        """Return the digest of a value, followed by a keyed digest of it and of the value's place."""
        return digest + self._ring.digest("value", self._origin, *key, digest, size=8).hex()

    # Pending writes

    def sealed_write(self, checkpoint: CheckpointKey, write: StoredWrite, tag: bytes) -> StoredWrite:
        """Encrypt a pending write. References of elements, and the name of a value, stay in clear."""
        place = self._place_of(checkpoint, write)
        if write.kind == PLAIN:
            data = tag + ormsgpack.packb(write[-2:])
            return write._replace(type=SEALED, data=self._sealer.seal(data, *place))
        if write.kind == VALUE:
            return write._replace(data=self._sealer.seal(tag, *place, write.type))
        seal = self._sealer.seal(tag, *place, write.type, write.data)
        return write._replace(type=f"{write.type}{_MARK}{base64.b64encode(seal).decode()}")

    def sealed_changes(
        self,
        checkpoint: CheckpointKey,
        stored: Sequence[StoredWrite],
        changes: Sequence[tuple[StoredWrite, StoredWrite | None]],
    ) -> list[tuple[StoredWrite, StoredWrite | None]]:
        """Encrypt changes of pending writes; a write that has changed since it was read is omitted.

        Args:
            checkpoint: The checkpoint.
            stored: The stored writes.
            changes: Pairs of a write as it was read and its new form, not encrypted.
        """
        by_place = {(write.task_id, write.write_index): write for write in stored}
        sealed: list[tuple[StoredWrite, StoredWrite | None]] = []
        for before, after in changes:
            found = by_place.get((before.task_id, before.write_index))
            opened, tag = self._plain_write(checkpoint, found) if found else (None, b"")
            if found is not None and opened == before:
                sealed.append((found, None if after is None else self.sealed_write(checkpoint, after, tag)))
        return sealed

    def plain_writes(
        self, checkpoint: CheckpointKey, writes: Sequence[StoredWrite], head: Head | None
    ) -> list[StoredWrite]:
        """Decrypt the pending writes of a checkpoint.

        Args:
            checkpoint: The checkpoint.
            writes: The writes.
            head: The head of the thread, if these are all writes of the checkpoint.

        Raises:
            TamperedDataError: A write was altered, or belongs to another place; or writes are missing.
        """
        plain, tags = [], []
        for write in writes:
            opened, tag = self._plain_write(checkpoint, write)
            plain.append(opened)
            tags.append((write.task_id, write.write_index, tag))
        if head is not None:
            head.check_writes(checkpoint, tags)
        return plain

    def _plain_write(self, checkpoint: CheckpointKey, write: StoredWrite) -> tuple[StoredWrite, bytes]:
        place = self._place_of(checkpoint, write)
        if write.kind == PLAIN:
            data = self._sealer.open(write.data, *place)
            type_, value = ormsgpack.unpackb(data[TAG_BYTES:])
            return write._replace(type=type_, data=value), data[:TAG_BYTES]
        if write.kind == VALUE:
            return write._replace(data=b""), self._sealer.open(write.data, *place, write.type)
        shape, _, seal = write.type.partition(_MARK)
        tag = self._sealer.open(base64.b64decode(seal), *place, shape, write.data)
        return write._replace(type=shape), tag

    def _place_of(self, checkpoint: CheckpointKey, write: StoredWrite) -> tuple[str | bytes, ...]:
        names = (write.task_id, str(write.write_index), write.task_path, write.channel, write.kind)
        return ("write", self._origin, *checkpoint, *names)

    # Data

    def _seal(self, typed: Typed, *place: str | bytes) -> bytes:
        name = typed.type.encode()
        return self._sealer.seal(len(name).to_bytes(1, "big") + name + typed.data, self._origin, *place)

    def _open(self, sealed: bytes, *place: str | bytes) -> Typed:
        data = self._sealer.open(sealed, self._origin, *place)
        end = 1 + data[0]
        return Typed(data[1:end].decode(), data[end:])
