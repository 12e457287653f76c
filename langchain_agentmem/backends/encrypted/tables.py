"""Shared parts of the encrypted backend's tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from functools import wraps
from typing import Any, Generic, TypeVar, cast

from typing_extensions import ParamSpec

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import HeadSwap, ScopeHead, SessionKey
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.errors import ConfigurationError, TamperedDataError
from langchain_agentmem.programs import Program, StorageProgram

T = TypeVar("T")
P = ParamSpec("P")
InnerTable = TypeVar("InnerTable")


def as_inner(method: Callable[P, Program[T]]) -> Callable[P, Program[T]]:
    """Make the programs of a method restartable; one is a single statement if the program of the inner table is one.

    Args:
        method: A method that runs exactly one program of the method of the same name of the inner table.
    """

    @wraps(method)
    def make(*args: P.args, **kwargs: P.kwargs) -> Program[T]:
        table: Any = args[0]
        plain = getattr(table._inner, method.__name__)(*args[1:], **kwargs)
        single = isinstance(plain, StorageProgram) and plain.single
        if isinstance(plain, Generator):
            plain.close()
        # Callers compose it like a generator: `yield from` starts it.
        return cast("Program[T]", StorageProgram(method.__name__, lambda: method(*args, **kwargs), single=single))

    return make


class EncryptedTable(Generic[InnerTable]):
    """Base class of the tables.

    Args:
        inner: The table that stores the encrypted data.
        ring: The keys.
    """

    def __init__(self, inner: InnerTable, ring: KeyRing) -> None:
        self._inner = inner
        self._ring = ring

    def _user(self, user_id: str | Omitted | None) -> Any:
        """Encrypt the ID of a user."""
        return OMITTED if user_id is OMITTED else self._ring.optional_id("user", user_id)

    def _key(self, key: SessionKey) -> SessionKey:
        """Encrypt the key of a session."""
        return SessionKey(key.tenant, self._user(key.user_id), self._ring.id("session", key.session_id))

    def _plain_key(self, key: SessionKey) -> SessionKey:
        """Decrypt the key of a session."""
        user_id = self._ring.optional_plain_id("user", key.user_id)
        return SessionKey(key.tenant, user_id, self._ring.plain_id("session", key.session_id))

    def _agent(self, agent: str | None) -> str | None:
        """Encrypt the name of an agent."""
        return self._ring.optional_id("agent", agent)

    def _plain_agent(self, agent: str | None) -> str | None:
        """Decrypt the name of an agent."""
        return self._ring.optional_plain_id("agent", agent)

    def _seal(self, text: str, *place: str) -> str:
        """Encrypt a text for a place."""
        return self._ring.sealer.seal_text(text, *place)

    def _seal_optional(self, text: str | None, *place: str) -> str | None:
        """Same as `_seal`, but accept None."""
        return None if text is None else self._seal(text, *place)

    def _open(self, what: str, sealed: str, *place: str | bytes) -> str:
        """Decrypt a text.

        Args:
            what: The name of the text, for errors.
            sealed: The encrypted text.
            *place: Its place.

        Raises:
            TamperedDataError: It was altered or moved, or is not encrypted.
        """
        with naming(what):
            return self._ring.sealer.open_text(sealed, *place)

    def sealed_summary(self, key: SessionKey, agent: str | None, value: str, covers: int | None) -> str:
        """Encrypt a running summary. An empty one stays empty.

        Args:
            key: The session.
            agent: The agent whose messages it summarises; None for the history, or `LIST_SUMMARY`.
            value: The summary.
            covers: See `StoredSummary`.
        """
        return value and self._seal(json.dumps([value, covers, agent or ""]), "summary", *names_of(key))

    def plain_summary(self, key: SessionKey, agent: str | None, sealed: str) -> tuple[str, int | None]:
        """Decrypt the result of `sealed_summary`; return the summary, and the messages that it covers.

        Raises:
            TamperedDataError: It was altered or moved, or belongs to another agent.
        """
        if not sealed:
            return sealed, None
        value, covers, owner = self._opened_summary(key, sealed)
        if owner != (agent or ""):
            raise of_another_agent(key)
        return value, covers

    def _opened_summary(self, key: SessionKey, sealed: str) -> tuple[str, int | None, str]:
        opened = self._open(f"The summary of session {key.session_id!r}", sealed, "summary", *names_of(key))
        value, covers, agent = json.loads(opened)
        return value, covers, agent


def refuse_head(head: ScopeHead | HeadSwap | None) -> None:
    """Refuse a head that a caller of the encrypted backend sets.

    Raises:
        ConfigurationError: A head is given.
    """
    if head is not None:
        msg = f"The encrypted backend sets the heads of sessions and variables itself; got {shown(head)}."
        raise ConfigurationError(msg)


def of_another_agent(key: SessionKey) -> TamperedDataError:
    """Return the error about a summary that belongs to another agent."""
    return TamperedDataError(f"The summary of session {key.session_id!r} was altered: it belongs to another agent.")


def names_of(key: SessionKey) -> tuple[str, str, str]:
    """Return the names of a session in the place of a value. The user is empty for nobody."""
    return key.tenant, key.user_id or "", key.session_id


class naming:  # noqa: N801 (used as a statement: `with naming(…):`)
    """Context manager: name the value in a `TamperedDataError`.

    Args:
        what: The name of the value, as the subject of a sentence.
    """

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, TamperedDataError) and not error.is_named:
            named = type(error)(f"{self._what}: {error}")
            named.is_named = True
            raise named from error
