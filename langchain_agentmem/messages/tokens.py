"""Counting the tokens of messages: by tiktoken, by a model's own counter, by any function, or approximately.

What a message counts is kept, so that a turn costs time for what is new in it. Approximate counts err on the safe side: more
tokens than there are, rather than fewer.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import math
import numbers
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage

from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.messages.approximation import approximate_tokens
from langchain_agentmem.messages.blocks import File, as_json, blocks_of, calls_of, is_call, said_in
from langchain_agentmem.programs import Compute, Program
from langchain_agentmem.programs.locks import forkable_lock
from langchain_agentmem.programs.signals import came_by_signal

if TYPE_CHECKING:
    from tiktoken import Encoding

_log = logging.getLogger(__name__)

PER_MESSAGE = 3
"""Tokens around each message, and PER_REPLY before the answer: as OpenAI's models count ("How to count tokens with
tiktoken")."""
PER_REPLY = 3

TOKENS_PER_IMAGE, TOKENS_PER_SMALL_IMAGE = 1_445, 85
"""An image, and one of which only a small version is looked at (`detail: low`): OpenAI's models count 85, and for a
large one 170 more for each of at most 8 tiles ("Images and vision", accounting for tokens in images)."""

_CHARACTERS_PER_TOKEN, _CHARACTERS_PER_TOKEN_OF_TEXT = 30, 4
"""Of the base64 of a file or a recording: a page of a PDF, 50 kB or more, is some 1,500 tokens. And of that of a text, such
as what a provider encrypted."""

REMEMBERED = 20_000
"""Of how many messages the count is kept."""
_REMEMBERED_TOOLS = 500
_LONGEST_KEY = 200
"""Characters: of what is longer a digest is kept."""

VOCABULARY_SECONDS = 10.0
"""How long tiktoken may take to fetch a vocabulary, which it does at the first use, over the network."""
_PATIENCE_SECONDS = 1.0
"""How long of that an event loop may be held up."""

CountMessages = Callable[[list[Any]], int]


class TokenCounter:
    """Counts tokens.

    Args:
        text: Counts those of a text. Default: `approximate_tokens`.
        messages: Counts those of messages; without it they are counted part by part, by `text`. Default: None.
        tokens_per_image: What an image counts, where images are counted here: with `messages` it is that function that counts
            them. Default: 1,445.

    Raises:
        InvalidInputError: `tokens_per_image` is negative.
        InvalidTypeError: It is no whole number.

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
        self._known: OrderedDict[Any, int] = OrderedDict()
        self._tools: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = forkable_lock()
        self._base: int | None = None
        self._single: int | None = None
        self._warned = False

    @classmethod
    def of(cls, counter: Any = None, model: Any = None, tokens_per_image: int = TOKENS_PER_IMAGE) -> TokenCounter:
        """The counter that is meant.

        Args:
            counter: The name of a model that tiktoken knows, or of one of its encodings; a `tiktoken.Encoding`; a chat model,
                whose own counter is used; a function of a list of messages, such as `count_tokens_approximately`; or a
                `TokenCounter`. Default: None (tiktoken, if it knows the model by its name; else approximate).
            model: The model that the messages are for. Default: None.
            tokens_per_image: What an image counts, where neither a model's own counter nor a function counts it. Default:
                1,445.

        Raises:
            InvalidTypeError: It is none of these.
            InvalidInputError: tiktoken knows no such name, or `tokens_per_image` is negative.
        """
        if isinstance(counter, TokenCounter):
            return counter
        if counter is None:
            name = _encoding_of(getattr(model, "model_name", None) or getattr(model, "model", None) or model)
            return cls(None if name is None else vocabulary(name), tokens_per_image=tokens_per_image)
        if isinstance(counter, str):
            name = _encoding_of(counter)
            if name is None:
                msg = (
                    f"tiktoken knows no model or encoding {shown(counter)}: use one such as 'gpt-4o' or 'o200k_base', a chat "
                    f"model, or a function of a list of messages."
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
        what = "a class" if isinstance(counter, type) else "an async function" if callable(counter) else "neither"
        msg = (
            f"token_counter must be a model's name, a chat model, a tiktoken.Encoding, or a function that takes a list of "
            f"messages and returns a number, got {what}: {shown(counter)}."
        )
        raise InvalidTypeError(msg)

    def prepare(self) -> Program[None]:
        """Load tiktoken's vocabulary before the first count; under `arun`, a worker thread waits for it."""
        if isinstance(self._text, Vocabulary) and not self._text.is_settled:
            yield from Compute(True, self._text, "")

    def text(self, text: str) -> int:
        """The tokens of a text."""
        if self._messages is not None:
            if not text:
                return 0
            # Some counters refuse a message without any text.
            with_text, one = self._counted([HumanMessage(text)]), self._one()
            if with_text is not None and one is not None:
                return max(0, with_text - one + 1)
        return approximate_tokens(text) if self._text is None else self._text(text)

    def message(self, message: BaseMessage, remember: bool = True) -> int:
        """The tokens of a message, with what stands around it. They are counted once.

        Args:
            message: The message.
            remember: Whether the count is kept. Default: True.
        """
        key = _key_of(message)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        count = self._count(message)
        if remember:
            with self._lock:
                self._known[key] = count
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return count

    def messages(self, messages: Iterable[BaseMessage]) -> int:
        """The tokens of a request: of its messages, and what stands before the answer."""
        return self.base + sum(map(self.message, messages))

    def whole(self, messages: Sequence[BaseMessage]) -> int:
        """The tokens of a request, by a function of messages in one call: it may count more than for each message alone."""
        own = None if self._messages is None else self._counted(list(messages))
        return self.messages(messages) if own is None else own

    def tools(self, tools: Sequence[Any]) -> int:
        """The tokens of the schemas of tools. They are counted once, as long as a tool is the same object."""
        return sum(map(self._tool, tools))

    @property
    def base(self) -> int:
        """What a request without messages counts."""
        if self._base is None:
            self._base = PER_REPLY
            if self._messages is not None:
                one, two = self._one(), self._counted([HumanMessage("a"), HumanMessage("a")])
                if one is not None and two is not None:
                    self._base = max(0, 2 * one - two)
        return self._base

    def _one(self) -> int | None:
        """What a message of one token counts by itself."""
        if self._single is None:
            self._single = self._counted([HumanMessage("a")])
        return self._single

    def _tool(self, tool: Any) -> int:
        if isinstance(tool, Mapping):
            key: Any = _digest(as_json(tool))
        else:
            # Beside which object it is, what is changed in place most often.
            key = id(tool), getattr(tool, "name", None), getattr(tool, "description", None)
        with self._lock:
            if key in self._tools:
                self._tools.move_to_end(key)
                return self._tools[key][1]
        count = self.text(_schema_of(tool))
        with self._lock:
            self._tools[key] = tool, count  # the tool itself is kept, or another could get its id
            while len(self._tools) > _REMEMBERED_TOOLS:
                self._tools.popitem(last=False)
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
        """A text of a message that is counted part by part."""
        return approximate_tokens(text) if self._text is None else self._text(text)

    def _block(self, block: Any) -> int:
        if is_call(block):
            return 0  # it is among the message's calls, and is counted there
        files: list[File] = []
        said = said_in(block, files)
        count = self._part(said) if isinstance(said, str) else PER_MESSAGE + self._part(as_json(said))
        return count + sum(map(self._file, files))

    def _file(self, file: File) -> int:
        if file.kind == "image" or file.kind.startswith("image/"):
            return self._tokens_per_image
        if file.kind == "small image":
            return min(TOKENS_PER_SMALL_IMAGE, self._tokens_per_image)
        is_text = file.kind.startswith(("text/", "application/json", "application/xml")) or file.kind == "sealed"
        return PER_MESSAGE + file.characters // (_CHARACTERS_PER_TOKEN_OF_TEXT if is_text else _CHARACTERS_PER_TOKEN)

    def _counted(self, messages: list[Any]) -> int | None:
        """What the messages' own counter says; None, with one warning, if it refuses them."""
        assert self._messages is not None
        try:
            count = self._messages(messages)
        except Exception as error:  # the application's own function may raise any error
            if came_by_signal(error):
                raise
            if not self._warned:
                self._warned = True
                _log.warning(
                    "The token counter failed for a message, which is counted approximately, as are others for which it "
                    "fails: %s: %s",
                    type(error).__name__,
                    error,
                )
            return None
        if not isinstance(count, numbers.Real) or not math.isfinite(count):
            msg = f"token_counter must return a number for a list of messages, got {shown(count)}."
            raise InvalidTypeError(msg)
        return math.ceil(count)


class Vocabulary:
    """tiktoken's count of a text; approximate, with one warning, where the vocabulary cannot be had.

    Args:
        name: The name of the encoding.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = forkable_lock()
        self._thread: threading.Thread | None = None
        self._deadline = 0.0
        self._encoding: Encoding | None = None
        self._problem: Exception | None = None
        self._warned = False

    @property
    def is_settled(self) -> bool:
        """Whether a count waits for nothing: the vocabulary is loaded, or cannot be had."""
        return self._encoding is not None or self._warned

    def __call__(self, text: str) -> int:
        encoding = self._encoding or self._loaded()
        return approximate_tokens(text) if encoding is None else len(encoding.encode_ordinary(text))

    def _loaded(self) -> Encoding | None:
        with self._lock:
            # A thread that ended without a result is that of a process from which this one was forked.
            forked = self._thread is not None and not (self._thread.is_alive() or self._encoding or self._problem)
            if self._thread is None or forked:
                self._deadline = time.monotonic() + VOCABULARY_SECONDS
                # tiktoken sets no limit to the time that it waits for the network.
                self._thread = threading.Thread(target=self._load, daemon=True)
                self._thread.start()
            thread = self._thread
        left = self._deadline - time.monotonic()
        # Who waits in an event loop has all others in it wait as well.
        patience = _PATIENCE_SECONDS - (VOCABULARY_SECONDS - left) if _is_in_event_loop() else left
        thread.join(max(0.0, patience))
        if self._encoding is None and (not thread.is_alive() or time.monotonic() >= self._deadline):
            self._warn()
        return self._encoding

    def _load(self) -> None:
        import tiktoken

        try:
            self._encoding = tiktoken.get_encoding(self._name)
        except Exception as error:  # the network's and tiktoken's own; no signal is handled in this thread
            self._problem = error

    def _warn(self) -> None:
        with self._lock:
            if self._warned:
                return
            self._warned = True
        _log.warning(
            "The vocabulary %s is not there, so tokens are counted approximately, rather too many than too few. tiktoken "
            "fetches it over the network, or finds it in the folder that TIKTOKEN_CACHE_DIR names. %s",
            self._name,
            self._problem or f"it did not come within {VOCABULARY_SECONDS:g} seconds",
        )


_vocabularies: dict[str, Vocabulary] = {}


def vocabulary(name: str) -> Vocabulary:
    """The vocabulary of one of tiktoken's encodings, which is loaded once in a process, at its first use.

    Args:
        name: The name of the encoding.
    """
    return _vocabularies.setdefault(name, Vocabulary(name))


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _encoding_of(name: Any) -> str | None:
    """Tiktoken's encoding for the name of a model or of an encoding; None if it knows neither."""
    if not isinstance(name, str):
        return None
    import tiktoken

    if name in tiktoken.list_encoding_names():
        return name
    try:
        return tiktoken.encoding_name_for_model(name.rpartition(":")[2])
    except KeyError:
        return None


def _key_of(message: BaseMessage) -> Any:
    content = type(message.content), _digest(as_json(message.content))
    if message.type in ("human", "system"):
        return message.type, content, message.name
    role = getattr(message, "role", None), getattr(message, "tool_call_id", None)
    calls = getattr(message, "tool_calls", None), getattr(message, "invalid_tool_calls", None)
    function = message.additional_kwargs.get("function_call")
    more = _digest(as_json((calls, function))) if any(calls) or function else ""
    return message.type, content, message.name, role, more


def _digest(text: str) -> str | bytes:
    """What a text is known by, which is short."""
    if len(text) <= _LONGEST_KEY:
        return text
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _schema_of(tool: Any) -> str:
    from langchain_core.utils.function_calling import convert_to_openai_tool

    try:
        return as_json(convert_to_openai_tool(tool))
    except (TypeError, ValueError):
        return as_json(tool)
