"""Budgets, and how a conversation is made to fit one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import BudgetError
from langchain_agentmem.messages.atoms import Atom
from langchain_agentmem.messages.blocks import THOUGHTS, args_of, as_json, id_of_call, is_call, with_strings, with_texts
from langchain_agentmem.messages.tokens import TokenCounter

_LEAST_CUT = 8
"""Characters: a text is not cut to less."""
_MOST_CHARACTERS_PER_TOKEN = 8
_PRECISION = 50
"""A text is cut to no less than this part below the most that would fit, or it would be counted too often."""
_LOOKED_AT = 2_000
"""Characters, by which it is said how many tokens are left out."""


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
    whole = list(messages)
    sizes = [room.counter.message(message) for message in messages]
    over = sum(sizes) - room.max_tokens
    # At first not below an even share, so two large messages are both cut, rather than one to nothing.
    for share in (room.max_tokens // len(messages), 0):
        for at in sorted(range(len(messages)), key=lambda one: -sizes[one]):
            if over <= 0:
                break
            aim = max(room.max_tokens - (sum(sizes) - sizes[at]), share)
            messages[at] = cut(whole[at], aim, room.counter)
            sizes[at] = room.counter.message(messages[at])
            over = sum(sizes) - room.max_tokens
    if over > 0:
        at = max(range(len(messages)), key=sizes.__getitem__)
        raise _too_large(messages[at], sizes[at], room)
    return messages


def _too_large(message: BaseMessage, size: int, room: Budget) -> BudgetError:
    msg = (
        f"The {message.type} message {shown(str(message.text)[:60])}… counts {size:,} tokens and cannot be cut so that the "
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

    def count(characters: int) -> int:
        return counter.message(_shortened(message, characters, counter), remember=False)

    if not isinstance(message.content, str) and count(_LEAST_CUT) > tokens:
        content = [found for block in message.content if (found := _described(block)) is not None]
        message = message.model_copy(update={"content": content})
    longest = max(map(len, _texts(message)), default=0)
    # What is tried is never much larger than what it is to become, however large the message is.
    low, high = _LEAST_CUT, min(longest, max(_LEAST_CUT, tokens * _MOST_CHARACTERS_PER_TOKEN))
    while low < high - high // _PRECISION:
        middle = (low + high + 1) // 2
        if count(middle) <= tokens:
            low = middle
        else:
            high = middle - 1
    return _shortened(message, low, counter)


def _shortened(message: BaseMessage, characters: int, counter: TokenCounter) -> BaseMessage:
    """A copy of a message of whose every text no more than so many characters are left."""

    def short(text: str) -> str:
        return _short(text, characters, counter)

    return _with_texts(message, short)


def _short(text: str, characters: int, counter: TokenCounter) -> str:
    """A text without its middle, but for so many characters; as it is if the mark would make it no shorter."""
    if len(text) <= characters:
        return text
    head = characters * 2 // 3
    tail = characters - head
    looked_at = text[head : head + min(_LOOKED_AT, len(text) - characters)]
    gone = len(text) - characters
    left_out = counter.text(looked_at) * gone // len(looked_at)
    short = (
        f"{text[:head]} [… about {left_out:,} tokens left out …] {text[len(text) - tail :] if tail else ''}".rstrip()
    )
    return short if len(short) < len(text) else text


def _with_texts(message: BaseMessage, change: Callable[[str], str]) -> BaseMessage:
    """A copy of a message with its texts changed: in its content, and in what its tools are called with."""
    content: Any = message.content
    if not isinstance(message, AIMessage):
        update = {
            "content": change(content) if isinstance(content, str) else [with_texts(one, change) for one in content]
        }
        return message.model_copy(update=update)
    calls = [{**call, "args": with_strings(call["args"], change)} for call in message.tool_calls]
    invalid = [{**call, "args": change(call["args"] or "")} for call in message.invalid_tool_calls]
    args = {call["id"]: call["args"] for call in (*calls, *invalid)}
    if isinstance(content, str):
        content = change(content)
    else:
        content = [_call(one, args, change) if is_call(one) else with_texts(one, change) for one in content]
    # The calls as the provider wrote them, which would be as large as before.
    more = {
        key: value for key, value in message.additional_kwargs.items() if key != "tool_calls" or not (calls or invalid)
    }
    function = more.get("function_call")
    if isinstance(function, Mapping):
        more["function_call"] = {**function, "arguments": with_strings(function.get("arguments"), change)}
    return message.model_copy(
        update={"content": content, "tool_calls": calls, "invalid_tool_calls": invalid, "additional_kwargs": more}
    )


def _call(block: Mapping[str, Any], args: Mapping[Any, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """A content block of a call, with the arguments that the message's call has now."""
    found = args.get(id_of_call(block))
    if found is None:
        found = with_strings(args_of(block), change)
    changed = {key: value for key, value in block.items() if key != "partial_json"}
    for name in ("input", "args", "arguments"):
        if name in block:
            changed[name] = as_json(found) if isinstance(block[name], str) else found
    return changed


def _described(block: Any) -> Any:
    """A block of content that cannot be cut, as the mark that it was left out; None for a thought, which leaves no mark.

    So a call of a tool that the provider runs and the result of it go together.
    """
    if isinstance(block, str) or is_call(block) or isinstance(block.get("text"), str):
        return block
    kind = block.get("type")
    if kind in THOUGHTS:
        return None
    if kind == "tool_result":  # the call before it needs it
        return {**block, "content": "[left out]"}
    return {"type": "text", "text": f"[{kind or 'content'} left out]"}


def _texts(message: BaseMessage) -> list[str]:
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    _with_texts(message, note)
    return found
