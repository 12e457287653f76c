"""Token counts of messages: by tiktoken, by a model's own counter, by any function, or approximate.

Counts are cached, so that a turn costs time for its new messages only. Approximate counts are rather too high than too low.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage

from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.messages.approximation import approximate_tokens
from langchain_agentmem.messages.blocks import File, as_json, blocks_of, calls_of, content_of_block
from langchain_agentmem.messages.call_types import is_call
from langchain_agentmem.messages.vocabularies import Vocabulary, encoding_of, vocabulary
from langchain_agentmem.programs import Compute, Program
from langchain_agentmem.programs.caches import RecentValues
from langchain_agentmem.programs.signals import came_by_signal

if TYPE_CHECKING:
    from tiktoken import Encoding

_log = logging.getLogger(__name__)

PER_MESSAGE = 3
"""Tokens that OpenAI's models add to each message ("How to count tokens with tiktoken")."""
PER_REPLY = 3
"""Tokens that OpenAI's models add before the answer."""

TOKENS_PER_IMAGE = 1_445
"""Tokens of a large image in OpenAI's models: 85, and 170 for each of at most 8 tiles ("Images and vision")."""
TOKENS_PER_SMALL_IMAGE = 85
"""Tokens of an image with `detail: low`."""

_CHARACTERS_PER_TOKEN = 30
"""Characters of a file's base64 per token: a page of a PDF has 50 kB or more and about 1,500 tokens."""
_CHARACTERS_PER_TOKEN_OF_TEXT = 4
"""The same for a text in base64, such as encrypted content."""
_CHARACTERS_PER_TOKEN_OF_SOUND = 500
"""The same for sound and video. A second of sound has 20 kB of base64 and 10 (OpenAI) to 32 tokens (Gemini). A second of
video has 160 kB and about 300 tokens."""

CACHED_MESSAGES = 20_000
"""The number of messages whose counts are cached."""
_CACHED_TOOLS = 500
_LONGEST_KEY = 200
"""A longer text has its digest as the key of its count, in characters."""

CountMessages = Callable[[list[Any]], int]


class TokenCounter:
    """Counts tokens.

    Args:
        text: Function that counts the tokens of a text. Default: `approximate_tokens`.
        messages: Function that counts the tokens of messages. Default: None (`text` counts each part of a message).
        tokens_per_image: The tokens of an image, unless `messages` counts them. Default: 1,445.

    Raises:
        InvalidInputError: `tokens_per_image` is negative.
        InvalidTypeError: `tokens_per_image` is not a whole number.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem.messages.tokens import TokenCounter
        >>> TokenCounter().message(HumanMessage("Hello there"))
        6
    """

    def __init__(
        self,
        text: Callable[[str], int] | None = None,
        messages: CountMessages | None = None,
        tokens_per_image: int = TOKENS_PER_IMAGE,
    ) -> None:
        self._text = text
        self._messages = messages
        self._tokens_per_image = check_count("tokens_per_image", tokens_per_image, least=0)
        self._counts: RecentValues[Any, int] = RecentValues(CACHED_MESSAGES)
        self._tool_counts: RecentValues[Any, tuple[Any, int]] = RecentValues(_CACHED_TOOLS)
        self._base: int | None = None
        self._single: int | None = None
        self._warned = False

    def __repr__(self) -> str:
        counted = self._messages or self._text or approximate_tokens
        name = getattr(counted, "__qualname__", type(counted).__name__)
        return f"TokenCounter(by={name!r}, tokens_per_image={self._tokens_per_image})"

    @classmethod
    def of(cls, counter: Any = None, model: Any = None, tokens_per_image: int = TOKENS_PER_IMAGE) -> TokenCounter:
        """Return the counter for a `token_counter` argument.

        Args:
            counter: One of these:

                * the name of a model or an encoding that tiktoken knows
                * a `tiktoken.Encoding`
                * a chat model, whose own counter is used
                * a function of a list of messages, such as `count_tokens_approximately`
                * a `TokenCounter`

                Default: None (tiktoken if it knows `model` by its name, else approximate).
            model: The chat model that receives the messages. Default: None.
            tokens_per_image: The tokens of an image, unless a model's own counter or a function counts it. Default: 1,445.

        Raises:
            InvalidTypeError: The counter has another type.
            InvalidInputError: tiktoken does not know the name, or `tokens_per_image` is negative.
        """
        if isinstance(counter, TokenCounter):
            return counter
        if counter is None:
            name = encoding_of(getattr(model, "model_name", None) or getattr(model, "model", None) or model)
            return cls(None if name is None else vocabulary(name), tokens_per_image=tokens_per_image)
        if isinstance(counter, str):
            name = encoding_of(counter)
            if name is None:
                msg = (
                    f"tiktoken knows no model or encoding {shown(counter)}. Pass a name such as 'gpt-4o' or 'o200k_base', "
                    f"a chat model, or a function of a list of messages."
                )
                raise InvalidInputError(msg)
            return cls(vocabulary(name), tokens_per_image=tokens_per_image)
        if not isinstance(counter, type) and not inspect.iscoroutinefunction(counter):
            own: CountMessages | None = getattr(counter, "get_num_tokens_from_messages", None)
            if own is not None:
                return cls(messages=own, tokens_per_image=tokens_per_image)
            if hasattr(counter, "encode_ordinary"):
                encoding: Encoding = counter
                return cls(lambda text: len(encoding.encode_ordinary(text)), tokens_per_image=tokens_per_image)
            if callable(counter):
                return cls(messages=counter, tokens_per_image=tokens_per_image)
        kind = (
            "a class"
            if isinstance(counter, type)
            else "an async function"
            if callable(counter)
            else type(counter).__name__
        )
        msg = (
            f"token_counter must be a model's name, a chat model, a tiktoken.Encoding, or a function that takes a list of "
            f"messages and returns a number, got {kind}: {shown(counter)}."
        )
        raise InvalidTypeError(msg)

    def prepare(self) -> Program[None]:
        """Load tiktoken's vocabulary before the first count. Under `arun`, a worker thread waits for it."""
        if isinstance(self._text, Vocabulary) and not self._text.is_settled:
            yield from Compute(True, self._text, "")

    def text(self, text: str) -> int:
        """Return the number of tokens of a text."""
        if self._messages is not None:
            if not text:
                return 0
            # Some counters refuse a message without text.
            with_text, one = self._counted([HumanMessage(text)]), self._one()
            if with_text is not None and one is not None:
                return max(0, with_text - one + 1)
        return self._part(text)

    def message(self, message: BaseMessage, remember: bool = True) -> int:
        """Return the number of tokens of a message, including those that the model adds to each message.

        Args:
            message: The message.
            remember: If true, the count is cached. Default: True.
        """
        key = _key_of(message)
        known = self._counts.get(key)
        if known is not None:
            return known
        count = self._count(message)
        if remember:
            self._counts.put(key, count)
        return count

    def messages(self, messages: Iterable[BaseMessage]) -> int:
        """Return the number of tokens of a request: of its messages, and those that the model adds before the answer."""
        return self.base + sum(map(self.message, messages))

    def whole(self, messages: Sequence[BaseMessage]) -> int:
        """Return the number of tokens of a request in one call of the counting function.

        Such a function may count more for several messages than the sum of their counts.
        """
        own = None if self._messages is None else self._counted(list(messages))
        return self.messages(messages) if own is None else own

    def tools(self, tools: Sequence[Any]) -> int:
        """Return the number of tokens of the schemas of tools. The count of each tool object is cached."""
        return sum(map(self._tool, tools))

    @property
    def base(self) -> int:
        """The number of tokens of a request without messages."""
        if self._base is None:
            self._base = PER_REPLY
            if self._messages is not None:
                one, two = self._one(), self._counted([HumanMessage("a"), HumanMessage("a")])
                if one is not None and two is not None:
                    self._base = max(0, 2 * one - two)
        return self._base

    def _one(self) -> int | None:
        """Return the count of a request with one message of one token."""
        if self._single is None:
            self._single = self._counted([HumanMessage("a")])
        return self._single

    def _tool(self, tool: Any) -> int:
        if isinstance(tool, Mapping):
            key: Any = _digest(as_json(tool))
        else:
            # Applications change these attributes of a tool object in place.
            key = id(tool), getattr(tool, "name", None), getattr(tool, "description", None)
        known = self._tool_counts.get(key)
        if known is not None:
            return known[1]
        count = self.text(_schema_of(tool))
        self._tool_counts.put(key, (tool, count))  # keeps the tool alive, so that no other object gets its id
        return count

    def _count(self, message: BaseMessage) -> int:
        if self._messages is not None:
            own = self._counted([message])
            if own is not None:
                return max(0, own - self.base)
        count = PER_MESSAGE + 1 + (1 + self._part(message.name) if message.name else 0)
        count += sum(map(self._block, blocks_of(message)))
        for call in calls_of(message):
            count += PER_MESSAGE + self._part(f"{call['id']}{call['name']}{as_json(call['args'])}")
        if isinstance(message, ToolMessage):
            count += self._part(message.tool_call_id)
        return count

    def _part(self, text: str) -> int:
        """Return the number of tokens of a text within a message."""
        return approximate_tokens(text) if self._text is None else self._text(text)

    def _block(self, block: Any) -> int:
        if is_call(block):
            return 0  # counted with the message's calls
        files: list[File] = []
        content = content_of_block(block, files)
        count = self._part(content) if isinstance(content, str) else PER_MESSAGE + self._part(as_json(content))
        return count + sum(map(self._file, files))

    def _file(self, file: File) -> int:
        if file.is_image:
            most = TOKENS_PER_SMALL_IMAGE if file.kind == "small image" else self._tokens_per_image
            return min(most, self._tokens_per_image)
        per_token = _CHARACTERS_PER_TOKEN
        if file.kind.startswith(("text/", "application/json", "application/xml")) or file.kind == "sealed":
            per_token = _CHARACTERS_PER_TOKEN_OF_TEXT
        elif file.kind.startswith(("audio/", "video/")):
            per_token = _CHARACTERS_PER_TOKEN_OF_SOUND
        return PER_MESSAGE + file.characters // per_token

    def _counted(self, messages: list[Any]) -> int | None:
        """Return the count of the application's function; None, with one warning, if it raises an error."""
        assert self._messages is not None
        try:
            count = self._messages(messages)
        except Exception as error:  # the application's function may raise any error
            if came_by_signal(error):
                raise
            if not self._warned:
                self._warned = True
                _log.warning(
                    "The token counter failed for a message: %s: %s. Messages for which it fails are counted approximately.",
                    type(error).__name__,
                    error,
                )
            return None
        if not isinstance(count, numbers.Real) or not math.isfinite(count):
            msg = f"token_counter must return a number for a list of messages, got {shown(count)}."
            raise InvalidTypeError(msg)
        return math.ceil(count)


def _key_of(message: BaseMessage) -> Any:
    """Return the key of a message's count: everything in the message that is counted."""
    content = type(message.content), _digest(as_json(message.content))
    if message.type in ("human", "system"):
        return message.type, content, message.name
    fields = vars(message)  # `getattr` is slow for fields that a pydantic model does not have
    role = fields.get("role"), fields.get("tool_call_id")
    calls = fields.get("tool_calls"), fields.get("invalid_tool_calls")
    function = message.additional_kwargs.get("function_call")
    more = _digest(as_json((calls, function))) if any(calls) or function else ""
    return message.type, content, message.name, role, more


def _digest(text: str) -> str | bytes:
    """Return a short text itself, and the digest of a long one."""
    if len(text) <= _LONGEST_KEY:
        return text
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _schema_of(tool: Any) -> str:
    from langchain_core.utils.function_calling import convert_to_openai_tool

    try:
        return as_json(convert_to_openai_tool(tool))
    except (TypeError, ValueError):
        return as_json(tool)
