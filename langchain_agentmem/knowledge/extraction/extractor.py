"""`ProfileExtractor`: learns about users from their conversations; a node of a graph, and a Runnable."""

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
from langchain_agentmem.arguments.values import check_flag, check_function, shown
from langchain_agentmem.encoding.repairs import repaired
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.knowledge.extraction import shutdown  # noqa: F401 (registers itself for the interpreter's exit)
from langchain_agentmem.knowledge.extraction.conversations import Conversation
from langchain_agentmem.knowledge.extraction.entities import entities_schema
from langchain_agentmem.knowledge.extraction.jobs import Job
from langchain_agentmem.knowledge.extraction.markers import without_removals
from langchain_agentmem.knowledge.extraction.prompts import INSTRUCTIONS
from langchain_agentmem.knowledge.extraction.proposals import TOOL, answer_schema
from langchain_agentmem.knowledge.extraction.reading import Extraction, Reader
from langchain_agentmem.knowledge.extraction.scheduler import Schedule
from langchain_agentmem.knowledge.facts.schema import Schema, UserProfile
from langchain_agentmem.knowledge.namespaces import user_of
from langchain_agentmem.messages.conversion import as_messages
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.store.face import AgentMemStore

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Method = Literal["auto", "tools", "json_schema", "json"]
When = Literal["turn", "background", "debounce"]

EVENT = "agentmem_extraction"
"""The name of the event that says what an extraction in the turn did."""

DELAY = 30.0
"""After so many seconds of quiet a conversation is read with `when="debounce"`, unless said otherwise."""

TIME_LIMIT = 60.0
"""Seconds that a call to the model may take, unless said otherwise."""

_STREAMS = ("langgraph", "langchain_core.tracers.event_stream", "langchain_core.tracers.log_stream")


class ProfileExtractor(Runnable[Any, Any]):
    """Learns about users from their conversations: what is new in the messages becomes changes of the user's profile.

    As a node of a graph it gets the state and returns an empty update. As a Runnable it gets messages (or a prompt value)
    and returns an `Extraction`, which says what it did. It reads messages that it has not read before, in one call to the
    model (a second one when the answer cannot be used), which is shown a bounded part of what is known. Who the user is, is
    said by `user_id` in the config, in the runtime's context or in the state; the model has no say in it. An answer that
    cannot be used changes nothing and is logged, and so is a model that fails: the messages are read in the next run. Those
    about which no answer could be used in three runs are given up.

    Args:
        model: A chat model.
        store: Where the profiles are: `memory.store`.
        schema: What is looked for: a Pydantic model, or a JSON schema of an object. Facts are kept where it derives from
            `UserProfile`. Default: `UserProfile`.
        method: How the model is asked: by a tool call (`"tools"`), with the provider's structured output (`"json_schema"`),
            or for JSON in the text (`"json"`). Default: `"auto"` (tools where the model has them, else JSON).
        when: `"turn"` reads before the node returns; `"background"` after the answer; `"debounce"` when the conversation has
            been quiet for `delay`. Pending conversations are read when the interpreter exits, for at most 30 seconds; the
            number of those that are left is logged. What was not read, because the process was killed, is read with the
            thread's next run, if its history is kept. Default: `"turn"`.
        delay: Seconds of quiet for `"debounce"`, or a `timedelta`. Default: 30.
        entities: Whether the people, places and things that a user speaks of, and how they relate, are looked for as well,
            in the same call, and stored together with the profile: `memory.entities`. Default: False.
        time_limit: Seconds that a call to the model may take, as a number or a `timedelta`. A call that takes longer changes
            nothing and is logged; the messages are read in the next run. Default: 60.
        instructions: What the model is to look for, in other words than ours. Default: None.
        messages_key: Where a state holds the messages. Default: `"messages"`.
        on_extraction: Called with the `Extraction` after each one. Default: None.

    Raises:
        InvalidTypeError: The store is no `AgentMemStore`, or the schema is none.
        InvalidInputError: Another argument is not accepted.

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
        messages_key: str = "messages",
        on_extraction: Callable[[Extraction], Any] | None = None,
    ) -> None:
        if not isinstance(store, AgentMemStore):
            msg = f"store must be an AgentMemStore, such as memory.store, got {type(store).__name__}."
            raise InvalidTypeError(msg)
        check_when(when)
        check_flag("entities", entities)
        check_function("on_extraction", on_extraction)
        check_id("messages_key", messages_key)
        wait = seconds("delay", delay) or 0.0
        limit = seconds("time_limit", time_limit) or TIME_LIMIT
        told = INSTRUCTIONS if instructions is None else check_content("instructions", instructions)
        shape = Schema(schema)
        answers = answer_schema(facts=shape.has_facts, entities=entities_schema() if entities else None)
        asked, tell = _asked(model, method, answers)
        self._reader = Reader(asked, store, shape, told, answers if tell else None, limit, entities)
        self._messages_key = messages_key
        self._on_extraction = on_extraction
        self.schedule = None if when == "turn" else Schedule(self._later, wait if when == "debounce" else 0.0)
        """What is to be read after the answer; None for `when="turn"`."""

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: ARG002 (LangChain's signature)
        """Read what is new in messages, or in the messages of a state.

        Args:
            input: Messages, a prompt value, or a state.
            config: The run's config; its `configurable` may hold `user_id` and `thread_id` (or `session_id`).
            **kwargs: Not used.

        Returns:
            An `Extraction` for messages, an empty update for a state.

        Raises:
            InvalidInputError: Nobody said who the user is, or the input holds no messages.
        """
        return self._call_with_config(cast("Any", self._invoke), input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: ARG002 (LangChain's signature)
        """Same as `invoke`, but without blocking the event loop."""
        return await self._acall_with_config(cast("Any", self._ainvoke), input, config)

    def flush(self) -> None:
        """Read now what was handed over for later, and wait until it is done."""
        if self.schedule is not None:
            self.schedule.flush()

    async def aflush(self) -> None:
        """Same as `flush`, but without blocking the event loop."""
        if self.schedule is not None:
            await self.schedule.aflush()

    def close(self) -> None:
        """Same as `flush`; nothing is accepted any more. `memory.close()` does it for the nodes that the memory made."""
        if self.schedule is not None:
            self.schedule.close()

    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
        if self.schedule is not None:
            await self.schedule.aclose()

    def _invoke(self, given: Any, config: RunnableConfig) -> Any:
        conversation, is_state = self._conversation(given, config)
        if self.schedule is not None:
            run(self._reader.words_of_others(conversation))
            self.schedule.submit(conversation, _for_later(config), None)
            return {} if is_state else Extraction(conversation.user_id)
        extraction = run(self._reader.read(conversation, config))
        dispatch_custom_event(EVENT, extraction, config=config)
        self._tell(extraction)
        return {} if is_state else extraction

    async def _ainvoke(self, given: Any, config: RunnableConfig) -> Any:
        conversation, is_state = self._conversation(given, config)
        if self.schedule is not None:
            await arun(self._reader.words_of_others(conversation))
            self.schedule.submit(conversation, _for_later(config), asyncio.get_running_loop())
            return {} if is_state else Extraction(conversation.user_id)
        extraction = await arun(self._reader.read(conversation, config))
        await adispatch_custom_event(EVENT, extraction, config=config)
        self._tell(extraction)
        return {} if is_state else extraction

    def _later(self, job: Job) -> Program[bool]:
        while True:
            extraction = yield from self._reader.read(job.conversation, job.config)
            self._tell(extraction)
            if extraction.error is not None or not extraction.more:
                return extraction.error is None

    def _tell(self, extraction: Extraction) -> None:
        if self._on_extraction is not None:
            self._on_extraction(extraction)

    def _conversation(self, given: Any, config: RunnableConfig) -> tuple[Conversation, bool]:
        """What is to be read, and whether it came as a state."""
        messages, is_state = self._messages(given)
        user_id = user_of(config, given if is_state else None)
        configurable = config.get("configurable") or {}
        thread = configurable.get("thread_id") or configurable.get("session_id") or ""
        of_thread = bool(configurable.get("thread_id"))
        messages = [repaired(message) for message in without_removals(messages)]
        return Conversation(user_id, str(thread), messages, time.time(), of_thread), is_state

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
            msg = f"There are no messages to read: give a list of messages, or a state with them in {key!r}."
            raise InvalidInputError(msg)
        return as_messages(found), True


def check_when(when: Any) -> None:
    """Refuse what does not say when a conversation is read.

    Raises:
        InvalidInputError: It is not one of `When`.
    """
    if when not in ("turn", "background", "debounce"):
        msg = f"when must be turn, background or debounce, got {shown(when)}."
        raise InvalidInputError(msg)


def _asked(model: Any, method: str, schema: dict[str, Any]) -> tuple[Runnable[Any, Any], bool]:
    """How the model is asked for changes, and whether the prompt has to say how to answer."""
    if not isinstance(model, Runnable):
        msg = f"model must be a chat model, got {type(model).__name__}: {shown(model)}."
        raise InvalidTypeError(msg)
    if method == "auto":
        method = "tools" if _has_tools(model) else "json"
    chat: Any = model
    if method == "tools":
        tool = {
            "type": "function",
            "function": {"name": TOOL, "description": schema["description"], "parameters": schema},
        }
        return chat.bind_tools([tool], tool_choice="any"), False
    if method == "json_schema":
        return chat.with_structured_output(schema, method="json_schema", include_raw=True), False
    if method == "json":
        return chat, True
    msg = f"method must be auto, tools, json_schema or json, got {shown(method)}."
    raise InvalidInputError(msg)


def _has_tools(model: Any) -> bool:
    from langchain_core.language_models import BaseChatModel

    known = (getattr(model, "profile", None) or {}).get("tool_calling")
    own = isinstance(model, BaseChatModel) and type(model).bind_tools is not BaseChatModel.bind_tools
    return own and known is not False


def _for_later(config: RunnableConfig) -> RunnableConfig:
    """A config for a run of its own, after the one that it came from: without what belongs to that alone."""
    callbacks: Any = config.get("callbacks")
    handlers: list[BaseCallbackHandler] = list(getattr(callbacks, "inheritable_handlers", None) or ())
    return {
        "callbacks": [one for one in handlers if not type(one).__module__.startswith(_STREAMS)],
        "tags": list(config.get("tags") or ()),
        "metadata": dict(config.get("metadata") or {}),
        "configurable": {
            name: value
            for name, value in (config.get("configurable") or {}).items()
            if not name.startswith(("__", "checkpoint"))
        },
    }
