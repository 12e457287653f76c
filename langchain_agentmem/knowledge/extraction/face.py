"""`ProfileExtractor`: a node of a graph, and a Runnable, that extracts knowledge about users from their conversations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.callbacks import BaseCallbackHandler, adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.store.base import BaseStore
from pydantic import BaseModel

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_content, check_id
from langchain_agentmem.arguments.runs import agent_of
from langchain_agentmem.arguments.values import check_flag, check_function, shown
from langchain_agentmem.encoding.repairs import repaired
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.knowledge.extraction import shutdown  # noqa: F401 (registers itself for the interpreter's exit)
from langchain_agentmem.knowledge.extraction.conversations import Conversation, without_removals
from langchain_agentmem.knowledge.extraction.engine import ExtractionEngine
from langchain_agentmem.knowledge.extraction.jobs import Job
from langchain_agentmem.knowledge.extraction.model import Method, ProposingModel
from langchain_agentmem.knowledge.extraction.prompts import default_instructions
from langchain_agentmem.knowledge.extraction.proposals import answer_schema
from langchain_agentmem.knowledge.extraction.results import Extraction
from langchain_agentmem.knowledge.extraction.scheduler import Schedule
from langchain_agentmem.knowledge.facts.schema import Schema, UserProfile
from langchain_agentmem.knowledge.namespaces import user_of
from langchain_agentmem.messages.callbacks import is_streaming
from langchain_agentmem.messages.conversion import as_messages
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.store.face import AgentMemStore
from langchain_agentmem.text.tables import html_table

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

When = Literal["turn", "background", "debounce"]

EVENT = "agentmem_extraction"
"""Name of the custom event that carries the `Extraction` of a run with `when="turn"`."""

DELAY = 30.0
"""Default seconds without a new turn after which `when="debounce"` extracts."""

TIME_LIMIT = 60.0
"""Default time limit of a call to the model, in seconds."""


class ProfileExtractor(Runnable[Any, Any]):
    """Extracts facts, profile fields and entities from what users say.

    As a node of a graph, it gets the state and returns an empty update. As a Runnable, it gets messages or a prompt value,
    and returns an `Extraction`. It reads only messages that it has not read before, in one call to the model. If the answer
    cannot be used, it asks once more. The model is shown a bounded part of what is known.

    The config, the runtime's context or the state names the user (`user_id`); the model cannot.

    Of an answer that is wrong in part, the valid changes are stored; `Extraction.refused` names the others. Errors of the
    model, and answers that cannot be used, are logged and change nothing. The next run reads the messages again. After three
    runs in a row without a usable answer, the messages of the first one are skipped. Once the model gives a usable answer,
    skipped messages, and those of a partly wrong answer, are read again, at most three times.

    Args:
        model: A chat model.
        store: The store, such as `memory.store`.
        schema: Form of the profile: a Pydantic model, or the JSON schema of an object. Facts are extracted if it derives from
            `UserProfile`. Default: `UserProfile`.
        method: How to ask the model: by a tool call (`"tools"`), with the provider's structured output (`"json_schema"`), or
            for JSON in the text (`"json"`). Default: `"auto"` (tools if the model supports them, else JSON).
        when: When to extract: before the node returns (`"turn"`), after the answer (`"background"`), or when the conversation
            has had no new turn for `delay` (`"debounce"`). Pending conversations are read when the interpreter exits, for at
            most 30 seconds; the number of the remaining ones is logged. If the process is killed, the thread's next run reads
            the messages, provided that its history is kept. Default: `"turn"`.
        delay: Seconds without a new turn for `"debounce"`, or a `timedelta`. Default: 30.
        entities: If true, extract entities and relations too, in the same call and the same transaction. Default: False.
        time_limit: Time limit of a call to the model, in seconds or as a `timedelta`. A call that takes longer changes
            nothing and is logged; the next run reads the messages. Default: 60.
        instructions: Instructions for the model, instead of the default ones. Default: None.
        language: Language in which facts are written, such as `"English"`. Default: None (that of the user).
        from_assistant: If true, changes are accepted that only messages of the assistant support. Default: False.
        messages_key: Key of the messages in a state. Default: `"messages"`.
        on_extraction: Called with each `Extraction`. Default: None.

    Raises:
        InvalidTypeError: The store is not an `AgentMemStore`, or another argument has the wrong type.
        InvalidInputError: An argument is not valid.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> from langchain_agentmem.testing import ScriptedChatModel
        >>> answer = '{"changes": [{"action": "add", "text": "Likes hiking", "topics": ["hobbies"], "messages": [1]}]}'
        >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
        ...     node = memory.profile_node(ScriptedChatModel([answer]))
        ...     done = node.invoke([("human", "I love to hike.")], {"configurable": {"user_id": "alice@example.com"}})
        ...     memory.profiles.get("alice@example.com").facts[0].text
        'Likes hiking'
    """

    def __init__(
        self,
        model: BaseChatModel | Runnable[Any, Any],
        store: AgentMemStore | BaseStore,
        schema: type[BaseModel] | Mapping[str, Any] = UserProfile,
        *,
        method: Method = "auto",
        when: When = "turn",
        delay: timedelta | float = DELAY,
        entities: bool = False,
        time_limit: timedelta | float = TIME_LIMIT,
        instructions: str | None = None,
        language: str | None = None,
        from_assistant: bool = False,
        messages_key: str = "messages",
        on_extraction: Callable[[Extraction], Any] | None = None,
    ) -> None:
        if not isinstance(store, AgentMemStore):
            msg = f"store must be an AgentMemStore, such as memory.store; got {type(store).__name__}."
            raise InvalidTypeError(msg)
        check_when(when)
        check_flag("entities", entities)
        check_flag("from_assistant", from_assistant)
        check_function("on_extraction", on_extraction)
        check_id("messages_key", messages_key)
        wait = seconds("delay", delay) or 0.0
        limit = seconds("time_limit", time_limit) or TIME_LIMIT
        given = default_instructions(from_assistant=from_assistant)
        if instructions is not None:
            given = check_content("instructions", instructions)
        if language is not None:
            check_id("language", language)
        shape = Schema(schema)
        proposing = ProposingModel(model, method, answer_schema(facts=shape.has_facts, entities=entities), limit)
        self.engine = ExtractionEngine(
            proposing,
            store.engine.redacting(),
            shape,
            given,
            entities,
            language=language,
            from_assistant=from_assistant,
        )
        self._when = when
        self._messages_key = messages_key
        self._on_extraction = on_extraction
        self.schedule = None if when == "turn" else Schedule(self._extract_all, wait if when == "debounce" else 0.0)
        """Pending background extraction; None for `when="turn"`."""

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={value!r}" for name, value in self._state())
        return f"{type(self).__name__}({parts})"

    def _repr_html_(self) -> str:
        return html_table(self._state(), caption=type(self).__name__, row_headers=True)

    def _state(self) -> list[tuple[str, object]]:
        state: list[tuple[str, object]] = [
            ("schema", self.engine.schema.name),
            ("when", self._when),
            ("entities", self.engine.entities),
        ]
        return state if self.schedule is None else [*state, ("pending", self.schedule.pending)]

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: ARG002 (LangChain's signature)
        """Extract from the new messages of a conversation, or schedule that.

        Args:
            input: Messages, a prompt value, or a state.
            config: Config of the run; its `configurable` may hold `user_id` and `thread_id` (or `session_id`).
            **kwargs: Ignored.

        Returns:
            An `Extraction` for messages, an empty update for a state.

        Raises:
            InvalidInputError: The run names no user, or the input has no messages.
        """
        return self._call_with_config(cast("Any", self._invoke), input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: ARG002 (LangChain's signature)
        """Same as `invoke`, without blocking the event loop."""
        return await self._acall_with_config(cast("Any", self._ainvoke), input, config)

    def all_of(self, messages: Any, config: RunnableConfig) -> Program[Extraction]:
        """Return the program that extracts from all new messages of a conversation now; see `AgentMemory.learn`.

        Args:
            messages: As in `invoke`.
            config: As in `invoke`.

        Raises:
            InvalidInputError: The config names no user, or there are no messages.
        """
        conversation, _ = self._conversation(messages, config)
        return (yield from self.engine.extract_all(conversation, None, self._report))

    def flush(self) -> None:
        """Run pending background extraction now, and wait for it."""
        if self.schedule is not None:
            self.schedule.flush()

    async def aflush(self) -> None:
        """Same as `flush`, without blocking the event loop."""
        if self.schedule is not None:
            await self.schedule.aflush()

    def close(self) -> None:
        """Run pending background extraction, and accept no more. `memory.close()` closes the nodes that it made."""
        if self.schedule is not None:
            self.schedule.close()

    async def aclose(self) -> None:
        """Same as `close`, without blocking the event loop."""
        if self.schedule is not None:
            await self.schedule.aclose()

    def _invoke(self, given: Any, config: RunnableConfig) -> Any:
        conversation, is_state = self._conversation(given, config)
        if self.schedule is not None:
            run(self.engine.register(conversation))
            self.schedule.submit(conversation, _detached(config), None)
            return {} if is_state else Extraction(conversation.user_id)
        extraction = run(self.engine.extract(conversation, config))
        dispatch_custom_event(EVENT, extraction, config=config)
        self._report(extraction)
        return {} if is_state else extraction

    async def _ainvoke(self, given: Any, config: RunnableConfig) -> Any:
        conversation, is_state = self._conversation(given, config)
        if self.schedule is not None:
            await arun(self.engine.register(conversation))
            self.schedule.submit(conversation, _detached(config), asyncio.get_running_loop())
            return {} if is_state else Extraction(conversation.user_id)
        extraction = await arun(self.engine.extract(conversation, config))
        await adispatch_custom_event(EVENT, extraction, config=config)
        self._report(extraction)
        return {} if is_state else extraction

    def _extract_all(self, job: Job) -> Program[bool]:
        """Extract until no new message is left; return true unless an extraction failed."""
        extraction = yield from self.engine.extract_all(job.conversation, job.config, self._report)
        return extraction.error is None

    def _report(self, extraction: Extraction) -> None:
        if self._on_extraction is not None:
            self._on_extraction(extraction)

    def _conversation(self, given: Any, config: RunnableConfig) -> tuple[Conversation, bool]:
        """Return the conversation of an input, and whether the input is a state."""
        messages, is_state = self._messages(given)
        user_id = user_of(config, given if is_state else None)
        self.engine.schema.check_user(user_id)
        configurable = config.get("configurable") or {}
        thread = configurable.get("thread_id") or configurable.get("session_id") or ""
        of_thread = bool(configurable.get("thread_id"))
        messages = [repaired(message) for message in without_removals(messages)]
        agent = agent_of(config)
        return Conversation(user_id, str(thread), messages, time.time(), of_thread, agent), is_state

    def _messages(self, given: Any) -> tuple[Sequence[BaseMessage], bool]:
        if isinstance(given, PromptValue):
            return given.to_messages(), False
        if isinstance(given, BaseMessage):
            return [given], False
        if isinstance(given, (list, tuple)):
            return as_messages(given), False
        key = self._messages_key
        found = given.get(key) if isinstance(given, Mapping) else getattr(given, key, None)
        if not isinstance(found, (list, tuple)):
            msg = f"There are no messages in the input. Pass a list of messages, or a state with a list under {key!r}."
            raise InvalidInputError(msg)
        return as_messages(found), True


def check_when(when: Any) -> None:
    """Check the argument `when`.

    Raises:
        InvalidInputError: It is not one of `When`.
    """
    if when not in ("turn", "background", "debounce"):
        msg = f"when must be turn, background or debounce; got {shown(when)}."
        raise InvalidInputError(msg)


def _detached(config: RunnableConfig) -> RunnableConfig:
    """Return a config for a later run of its own: without streams, and without the graph's internal values."""
    callbacks: Any = config.get("callbacks")
    handlers: list[BaseCallbackHandler] = list(getattr(callbacks, "inheritable_handlers", None) or ())
    return {
        "callbacks": [one for one in handlers if not is_streaming(one)],
        "tags": list(config.get("tags") or ()),
        "metadata": dict(config.get("metadata") or {}),
        "configurable": {
            name: value
            for name, value in (config.get("configurable") or {}).items()
            if not name.startswith(("__", "checkpoint"))
        },
    }
