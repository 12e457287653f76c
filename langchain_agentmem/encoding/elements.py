"""Elements of stored values that a process keeps, to compare them and to copy them without the database."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.message_classes import has_all_fields, is_plain_message
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.encoding.repairs import built
from langchain_agentmem.programs.signals import came_by_signal

_AT_ONCE = 64
"""The number of elements that are compared at once."""

_cls_of, _fields_of = attrgetter("_cls"), attrgetter("_fields")
_dict_of, _extra_of = attrgetter("__dict__"), attrgetter("__pydantic_extra__")


class Element:
    """One element as it was stored. It shares nothing with the application, which may change its own objects.

    A message whose fields are texts or empty is kept as its fields: they are compared and copied ten times as fast as its
    bytes are packed. Any other element is kept as its plain form.

    Args:
        value: The element, which is not kept; None if it was only read. Then the first copy decodes it.
        identity: Its plain form, from `Codec.identify`.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem.encoding.codec import Codec
        >>> from langchain_agentmem.encoding.elements import Element
        >>> codec, message = Codec(), HumanMessage("Hi")
        >>> kept = Element(message, codec.identify(message))
        >>> message.content = "Bye"
        >>> kept.is_same(message, codec), kept.copy(codec).content
        (False, 'Hi')
    """

    __slots__ = ("_cls", "_dicts", "_fields", "_identity", "_is_read", "_lists", "size")

    def __init__(self, value: Any, identity: Typed) -> None:
        self.size = len(identity.data)
        """The length of the plain form in bytes."""
        self._identity: Typed | None = identity
        self._cls: Any = None
        self._fields: dict[str, Any] = {}
        self._lists: tuple[str, ...] = ()
        self._dicts: tuple[str, ...] = ()
        self._is_read = value is None
        if is_plain_message(value):
            self._keep_fields(value)

    def _keep_fields(self, message: BaseMessage) -> None:
        if message.__pydantic_extra__ or not has_all_fields(message):
            return
        lists, dicts = [], []
        for name, value in message.__dict__.items():
            if value is None or type(value) is str:
                continue
            if type(value) is list and not value:
                lists.append(name)
            elif type(value) is dict and not value:
                dicts.append(name)
            else:
                return
        self._lists, self._dicts = tuple(lists), tuple(dicts)
        self._fields = self._copied(message.__dict__)
        self._cls = type(message)
        self._identity = None  # the last step: another thread may copy the element before

    def _copied(self, fields: dict[str, Any]) -> dict[str, Any]:
        copied = fields.copy()
        for name in self._lists:
            copied[name] = []
        for name in self._dicts:
            copied[name] = {}
        return copied

    def is_same(self, value: Any, codec: Codec) -> bool:
        """Return true if a value has the same plain form.

        Raises:
            InvalidInputError: The value cannot be stored.
            UnsupportedValueError: The value cannot be stored.
        """
        identity = self._identity
        if identity is not None:
            return codec.identify(value) == identity
        if type(value) is not self._cls:
            return False
        try:
            # Only a text equals a text, and only an empty list or dict equals an empty one.
            return bool(value.__dict__ == self._fields) and not value.__pydantic_extra__
        except Exception as error:  # the comparison of an object of the application
            if came_by_signal(error):
                raise
            return False

    def copy(self, codec: Codec) -> Any:
        """Return the element as a new object."""
        identity = self._identity
        if identity is None:
            return built(self._cls, self._copied(self._fields))
        value = codec.load_opened(identity)
        if self._is_read:
            self._is_read = False
            if is_plain_message(value):
                self._keep_fields(value)
        return value


def unchanged(values: Sequence[Any], kept: Sequence[Element], codec: Codec) -> tuple[int, int]:
    """Return the number of leading values that are the same as the kept elements, and the number of trailing ones.

    Args:
        values: The elements of a value.
        kept: The elements of an earlier version.
        codec: The codec of both.
    """
    longest = min(len(values), len(kept))
    head = 0
    while longest - head > _AT_ONCE and _are_same(values[head : head + _AT_ONCE], kept[head : head + _AT_ONCE]):
        head += _AT_ONCE
    while head < longest and kept[head].is_same(values[head], codec):
        head += 1
    tail = 0
    while tail < longest - head and kept[-1 - tail].is_same(values[-1 - tail], codec):
        tail += 1
    return head, tail


def _are_same(values: Sequence[Any], kept: Sequence[Element]) -> bool:
    """Return true if messages have the same fields as elements that are kept as fields; false if that is not certain.

    The comparisons of a long thread run without a call for each message.
    """
    if list(map(type, values)) != list(map(_cls_of, kept)):
        return False  # the class of an element that is kept as its plain form is None
    try:
        same = list(map(_dict_of, values)) == list(map(_fields_of, kept))
        return same and not any(map(_extra_of, values))
    except Exception as error:  # the comparison of an object of the application
        if came_by_signal(error):
            raise
        return False


def copies(elements: Sequence[Element], codec: Codec) -> list[Any]:
    """Return new copies of elements."""
    found: list[Any] = []
    for element in elements:
        if element._identity is not None:
            found.append(element.copy(codec))
            continue
        fields = element._fields.copy()  # as `Element.copy` does, without two calls for each message of a long thread
        for name in element._lists:
            fields[name] = []
        for name in element._dicts:
            fields[name] = {}
        found.append(built(element._cls, fields))
    return found
