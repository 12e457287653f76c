"""Counting the tokens of messages: by tiktoken, by a model's own counter, by any function, or approximately.

What a message counts is kept, so that a turn costs time for what is new in it. Approximate counts err on the safe side: more
tokens than there are, rather than fewer.
"""

from __future__ import annotations

import json
import logging
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

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

_BYTES_PER_TOKEN = 30
"""Of a file or a recording that a message carries, in base64: a page of a PDF, 50 kB or more, is some 1,500 tokens."""

REMEMBERED = 20_000
"""Of how many messages the count is kept."""

VOCABULARY_SECONDS = 10.0
"""How long tiktoken may take to fetch a vocabulary, which it does at the first use, over the network."""

CountMessages = Callable[[list[Any]], int]

_RUNS = re.compile(
    r"(?P<code>[A-Za-z0-9+/=_-]{24,})|(?P<capitals>[A-Z]{2,})|(?P<word>[A-Za-z][a-z]*)|(?P<digits>[0-9]+)|(?P<space>\s+)"
    r"|(?P<marks>[\x00-\x7f]+?)|(?P<two>[\x80-\u07ff]+)"
    r"|(?P<script>[\u0900-\u0dff\u0e00-\u0e7f\u2000-\u206f\u3000-\u9fff\uac00-\ud7af\uff00-\uffef]+)"
    r"|(?P<rare>[\u0800-\uffff]+)|(?P<four>.+?)",
    re.DOTALL,
)
_CHARACTERS_PER_TOKEN = {
    "code": 1.4, "capitals": 2.0, "word": 3.5, "digits": 3.0, "space": math.inf, "marks": 1.5, "two": 0.9,
    "script": 0.7, "rare": 0.33, "four": 0.33,
}  # fmt: skip
"""Fewer than tiktoken's cl100k_base was seen to have: runs of letters and digits such as base64 have 1.4, Chinese and
Japanese 0.8 to 0.9, Korean 0.9, Hindi and Thai 1.0, Greek 1.1, Ethiopic 0.4, emoji 0.4."""


def approximate_tokens(text: str) -> int:
    """About how many tokens a text has, and seldom fewer.

    Args:
        text: The text, of any language.

    Example:
        >>> from langchain_agentmem.tokens import approximate_tokens
        >>> approximate_tokens("We meet on Friday, 8 May 2023."), approximate_tokens("我们星期五见面。")
        (12, 12)
    """
    total = 0
    for run in _RUNS.finditer(text):
        kind = run.lastgroup or ""
        length = run.end() - run.start()
        total += (
            max(1, length // 8) if kind == "space" and length > 1 else math.ceil(length / _CHARACTERS_PER_TOKEN[kind])
        )
    return total


class TokenCounter:
    """Counts tokens.

    Args:
        text: Counts those of a text. Default: `approximate_tokens`.
        messages: Counts those of messages; without it they are counted part by part, by `text`. Default: None.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem.tokens import TokenCounter
        >>> TokenCounter().message(HumanMessage("Hello there"))
        8
    """

    def __init__(self, text: Callable[[str], int] | None = None, messages: CountMessages | None = None) -> None:
        self._text = text
        self._messages = messages
        self._known: OrderedDict[Any, int] = OrderedDict()
        self._lock = threading.Lock()
        self._base: int | None = None
        self._failed = False

    @classmethod
    def of(cls, counter: Any = None, model: Any = None) -> TokenCounter:
        """The counter that is meant.

        Args:
            counter: The name of a model that tiktoken knows, or of one of its encodings; a `tiktoken.Encoding`; a chat model,
                whose own counter is used; a function of a list of messages, such as `count_tokens_approximately`; or a
                `TokenCounter`. Default: None (tiktoken, if it knows the model by its name; else approximate).
            model: The model that the messages are for. Default: None.

        Raises:
            InvalidTypeError: It is none of these.
            InvalidInputError: tiktoken knows no such name.
        """
        if isinstance(counter, TokenCounter):
            return counter
        if counter is None:
            name = _encoding_of(getattr(model, "model_name", None) or getattr(model, "model", None) or model)
            return cls() if name is None else cls(_Vocabulary(name))
        if isinstance(counter, str):
            name = _encoding_of(counter)
            if name is None:
                msg = (
                    f"tiktoken knows no model or encoding {counter!r}: use one such as 'gpt-4o' or 'o200k_base', a chat "
                    f"model, or a function of a list of messages."
                )
                raise InvalidInputError(msg)
            return cls(_Vocabulary(name))
        own: CountMessages | None = getattr(counter, "get_num_tokens_from_messages", None)
        if own is not None:
            return cls(messages=own)
        if hasattr(counter, "encode_ordinary"):
            encoding: Encoding = counter
            return cls(lambda text: len(encoding.encode_ordinary(text)))
        if callable(counter):
            return cls(messages=counter)
        msg = f"token_counter must be a name, a model or a function of a list of messages, got {counter!r:.100}."
        raise InvalidTypeError(msg)

    def text(self, text: str) -> int:
        """The tokens of a text."""
        if self._messages is not None and not self._failed:
            return max(0, self._counted([HumanMessage(text)]) - self._counted([HumanMessage("")]))
        return approximate_tokens(text) if self._text is None else self._text(text)

    def message(self, message: BaseMessage) -> int:
        """The tokens of a message, with what stands around it. They are counted once."""
        key = (message.type, message.content, message.name) if _is_plain(message) else _key_of(message)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        count = self._count(message)
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
        if self._messages is None or self._failed:
            return self.messages(messages)
        return self._counted(list(messages))

    def tools(self, tools: Sequence[Any]) -> int:
        """The tokens of the schemas of tools."""
        return sum(self.text(_schema_of(tool)) for tool in tools)

    @property
    def base(self) -> int:
        """What a request without messages counts."""
        if self._base is None:
            one, two = [HumanMessage("a")], [HumanMessage("a"), HumanMessage("a")]
            if self._messages is None:
                self._base = PER_REPLY
            else:
                self._base = max(0, 2 * self._counted(one) - self._counted(two))
        return self._base

    def _count(self, message: BaseMessage) -> int:
        if self._messages is not None and not self._failed:
            return max(0, self._counted([message]) - self.base)
        count = PER_MESSAGE + 1 + (1 + self.text(message.name) if message.name else 0)
        content = message.content
        count += self.text(content) if isinstance(content, str) else sum(map(self._block, content))
        if isinstance(message, AIMessage):
            for call in (*message.tool_calls, *message.invalid_tool_calls):
                count += PER_MESSAGE + self.text(f"{call['id']}{call['name']}{_json(call['args'])}")
        if isinstance(message, ToolMessage):
            count += self.text(message.tool_call_id)
        return count

    def _block(self, block: Any) -> int:
        if isinstance(block, str):
            return self.text(block)
        kind = block.get("type")
        if kind in ("image", "image_url", "input_image"):
            url = block.get("image_url")
            small = "low" in (block.get("detail"), url.get("detail") if isinstance(url, Mapping) else None)
            return TOKENS_PER_SMALL_IMAGE if small else TOKENS_PER_IMAGE
        if kind in ("text", "thinking", "reasoning"):
            return self.text(str(block.get(kind) or block.get("text") or ""))
        if kind in ("tool_use", "tool_call", "function_call"):
            return 0  # it stands among the message's tool calls, and is counted there
        longest = max((len(one) for one in _strings_in(block)), default=0)
        if longest > 2_000:  # a file or a recording
            return PER_MESSAGE + longest // _BYTES_PER_TOKEN
        return self.text(_json(block))

    def _counted(self, messages: list[Any]) -> int:
        assert self._messages is not None
        try:
            return int(self._messages(messages))
        except Exception as error:
            if not self._failed:
                self._failed = True
                _log.warning("The token counter failed, so tokens are counted approximately: %s", error)
            return PER_REPLY + sum(map(self._count, messages))


class _Vocabulary:
    """tiktoken's count of a text; approximate, with one warning, where the vocabulary cannot be had."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, text: str) -> int:
        encoding = _encoding(self._name)
        return approximate_tokens(text) if encoding is None else len(encoding.encode_ordinary(text))


@lru_cache(maxsize=16)
def _encoding(name: str) -> Encoding | None:
    import tiktoken

    found: list[Encoding] = []
    problems: list[Exception] = []

    def load() -> None:
        try:
            found.append(tiktoken.get_encoding(name))
        except Exception as error:
            problems.append(error)

    # tiktoken sets no limit to the time that it waits for the network.
    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    thread.join(VOCABULARY_SECONDS)
    if found:
        return found[0]
    reason = problems[0] if problems else f"it did not come within {VOCABULARY_SECONDS:g} seconds"
    _log.warning(
        "The vocabulary %s is not there, so tokens are counted approximately, rather too many than too few. tiktoken fetches "
        "it over the network, or finds it in the folder that TIKTOKEN_CACHE_DIR names. %s",
        name,
        reason,
    )
    return None


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


def _is_plain(message: BaseMessage) -> bool:
    return isinstance(message.content, str) and message.type in ("human", "system")


def _key_of(message: BaseMessage) -> Any:
    calls = getattr(message, "tool_calls", None), getattr(message, "invalid_tool_calls", None)
    content = message.content if isinstance(message.content, str) else _json(message.content)
    more = _json(calls) if any(calls) else ""
    return message.type, content, message.name, getattr(message, "tool_call_id", None), more


def _schema_of(tool: Any) -> str:
    from langchain_core.utils.function_calling import convert_to_openai_tool

    try:
        return _json(convert_to_openai_tool(tool))
    except (TypeError, ValueError):
        return _json(tool)


def _strings_in(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings_in(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _strings_in(inner)


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
