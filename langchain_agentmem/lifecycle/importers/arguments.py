"""The options of `import_from` for data of other packages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from langchain_agentmem.arguments.ids import check_id, check_name, check_optional_id
from langchain_agentmem.arguments.values import check_callable, shown
from langchain_agentmem.checkpointing.arguments import thread_ids_of
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError


class ImportOptions(TypedDict, total=False):
    """The options of `import_from` for data of another package; see `Options`."""

    user_id: str | None
    session_id: str | None
    agent: str | None
    sessions: Callable[[str], tuple[str | None, str]] | None
    table: str | None
    prefix: str | None
    namespace: tuple[str, ...] | None
    thread_ids: Sequence[str] | None


@dataclass(frozen=True)
class Options:
    """The options of an import, checked.

    Args:
        user_id: The user of all sessions, memories and profiles. Default: None (as the source says, or nobody).
        session_id: The session in the memory, for a source with one session. Default: None (that of the source).
        agent: The agent of all messages, and of memories that have none. Default: None.
        sessions: Returns a pair (user_id, session_id) for a session of the source. Default: None (the same session ID).
        table: The table in a database. Default: None (that of the format).
        prefix: The beginning of the keys in Redis. Default: None (that of the format).
        namespace: The namespace in a store: as LangMem's template, or a prefix. Default: None (that of the format).
        thread_ids: The threads of a checkpointer. Default: None (all).
    """

    user_id: str | None = None
    session_id: str | None = None
    agent: str | None = None
    sessions: Callable[[str], tuple[str | None, str]] | None = None
    table: str | None = None
    prefix: str | None = None
    namespace: tuple[str, ...] | None = None
    thread_ids: Sequence[str] | None = None

    @classmethod
    def of(cls, given: dict[str, Any]) -> Options:
        """Check the options.

        Raises:
            InvalidInputError: A value is not accepted.
            InvalidTypeError: An option is unknown or has the wrong type.
        """
        names = [one.name for one in fields(cls)]
        for name in given:
            if name not in names:
                msg = f"import_from has no argument {shown(name)}. The options of other packages' data: {', '.join(names)}."
                raise InvalidTypeError(msg)
        options = cls(**given)
        check_optional_id("user_id", options.user_id)
        check_optional_id("agent", options.agent)
        if options.session_id is not None:
            check_id("session_id", options.session_id)
        if options.sessions is not None:
            check_callable("sessions", options.sessions)
            for name in ("user_id", "session_id"):
                options.refuse(name, "sessions says both")
        for name in ("table", "prefix"):
            if getattr(options, name) is not None:
                check_name(name, getattr(options, name))
        namespace: Any = options.namespace
        if namespace is not None and (
            not isinstance(namespace, tuple) or not all(isinstance(one, str) and one for one in namespace)
        ):
            msg = f"namespace must be a tuple of strings such as ('memories', '{{user_id}}'), got {shown(namespace)}."
            raise InvalidTypeError(msg)
        if options.thread_ids is not None:
            thread_ids_of("thread_ids", options.thread_ids)
        return options

    def required(self, name: str, why: str) -> str:
        """Return an option that the source needs.

        Raises:
            InvalidInputError: It is missing.
        """
        value: str | None = getattr(self, name)
        if value is None:
            msg = f"{name} is missing: {why}. Pass {name}=…"
            raise InvalidInputError(msg)
        return value

    def refuse(self, name: str, why: str) -> None:
        """Refuse an option that has no effect.

        Raises:
            InvalidInputError: It is given.
        """
        if getattr(self, name) is not None:
            msg = f"{name}={shown(getattr(self, name), 60)} has no effect: {why}. Leave it out."
            raise InvalidInputError(msg)
