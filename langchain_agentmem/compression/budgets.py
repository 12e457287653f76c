"""Budgets, and how a conversation is made to fit one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from langchain_agentmem.compression.atoms import CALLS, Atom
from langchain_agentmem.errors import BudgetError
from langchain_agentmem.tokens import TokenCounter

_LEAST_CUT = 8
"""Tokens: a text is not cut to less."""


@dataclass(frozen=True)
class Budget:
    """What a request may be at most.

    Args:
        counter: What counts tokens.
        max_tokens: The most tokens; None for any number.
        max_messages: The most messages; None for any number.
    """

    counter: TokenCounter
    max_tokens: int | None = None
    max_messages: int | None = None

    def less(self, messages: Sequence[BaseMessage], tokens: int = 0) -> Budget:
        """What is left beside some messages, and tokens that are spent otherwise."""
        left = None if self.max_tokens is None else self.max_tokens - tokens - self.tokens(messages)
        places = None if self.max_messages is None else self.max_messages - len(messages)
        return Budget(self.counter, left, places)

    def holds(self, messages: Sequence[BaseMessage]) -> bool:
        """Whether messages fit."""
        return self.allows(self.tokens(messages), len(messages))

    def allows(self, tokens: int, count: int) -> bool:
        """Whether so many tokens in so many messages fit."""
        if self.max_messages is not None and count > self.max_messages:
            return False
        return self.max_tokens is None or tokens <= self.max_tokens

    def tokens(self, messages: Sequence[BaseMessage]) -> int:
        """What messages count; 0 where tokens do not matter."""
        return 0 if self.max_tokens is None else sum(map(self.counter.message, messages))


def request_of(atoms: Sequence[Atom]) -> list[BaseMessage]:
    """What a request may hold of atoms."""
    return [message for atom in atoms for message in atom.request]


def suffix(atoms: Sequence[Atom], room: Budget, enough: Budget | None = None) -> tuple[int | None, int]:
    """Which of the newest atoms are kept.

    They begin with a human message where they can. When the last turn alone does not fit, its human message is kept, and the
    newest atoms after it.

    Args:
        atoms: The conversation.
        room: What they must fit in.
        enough: No more are kept than it takes not to fit in this. Default: None (as many as fit).

    Returns:
        The human message that is kept before them (None: they begin with one), and where they begin.
    """
    best, start = _reach(atoms, 0, room, enough)
    if best is not None:
        return None, best
    last = max((at for at, atom in enumerate(atoms) if atom.is_human), default=None)
    if last is None or last == len(atoms) - 1:
        return None, min(start, len(atoms) - 1)
    _, start = _reach(atoms, last + 1, room.less(atoms[last].request), enough)
    return last, min(start, len(atoms) - 1)


def _reach(atoms: Sequence[Atom], first: int, room: Budget, enough: Budget | None) -> tuple[int | None, int]:
    """How far back atoms fit, but not before `first`: to which human message, and to which atom."""
    best, start = None, len(atoms)
    tokens = count = 0
    for at in range(len(atoms) - 1, first - 1, -1):
        tokens += room.tokens(atoms[at].request)
        count += len(atoms[at].request)
        if not room.allows(tokens, count):
            break
        start = at
        if atoms[at].is_human:
            best = at
        if enough is not None and not enough.allows(tokens, count) and (atoms[at].is_human or first):
            break
    return best, start


def fitted(atoms: Sequence[Atom], room: Budget) -> list[BaseMessage]:
    """The newest of a conversation that fits; a message that is too large by itself is cut, with a visible mark.

    Args:
        atoms: The conversation.
        room: What it must fit in.

    Raises:
        BudgetError: A message cannot be cut so far.
    """
    if not atoms:
        return []
    pinned, start = suffix(atoms, room)
    kept = request_of([*([] if pinned is None else [atoms[pinned]]), *atoms[start:]])
    if room.holds(kept):
        return kept
    return _cut(kept, room)


def _cut(messages: list[BaseMessage], room: Budget) -> list[BaseMessage]:
    """Cut the largest messages until all fit."""
    if room.max_messages is not None and len(messages) > room.max_messages:
        msg = (
            f"The last turn's {len(messages)} messages, which must stay together, do not fit in the "
            f"{max(0, room.max_messages)} that the budget leaves: raise max_messages."
        )
        raise BudgetError(msg)
    if room.max_tokens is None:
        return messages
    sizes = [room.counter.message(message) for message in messages]
    over = sum(sizes) - room.max_tokens
    for at in sorted(range(len(messages)), key=lambda one: -sizes[one]):
        if over <= 0:
            break
        rest = sum(sizes) - sizes[at]
        # Not below an even share: so two large messages are both cut, rather than one to nothing.
        aim = max(room.max_tokens - rest, room.max_tokens // len(messages))
        messages[at] = cut(messages[at], aim, room.counter)
        sizes[at] = room.counter.message(messages[at])
        over = sum(sizes) - room.max_tokens
    if over > 0:
        at = max(range(len(messages)), key=sizes.__getitem__)
        raise _too_large(messages[at], sizes[at], room)
    return messages


def _too_large(message: BaseMessage, size: int, room: Budget) -> BudgetError:
    msg = (
        f"The {message.type} message {str(message.text)[:60]!r}… counts {size:,} tokens and cannot be cut so that the "
        f"request fits in the {max(0, room.max_tokens or 0):,} tokens that the budget leaves: raise max_tokens, or send less."
    )
    return BudgetError(msg)


def cut(message: BaseMessage, tokens: int, counter: TokenCounter) -> BaseMessage:
    """A copy of a message of which as much is left out, in the middle and with a mark, that it counts no more than `tokens`.

    Args:
        message: The message.
        tokens: The most tokens. A message that would have to lose all its text stays larger.
        counter: What counts them.
    """

    def shortened(characters: int) -> BaseMessage:
        def short(text: str) -> str:
            return _shortened(text, characters, counter)

        update: dict[str, Any] = {"content": _each_text(message.content, short)}
        if isinstance(message, AIMessage) and message.tool_calls:
            calls = [{**call, "args": _each_string(call["args"], short)} for call in message.tool_calls]
            update["tool_calls"] = calls
        return message.model_copy(update=update)

    if counter.message(shortened(_LEAST_CUT)) > tokens and not isinstance(message.content, str):
        message = message.model_copy(update={"content": [_described(block) for block in message.content]})
    low, high = 0, max(map(len, _texts(message)), default=0)
    while low < high:
        middle = (low + high + 1) // 2
        if counter.message(shortened(middle)) <= tokens:
            low = middle
        else:
            high = middle - 1
    return shortened(max(low, _LEAST_CUT))


def _described(block: Any) -> Any:
    """A block of content that has no text, as the mark that it was left out."""
    if isinstance(block, str) or isinstance(block.get("text"), str) or block.get("type") in CALLS:
        return block
    return {"type": "text", "text": f"[{block.get('type', 'content')} left out]"}


def _texts(message: BaseMessage) -> list[str]:
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    _each_text(message.content, note)
    if isinstance(message, AIMessage):
        for call in message.tool_calls:
            _each_string(call["args"], note)
    return found


def _shortened(text: str, characters: int, counter: TokenCounter) -> str:
    """A text without its middle, but for so many characters."""
    if len(text) <= characters:
        return text
    head = characters * 2 // 3
    tail = characters - head
    gone = text[head : len(text) - tail]
    left_out = counter.text(gone[:2_000]) * len(gone) // min(len(gone), 2_000)
    return f"{text[:head]} [… about {left_out:,} tokens left out …] {text[len(text) - tail :] if tail else ''}".rstrip()


def _each_text(content: Any, change: Callable[[str], str]) -> Any:
    """A message's content with its texts changed."""
    if isinstance(content, str):
        return change(content)
    return [
        change(block)
        if isinstance(block, str)
        else {**block, "text": change(block["text"])}
        if isinstance(block.get("text"), str)
        else block
        for block in content
    ]


def _each_string(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _each_string(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [_each_string(inner, change) for inner in value]
    return value
