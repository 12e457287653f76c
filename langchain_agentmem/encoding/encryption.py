"""The keys of an encrypted memory, and what they encrypt: values, IDs and digests.

The key of the user encrypts only the *secrets* of a tenant: random keys that the database stores in encrypted form. Values
are encrypted with one of several data keys, so a key is rotated without a pause; see `langchain_agentmem.encoding.sealing`.
IDs and labels are encrypted with a key that never changes, by AES-SIV (RFC 5297): equal IDs have equal ciphertexts, so that
the database can compare them, and a listing can return the ID itself.
"""

from __future__ import annotations

import base64
import binascii
import inspect
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from langchain_agentmem.encoding.sealing import KEY_ID_BYTES, Sealer
from langchain_agentmem.errors import (
    ConfigurationError,
    InvalidInputError,
    InvalidTypeError,
    TamperedDataError,
    WrongKeyError,
    missing_extra,
)
from langchain_agentmem.programs import Call, OffLoop, Program
from langchain_agentmem.programs.imports import load

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

GivenKey = bytes | str
Key = GivenKey | Callable[[], Any] | Sequence[Any]
"""The argument `key`: 32 bytes, their base64 text, a function that returns them, or a list of those."""

KEY_BYTES = 32
MAX_SEALED_ID_BYTES = 600
"""The maximum length of an ID or a label under a key, in bytes of UTF-8.

The encrypted form is longer by a third, and Postgres' indexes contain up to three IDs of together 2,700 bytes."""

USER_ROOT = "user:"
"""The beginning of the root label of a user's items. It is stored in clear before the encrypted ID."""

_NONCE_BYTES = 12
_VERSION = 1


def new_key() -> str:
    """Return a new random key for `AgentMemory.from_url(url, key=…)`, as text. Store it where only the application reads it.

    Example:
        >>> from langchain_agentmem import new_key
        >>> len(new_key())
        44
    """
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


class KeySource:
    """The keys in the argument `key`. A function is called once; its result is kept.

    Args:
        key: The argument.

    Raises:
        InvalidTypeError: A key has the wrong type.
        InvalidInputError: A key has the wrong length, or no key is given.
        ConfigurationError: The package `cryptography` is not installed.

    Example:
        >>> from langchain_agentmem.encoding.encryption import KeySource
        >>> from langchain_agentmem.programs import run
        >>> run(KeySource(lambda: bytes(32)).keys()) == [bytes(32)]
        True
    """

    def __init__(self, key: Key) -> None:
        try:
            load("cryptography.hazmat.primitives.ciphers.aead")
        except ImportError as error:
            raise missing_extra(what="Encryption", extra="encryption") from error
        given = list(key) if isinstance(key, (list, tuple)) else [key]
        if not given:
            msg = (
                "key must not be an empty list. Pass a key, such as new_key() returns, or a function that returns one."
            )
            raise InvalidInputError(msg)
        self._given: list[bytes | Callable[[], Any]] = [one if callable(one) else _checked(one) for one in given]
        self._keys: list[bytes] | None = None

    def keys(self) -> Program[list[bytes]]:
        """Return the keys. The first one is the current one.

        Raises:
            InvalidTypeError: A function returned something else than a key.
            InvalidInputError: A function returned a key of the wrong length, or none.
        """
        if self._keys is None:
            found: list[bytes] = []
            for one in self._given:
                if isinstance(one, bytes):
                    found.append(one)
                    continue
                found += yield from _returned(one)
            self._keys = found
        return self._keys

    def __repr__(self) -> str:
        return "KeySource(…)"


class Secrets(NamedTuple):
    """The keys of a tenant, which the database stores in encrypted form."""

    id_key: bytes
    """The key of IDs and labels. It never changes."""
    place_key: bytes
    """The key of digests. It never changes."""
    data_keys: Mapping[bytes, bytes]
    """The keys of values by their IDs."""
    current: bytes
    """The ID of the key that encrypts new values."""
    searchable: bool = False
    """If true, words and vectors of items are stored in a form that can be searched. It never changes."""

    def __repr__(self) -> str:
        return f"Secrets(…, current={self.current.hex()!r})"  # never a key: tracebacks with variables show this

    @classmethod
    def new(cls, *, searchable: bool = False) -> Secrets:
        """Return random secrets.

        Args:
            searchable: See the field. Default: False.
        """
        id_ = os.urandom(KEY_ID_BYTES)
        return cls(os.urandom(64), os.urandom(KEY_BYTES), {id_: os.urandom(KEY_BYTES)}, id_, searchable)

    def with_new_key(self) -> Secrets:
        """Return the secrets with a further data key, which is the current one."""
        id_ = os.urandom(KEY_ID_BYTES)
        return self._replace(data_keys={**self.data_keys, id_: os.urandom(KEY_BYTES)}, current=id_)

    def without_old_keys(self) -> Secrets:
        """Return the secrets with the current data key only."""
        return self._replace(data_keys={self.current: self.data_keys[self.current]})

    def wrapped(self, key: bytes, tenant: str) -> dict[str, Any]:
        """Return the secrets as a document, encrypted with a key of the user.

        Args:
            key: The key of the user.
            tenant: The tenant.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        plain = {
            "id_key": self.id_key.hex(),
            "place_key": self.place_key.hex(),
            "data_keys": {id_.hex(): one.hex() for id_, one in self.data_keys.items()},
            "current": self.current.hex(),
            "searchable": self.searchable,
        }
        nonce = os.urandom(_NONCE_BYTES)
        secrets = AESGCM(key).encrypt(nonce, json.dumps(plain).encode(), _context(tenant))
        return {"version": _VERSION, "key": id_of_key(key), "secrets": base64.b64encode(nonce + secrets).decode()}

    @classmethod
    def unwrapped(cls, document: Mapping[str, Any], keys: Sequence[bytes], tenant: str) -> Secrets:
        """Return the secrets in a document.

        Args:
            document: The result of `wrapped`.
            keys: The keys of the user.
            tenant: The tenant.

        Raises:
            WrongKeyError: None of the keys fits.
            TamperedDataError: The document was altered.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if document.get("version") != _VERSION:
            msg = f"Tenant {tenant!r} is encrypted in a form of a later version. Upgrade langchain-agentmem."
            raise ConfigurationError(msg)
        fitting = [key for key in keys if id_of_key(key) == document.get("key")]
        if not fitting:
            msg = (
                f"Tenant {tenant!r} is encrypted with another key than the given one. Nothing was read or written. Pass the "
                f"key with the ID {document.get('key')!s:.20}; the given ones have {', '.join(map(id_of_key, keys))}."
            )
            raise WrongKeyError(msg)
        try:
            data = base64.b64decode(document["secrets"], validate=True)
            plain = json.loads(AESGCM(fitting[0]).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _context(tenant)))
            return cls(
                bytes.fromhex(plain["id_key"]),
                bytes.fromhex(plain["place_key"]),
                {bytes.fromhex(id_): bytes.fromhex(one) for id_, one in plain["data_keys"].items()},
                bytes.fromhex(plain["current"]),
                plain["searchable"],
            )
        except (InvalidTag, KeyError, TypeError, ValueError) as error:
            msg = f"The stored keys of tenant {tenant!r} cannot be decrypted: they were damaged or altered."
            raise TamperedDataError(msg) from error


class KeyRing:
    """Encrypts and decrypts for one tenant, after `load`.

    Example:
        >>> from langchain_agentmem.encoding.encryption import KeyRing, Secrets
        >>> ring = KeyRing()
        >>> ring.load(Secrets.new())
        >>> sealed = ring.id("user", "alice@example.com")
        >>> sealed == ring.id("user", "alice@example.com"), ring.plain_id("user", sealed)
        (True, 'alice@example.com')
    """

    def __init__(self) -> None:
        self._loaded: tuple[Secrets, Sealer, AESSIV] | None = None

    def load(self, secrets: Secrets) -> None:
        """Use these secrets from now on."""
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        if self._loaded is None or self._loaded[0] != secrets:
            sealer = Sealer(secrets.data_keys, secrets.current, secrets.place_key)
            self._loaded = secrets, sealer, AESSIV(secrets.id_key)

    @property
    def secrets(self) -> Secrets:
        """The secrets."""
        return self._given[0]

    @property
    def sealer(self) -> Sealer:
        """Encrypts values. Read it for each use: a rotation replaces it."""
        return self._given[1]

    @property
    def is_loaded(self) -> bool:
        """True after `load`."""
        return self._loaded is not None

    def id(self, kind: str, plain: str) -> str:
        """Return the encrypted form of an ID, which is the same each time. An empty ID stays empty.

        Args:
            kind: The kind of the ID, such as `"user"`. Equal IDs of different kinds have different forms.
            plain: The ID.

        Raises:
            InvalidInputError: The ID is longer than `MAX_SEALED_ID_BYTES`.
        """
        if not plain:
            return plain
        data = plain.encode()
        if len(data) > MAX_SEALED_ID_BYTES:
            msg = (
                f"{kind} {plain[:40]!r}… is {len(data):,} bytes long; at most {MAX_SEALED_ID_BYTES:,} are accepted in an "
                f"encrypted memory. Use a shorter one."
            )
            raise InvalidInputError(msg)
        return base64.urlsafe_b64encode(self._given[2].encrypt(data, [kind.encode()])).rstrip(b"=").decode()

    def plain_id(self, kind: str, sealed: str) -> str:
        """Return the ID in the result of `id`.

        Raises:
            TamperedDataError: The ID is not encrypted, or was altered.
        """
        from cryptography.exceptions import InvalidTag

        if not sealed:
            return sealed
        try:
            data = base64.b64decode(sealed + "=" * (-len(sealed) % 4), b"-_", validate=True)
            return self._given[2].decrypt(data, [kind.encode()]).decode()
        except (InvalidTag, ValueError) as error:  # a text that is not base64, or too short, is a ValueError
            msg = (
                f"The stored {kind} {sealed[:40]!r} is not encrypted with the key of this memory: the row was altered, or "
                f"written without the key."
            )
            raise TamperedDataError(msg) from error

    def optional_id(self, kind: str, plain: str | None) -> str | None:
        """Same as `id`, but accept None."""
        return None if plain is None else self.id(kind, plain)

    def optional_plain_id(self, kind: str, sealed: str | None) -> str | None:
        """Same as `plain_id`, but accept None."""
        return None if sealed is None else self.plain_id(kind, sealed)

    def label(self, plain: str) -> str:
        """Return the encrypted form of a namespace's label. A user's root label begins with `USER_ROOT` in both forms."""
        if plain.startswith(USER_ROOT):
            return USER_ROOT + self.id("user", plain.removeprefix(USER_ROOT))
        return self.id("label", plain)

    def plain_label(self, sealed: str) -> str:
        """Return the label in the result of `label`. Raises as `plain_id`."""
        if sealed.startswith(USER_ROOT):
            return USER_ROOT + self.plain_id("user", sealed.removeprefix(USER_ROOT))
        return self.plain_id("label", sealed)

    def digest(self, *names: str | bytes, size: int = 16) -> bytes:
        """Return a keyed digest of names. Different lists of names have different digests."""
        digest = blake2b(digest_size=size, key=self._given[0].place_key, person=b"agentmem:digest")
        for name in names:
            encoded = name.encode() if isinstance(name, str) else name
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        return digest.digest()

    @property
    def _given(self) -> tuple[Secrets, Sealer, AESSIV]:
        if self._loaded is None:
            msg = "The keys are not loaded: a storage program ran on another backend than the encrypted one."
            raise RuntimeError(msg)
        return self._loaded


def _returned(function: Callable[[], Any]) -> Program[list[bytes]]:
    """Return the keys that a function returns. It may wait for a key service, so it is not called on an event loop."""
    if inspect.iscoroutinefunction(function):
        result = yield from Call(cast("Callable[[], Any | Awaitable[Any]]", function))
    else:
        yield from OffLoop(True)
        result = function()
        if inspect.isawaitable(result):
            result = yield from Call(partial(_same, result))
    many = list(result) if isinstance(result, (list, tuple)) else [result]
    if not many:
        msg = "The function in key returned an empty list. It must return a key, or a list of keys."
        raise InvalidInputError(msg)
    return [_checked(key, of_function=True) for key in many]


def _same(result: Any) -> Any:
    return result


def id_of_key(key: bytes) -> str:
    """Return the ID of a key of the user, which the database stores to tell a wrong key."""
    return blake2b(key, digest_size=8, person=b"agentmem:key").hexdigest()


def checked_key(key: Any) -> bytes:
    """Return a key as bytes.

    Args:
        key: 32 bytes, or their base64 text.

    Raises:
        InvalidTypeError: The key has the wrong type.
        InvalidInputError: The key has the wrong length.
    """
    return _checked(key)


def _checked(key: Any, *, of_function: bool = False) -> bytes:
    """Return a key as bytes. The errors show no part of it."""
    source = "The function in key returned" if of_function else "key is"
    data: bytes | None = None
    if isinstance(key, (bytes, bytearray)):
        data = bytes(key)
    elif isinstance(key, str):
        try:
            data = base64.b64decode(key.strip().translate({45: 43, 95: 47}), validate=True)
        except (ValueError, binascii.Error):
            msg = f"{source} a text that is not base64. Pass what new_key() returns, or {KEY_BYTES} bytes."
            raise InvalidInputError(msg) from None
    if data is None:
        hint = " Pass the function itself, not its coroutine." if inspect.isawaitable(key) else ""
        msg = f"{source} of type {type(key).__name__}; it must be {KEY_BYTES} bytes, their base64 text or a function.{hint}"
        raise InvalidTypeError(msg)
    if len(data) != KEY_BYTES:
        msg = f"{source} {len(data)} bytes long; it must have {KEY_BYTES} bytes. Create one with new_key()."
        raise InvalidInputError(msg)
    return data


def _context(tenant: str) -> bytes:
    return b"langchain-agentmem keys\0" + tenant.encode()
