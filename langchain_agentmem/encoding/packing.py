"""MessagePack with extensions, so that all plain values come back equal.

The extensions are tuples, integers of any size, dicts with keys of any type, and the types of LangGraph's serializer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ormsgpack
from langgraph.checkpoint.serde.base import SerializerProtocol

from langchain_agentmem.encoding import limits
from langchain_agentmem.encoding.refusals import unsupported
from langchain_agentmem.errors import InvalidInputError, UnsupportedValueError

_TUPLE = 1
_INTEGER = 2
_TYPED = 3
_PAIRS = 4

_OPTIONS = (
    ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
)


class Packer:
    """Packs values into MessagePack and unpacks them.

    Args:
        serde: The serializer for values that MessagePack does not know.
        verify: If true, a value that the serializer does not restore equal is refused. Default: True.
        reader: The serializer that reads values. Default: None (`serde`).

    Example:
        >>> from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
        >>> from langchain_agentmem.encoding.packing import Packer
        >>> packer = Packer(JsonPlusSerializer())
        >>> packer.unpack(packer.pack({"point": (1, 2)}))
        {'point': (1, 2)}
    """

    def __init__(
        self, serde: SerializerProtocol, *, verify: bool = True, reader: SerializerProtocol | None = None
    ) -> None:
        self._serde = serde
        self._reader = serde if reader is None else reader
        self._verify = verify

    def pack(self, value: Any) -> bytes:
        """Return a value as bytes.

        Raises:
            UnsupportedValueError: The value, or a part of it, would not come back equal.
            InvalidInputError: The value is too large, or its text contains half of a surrogate pair.
        """
        try:
            packed = _packed(value, self._pack_extension)
        except (TypeError, ValueError, RecursionError):
            try:
                packed = _packed(_with_pairs(value), self._pack_extension)
            except (TypeError, ValueError, RecursionError) as error:
                raise unsupported(value, error) from error
        if len(packed) > limits.MAX_VALUE_BYTES:
            msg = (
                f"A value of {len(packed):,} bytes is too large: at most {limits.MAX_VALUE_BYTES:,} bytes are accepted."
            )
            raise InvalidInputError(msg)
        return packed

    def unpack(self, data: bytes) -> Any:
        """Return the value that `pack` packed.

        Raises:
            ValueError: The bytes are not a packed value. Damaged bytes may raise the errors in `refusals.UNREADABLE` too.
        """
        raised: list[BaseException] = []

        def unpack_extension(code: int, inner: bytes) -> Any:
            try:
                return self._unpack_extension(code, inner)
            except BaseException as error:
                raised.append(error)
                raise

        try:
            return ormsgpack.unpackb(data, ext_hook=unpack_extension)
        except ValueError:
            if raised:
                raise raised[0] from None
            raise

    def _pack_extension(self, value: Any) -> ormsgpack.Ext:
        if type(value) is tuple:
            return ormsgpack.Ext(_TUPLE, self.pack(list(value)))
        if type(value) is _Pairs:
            return ormsgpack.Ext(_PAIRS, self.pack(value.pairs))
        if type(value) is int:
            return ormsgpack.Ext(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
        typed = self._serde.dumps_typed(value)
        if self._verify and not _are_equal(value, self._serde.loads_typed(typed)):
            msg = (
                f"a value of type {type(value).__module__}.{type(value).__qualname__} would not come back equal; "
                f"store plain data, or pass a serde whose `allowed_msgpack_modules` lists the type"
            )
            raise UnsupportedValueError(msg)
        return ormsgpack.Ext(_TYPED, ormsgpack.packb(list(typed)))

    def _unpack_extension(self, code: int, data: bytes) -> Any:
        if code == _TUPLE:
            return tuple(self.unpack(data))
        if code == _PAIRS:
            return dict(self.unpack(data))
        if code == _INTEGER:
            return int.from_bytes(data, "big", signed=True)
        if code == _TYPED:
            type_, inner = ormsgpack.unpackb(data)
            return self._reader.loads_typed((type_, inner))
        msg = f"unknown extension {code}"
        raise ValueError(msg)


class _Pairs(NamedTuple):
    """A dict with keys that are not strings, which MessagePack would convert to strings."""

    pairs: list[list[Any]]


def _with_pairs(value: Any) -> Any:
    """Return a value in which `_Pairs` replace all dicts with keys that are not strings."""
    if isinstance(value, dict):
        inner = {key: _with_pairs(item) for key, item in value.items()}
        return inner if all(type(key) is str for key in inner) else _Pairs([[key, inner[key]] for key in inner])
    if type(value) is list:
        return [_with_pairs(item) for item in value]
    if type(value) is tuple:
        return tuple(_with_pairs(item) for item in value)
    return value


def _packed(value: Any, pack_extension: Callable[[Any], Any]) -> bytes:
    """Pack a value. Raise the hook's own errors, which ormsgpack replaces with a `TypeError`."""
    raised: list[BaseException] = []

    def hook(inner: Any) -> Any:
        try:
            return pack_extension(inner)
        except BaseException as error:
            raised.append(error)
            raise

    try:
        packed: bytes = ormsgpack.packb(value, default=hook, option=_OPTIONS)
    except (TypeError, ValueError, RecursionError):
        if raised:
            raise raised[0] from None
        raise
    return packed


def _are_equal(value: Any, restored: Any) -> bool:
    if type(value) is not type(restored):
        return False
    try:
        return bool(value == restored)
    except ValueError:  # numpy arrays have no single truth value
        equal: Callable[[], Any] = (value == restored).all
        return bool(equal())
