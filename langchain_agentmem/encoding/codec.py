"""Messages and values to bytes and back.

* A message is packed field by field, and rebuilt without validation. LangGraph's own serializer validates every message on
  every read, which makes long threads slow.
* Other checkpoint values are stored in the format of LangGraph's serializer.
* Store values are JSON; see `langchain_agentmem.encoding.json_values`.

Reading never executes stored data: nothing is unpickled, and types outside of LangGraph's allowlist are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.encoding.compression import compressed, decompressed
from langchain_agentmem.encoding.message_classes import FORMATS, is_message_format, is_plain_message, rebuilt_message
from langchain_agentmem.encoding.missing import with_placeholders
from langchain_agentmem.encoding.packing import Packer
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.encoding.refusals import UNREADABLE, half_surrogate, text_of_error, unsupported
from langchain_agentmem.encoding.repairs import faults_of, repaired
from langchain_agentmem.encoding.roundtrips import holds_half_surrogate, is_exact, lost_types
from langchain_agentmem.errors import DamagedDataError, InvalidInputError, UnsupportedValueError
from langchain_agentmem.programs.signals import came_by_signal

_log = logging.getLogger(__name__)

_PACKED = "packed"
_SEALED = "sealed"


class Codec:
    """Converts messages and values to bytes and back.

    Args:
        serde: The serializer of values that are not messages. An `EncryptedSerializer`, or any serializer other than
            LangGraph's `JsonPlusSerializer`, serializes messages too, so that nothing is stored in plain text. Default:
            LangGraph's serializer, restricted to the types that it declares safe.
        verify: If true, a value of an unusual type is decoded once when it is written, and refused if it does not come back
            equal. If false, the value is stored as LangGraph's serializer stores it, and one warning names each type that
            does not come back as it was. Default: True.
        reported: The types that a warning has named; several codecs may share the set. Default: none.
        keyed: If true, the backend encrypts what the codec returns, so references must reveal nothing. Default: False.
        placeholders: If true, a value whose class does not exist any more is read as `MissingClass`, and not as a dict.
            Default: False.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem.encoding.codec import Codec
        >>> codec = Codec()
        >>> codec.load_message(codec.dump_message(HumanMessage("hi")))
        HumanMessage(content='hi', additional_kwargs={}, response_metadata={})
    """

    def __init__(
        self,
        serde: SerializerProtocol | None = None,
        *,
        verify: bool = True,
        reported: set[type] | None = None,
        keyed: bool = False,
        placeholders: bool = False,
    ) -> None:
        self.serde: SerializerProtocol = serde or JsonPlusSerializer(allowed_msgpack_modules=None)
        self._verify = verify
        self._keyed = keyed
        self.reported: set[type] = set() if reported is None else reported
        """The types that a warning has named."""
        self._cipher = self.serde.cipher if isinstance(self.serde, EncryptedSerializer) else None
        inner = self.serde.serde if isinstance(self.serde, EncryptedSerializer) else self.serde
        self._custom = not isinstance(inner, JsonPlusSerializer)
        self.plain: SerializerProtocol = JsonPlusSerializer() if self._custom else inner
        """The serializer without encryption: equal values have equal bytes."""
        self._reader = self.plain
        if placeholders and isinstance(inner, JsonPlusSerializer):
            self._reader = with_placeholders(inner)
        self._packer = Packer(self.plain, verify=verify, reader=self._reader)

    @property
    def secret(self) -> bool:
        """True if stored bytes must reveal nothing about the values, not even that two values are equal."""
        return self._keyed or self._custom or self._cipher is not None

    @property
    def verifiable(self) -> bool:
        """True if references are digests of the bytes that `open` returns, so that they reveal damaged elements."""
        return not self._custom

    # Messages

    def dump_message(self, message: BaseMessage) -> Typed:
        """Return the stored form of a message.

        Raises:
            UnsupportedValueError: The message is not of one of langchain-core's own classes, or has a value (such as an
                artifact) that would not come back equal.
            InvalidInputError: A field does not have the type that LangChain declares, the text contains half of a
                surrogate pair, or the message is too large.
        """
        if not is_plain_message(message):
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
        """Return the message that `dump_message` stored.

        Earlier versions stored messages unchecked; a malformed message is repaired.

        Raises:
            DamagedDataError: The bytes were damaged or altered.
        """
        message = self.load(typed)
        if not isinstance(message, BaseMessage):
            msg = f"Expected a stored message, found a {type(message).__name__}: the row was damaged or altered."
            raise DamagedDataError(msg)
        return repaired(message)

    def packs(self, value: Any) -> bool:
        """Return true if a message can contain a value."""
        try:
            self._packer.pack(value)
        except (InvalidInputError, UnsupportedValueError):
            return False
        return True

    def _identify_message(self, message: BaseMessage) -> Typed:
        fields = message.__dict__
        if message.__pydantic_extra__:
            fields = {**fields, **message.__pydantic_extra__}
        return Typed(FORMATS[type(message)], self._packer.pack(fields))

    def _blame_field(self, message: BaseMessage) -> None:
        """Raise the error of the field that cannot be packed, with the field's name."""
        for name, value in {**message.__dict__, **(message.__pydantic_extra__ or {})}.items():
            try:
                self._packer.pack(value)
            except (InvalidInputError, UnsupportedValueError) as error:
                msg = f"{name}: {error}"
                raise type(error)(msg) from error

    # Any value

    def identify(self, value: Any) -> Typed:
        """Return the plain form of a value, from which its reference is computed. Equal values have equal plain forms."""
        return self._identify_message(value) if is_plain_message(value) else _dumped(self.plain, value)

    def store(self, value: Any, identity: Typed | None = None) -> Typed:
        """Return the stored form of a value.

        Args:
            value: The value.
            identity: The result of `identify` for the value, if the caller has it. Default: None.
        """
        if self._custom:
            return self._store(value, identity or Typed("", b""))
        identity = identity or self.identify(value)
        self._report_losses(value, identity)
        return self._store(value, identity)

    def dump_plain(self, value: Any) -> Typed:
        """Return a value in the format of LangGraph's own savers, which `load` reads too.

        Raises:
            InvalidInputError: The text contains half of a surrogate pair.
            UnsupportedValueError: The serializer does not know the type.
        """
        typed = _dumped(self.serde, value)
        self._report_losses(value, typed)
        return typed

    def load(self, typed: tuple[str, bytes]) -> Any:
        """Return the value that `store` stored.

        Raises:
            DamagedDataError: The bytes were damaged or altered, or are not encrypted although a key is in use.
        """
        return self.load_opened(self.open(typed))

    def load_opened(self, typed: Typed) -> Any:
        """Return the value of a plain form that `open` returned.

        Raises:
            DamagedDataError: The bytes were damaged or altered.
        """
        type_, data = typed
        try:
            if is_message_format(type_):
                return rebuilt_message(type_, self._packer.unpack(data))
            return (self.serde if self._custom else self._reader).loads_typed((type_, data))
        except UNREADABLE as error:
            msg = (
                f"A stored value of type {shown(type_)} cannot be read: it was damaged or altered. "
                f"Cause: {reason_of(error)}."
            )
            raise DamagedDataError(msg) from error

    def _store(self, value: Any, identity: Typed) -> Typed:
        if not self._custom:
            return self.seal(identity)
        try:
            return Typed(*self.serde.dumps_typed(value))
        except UNREADABLE:
            if not isinstance(value, BaseException):
                raise
            return Typed(*self.serde.dumps_typed(text_of_error(value)))

    def _report_losses(self, value: Any, typed: Typed) -> None:
        """Warn once for each type in a value that does not come back unchanged."""
        if self._verify or isinstance(value, BaseException) or is_exact(value):
            return
        try:
            restored = self._packer.unpack(typed.data) if typed.type == _PACKED else self.load_opened(typed)
        except DamagedDataError:
            restored = None
        try:
            found = list(lost_types(value, restored))
        except RecursionError:  # a value that contains itself: pickle stores and restores it
            return
        for lost in found:
            if lost not in self.reported:
                self.reported.add(lost)
                _log.warning(
                    "Values of type %s.%s do not come back from checkpoints as they were: the serializer loses a part of "
                    "them. Store plain data, or pass a serde that knows the type (your own, or one whose "
                    "`allowed_msgpack_modules` lists it).",
                    lost.__module__,
                    lost.__qualname__,
                )

    # Documents

    def dump_document(self, document: Mapping[str, Any]) -> Typed:
        """Return the stored form of a mapping of plain values: packed, compressed, and encrypted if a key is in use."""
        packed = self._packer.pack(document)
        if not self._custom:
            self._report_losses(document, Typed(_PACKED, packed))
        packed = compressed(packed)
        if self._custom:
            return Typed(*self.serde.dumps_typed(packed))
        return self.seal(Typed(_PACKED, packed))

    def load_document(self, typed: tuple[str, bytes]) -> dict[str, Any]:
        """Return the mapping that `dump_document` stored.

        Raises:
            DamagedDataError: The bytes were damaged or altered.
        """
        opened = self.open(typed)
        try:
            packed = self.serde.loads_typed(opened) if self._custom else opened.data
            document = self._packer.unpack(decompressed(packed))
        except UNREADABLE as error:
            msg = f"A stored document cannot be read: it was damaged or altered. Cause: {reason_of(error)}."
            raise DamagedDataError(msg) from error
        if not isinstance(document, dict):
            msg = f"Expected a stored document, found a {type(document).__name__}: the row was damaged or altered."
            raise DamagedDataError(msg)
        return document

    def pack_document(self, document: Mapping[str, Any]) -> bytes:
        """Return a mapping as bytes that are neither compressed nor encrypted: equal mappings have equal bytes."""
        return self._packer.pack(document)

    def unpack_document(self, packed: bytes) -> dict[str, Any]:
        """Return the mapping that `pack_document` packed.

        Raises:
            DamagedDataError: The bytes were damaged or altered.
        """
        try:
            document = self._packer.unpack(packed)
        except UNREADABLE as error:
            msg = f"A document cannot be read: it was damaged or altered. Cause: {reason_of(error)}."
            raise DamagedDataError(msg) from error
        if not isinstance(document, dict):
            msg = f"Expected a document, found a {type(document).__name__}: it was damaged or altered."
            raise DamagedDataError(msg)
        return document

    # Encryption

    def open(self, typed: tuple[str, bytes]) -> Typed:
        """Decrypt a stored form. Without a key, or with another kind of serializer, return it unchanged.

        Raises:
            DamagedDataError: The bytes were damaged or altered, or are not encrypted although a key is in use.
        """
        if self._cipher is None:
            return typed if isinstance(typed, Typed) else Typed(*typed)
        mark, _, cipher = typed[0].partition("+")
        if mark != _SEALED or not cipher:
            msg = f"A stored value of type {typed[0][:60]!r} is not encrypted although a key is in use."
            raise DamagedDataError(msg)
        try:
            type_, _, data = self._cipher.decrypt(cipher, typed[1]).partition(b"\x00")
            return Typed(type_.decode(), data)
        except Exception as error:  # an application's cipher may raise any error for altered bytes
            if came_by_signal(error):
                raise
            msg = (
                f"A stored value cannot be decrypted: it was damaged or altered, or the key is wrong. "
                f"Cause: {reason_of(error)}."
            )
            raise DamagedDataError(msg) from error

    def seal(self, typed: Typed) -> Typed:
        """Encrypt a plain form: the inverse of `open`. Without a key, return it unchanged."""
        if self._cipher is None:
            return typed
        # The type is encrypted too, so that nobody can read or alter it.
        name, data = self._cipher.encrypt(typed.type.encode() + b"\x00" + typed.data)
        return Typed(f"{_SEALED}+{name}", data)


def _dumped(serde: SerializerProtocol, value: Any) -> Typed:
    """Serialize a value; raise `InvalidInputError` for text that the serializer would alter."""
    try:
        typed = Typed(*serde.dumps_typed(value))
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(value, BaseException):
            return Typed(*serde.dumps_typed(text_of_error(value)))
        raise unsupported(value, error) from error
    # The serializer replaces half surrogates with question marks.
    if b"?" in typed.data and holds_half_surrogate(value):
        raise half_surrogate(value)
    return typed
