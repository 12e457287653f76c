"""`MemoryPrompt`: a chat prompt template whose memory tags are filled in when it is formatted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from langchain_core.exceptions import ErrorCode, create_message
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.prompts.string import get_template_variables
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import (
    ensure_config,
    get_callback_manager_for_config,
    var_child_runnable_config,
)
from pydantic import Field

from langchain_agentmem.arguments.ids import check_optional_id
from langchain_agentmem.arguments.runs import context_of, user_named_by
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import OffLoop, Program, arun, run
from langchain_agentmem.programs.sizes import LARGE, LONG, is_large
from langchain_agentmem.prompting.templates.budgets import Ranked, limited, within
from langchain_agentmem.prompting.templates.messages import Tags
from langchain_agentmem.prompting.templates.parsing import names_in, texts_in
from langchain_agentmem.prompting.templates.plans import Plan
from langchain_agentmem.prompting.templates.rendering import Rendering, splits
from langchain_agentmem.prompting.values import RECENT_CONTEXT, Subject, ValueReader, unnamed_by
from langchain_agentmem.text.tables import html_table

_QUESTIONS = ("input", "question", "query", "message", "text")
"""Inputs that hold the current message of the user, in this order, if no input holds messages."""


@dataclass(frozen=True)
class PromptSettings:
    """The settings of a `MemoryPrompt`.

    Args:
        reader: Reads the values.
        subject: The user, session and agent; the run's config names those that are None.
        required: If true, a variable without value and default is an error.
        limits: The maximum number of tokens by variable.
        max_tokens: The maximum number of tokens of the whole prompt; None for any number.
        counter: Counts tokens.
        question: The input that holds the current message of the user; None to look for it.
    """

    reader: ValueReader
    subject: Subject = field(default_factory=Subject)
    required: bool = False
    limits: Mapping[str, int] = field(default_factory=dict)
    max_tokens: int | None = None
    counter: TokenCounter = field(default_factory=TokenCounter)
    question: str | None = None

    def __deepcopy__(self, memo: Any) -> PromptSettings:
        """Return the settings themselves: copies of a prompt share the memory."""
        return self


class MemoryPrompt(ChatPromptTemplate):
    """A chat prompt template with memory tags, such as `{{user_name}}`, next to ordinary inputs, such as `{input}`.

    `AgentMemory.prompt` creates it. It is a `ChatPromptTemplate`: it has `input_variables`, `partial`, `+` and `|`, and takes
    `MessagesPlaceholder`. Each call reads the values of the tags. The user and the session are those of the run's config, as
    `configurable` of a chain with `RunnableWithMessageHistory` or of a LangGraph run has them.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> memory = AgentMemory.from_url("sqlite:///:memory:")
        >>> prompt = memory.prompt([("system", "You help {{user_name|a guest}}."), ("human", "{input}")])
        >>> prompt.input_variables, prompt.memory_variables
        (['input'], ['user_name'])
        >>> memory.close()
    """

    settings: Any = Field(exclude=True, repr=False)
    nodes: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    """The memory tags by the names of the inputs that stand for them."""

    def __init__(self, messages: Any, **kwargs: Any) -> None:
        tags = Tags(kwargs.pop("nodes", None))
        template_format = kwargs.pop("template_format", "f-string")
        if isinstance(messages, ChatPromptTemplate):
            given = messages
        else:
            texts = [messages] if isinstance(messages, (str, BaseMessage)) else messages
            try:
                given = ChatPromptTemplate(texts, template_format=template_format)
            except InvalidInputError:
                raise
            except ValueError as error:  # of Python's formatter, which does not show the template
                msg = f"Not a valid {template_format} template: {error}; got {shown(messages)}. Check its braces."
                raise InvalidInputError(msg) from error
        replaced = tags.replaced(given.messages)
        given_partials: Mapping[str, Any] = kwargs.pop("partial_variables", {})
        partials = {**given.partial_variables, **given_partials, **dict.fromkeys(tags.nodes, _unfilled)}
        kwargs.pop("input_variables", None)
        super().__init__(replaced, nodes=tags.nodes, partial_variables=partials, **kwargs)
        inner = {
            name for text in texts_in(list(tags.nodes.values())) for name in get_template_variables(text, "f-string")
        }
        self.input_variables = sorted({*self.input_variables, *inner} - set(partials) - set(self.optional_variables))
        if (
            "" in self.input_variables
            and not isinstance(messages, ChatPromptTemplate)
            and template_format == "f-string"
        ):
            msg = f"An input of a template needs a name; got {{}} in {shown(messages)}. Write {{name}}."
            raise InvalidInputError(msg)

    @property
    def memory_variables(self) -> list[str]:
        """Names of the memory variables in the tags, in order."""
        return list(dict.fromkeys(names_in(list(self.nodes.values()))))

    @cached_property
    def _read_names(self) -> dict[str, None]:
        """Names of the variables to read, in the order of the template: a name with dots may lead into an object."""
        names = self.memory_variables
        return dict.fromkeys(part for name in names for part in (name, *(head for head, _ in splits(name))))

    def _current_plan(self) -> Plan:
        """Return the plan of the message templates, which an application may have changed since the last call."""
        plan: Plan | None = self.__dict__.get("_plan")
        if plan is None or not plan.is_of(self.messages):
            plan = self.__dict__["_plan"] = Plan(self.messages)
        return plan

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return false: the memory cannot be serialised."""
        return False

    # Formatting

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Return the messages of the prompt.

        Args:
            input: The inputs by name; the value itself if the prompt has one input.
            config: The run's config, which names the user and the session.
            **kwargs: As in LangChain's `ChatPromptTemplate`.
        """
        config = ensure_config(config)
        if get_callback_manager_for_config(config).handlers:
            return super().invoke(input, config, **kwargs)
        # Without callbacks, nobody sees the run that LangChain would record, at half the cost of a small prompt.
        with _as_current(config):
            return self._format_prompt_with_error_handling(input)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Same as `invoke`, but without blocking the event loop."""
        config = ensure_config(config)
        if get_callback_manager_for_config(config).handlers:
            return await super().ainvoke(input, config, **kwargs)
        with _as_current(config):
            return await self._aformat_prompt_with_error_handling(input)

    def _validate_input(self, inner_input: Any) -> dict[str, Any]:
        missing = isinstance(inner_input, dict) and sorted(set(self.input_variables).difference(inner_input))
        if missing:
            given = ", ".join(map(shown, inner_input)) or "none"
            msg = (
                f"The prompt needs the input {shown(missing[0])}; got {given}. Pass it to invoke, or write "
                f"{{{{{missing[0]}}}}} for a variable of the memory."
            )
            raise KeyError(create_message(message=msg, error_code=ErrorCode.INVALID_PROMPT_INPUT))
        return super()._validate_input(inner_input)

    def format_messages(self, **kwargs: Any) -> list[BaseMessage]:
        """Return the messages of the prompt. The run around this call names the user and the session."""
        return run(self._messages(kwargs))

    async def aformat_messages(self, **kwargs: Any) -> list[BaseMessage]:
        """Same as `format_messages`, but without blocking the event loop."""
        return await arun(self._messages(kwargs))

    def _merge_partial_and_user_variables(self, **kwargs: Any) -> dict[str, Any]:
        own = {name: one() if callable(one) else one for name, one in self._own_partials.items()}
        return {**own, **kwargs}

    def _messages(self, given: Mapping[str, Any]) -> Program[list[BaseMessage]]:
        settings: PromptSettings = self.settings
        inputs = self._merge_partial_and_user_variables(**given)
        subject = subject_of(settings.subject, var_child_runnable_config.get() or {})
        message = message_in(given, settings.question)
        values = yield from settings.reader.read(self._read_names.keys(), subject, message)
        if RECENT_CONTEXT in self._read_names and RECENT_CONTEXT not in values:
            values = {**values, **settings.reader.of_messages(earlier_messages_in(given))}
        yield from settings.counter.prepare()
        count = settings.counter.text
        counts = settings.max_tokens is not None or bool(settings.limits)
        yield from OffLoop(is_large([inputs, *(one.value for one in values.values())], LONG if counts else LARGE))

        plan = self._current_plan()

        def filled(values: Mapping[str, Ranked]) -> list[BaseMessage]:
            plain = {name: one.value for name, one in values.items()}
            rendering = Rendering(plain, inputs, settings.required, partial(unnamed_by, subject))
            texts = {name: rendering.part(node) for name, node in self.nodes.items()}
            return plan.messages({**inputs, **texts})

        if counts:
            values = {name: values[name] for name in self._read_names if name in values}
            values = limited(values, settings.limits, count)
        if settings.max_tokens is not None:
            values = within(values, settings.max_tokens, count, lambda some: settings.counter.messages(filled(some)))
        return filled(values)

    # Composition

    def __add__(self, other: Any) -> MemoryPrompt:
        """Return a prompt with the messages of both; tags of `other` are filled in too."""
        others = other.messages if isinstance(other, ChatPromptTemplate) else other
        if isinstance(others, (str, BaseMessage)) or not isinstance(others, (list, tuple)):
            others = [others]
        partials = {**self.partial_variables, **(getattr(other, "partial_variables", None) or {})}
        nodes = {**self.nodes, **(other.nodes if isinstance(other, MemoryPrompt) else {})}
        return MemoryPrompt([*self.messages, *others], settings=self.settings, nodes=nodes, partial_variables=partials)

    def __radd__(self, other: Any) -> MemoryPrompt:
        """Return a prompt with the messages of `other` first."""
        first = other if isinstance(other, ChatPromptTemplate) else ChatPromptTemplate([other])
        return MemoryPrompt(first, settings=self.settings) + self

    def __getitem__(self, index: Any) -> Any:
        """Return the message at an index, or a prompt with the messages in a slice."""
        if not isinstance(index, slice):
            return self.messages[index]
        inputs = {name for message in self.messages[index] for name in getattr(message, "input_variables", ())}
        nodes = {name: node for name, node in self.nodes.items() if name in inputs}
        return MemoryPrompt(
            self.messages[index], settings=self.settings, nodes=nodes, partial_variables=self._own_partials
        )

    def append(self, message: Any) -> None:
        """Append a message."""
        self.extend([message])

    def extend(self, messages: Sequence[Any]) -> None:
        """Append messages."""
        longer = self + list(messages)
        self.messages = longer.messages
        self.nodes = longer.nodes
        self.__dict__.pop("_read_names", None)
        self.partial_variables = longer.partial_variables
        self.input_variables = longer.input_variables
        self.optional_variables = longer.optional_variables
        self.input_types = longer.input_types

    @property
    def _own_partials(self) -> dict[str, Any]:
        return {name: one for name, one in self.partial_variables.items() if name not in self.nodes}

    # Display

    def pretty_repr(self, html: bool = False) -> str:
        """Return a readable representation, with the memory tags as they were written.

        Args:
            html: If true, with the colours of a terminal. Default: False.
        """
        return Tags(self.nodes).shown(super().pretty_repr(html=html))

    def __repr__(self) -> str:
        return f"MemoryPrompt(input_variables={self.input_variables!r}, memory_variables={self.memory_variables!r})"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        tags = Tags(self.nodes)
        rows = []
        for message in self.messages:
            try:
                title, _, text = message.pretty_repr().partition("\n\n")
            except NotImplementedError:  # LangChain's image templates have none
                title, text = type(message).__name__, str(message)
            rows.append((title.strip("= "), tags.shown(text)))
        return html_table(rows, header=("message", "template"), caption=repr(self), longest=None)


@contextmanager
def _as_current(config: RunnableConfig) -> Iterator[None]:
    """Make a config that of the current run, for what is called in this block."""
    token = var_child_runnable_config.set(config)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


def _unfilled() -> str:
    """Raise an error in place of the text of a memory tag in a prompt that is no `MemoryPrompt`."""
    msg = (
        "A memory tag cannot be filled in, because the prompt is a part of a message + prompt, which LangChain joins without "
        "the memory. Write ChatPromptTemplate([message]) + prompt."
    )
    raise InvalidInputError(msg)


def created_prompt(
    reader: ValueReader,
    template: Any,
    subject: Subject,
    *,
    missing: str = "empty",
    limits: Mapping[str, int] | None = None,
    max_tokens: int | None = None,
    token_counter: Any = None,
    question: str | None = None,
) -> MemoryPrompt:
    """Return a prompt; see `AgentMemory.prompt` for the arguments."""
    if missing not in ("empty", "error"):
        msg = f"missing must be 'empty' or 'error', got {shown(missing)}."
        raise InvalidInputError(msg)
    if limits is not None and not isinstance(limits, Mapping):
        msg = f"limits must be a mapping such as {{'recent_context': 200}}, got {shown(limits)}."
        raise InvalidTypeError(msg)
    for name, bound in zip(Subject._fields, subject, strict=True):
        check_optional_id(name, bound)
    settings = PromptSettings(
        reader,
        subject,
        missing == "error",
        {name: check_count(f"limits[{shown(name)}]", most) for name, most in (limits or {}).items()},
        None if max_tokens is None else check_count("max_tokens", max_tokens),
        TokenCounter.of(token_counter),
        check_optional_id("question", question),
    )
    prompt = MemoryPrompt(template, settings=settings)
    unknown = sorted(set(settings.limits).difference(prompt.memory_variables))
    if unknown:
        msg = (
            f"limits names {shown(unknown[0])}, which is no memory variable of the template: {prompt.memory_variables}."
        )
        raise InvalidInputError(msg)
    if question is not None and question not in {*prompt.input_variables, *prompt.partial_variables}:
        msg = f"question={shown(question)} is no input of the template: {prompt.input_variables}."
        raise InvalidInputError(msg)
    return prompt


def subject_of(bound: Subject, config: RunnableConfig) -> Subject:
    """Return whose memory a run shows.

    Args:
        bound: The IDs that the prompt has; they take precedence over those of the run.
        config: Config of the run: `configurable` may hold `user_id`, `session_id` or `thread_id`, and `agent`. The runtime's
            context may name the user.

    Raises:
        InvalidInputError: An ID is not valid.
    """
    configurable: Mapping[str, Any] = config.get("configurable") or {}
    user_id = user_named_by(configurable)
    if user_id is None:
        user_id = user_named_by(context_of(configurable))
    thread_id = configurable.get("thread_id")  # LangGraph accepts a number or a UUID
    session_id = configurable.get("session_id") or (None if thread_id is None else str(thread_id) or None)
    named = Subject(user_id, session_id, configurable.get("agent") or None)
    return Subject(
        *(
            own if own is not None else check_optional_id(name, found)
            for name, own, found in zip(Subject._fields, bound, named, strict=True)
        )
    )


def message_in(inputs: Mapping[str, Any], question: str | None) -> str:
    """Return the current message of the user among the inputs of a prompt; an empty text if there is none.

    Args:
        inputs: The inputs.
        question: The input that holds the message. Default: the newest human message in any list of messages; else the
            input `input`, `question`, `query`, `message` or `text`; else the only input that is a text.

    Example:
        >>> from langchain_agentmem.prompting.prompt import message_in
        >>> message_in({"topic": "food", "question": "What can I eat?"}, None)
        'What can I eat?'
    """
    if question is not None:
        return _text_of(inputs.get(question))
    texts = {name: text for name, one in inputs.items() if isinstance(one, str) and (text := one.strip())}
    asked = next((texts[name] for name in _QUESTIONS if name in texts), None)
    if asked is not None:
        return asked
    for one in inputs.values():
        if isinstance(one, (list, tuple)) and (text := _text_of(one)):
            return text
    return next(iter(texts.values())) if len(texts) == 1 else ""


def earlier_messages_in(inputs: Mapping[str, Any]) -> list[BaseMessage]:
    """Return the messages in the inputs of a prompt that come before the current message of the user.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage
        >>> from langchain_agentmem.prompting.prompt import earlier_messages_in
        >>> [one.content for one in earlier_messages_in({"messages": [HumanMessage("a"), AIMessage("b"), HumanMessage("c")]})]
        ['a', 'b']
    """
    for value in inputs.values():
        if isinstance(value, (list, tuple)):
            messages = [one for one in value if isinstance(one, BaseMessage)]
            spoken = [at for at, one in enumerate(messages) if isinstance(one, HumanMessage)]
            if spoken:
                return messages[: spoken[-1]]
    return []


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, BaseMessage):
        return str(value.text).strip()
    if isinstance(value, (list, tuple)):
        spoken = [one for one in value if isinstance(one, HumanMessage)]
        return str(spoken[-1].text).strip() if spoken else ""
    return ""
