"""Messages and values to bytes and back.

A message is packed with MessagePack, extended so that tuples, integers of any size and whatever LangGraph's serializer
knows come back equal. It is packed field by field and rebuilt without validating it again, which is what makes reading a
long thread cheap (LangGraph's own serializer validates every message on every read). Other checkpoint values are what that
serializer makes of them. Store values are JSON, because that is what LangGraph's store contract promises and what every
database can filter.

Nothing read back is ever executed: no pickle, and types outside LangGraph's allowlist are refused.
"""

from __future__ import annotations

import json
import logging
import math
import pickle
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import ormsgpack
from langchain_core import messages as core
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.arguments.nesting import MAX_DEPTH
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.encoding.repairs import MAX_INTEGER_BITS, built, faults_of, repaired
from langchain_agentmem.encoding.roundtrips import holds_half_surrogate, is_exact, lost_types
from langchain_agentmem.errors import DamagedDataError, InvalidInputError, UnsupportedValueError
from langchain_agentmem.programs.signals import came_by_signal

_log = logging.getLogger(__name__)

MAX_VALUE_BYTES = 256 * 1024 * 1024
"""The largest single value that is accepted, in bytes, on any backend.

A stored value that is larger than this after decompression raises `DamagedDataError`. To raise the bound, assign to this
module attribute before the first use: `langchain_agentmem.encoding.codec.MAX_VALUE_BYTES = 2**30`.
"""

_UNREADABLE = (
    *(ValueError, TypeError, LookupError, AttributeError, ImportError, NotImplementedError, RecursionError),
    *(ArithmeticError, EOFError, AssertionError, zlib.error, struct.error, pickle.PickleError),
)
"""Errors that decoders raise for bytes that they cannot read. Other errors, such as the exception of a job queue's time
limit, are not caught."""

MAX_JSON_DEPTH = MAX_DEPTH
"""How deep a store value may be nested: what every backend's JSON reader accepts."""

REFERENCE_BYTES = 16
"""The length of an element's reference (a BLAKE2b digest), in bytes."""

_MESSAGE_CLASSES: dict[str, type[BaseMessage]] = {
    cls.__name__: cls
    for cls in (
        core.AIMessage,
        core.AIMessageChunk,
        core.ChatMessage,
        core.ChatMessageChunk,
        core.FunctionMessage,
        core.FunctionMessageChunk,
        core.HumanMessage,
        core.HumanMessageChunk,
        core.RemoveMessage,
        core.SystemMessage,
        core.SystemMessageChunk,
        core.ToolMessage,
        core.ToolMessageChunk,
    )
}
_MESSAGE_TYPES = {f"message:{name}": (cls, cls.model_fields.keys()) for name, cls in _MESSAGE_CLASSES.items()}
_TYPE_OF_CLASS = {cls: type_ for type_, (cls, _) in _MESSAGE_TYPES.items()}
_PACKED = "packed"
_SEALED = "sealed"

_EXT_TUPLE = 1
_EXT_INTEGER = 2
_EXT_TYPED = 3

_EXT_PAIRS = 4

_PACK_OPTIONS = (
    ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
)


class Typed(NamedTuple):
    """A serialized value: the name of its format, and its bytes."""

    type: str
    data: bytes


class Codec:
    """Turns messages and values into bytes and back.

    Args:
        serde: The serializer for what is not a plain message. With an `EncryptedSerializer`, or any serializer that is
            not LangGraph's `JsonPlusSerializer`, everything passes through it and nothing is stored in plain text.
            Default: LangGraph's serializer, restricted to the types it declares safe.
        verify: Whether a value of an unusual type is decoded once when it is written, to refuse it if it would not come
            back equal. If false, it is stored as LangGraph's serializer stores it, and one warning names each type that
            does not come back as it was. Default: True.
        reported: Types that a warning named already; several codecs may share the set. Default: none.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem.encoding.codec import Codec
        >>> codec = Codec()
        >>> codec.load_message(codec.dump_message(HumanMessage("hi")))
        HumanMessage(content='hi', additional_kwargs={}, response_metadata={})
    """

    def __init__(
        self, serde: SerializerProtocol | None = None, *, verify: bool = True, reported: set[type] | None = None
    ) -> None:
        self.serde: SerializerProtocol = serde or JsonPlusSerializer(allowed_msgpack_modules=None)
        self._verify = verify
        self.reported: set[type] = set() if reported is None else reported
        """Types that a warning named already."""
        self._cipher = self.serde.cipher if isinstance(self.serde, EncryptedSerializer) else None
        inner = self.serde.serde if isinstance(self.serde, EncryptedSerializer) else self.serde
        self._custom = not isinstance(inner, JsonPlusSerializer)
        self._plain: SerializerProtocol = JsonPlusSerializer() if self._custom else inner

    @property
    def secret(self) -> bool:
        """Whether stored bytes must not show anything of the values, not even that two are equal."""
        return self._custom or self._cipher is not None

    # Messages

    def dump_message(self, message: BaseMessage) -> Typed:
        """The stored form of one message.

        Raises:
            UnsupportedValueError: It is not one of langchain-core's own message classes, or holds a value (such as an
                artifact) that would not come back equal.
            InvalidInputError: One of its fields does not have the type that LangChain declares, its text holds half of a
                surrogate pair, or it is too large.
        """
        if not _is_plain_message(message):
            name = type(message).__name__
            msg = (
                f"Cannot store a message of type {name}: only langchain-core's own message classes come back equal. "
                f"Convert it first, for example to AIMessage or HumanMessage."
            )
            raise UnsupportedValueError(msg)
        faults = faults_of(message)
        if faults:
            raise InvalidInputError("; ".join(map(str, faults)))
        try:
            identity = self._identify_message(message)
        except (InvalidInputError, UnsupportedValueError):
            self._blame_field(message)
            raise
        return self._store(message, identity)

    def load_message(self, typed: tuple[str, bytes]) -> BaseMessage:
        """The message that `dump_message` stored.

        Earlier versions stored messages without checking them; one that is malformed is repaired.

        Raises:
            DamagedDataError: The bytes were damaged or altered.
        """
        message = self.load(typed)
        if not isinstance(message, BaseMessage):
            msg = f"Expected a stored message, found a {type(message).__name__}: the row was damaged or altered."
            raise DamagedDataError(msg)
        return repaired(message)

    def packs(self, value: Any) -> bool:
        """Return whether a message can hold a value."""
        try:
            self._pack(value)
        except (InvalidInputError, UnsupportedValueError):
            return False
        return True

    # Any value

    def identify(self, value: Any) -> Typed:
        """A plain form of a value, the same for equal values: what its reference is computed from."""
        return self._identify_message(value) if _is_plain_message(value) else _dumped(self._plain, value)

    def store(self, value: Any, identity: Typed | None = None) -> Typed:
        """The stored form of a value.

        Args:
            value: The value.
            identity: What `identify` gave for it, if that was computed already.
        """
        if self._custom:
            return self._store(value, identity or Typed("", b""))
        identity = identity or self.identify(value)
        self._report_losses(value, identity)
        return self._store(value, identity)

    def dump_plain(self, value: Any) -> Typed:
        """A value as LangGraph's own savers store it; `load` reads it too.

        Raises:
            InvalidInputError: Its text holds half of a surrogate pair.
            UnsupportedValueError: The serializer does not know its type.
        """
        typed = _dumped(self.serde, value)
        self._report_losses(value, typed)
        return typed

    def load(self, typed: tuple[str, bytes]) -> Any:
        """The value that `store` stored.

        Raises:
            DamagedDataError: The bytes were damaged or altered, or are not encrypted although a key is in use.
        """
        return self.load_opened(self.open(typed))

    def open(self, typed: tuple[str, bytes]) -> Typed:
        """The plain form of what `store` stored (the stored form itself, under a serializer of another kind).

        Raises:
            DamagedDataError: The bytes were damaged or altered, or are not encrypted although a key is in use.
        """
        if self._cipher is None:
            return typed if isinstance(typed, Typed) else Typed(*typed)
        mark, _, cipher = typed[0].partition("+")
        if mark != _SEALED or not cipher:
            msg = f"A stored value of type {typed[0]!r} is not encrypted although a key is in use: it was not written by us."
            raise DamagedDataError(msg)
        try:
            type_, _, data = self._cipher.decrypt(cipher, typed[1]).partition(b"\x00")
            return Typed(type_.decode(), data)
        except Exception as error:  # a cipher of the application's own may raise any error for bytes that were altered
            if came_by_signal(error):
                raise
            msg = f"A stored value cannot be decrypted: it was damaged or altered, or the key is another one ({error})."
            raise DamagedDataError(msg) from error

    def load_opened(self, typed: Typed) -> Any:
        """The value behind what `open` gave.

        Raises:
            DamagedDataError: The bytes were damaged or altered.
        """
        type_, data = typed
        try:
            if type_ in _MESSAGE_TYPES:
                return _rebuild_message(type_, self._unpack(data))
            return (self.serde if self._custom else self._plain).loads_typed((type_, data))
        except _UNREADABLE as error:
            msg = f"A stored value of type {type_!r} cannot be read: it was damaged or altered ({error})."
            raise DamagedDataError(msg) from error

    @property
    def verifiable(self) -> bool:
        """Whether `open` gives what references were computed from, so that they tell damaged elements."""
        return not self._custom

    def dump_document(self, document: Mapping[str, Any]) -> Typed:
        """The stored form of a mapping of plain values: packed, compressed, and encrypted if a key is in use."""
        packed = self._pack(document)
        if not self._custom:
            self._report_losses(document, Typed(_PACKED, packed))
        packed = zlib.compress(packed, 1)
        if self._custom:
            return Typed(*self.serde.dumps_typed(packed))
        return self._seal(Typed(_PACKED, packed))

    def load_document(self, typed: tuple[str, bytes]) -> dict[str, Any]:
        """The mapping that `dump_document` stored.

        Raises:
            DamagedDataError: The bytes were damaged or altered.
        """
        opened = self.open(typed)
        try:
            packed = self.serde.loads_typed(opened) if self._custom else opened.data
            document = self._unpack(_decompressed(packed))
        except _UNREADABLE as error:
            msg = f"A stored document cannot be read: it was damaged or altered ({error})."
            raise DamagedDataError(msg) from error
        if not isinstance(document, dict):
            msg = f"Expected a stored document, found a {type(document).__name__}: the row was damaged or altered."
            raise DamagedDataError(msg)
        return document

    # Encryption

    def _store(self, value: Any, identity: Typed) -> Typed:
        if not self._custom:
            return self._seal(identity)
        try:
            return Typed(*self.serde.dumps_typed(value))
        except _UNREADABLE:
            if not isinstance(value, BaseException):
                raise
            return Typed(*self.serde.dumps_typed(_text_of_error(value)))

    def _seal(self, typed: Typed) -> Typed:
        if self._cipher is None:
            return typed
        # The type is encrypted too, so that it can be neither read nor altered.
        name, data = self._cipher.encrypt(typed.type.encode() + b"\x00" + typed.data)
        return Typed(f"{_SEALED}+{name}", data)

    # Packing

    def _identify_message(self, message: BaseMessage) -> Typed:
        fields = message.__dict__
        if message.__pydantic_extra__:
            fields = {**fields, **message.__pydantic_extra__}
        return Typed(_TYPE_OF_CLASS[type(message)], self._pack(fields))

    def _blame_field(self, message: BaseMessage) -> None:
        """Raise the error of the field that cannot be packed, with its name."""
        for name, value in {**message.__dict__, **(message.__pydantic_extra__ or {})}.items():
            try:
                self._pack(value)
            except (InvalidInputError, UnsupportedValueError) as error:
                msg = f"{name}: {error}"
                raise type(error)(msg) from error

    def _pack(self, value: Any) -> bytes:
        try:
            packed = _packed(value, self._pack_unusual)
        except (TypeError, ValueError, RecursionError):
            try:
                packed = _packed(_with_pairs(value), self._pack_unusual)
            except (TypeError, ValueError, RecursionError) as error:
                raise _unsupported(value, error) from error
        if len(packed) > MAX_VALUE_BYTES:
            msg = f"A value of {len(packed):,} bytes is too large: at most {MAX_VALUE_BYTES:,} bytes are accepted."
            raise InvalidInputError(msg)
        return packed

    def _unpack(self, data: bytes) -> Any:
        raised: list[BaseException] = []

        def unpack_unusual(code: int, inner: bytes) -> Any:
            try:
                return self._unpack_unusual(code, inner)
            except BaseException as error:
                raised.append(error)
                raise

        try:
            return ormsgpack.unpackb(data, ext_hook=unpack_unusual)
        except ValueError:
            if raised:
                raise raised[0] from None
            raise

    def _report_losses(self, value: Any, typed: Typed) -> None:
        """Warn once for each type in a value that does not come back as it was."""
        if self._verify or isinstance(value, BaseException) or is_exact(value):
            return
        try:
            restored = self._unpack(typed.data) if typed.type == _PACKED else self.load_opened(typed)
        except DamagedDataError:
            restored = None
        try:
            found = list(lost_types(value, restored))
        except RecursionError:  # it holds itself: only pickle stores that, and restores it
            return
        for lost in found:
            if lost not in self.reported:
                self.reported.add(lost)
                _log.warning(
                    "Values of type %s.%s do not come back from checkpoints as they were: the serializer does not keep all "
                    "of them. Store plain data, or pass a serde that knows the type (one of your own, or one whose "
                    "`allowed_msgpack_modules` lists it).",
                    lost.__module__,
                    lost.__qualname__,
                )

    def _pack_unusual(self, value: Any) -> ormsgpack.Ext:
        if type(value) is tuple:
            return ormsgpack.Ext(_EXT_TUPLE, self._pack(list(value)))
        if type(value) is _Pairs:
            return ormsgpack.Ext(_EXT_PAIRS, self._pack(value.pairs))
        if type(value) is int:
            return ormsgpack.Ext(_EXT_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
        typed = self._plain.dumps_typed(value)
        if self._verify and not _same(value, self._plain.loads_typed(typed)):
            msg = (
                f"a value of type {type(value).__module__}.{type(value).__qualname__} would not come back equal; "
                f"store plain data, or pass a serde whose `allowed_msgpack_modules` lists the type"
            )
            raise UnsupportedValueError(msg)
        return ormsgpack.Ext(_EXT_TYPED, ormsgpack.packb(list(typed)))

    def _unpack_unusual(self, code: int, data: bytes) -> Any:
        if code == _EXT_TUPLE:
            return tuple(self._unpack(data))
        if code == _EXT_PAIRS:
            return dict(self._unpack(data))
        if code == _EXT_INTEGER:
            return int.from_bytes(data, "big", signed=True)
        if code == _EXT_TYPED:
            type_, inner = ormsgpack.unpackb(data)
            return self._plain.loads_typed((type_, inner))
        msg = f"unknown extension {code}"
        raise ValueError(msg)


def reference(identity: Typed, key: bytes = b"") -> bytes:
    """The reference of an element: a digest of its plain form.

    Args:
        identity: The plain form, from `Codec.identify`.
        key: A secret, at most 64 bytes, so that the digest shows nothing of the value. Default: none.

    Returns:
        `REFERENCE_BYTES` bytes (BLAKE2b, RFC 7693).
    """
    return blake2b(identity.data, digest_size=REFERENCE_BYTES, key=key, person=_format_mark(identity.type)).digest()


@lru_cache(maxsize=1024)
def _format_mark(type_: str) -> bytes:
    """What tells the digests of equal bytes in different formats apart."""
    return blake2b(type_.encode(), digest_size=blake2b.PERSON_SIZE).digest()


def dump_json(value: Mapping[str, Any], what: str = "A store value") -> str:
    """A store value as JSON text.

    Args:
        value: A mapping with string keys; inside, only mappings, lists, tuples (which come back as lists, as in JSON),
            strings, numbers, booleans and None.
        what: What errors call it. Default: `"A store value"`.

    Raises:
        UnsupportedValueError: It holds something else; the message says where.
        InvalidInputError: It is too large, nested too deep, or holds half of a surrogate pair.

    Example:
        >>> from langchain_agentmem.encoding.codec import dump_json
        >>> dump_json({"food": "pizza"})
        '{"food":"pizza"}'
    """
    if not isinstance(value, Mapping):
        msg = f"{what} must be a mapping such as a dict, got {type(value).__name__}: {shown(value)}."
        raise UnsupportedValueError(msg)
    text = _ENCODE(value if is_plain_json(value) else _plain_json(value, "value", 0))
    check_text("The value", text)
    if len(text) > MAX_VALUE_BYTES:
        msg = f"A value of {len(text):,} characters is too large: at most {MAX_VALUE_BYTES:,} bytes are accepted."
        raise InvalidInputError(msg)
    return text


def is_plain_json(value: Any, depth: int = 0) -> bool:
    """Whether a value certainly comes back from JSON as it is; it looks at usual types only."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is dict:
        return depth < MAX_JSON_DEPTH and all(
            type(key) is str and is_plain_json(inner, depth + 1) for key, inner in value.items()
        )
    if kind is list:
        return depth < MAX_JSON_DEPTH and all(is_plain_json(inner, depth + 1) for inner in value)
    return (kind is int and value.bit_length() <= MAX_INTEGER_BITS) or (kind is float and math.isfinite(value))


_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dump_exact_json(value: Any) -> str | None:
    """A value as JSON text, if it would come back the same from a database that knows JSON as Postgres does.

    Postgres keeps no NUL characters and no order of keys, and knows numbers by their digits only.

    Args:
        value: Any value.

    Returns:
        The text, or None when the value would be altered or is none that JSON knows.
    """
    return json.dumps(value) if _is_exact(value) else None


def _is_exact(value: Any) -> bool:
    if isinstance(value, str):
        return type(value) is str and _is_exact_text(value)
    if isinstance(value, float):
        # 1e16 would come back as an integer, and -0.0 without its sign.
        return type(value) is float and abs(value) < 1e16 and not (value == 0 and math.copysign(1, value) < 0)
    if type(value) is dict:
        return all(type(key) is str and _is_exact_text(key) and _is_exact(inner) for key, inner in value.items())
    if type(value) is list:
        return all(map(_is_exact, value))
    return value is None or type(value) is bool or (type(value) is int and value.bit_length() <= MAX_INTEGER_BITS)


def _is_exact_text(text: str) -> bool:
    if "\x00" in text:
        return False
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def load_json(text: str) -> dict[str, Any]:
    """The value that `dump_json` wrote.

    Raises:
        DamagedDataError: It is not a JSON object.
    """
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        msg = f"A stored value is not JSON: the row was damaged or altered ({error})."
        raise DamagedDataError(msg) from error
    if not isinstance(value, dict):
        msg = f"Expected a stored mapping, found a {type(value).__name__}: the row was damaged or altered."
        raise DamagedDataError(msg)
    return value


def _plain_json(value: Any, where: str, depth: int) -> Any:
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        if value.bit_length() <= MAX_INTEGER_BITS:
            return value
        msg = f"{where} is an integer of {value.bit_length():,} bits; at most {MAX_INTEGER_BITS:,} are accepted."
        raise InvalidInputError(msg)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        msg = f"{where} is {value!r}, which JSON does not know; use None or a string."
        raise UnsupportedValueError(msg)
    if depth >= MAX_JSON_DEPTH:
        msg = f"{where[:80]}… is nested deeper than {MAX_JSON_DEPTH} levels."
        raise InvalidInputError(msg)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                msg = f"{where} has the key {key!r}: keys must be strings, got {type(key).__name__}."
                raise UnsupportedValueError(msg)
        return {key: _plain_json(inner, f"{where}[{key!r}]", depth + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_json(inner, f"{where}[{index}]", depth + 1) for index, inner in enumerate(value)]
    msg = (
        f"{where} is of type {type(value).__name__}: a store value holds only mappings, lists, strings, numbers, "
        f"booleans and None. Convert it first, for example a datetime with .isoformat()."
    )
    raise UnsupportedValueError(msg)


def _dumped(serde: SerializerProtocol, value: Any) -> Typed:
    """Serialize a value; raise `InvalidInputError` for text that the serializer would alter."""
    try:
        typed = Typed(*serde.dumps_typed(value))
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(value, BaseException):
            return Typed(*serde.dumps_typed(_text_of_error(value)))
        raise _unsupported(value, error) from error
    # The serializer puts question marks in the place of half surrogates.
    if b"?" in typed.data and holds_half_surrogate(value):
        raise _half_surrogate(value)
    return typed


def _text_of_error(error: BaseException) -> str:
    """Return an exception as text that can be stored."""
    try:
        text = repr(error)
    except Exception as problem:  # the exception's own code may raise any error
        if came_by_signal(problem):
            raise
        text = f"{type(error).__qualname__}(…), whose repr failed: {type(problem).__qualname__}"
    return text.encode(errors="replace").decode()


def _packed(value: Any, pack_unusual: Callable[[Any], Any]) -> bytes:
    """Pack a value. Raise the hook's own errors, which ormsgpack replaces by a `TypeError`."""
    raised: list[BaseException] = []

    def hook(inner: Any) -> Any:
        try:
            return pack_unusual(inner)
        except BaseException as error:
            raised.append(error)
            raise

    try:
        packed: bytes = ormsgpack.packb(value, default=hook, option=_PACK_OPTIONS)
    except (TypeError, ValueError, RecursionError):
        if raised:
            raise raised[0] from None
        raise
    return packed


def _decompressed(data: bytes) -> bytes:
    """Decompress data, up to `MAX_VALUE_BYTES`."""
    inflater = zlib.decompressobj()
    value = inflater.decompress(data, MAX_VALUE_BYTES + 1)
    if len(value) > MAX_VALUE_BYTES:
        msg = f"it is larger than {MAX_VALUE_BYTES:,} bytes once decompressed, which is the most that is accepted"
        raise ValueError(msg)
    if not inflater.eof:
        msg = "its compressed data end too early"
        raise ValueError(msg)
    return value


class _Pairs(NamedTuple):
    """A dict with keys that are not strings, which MessagePack would turn into strings."""

    pairs: list[list[Any]]


def _with_pairs(value: Any) -> Any:
    """A value with every such dict in it replaced."""
    if isinstance(value, dict):
        inner = {key: _with_pairs(item) for key, item in value.items()}
        return inner if all(type(key) is str for key in inner) else _Pairs([[key, inner[key]] for key in inner])
    if type(value) is list:
        return [_with_pairs(item) for item in value]
    if type(value) is tuple:
        return tuple(_with_pairs(item) for item in value)
    return value


def _rebuild_message(type_: str, fields: dict[str, Any]) -> BaseMessage:
    """A message from its fields, without validating again what was validated before it was stored."""
    cls, known = _MESSAGE_TYPES[type_]
    if fields.keys() == known:
        return built(cls, fields)
    if fields.keys() >= known:  # with extra fields
        return cls.model_construct(**fields)
    try:
        # It was stored by another version of langchain-core, so it is worth validating.
        return cls(**fields)
    except _UNREADABLE:
        if "type" not in fields:
            raise
        # It was made without validation, and stored by a version that did not check messages.
        return cls.model_construct(**fields)


def message_class(cls: type) -> type[BaseMessage] | None:
    """Return the class of langchain-core's messages that a class is, or is derived from; None if there is none."""
    return next((_MESSAGE_CLASSES[one.__name__] for one in cls.__mro__ if one in _TYPE_OF_CLASS), None)


def _is_plain_message(value: Any) -> bool:
    return type(value) in _TYPE_OF_CLASS


def _same(value: Any, restored: Any) -> bool:
    if type(value) is not type(restored):
        return False
    try:
        return bool(value == restored)
    except ValueError:  # numpy arrays have no single truth value
        equal: Callable[[], Any] = (value == restored).all
        return bool(equal())


def _unsupported(value: Any, error: BaseException) -> Exception:
    if isinstance(error, (UnsupportedValueError, InvalidInputError)):
        return error
    if "surrogate" in str(error):
        return _half_surrogate(value)
    return UnsupportedValueError(f"A {type(value).__name__} cannot be stored: {error}.")


def _half_surrogate(value: Any) -> InvalidInputError:
    return InvalidInputError(
        f"A {type(value).__name__} holds half of a surrogate pair, which is not text. "
        f"Replace it first, for example with text.encode(errors='replace').decode()."
    )
