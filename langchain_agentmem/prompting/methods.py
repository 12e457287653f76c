"""The methods of `AgentMemory` that fill prompts."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.history.methods import Histories
from langchain_agentmem.programs import Program
from langchain_agentmem.store.face import AgentMemStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from langchain_agentmem.knowledge.retrievers import KnowledgeOrigin
    from langchain_agentmem.prompting.prompt import MemoryPrompt
    from langchain_agentmem.prompting.recall.engine import RecallEngine
    from langchain_agentmem.prompting.values import RecentContext, ValueReader
    from langchain_agentmem.prompting.variables.face import Variables


class PromptingMethods:
    """Set variables, and fill prompts with them."""

    _histories: Histories
    store: AgentMemStore

    if TYPE_CHECKING:  # `RecallMethods` creates it on first use

        @property
        def _recall_engine(self) -> RecallEngine: ...

    @cached_property
    def variables(self) -> Variables:
        """Named values of sessions, users and agents: `set`, `get`, `all`, `search`, `delete`, `clear`."""
        from langchain_agentmem.prompting.variables.engine import VariableEngine
        from langchain_agentmem.prompting.variables.face import Variables

        engine = self._histories.engine
        return Variables(
            VariableEngine(
                engine.backend,
                engine.tenant,
                self._histories.retention_of,
                engine.sweeper,
                cache=engine.cache,
                guard=engine.guard,
            )
        )

    def prompt(
        self,
        template: Any,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        agent: str | None = None,
        missing: Literal["empty", "error"] = "empty",
        limits: Mapping[str, int] | None = None,
        max_tokens: int | None = None,
        token_counter: Any = None,
        recent: RecentContext | None = None,
        question: str | None = None,
        schema: type[BaseModel] | Mapping[str, Any] | None = None,
        knowledge: Sequence[KnowledgeOrigin] = (),
        k: int = 10,
    ) -> MemoryPrompt:
        """Return a chat prompt template whose memory tags, such as `{{user_name}}`, are filled in at each call.

        Tags stand next to ordinary inputs, such as `{input}`. A tag may have a default (`{{name|text}}`) and sections
        (`{{#name}}…{{/name}}`, `{{^name}}…{{/name}}`). The values are those of `memory.variables`, and of `user_name`,
        `preferences`, `recent_context`, `session_context`, `conversation_summary` and `relevant_memories`, which the memory
        provides. A filled-in text is never interpreted.

        Args:
            template: A text (one human message), a list of messages as for `ChatPromptTemplate`, or a `ChatPromptTemplate`.
            user_id: The user. Default: None (the run's config names the user).
            session_id: The session. Default: None (`session_id` or `thread_id` in the run's config).
            agent: The agent whose variables are used. Default: None (`agent` in the run's config, if any).
            missing: `"empty"` gives a variable without value and default an empty text; `"error"` raises. Default: `"empty"`.
            limits: The maximum number of tokens by variable. Default: none.
            max_tokens: The budget of the whole prompt in tokens. If it is exceeded, values are shortened, the least specific
                first. Default: None (no budget).
            token_counter: Counts tokens; see `TokenCounter.of`. Default: None (approximate).
            recent: How much `recent_context` quotes. Default: None (six messages of 300 characters).
            question: The input that holds the user's current message, for `relevant_memories`. Default: None (the newest
                human message, or the input `input`, `question`, `query`, `message` or `text`).
            schema: The schema of the profile, as in `profile_node`. Default: None (`UserProfile`).
            knowledge: Shared knowledge for `relevant_memories`, as in `recall`. Default: none.
            k: The maximum number of results in `relevant_memories`. Default: 10.

        Returns:
            The prompt: a Runnable from a mapping of inputs to a prompt value.

        Raises:
            InvalidInputError: A tag or an argument is not accepted.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.variables.set("tone", "friendly")
            ...     prompt = memory.prompt("Be {{tone}} to {{user_name|guests}}: {input}")
            ...     prompt.invoke({"input": "Hello {{tone}}"}).to_messages()[0].content
            'Be friendly to guests: Hello {{tone}}'
        """
        from langchain_agentmem.prompting.prompt import created_prompt
        from langchain_agentmem.prompting.values import Subject

        return created_prompt(
            self._reader(recent, schema, knowledge, k),
            template,
            Subject(user_id, session_id, agent),
            missing=missing,
            limits=limits,
            max_tokens=max_tokens,
            token_counter=token_counter,
            question=question,
        )

    def _reader(
        self,
        recent: RecentContext | None,
        schema: type[BaseModel] | Mapping[str, Any] | None,
        knowledge: Sequence[KnowledgeOrigin],
        k: int,
    ) -> ValueReader:
        from langchain_agentmem.knowledge.facts.schema import Schema, UserProfile
        from langchain_agentmem.knowledge.retrievers import checked_knowledge
        from langchain_agentmem.prompting.values import RecentContext, ValueReader

        def recall(message: str, user_id: str, session_id: str | None) -> Program[str]:
            found = yield from self._recall_engine.recall(message, user_id, session_id, k, None, shared)
            return found.text

        shared = checked_knowledge(knowledge)
        check_count("k", k)
        if recent is not None and not isinstance(recent, RecentContext):
            msg = f"recent must be a RecentContext, such as RecentContext(messages=10), got {shown(recent)}."
            raise InvalidTypeError(msg)
        name = Schema(UserProfile if schema is None else schema).name
        return ValueReader(self._histories.engine, self.store.engine, self.variables.engine, recall, name, recent)
