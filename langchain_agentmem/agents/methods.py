"""The methods of `AgentMemory` that create parts of agents: tools, the extraction node, and the middleware."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import Unpack

from langchain_agentmem.arguments.ids import check_id, check_optional_id
from langchain_agentmem.arguments.options import ExtractorOptions, LearnOptions, check_options
from langchain_agentmem.arguments.values import check_count
from langchain_agentmem.compression.methods import CompressionMethods
from langchain_agentmem.errors import missing_extra
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.store.arguments import check_namespace
from langchain_agentmem.store.face import AgentMemStore

if TYPE_CHECKING:
    import weakref

    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool
    from pydantic import BaseModel

    from langchain_agentmem.agents.files import FileRetriever
    from langchain_agentmem.agents.middleware import MemoryMiddleware
    from langchain_agentmem.compression.compressor import MemoryCompressor
    from langchain_agentmem.history.methods import Histories
    from langchain_agentmem.knowledge.extraction.face import ProfileExtractor
    from langchain_agentmem.knowledge.extraction.results import Extraction
    from langchain_agentmem.knowledge.extraction.scheduler import Schedule
    from langchain_agentmem.knowledge.memories import Memories
    from langchain_agentmem.knowledge.retrievers import KnowledgeOrigin
    from langchain_agentmem.knowledge.shared import SharedKnowledge


class AgentMethods(CompressionMethods):
    """Create tools, nodes and middleware for agents."""

    store: AgentMemStore
    _histories: Histories
    _schedules: weakref.WeakSet[Schedule]

    if TYPE_CHECKING:  # `AgentMemory` creates them on first use

        @property
        def memories(self) -> Memories: ...

        @property
        def knowledge(self) -> SharedKnowledge: ...

    def tools(
        self,
        *,
        user_id: str | None = None,
        include: Collection[str] | None = None,
        k: int = 5,
        max_length: int = 2_000,
        read_only: bool = False,
        knowledge: Sequence[KnowledgeOrigin] = (),
    ) -> list[BaseTool]:
        """Return tools with which an agent saves, searches and forgets memories about its user.

        Pass them to `create_agent`, `ToolNode` or `model.bind_tools`. The run names the user (`user_id` in the config, the
        runtime's context or the state); the model cannot choose another one, and a run without a user raises. The model is
        told about wrong arguments, and nothing is changed then. Results are quoted as data.

        Args:
            user_id: The user, for all runs. Default: None (the run names the user).
            include: The names of the tools: `save_memory`, `search_memory`, `forget_memory`. Default: None (all).
            k: The maximum number of results of a search. Default: 5.
            max_length: The maximum number of characters of a memory. Default: 2,000.
            read_only: If true, leave out the tools that change memories. Default: False.
            knowledge: Collections of shared knowledge, by name; LangChain retrievers and vector stores, as they are or as
                `KnowledgeSource`s. If any are given, the tool `search_knowledge` searches all of them. Default: none.

        Raises:
            InvalidInputError: A value is not accepted.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> memory = AgentMemory.from_url("sqlite:///:memory:")
            >>> [tool.name for tool in memory.tools(user_id="alice@example.com")]
            ['save_memory', 'search_memory', 'forget_memory']
            >>> memory.close()
        """
        from langchain_agentmem.agents.tools import memory_tools

        return memory_tools(
            self.memories,
            self.knowledge,
            user_id=user_id,
            include=include,
            k=k,
            max_length=max_length,
            read_only=read_only,
            knowledge=knowledge,
        )

    def file_retriever(
        self,
        namespace: tuple[str, ...] | Callable[[Any], tuple[str, ...]],
        *,
        k: int = 5,
        max_length: int = 2_000,
    ) -> FileRetriever:
        """Return a retriever over the files of Deep Agents that are in this memory's store.

        It searches by words and, with embeddings, by meaning. Pass it as `knowledge` to `middleware`, `tools` or `recall`. Of
        a long file it returns the part that has the most words of the question.

        Args:
            namespace: The `namespace` of the `StoreBackend`: a function that is given the runtime of the run; or a tuple, for
                files that do not depend on the run.
            k: The maximum number of files. Default: 5.
            max_length: The maximum number of characters of a part. Default: 2,000.

        Raises:
            InvalidInputError: `namespace` is neither a tuple of labels nor a function, or a number is not positive.
            InvalidTypeError: A number has the wrong type.

        Example:
            >>> from deepagents.backends import StoreBackend
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     files = StoreBackend(store=memory.store, namespace=lambda _: ("alice@example.com", "files"))
            ...     _ = files.write("/boiler.md", "The boiler was serviced in May.")
            ...     retriever = memory.file_retriever(("alice@example.com", "files"))
            ...     print(retriever.invoke("When was the boiler serviced?")[0].page_content)
            /boiler.md, line 1:
            The boiler was serviced in May.
        """
        from langchain_agentmem.agents.files import FileRetriever

        if not callable(namespace):
            namespace = check_namespace(namespace, least=1)
        check_count("k", k)
        check_count("max_length", max_length)
        return FileRetriever(engine=self.store.engine, namespace=namespace, k=k, max_length=max_length)

    def profile_node(
        self,
        model: BaseChatModel | Runnable[Any, Any] | str,
        schema: type[BaseModel] | Mapping[str, Any] | None = None,
        **options: Unpack[ExtractorOptions],
    ) -> ProfileExtractor:
        """Return a graph node, also a Runnable, that extracts profiles, facts and entities from conversations.

        Args:
            model: A chat model, or its name such as `"openai:gpt-4o-mini"` (requires the extra `agents`).
            schema: The schema of the profile: a Pydantic model, or a JSON schema. Default: None (`UserProfile`).
            **options: The keyword arguments of `ProfileExtractor`, such as `when="background"`.

        Raises:
            InvalidTypeError: `on_extraction` is a coroutine function, or another argument has the wrong type.
            InvalidInputError: A value is not accepted.
            ConfigurationError: The model is a name, and LangChain is not installed.
        """
        from langchain_agentmem.compression.chat_models import chat_model
        from langchain_agentmem.knowledge.extraction.face import ProfileExtractor
        from langchain_agentmem.knowledge.facts.schema import UserProfile

        check_options("memory.profile_node", options, ExtractorOptions)
        extractor = ProfileExtractor(
            chat_model(model), self.store, UserProfile if schema is None else schema, **options
        )
        if extractor.schedule is not None:
            self._schedules.add(extractor.schedule)
        return extractor

    def learn(
        self,
        messages: Sequence[Any],
        *,
        user_id: str,
        model: BaseChatModel | Runnable[Any, Any] | str,
        session_id: str | None = None,
        agent: str | None = None,
        schema: type[BaseModel] | Mapping[str, Any] | None = None,
        **options: Unpack[LearnOptions],
    ) -> Extraction:
        """Extract profile, facts and entities from messages, outside of a graph.

        Messages that were read before are not read again; see `ProfileExtractor`. Messages without a session need IDs for
        that.

        Args:
            messages: The messages: LangChain's, role dictionaries, or pairs such as `("user", "Hello")`.
            user_id: The user who wrote them.
            model: A chat model, or its name such as `"openai:gpt-4o-mini"` (requires the extra `agents`).
            session_id: The session of the messages. Default: None.
            agent: The agent that saves the facts. Default: None.
            schema: The schema of the profile, as in `profile_node`. Default: None (`UserProfile`).
            **options: Keyword arguments of `ProfileExtractor`, such as `entities=True`.

        Returns:
            The messages that were read and the changes, as a node of `profile_node` reports them.

        Raises:
            InvalidTypeError: An argument has the wrong type.
            InvalidInputError: A value is not accepted.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> from langchain_agentmem.testing import ScriptedChatModel
            >>> model = ScriptedChatModel(['{"changes": [{"action": "add", "text": "Likes hiking", "messages": [1]}]}'])
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     done = memory.learn([("user", "I love to hike.")], user_id="alice@example.com", model=model)
            ...     done.added[0].text
            'Likes hiking'
        """
        return run(self._learned(messages, user_id, model, session_id, agent, schema, options))

    async def alearn(
        self,
        messages: Sequence[Any],
        *,
        user_id: str,
        model: BaseChatModel | Runnable[Any, Any] | str,
        session_id: str | None = None,
        agent: str | None = None,
        schema: type[BaseModel] | Mapping[str, Any] | None = None,
        **options: Unpack[LearnOptions],
    ) -> Extraction:
        """Same as `learn`, but without blocking the event loop."""
        return await arun(self._learned(messages, user_id, model, session_id, agent, schema, options))

    def _learned(
        self,
        messages: Sequence[Any],
        user_id: str,
        model: BaseChatModel | Runnable[Any, Any] | str,
        session_id: str | None,
        agent: str | None,
        schema: type[BaseModel] | Mapping[str, Any] | None,
        options: LearnOptions,
    ) -> Program[Extraction]:
        check_options("memory.learn", options, LearnOptions)
        configurable = {
            "user_id": check_id("user_id", user_id),
            "session_id": check_optional_id("session_id", session_id),
            "agent": check_optional_id("agent", agent),
        }
        return self.profile_node(model, schema, **options).all_of(messages, {"configurable": configurable})

    def middleware(
        self,
        model: BaseChatModel | str | None = None,
        *,
        max_tokens: int | None = None,
        facts: int = 8,
        memories: int = 5,
        turns: int = 0,
        knowledge: Sequence[KnowledgeOrigin] = (),
        max_characters: int = 4_000,
        schema: type[BaseModel] | Mapping[str, Any] | None = None,
        entities: bool = False,
        when: Literal["turn", "background", "debounce"] = "background",
        learn: bool = True,
        tools: bool = False,
        context_tools: bool = False,
        compressor: MemoryCompressor | None = None,
        extractor: ProfileExtractor | None = None,
    ) -> MemoryMiddleware:
        """Return a middleware for LangChain's `create_agent`. It requires the extra `agents`.

        - Before each call to the model, it adds the user's profile, facts and memories to the request, quoted as data. Half
          of the facts and memories match the question; the other half are the most recent ones. The text after the system
          message stays the same within a thread, for the prompt caches of providers; what later questions find follows the
          question.
        - It keeps the request within its budget, with less of this text if necessary. The messages of the state stay
          unchanged. If the provider refuses a request because of its size, it is compacted and sent once more.
        - After the answer, it extracts profile, facts and entities from the new messages.

        The run names the user (`user_id` in the config, the runtime's context or the state). A run without a user raises.

        Args:
            model: The model for summaries and extraction: a chat model, or its name such as `"openai:gpt-4o-mini"`. Default:
                None (summaries quote the conversation, and nothing is extracted).
            max_tokens: The maximum number of tokens of a request, with its tools. Default: three quarters of the limit in the
                model's profile, or 16,000 if it has none.
            facts: The maximum number of facts to add. Default: 8.
            memories: The maximum number of memories to add; agents save them with `tools`. Default: 5.
            turns: The maximum number of turns of the user's earlier sessions to add, which are read from chat histories.
                Default: 0.
            knowledge: What to search besides: collections of shared knowledge, by name; LangChain retrievers and vector
                stores, as they are or as `KnowledgeSource`s. One that fails is left out, with a warning. Default: none.
            max_characters: The maximum number of characters to add. Default: 4,000.
            schema: The schema of the profile. Default: None (`UserProfile`).
            entities: If true, also extract entities and relations in the same call to the model, and add those that match the
                question. Default: False.
            when: When to extract: `"turn"` (before the agent returns), `"background"` or `"debounce"`. Default:
                `"background"`.
            learn: If false, nothing is extracted. Default: True.
            tools: If true, the agent gets the tools of `tools()`. Default: False.
            context_tools: If true, the agent gets `read_stored_result`, which returns a shortened tool result in full, and
                `compact_conversation`, which summarises the earlier turns. Default: False.
            compressor: A compressor instead of `max_tokens`. Default: None.
            extractor: A node of `profile_node` instead of `schema`, `entities` and `when`. Default: None.

        Raises:
            InvalidInputError: A value is not accepted, or two arguments contradict each other.
            InvalidTypeError: An argument has the wrong type.
            ConfigurationError: LangChain is not installed, or it does not know the model's name.

        Example:
            >>> from langchain.agents import create_agent
            >>> from langchain_agentmem import AgentMemory
            >>> from langchain_agentmem.testing import ScriptedChatModel
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     fact = memory.profiles.add_fact("alice@example.com", "Allergic to peanuts")
            ...     model = ScriptedChatModel(["Try the pasta."])
            ...     agent = create_agent(model, [], middleware=[memory.middleware()])
            ...     asked = {"messages": [("user", "What can I eat? I am allergic.")]}
            ...     answer = agent.invoke(asked, {"configurable": {"user_id": "alice@example.com"}})
            ...     "Allergic to peanuts" in model.requests[0][0].text
            True
        """
        try:
            from langchain_agentmem.agents.middleware import MemoryMiddleware
        except ImportError:
            raise missing_extra(what="A middleware for create_agent", extra="agents") from None
        from langchain_agentmem.agents.assembly import MiddlewareSettings
        from langchain_agentmem.compression.chat_models import chat_model

        settings = MiddlewareSettings(
            max_tokens,
            facts,
            memories,
            turns,
            knowledge,
            max_characters,
            schema,
            entities,
            when,
            learn,
            tools,
            context_tools,
            compressor,
            extractor,
        )
        settings.check()
        model = chat_model(model)
        if compressor is None:
            compressor = self.compressor(model, max_tokens=settings.token_budget(model))
        if extractor is None and learn and model is not None:
            extractor = self.profile_node(model, schema, entities=entities, when=when)
        return MemoryMiddleware(
            compressor,
            settings.recall(self.store.engine, self._histories.engine),
            extractor,
            self.tools() if tools else (),
            manages_context=context_tools,
        )
