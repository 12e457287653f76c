"""Excerpts: old tool results and long tool arguments, shortened in requests. The transcript keeps them in full.

Pictures and files in old tool results are described in one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from langchain_agentmem.messages.atoms import Atom
from langchain_agentmem.messages.blocks import as_json, file_in
from langchain_agentmem.messages.budgets import Budget
from langchain_agentmem.messages.call_types import THOUGHTS, is_call
from langchain_agentmem.messages.truncation import with_message_texts

READ_TOOL = "read_stored_result"
"""The name of the tool that returns shortened results and summarised messages in full."""
CONVERSATION = "conversation"
"""The ID by which it returns all messages."""

_LONG = 900
"""Characters: longer texts are shortened."""
_HEAD, _TAIL = 300, 150
"""The number of characters that an excerpt keeps."""
_STEPS = 16
"""The room is rounded down to a multiple of this part of it, so that small changes of it have no effect."""
_ENOUGH = 0.75
"""After shortening, a conversation has at most this part of its room; otherwise it is summarised."""
_SIGNED = ("signature", "thought_signature", "encrypted_content", "extras")
"""Fields of blocks that a provider verifies or encrypts."""


class Excerpts(NamedTuple):
    """Shortens old tool results and arguments.

    Args:
        keep: The newest messages stay unchanged, up to the first that exceeds this budget.
        is_readable: If true, the mark in a result names the tool that returns it in full.
    """

    keep: Budget
    is_readable: bool

    def of(self, atoms: Sequence[Atom], room: Budget) -> tuple[list[Atom], bool]:
        """Return the atoms of a conversation with shortened old ones, and whether that makes enough room.

        Whenever the conversation has outgrown its room, all old atoms were shortened at once, and they stay so: the beginning
        of a request stays the same for several turns, and a provider's prompt cache stays valid. If that made little room,
        the next turns would change the beginning again, so it is not enough.

        Args:
            atoms: The conversation.
            room: The budget of the conversation.
        """
        if room.max_tokens is None:
            return list(atoms), False
        step = max(1, room.max_tokens // _STEPS)
        most = room.max_tokens // step * step  # it varies with the texts of a turn
        sizes = [room.tokens(atom.request) for atom in atoms]
        shortened = list(atoms)
        total = first = 0
        is_enough = True
        for at, size in enumerate(sizes):
            total += size
            if total <= most:
                continue
            end = self._first_kept(atoms, sizes, at)
            for old in range(first, end):
                shortened[old] = atoms[old]._replace(request=tuple(map(self._of, atoms[old].request)))
                total += room.tokens(shortened[old].request) - sizes[old]
            first = max(first, end)
            is_enough = total <= most * _ENOUGH
        return shortened, is_enough

    def _first_kept(self, atoms: Sequence[Atom], sizes: Sequence[int], last: int) -> int:
        """Return the index of the first atom that stays unchanged when an atom is the last one."""
        tokens = count = 0
        for at in range(last, -1, -1):
            tokens += sizes[at]
            count += len(atoms[at].request)
            if not self.keep.allows(tokens, count):
                return min(at + 1, last)
        return 0

    def _of(self, message: BaseMessage) -> BaseMessage:
        if isinstance(message, ToolMessage):
            return self._result(message)
        if isinstance(message, AIMessage) and message.tool_calls and not _is_signed(message):
            return _call(message)
        return message

    def _result(self, message: ToolMessage) -> ToolMessage:
        read = f'; {READ_TOOL}("{result_id(message)}") returns it in full' if self.is_readable else ""

        def shorten(text: str) -> str:
            return _shortened(text, read)

        found = with_message_texts(message, shorten)
        assert isinstance(found, ToolMessage)
        if isinstance(found.content, list) and "type" not in message.additional_kwargs:  # a screenshot must stay one
            found = found.model_copy(update={"content": [_described(block, read) for block in found.content]})
        return found if found.content != message.content else message


def result_id(message: ToolMessage) -> str:
    """Return the ID by which `read_stored_result` finds a tool result: a digest of its content.

    The ID of its call is not part of it, because requests rename calls that share an ID.
    """
    content = message.content if isinstance(message.content, str) else as_json(message.content)
    return blake2b(content.encode(errors="surrogatepass"), digest_size=6).hexdigest()


def _described(block: Any, note: str) -> Any:
    """Return a line about a block that is a picture or a file; the block itself if it is not."""
    file = file_in(block)
    if file is None:
        return block
    kind = "image" if file.is_image else file.kind or "file"
    return {"type": "text", "text": f"[{kind} left out{note}]"}


def _call(message: AIMessage) -> AIMessage:
    """Return a message with shortened arguments of its tool calls, and its own text unchanged."""

    def shorten(text: str) -> str:
        return _shortened(text, "")

    if not any(len(as_json(call["args"])) > _LONG for call in message.tool_calls):
        return message
    found = with_message_texts(message, shorten)
    content: Any = message.content
    if isinstance(content, list):
        pairs = zip(content, found.content, strict=True)
        content = [after if is_call(before) else before for before, after in pairs]
    copy = found.model_copy(update={"content": content})
    assert isinstance(copy, AIMessage)
    return copy


def _shortened(text: str, note: str) -> str:
    if len(text) <= _LONG:
        return text
    return f"{text[:_HEAD]} [… {len(text) - _HEAD - _TAIL:,} characters left out{note} …] {text[-_TAIL:]}"


def _is_signed(message: AIMessage) -> bool:
    """Return true if the provider verifies the message: its calls depend on reasoning that it contains."""
    if isinstance(message.content, str):
        return any("signature" in key for key in message.additional_kwargs)
    return any(
        isinstance(block, Mapping) and (block.get("type") in THOUGHTS or any(name in block for name in _SIGNED))
        for block in message.content
    )
