"""The format of encrypted values: AES-GCM, bound to a place, and re-encrypted without knowing the place.

A sealed value is a header (a mark, the ID of the data key, the length of the rest), a nonce and the ciphertext. The plaintext
begins with a keyed digest of the place where the value belongs, such as a table, tenant, thread and checkpoint. `Sealer.open`
refuses a value from another place, so rows can neither be swapped nor moved.

Because the place is a part of the plaintext, `Sealer.resealed` replaces the data key of all sealed values in any stored cell,
in the same length: key rotation needs to know nothing about the layout of a table.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from langchain_agentmem.errors import TamperedDataError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MARK = b"\x6a\x03\x35"
"""The first bytes of a sealed value: `agM1` in base64."""
KEY_ID_BYTES = 5
"""The length of the ID of a data key."""

_HEADER = struct.Struct(f">3s{KEY_ID_BYTES}sI")
_NONCE_BYTES, _TAG_BYTES, _PLACE_BYTES = 12, 16, 16
_LEAST = _NONCE_BYTES + _TAG_BYTES + _PLACE_BYTES
_IN_TEXT = re.compile(rb"agM1[A-Za-z0-9+/]{71,}={0,2}")


class UnknownDataKeyError(TamperedDataError):
    """The data key of a value is not known. Another process may have created it since the keys were read."""


class Sealer:
    """Encrypts values with the current data key, and decrypts values of all data keys.

    Args:
        keys: The data keys of 32 bytes by their IDs of `KEY_ID_BYTES` bytes.
        current: The ID of the key that encrypts.
        place_key: The key of the digests of places, at most 64 bytes. A change makes all sealed values unreadable.

    Example:
        >>> from langchain_agentmem.encoding.sealing import Sealer
        >>> sealer = Sealer({b"first": bytes(32)}, b"first", bytes(32))
        >>> sealed = sealer.seal(b"pizza", "items", "alice", "food")
        >>> sealer.open(sealed, "items", "alice", "food")
        b'pizza'
        >>> sealer.open(sealed, "items", "bob", "food")
        Traceback (most recent call last):
        langchain_agentmem.errors.TamperedDataError: A stored value was moved here from another row: it was altered.
    """

    def __init__(self, keys: Mapping[bytes, bytes], current: bytes, place_key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._ciphers: dict[bytes, AESGCM] = {id_: AESGCM(key) for id_, key in keys.items()}
        self.current = current
        """The ID of the key that encrypts."""
        self._place_key = place_key

    def seal(self, data: bytes, *place: str | bytes) -> bytes:
        """Encrypt a value for a place.

        Args:
            data: The value.
            *place: The names of the place. Different lists of names are different places.
        """
        return self._encrypt(_digest(self._place_key, place) + data)

    def seal_same(self, data: bytes, *place: str | bytes) -> bytes:
        """Same as `seal`, but equal values of one place have equal forms while the data key stays the same."""
        plain = _digest(self._place_key, place) + data
        nonce = blake2b(
            self.current + plain, digest_size=_NONCE_BYTES, key=self._place_key, person=b"agentmem:nonce"
        ).digest()
        return self._encrypt(plain, nonce)

    def open(self, sealed: bytes, *place: str | bytes) -> bytes:
        """Decrypt a value.

        Args:
            sealed: The result of `seal`.
            *place: The same names as in `seal`.

        Raises:
            TamperedDataError: The value is not encrypted, was altered, belongs to another place, or has an unknown key.
        """
        plain = self._decrypt(bytes(sealed))
        if plain[:_PLACE_BYTES] != _digest(self._place_key, place):
            msg = "A stored value was moved here from another row: it was altered."
            raise TamperedDataError(msg)
        return plain[_PLACE_BYTES:]

    def seal_text(self, text: str, *place: str | bytes) -> str:
        """Same as `seal`, from text to standard base64."""
        return base64.b64encode(self.seal(text.encode(), *place)).decode()

    def open_text(self, sealed: str, *place: str | bytes) -> str:
        """Decrypt the result of `seal_text`. Raises as `open`."""
        try:
            cell = base64.b64decode(sealed, validate=True)
        except ValueError:
            cell = b""
        return self.open(cell, *place).decode()

    def resealed(self, cell: bytes) -> bytes | None:
        """Return a stored cell with all its sealed values encrypted with the current key; None if they are already.

        The result has the same length. Sealed values are recognised as bytes, and in standard base64.

        A value that was altered stays as it is, because it cannot be decrypted.

        Args:
            cell: Any stored bytes, or text in UTF-8.
        """
        result = bytearray(cell)
        for start, sealed in self._outdated(cell):
            new = self._renewed(sealed)
            if new is not None:
                result[start : start + len(sealed)] = new
        for found in _IN_TEXT.finditer(cell):
            text = found.group()
            try:
                value = base64.b64decode(text)
            except binascii.Error:
                continue
            if any(at == 0 for at, _ in self._outdated(value)):
                new = self._renewed(value)
                if new is not None:
                    result[found.start() : found.end()] = base64.b64encode(new)
        return None if result == cell else bytes(result)

    def _outdated(self, cell: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the positions and bytes of sealed values that another known key encrypted."""
        for id_ in self._ciphers:
            at = -1 if id_ == self.current else cell.find(MARK + id_)
            while at >= 0:
                if at + _HEADER.size <= len(cell):
                    *_, length = _HEADER.unpack_from(cell, at)
                    if _LEAST <= length <= len(cell) - at - _HEADER.size:
                        yield at, cell[at : at + _HEADER.size + length]
                at = cell.find(MARK + id_, at + 1)

    def _renewed(self, sealed: bytes) -> bytes | None:
        """Return a value encrypted with the current key; None if it was altered."""
        try:
            return self._encrypt(self._decrypt(sealed))
        except TamperedDataError:
            return None

    def _encrypt(self, plain: bytes, nonce: bytes | None = None) -> bytes:
        nonce = nonce or os.urandom(_NONCE_BYTES)
        header = _HEADER.pack(MARK, self.current, len(plain) + _NONCE_BYTES + _TAG_BYTES)
        return header + nonce + self._ciphers[self.current].encrypt(nonce, plain, header)

    def _decrypt(self, sealed: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        if len(sealed) < _HEADER.size + _LEAST or not sealed.startswith(MARK):
            msg = "A stored value is not encrypted although the memory has a key: the row was altered or written without it."
            raise TamperedDataError(msg)
        header, nonce = sealed[: _HEADER.size], sealed[_HEADER.size : _HEADER.size + _NONCE_BYTES]
        _, key_id, length = _HEADER.unpack(header)
        cipher = self._ciphers.get(key_id)
        if cipher is None or length != len(sealed) - _HEADER.size:
            kind = UnknownDataKeyError if cipher is None else TamperedDataError
            reason = "its data key is not known" if cipher is None else "its length does not fit"
            msg = f"A stored value cannot be decrypted: {reason}. It was altered, or encrypted with another key."
            raise kind(msg)
        try:
            return cipher.decrypt(nonce, sealed[_HEADER.size + _NONCE_BYTES :], header)
        except InvalidTag as error:
            msg = "A stored value cannot be decrypted: it was damaged or altered, or the key is wrong."
            raise TamperedDataError(msg) from error


def is_sealed(cell: bytes) -> bool:
    """Return true if a value has the form of a sealed value."""
    return bytes(cell[: len(MARK)]) == MARK


@lru_cache(maxsize=4_096)
def _digest(key: bytes, place: tuple[str | bytes, ...]) -> bytes:
    names = [name.encode() if isinstance(name, str) else name for name in place]
    data = b"".join([part for name in names for part in (len(name).to_bytes(4, "big"), name)])
    return blake2b(data, digest_size=_PLACE_BYTES, key=key, person=b"agentmem:place").digest()
