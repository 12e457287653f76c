"""The methods of `AgentMemHistory` that convert a session to JSON, files, requests and role dictionaries, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from langchain_core.messages import BaseMessage
from typing_extensions import Unpack

from langchain_agentmem.arguments.options import HistoryOptions
from langchain_agentmem.history.chains import TurnWindows
from langchain_agentmem.history.documents import SessionDocument, checked_document
from langchain_agentmem.history.files import checked_path, read_document, write_document
from langchain_agentmem.history.logs import Log
from langchain_agentmem.messages.anthropic import anthropic_request
from langchain_agentmem.messages.openai import openai_request
from langchain_agentmem.messages.role_dicts import role_dicts_of
from langchain_agentmem.programs import OffLoop, Program, arun, run
from langchain_agentmem.programs.sizes import is_large

if TYPE_CHECKING:
    from langchain_agentmem.history.face import AgentMemHistory


class FormMethods:
    """Convert the session of a history to JSON, a file, a provider's request or role dictionaries, and back."""

    _log: Log
    _windows: TurnWindows

    if TYPE_CHECKING:  # of `AgentMemHistory`

        def _current_window(self, *, opens: bool) -> Program[list[BaseMessage]]: ...

    def to_dict(self) -> dict[str, Any]:
        """Return the session as a JSON object: its IDs, title and metadata, and its messages with all properties.

        `from_dict` stores such an object as a session. A history with `agent` returns the messages of this agent only.

        Example:
            >>> from langchain_agentmem import AgentMemHistory, AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("trip", user_id="alice").add_user_message("To Malta?")
            ...     document = memory.history("trip", user_id="alice").to_dict()
            ...     copy = AgentMemHistory.from_dict(document, memory, user_id="bob")
            ...     document["title"], copy.user_id, [message.text for message in copy.messages]
            ('To Malta?', 'bob', ['To Malta?'])
        """
        return run(self._log.document())

    async def ato_dict(self) -> dict[str, Any]:
        """Same as `to_dict`, but without blocking the event loop."""
        return await arun(self._log.document())

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], backend: Any, session_id: str | None = None, **options: Unpack[HistoryOptions]
    ) -> Self:
        """Store a session from a JSON object, and return its history. The session must have no messages.

        All of it is stored in one transaction, or nothing.

        Args:
            data: The object that `to_dict` returned.
            backend: An `AgentMemory`, whose settings apply to the history; or a database as for `AgentMemHistory`.
            session_id: The session to store. Default: None (the one in `data`).
            **options: The keyword arguments of `AgentMemHistory`, or of `AgentMemory.history`. Default for `user_id` and
                `agent`: those in `data`.

        Raises:
            InvalidTypeError: `data` is not a mapping, or another argument has the wrong type.
            InvalidInputError: `data` is malformed (the error has the path of the wrong value), or the session has messages.
            UnsupportedValueError: A message would not round-trip.
            StorageError: The database could not store the session.
        """
        document = run(_checked(data))
        history = _opened(cls, document, backend, session_id, options)
        try:
            run(history._restore(document))
        except BaseException:
            if history._stands_alone:
                history.close()
            raise
        return history  # type: ignore[return-value]  # a memory returns an `AgentMemHistory`

    @classmethod
    async def afrom_dict(
        cls, data: Mapping[str, Any], backend: Any, session_id: str | None = None, **options: Unpack[HistoryOptions]
    ) -> Self:
        """Same as `from_dict`, but without blocking the event loop."""
        document = await arun(_checked(data))
        history = _opened(cls, document, backend, session_id, options)
        try:
            await arun(history._restore(document))
        except BaseException:
            if history._stands_alone:
                await history.aclose()
            raise
        return history  # type: ignore[return-value]  # a memory returns an `AgentMemHistory`

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the session to a JSON file: the object of `to_dict`, and a checksum.

        An existing file is replaced when the new one is complete. Only its owner can read a new file.

        Args:
            path: The file.

        Raises:
            StorageError: The file cannot be written. An existing file is unchanged.

        Example:
            >>> import tempfile, pathlib
            >>> from langchain_agentmem import AgentMemory
            >>> path = pathlib.Path(tempfile.mkdtemp()) / "trip.json"
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("trip").add_user_message("To Malta?")
            ...     memory.history("trip").save(path)
            ...     memory.history("copy").load(path)
            ...     memory.history("copy").messages[0].text
            'To Malta?'
        """
        run(self._save(path))

    async def asave(self, path: str | os.PathLike[str]) -> None:
        """Same as `save`, but without blocking the event loop."""
        await arun(self._save(path))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Store the session in a file as the session of this history, which must have no messages.

        The session and the user stay those of the history. All of the file is stored in one transaction, or nothing.

        Args:
            path: A file that `save` wrote.

        Raises:
            InvalidInputError: The file cannot be read, is damaged or malformed, or the session has messages.
        """
        run(self._load(path))

    async def aload(self, path: str | os.PathLike[str]) -> None:
        """Same as `load`, but without blocking the event loop."""
        await arun(self._load(path))

    def to_openai(self) -> list[dict[str, Any]]:
        """Return the window, as `messages` returns it, as the `messages` of a request to OpenAI's chat completions.

        Raises:
            UnsupportedValueError: OpenAI has no form for a content block, such as the URL of a document, or a value is no
                JSON value.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("trip").add_messages([("human", "To Malta?"), ("ai", "Yes")])
            ...     memory.history("trip").to_openai()
            [{'role': 'user', 'content': 'To Malta?'}, {'role': 'assistant', 'content': 'Yes'}]
        """
        return run(self._openai())

    async def ato_openai(self) -> list[dict[str, Any]]:
        """Same as `to_openai`, but without blocking the event loop."""
        return await arun(self._openai())

    def to_anthropic(self) -> dict[str, Any]:
        """Return the window, as `messages` returns it, as `system` and `messages` of a request to Anthropic's API.

        Without a system message, there is no `system`. A conversation that begins with an answer gets an opening of the user.

        Raises:
            UnsupportedValueError: Anthropic has no form for a content block, such as a recording, or a value is no JSON
                value.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("trip").add_messages([("system", "Be brief."), ("human", "To Malta?")])
            ...     memory.history("trip").to_anthropic()
            {'system': 'Be brief.', 'messages': [{'role': 'user', 'content': 'To Malta?'}]}
        """
        return run(self._anthropic())

    async def ato_anthropic(self) -> dict[str, Any]:
        """Same as `to_anthropic`, but without blocking the event loop."""
        return await arun(self._anthropic())

    def to_role_dicts(self) -> list[dict[str, Any]]:
        """Return all messages as role dictionaries, which `add_messages` takes.

        A call has `id`, `call_id`, `name` and `arguments` as JSON text. A message also has `agent_calls`, `structured_data`
        and `images` if it was added with them, and `content` is a mapping if it was one.

        Raises:
            UnsupportedValueError: A value of a message is no JSON value, such as bytes in the arguments of a call. `to_dict`
                returns such messages, too.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("a").add_messages(
            ...         [{"role": "user", "content": "What is this?", "images": ["https://a.b/c.png"], "message_id": "1"}]
            ...     )
            ...     memory.history("a").to_role_dicts()
            [{'role': 'user', 'content': 'What is this?', 'message_id': '1', 'images': ['https://a.b/c.png']}]
        """
        return run(self._role_dicts())

    async def ato_role_dicts(self) -> list[dict[str, Any]]:
        """Same as `to_role_dicts`, but without blocking the event loop."""
        return await arun(self._role_dicts())

    def _restore(self, document: SessionDocument) -> Program[None]:
        self._windows.end()
        yield from self._log.restore(document)

    def _save(self, path: Any) -> Program[None]:
        target = checked_path(path)
        document = yield from self._log.document()
        yield from OffLoop(True)
        write_document(target, document)

    def _load(self, path: Any) -> Program[None]:
        source = checked_path(path)
        yield from OffLoop(True)
        document = checked_document(read_document(source))
        yield from self._restore(document)

    def _openai(self) -> Program[list[dict[str, Any]]]:
        messages = yield from self._request(opens=False)
        return openai_request(messages)

    def _anthropic(self) -> Program[dict[str, Any]]:
        messages = yield from self._request(opens=True)
        return anthropic_request(messages)

    def _request(self, *, opens: bool) -> Program[list[BaseMessage]]:
        messages = yield from self._current_window(opens=opens)
        yield from OffLoop(is_large(messages))
        return messages

    def _role_dicts(self) -> Program[list[dict[str, Any]]]:
        messages = yield from self._log.all()
        yield from OffLoop(is_large(messages))
        return role_dicts_of(messages)


def _checked(data: Any) -> Program[SessionDocument]:
    yield from OffLoop(is_large(data))
    return checked_document(data)


def _opened(
    cls: type[Any], document: SessionDocument, backend: Any, session_id: str | None, options: HistoryOptions
) -> AgentMemHistory:
    """Return the history that will store the contents of a session."""
    from langchain_agentmem.history.methods import HistoryMethods

    given: Any = {"user_id": document.user_id, "agent": document.agent, **options}
    named = document.session_id if session_id is None else session_id
    if isinstance(backend, HistoryMethods):
        return backend.history(named, **given)
    history: AgentMemHistory = cls(backend, named, **given)
    return history
