"""Encryption of the titles and metadata of sessions, and their comparison with the heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from langchain_agentmem.backends.contract import HeadSwap, LogHead, SessionKey, SessionRow
from langchain_agentmem.backends.contract.messages import LIST_SUMMARY
from langchain_agentmem.backends.encrypted.heads import NO_TITLE, Head
from langchain_agentmem.backends.encrypted.message_rows import MessageCipher, StaleHeadError
from langchain_agentmem.backends.encrypted.tables import names_of, naming, of_another_agent
from langchain_agentmem.errors import TamperedDataError

_DIGEST_BYTES = 8


class Change(NamedTuple):
    """A change of the head of a session."""

    swap: HeadSwap
    stored: LogHead
    """The head that is stored then, encrypted."""
    head: Head
    """The same head."""


class SessionCipher(MessageCipher):
    """Encrypts and decrypts what sessions have besides messages."""

    def title(self, key: SessionKey, title: str | None) -> str | None:
        """Encrypt a title."""
        return self._seal_optional(title, "title", *names_of(key))

    def metadata(self, key: SessionKey, metadata: str | None) -> str | None:
        """Encrypt metadata."""
        return self._seal_optional(metadata, "metadata", *names_of(key))

    def title_digest(self, title: str | None) -> bytes:
        """Return the digest of a title in the head; empty for none."""
        return b"" if title is None else self._ring.digest("title", title, size=_DIGEST_BYTES)

    def metadata_digest(self, metadata: str | None) -> bytes:
        """Return the digest of metadata in the head; empty for none."""
        return b"" if metadata is None else self._ring.digest("metadata", metadata, size=_DIGEST_BYTES)

    def with_properties(self, head: Head, title: str | None, metadata: str | None) -> Head:
        """Return a head with another title that the user set, and with other metadata; None: they stay."""
        if title is not None:
            head = head._replace(titles=((self.title_digest(title), -1),))
        if metadata is not None:
            head = head._replace(metadata=(self.metadata_digest(metadata),))
        return head

    def plain_session(self, row: SessionRow) -> SessionRow:
        """Decrypt a session, and compare it with its head. The result has no head."""
        key = self._plain_key(row.key)
        title = self.plain_title(key, row.title, row.head)
        metadata = self.plain_metadata(key, row.metadata, row.head)
        told = [self._opened_summary(key, one) for one in row.summaries]
        if any(owner not in ("", LIST_SUMMARY) for *_, owner in told):
            raise of_another_agent(key)
        self.check_summaries(key, {owner: (value, covers) for value, covers, owner in told}, row.head)
        summaries = [value for value, *_ in told]
        return row._replace(key=key, title=title, metadata=metadata, summaries=summaries, head=None)

    def plain_title(self, key: SessionKey, sealed: str | None, head: bytes | None) -> str | None:
        """Decrypt a title, and compare it with the head of its session.

        Args:
            key: The session.
            sealed: The encrypted title.
            head: The encrypted head that was read together with it.

        Raises:
            TamperedDataError: The title was altered, or is not the one of the head.
        """
        what = f"The title of session {key.session_id!r}"
        title = None if sealed is None else self._open(what, sealed, "title", *names_of(key))
        known = self._properties(key, head)
        if not known.titles or (title is None and (known.is_empty or any(map(known.may_be_gone, known.titles)))):
            return title
        if self.title_digest(title) not in {digest for digest, _ in known.titles}:
            raise _replaced(what)
        return title

    def plain_metadata(self, key: SessionKey, sealed: str | None, head: bytes | None) -> str | None:
        """Same as `plain_title`, for metadata."""
        what = f"The metadata of session {key.session_id!r}"
        metadata = None if sealed is None else self._open(what, sealed, "metadata", *names_of(key))
        known = self._properties(key, head)
        if known.metadata and self.metadata_digest(metadata) not in known.metadata:
            raise _replaced(what)
        return metadata

    def summary_digest(self, value: str, covers: int | None) -> bytes:
        """Return the digest of a running summary in the head; empty for none."""
        return self._ring.digest("summary", value, str(covers), size=_DIGEST_BYTES) if value else b""

    def check_summaries(self, key: SessionKey, told: Mapping[str, tuple[str, int | None]], head: bytes | None) -> None:
        """Compare the summaries of all agents' messages with the head.

        Args:
            key: The session.
            told: The summaries with the messages that they cover, by agent: empty for the history, or `LIST_SUMMARY`.
            head: The encrypted head that was read together with them.

        Raises:
            TamperedDataError: A summary is not the one of the head.
        """
        known = self._properties(key, head)
        for agent in ("", LIST_SUMMARY):
            self.check_summary(key, known, agent, *told.get(agent, ("", None)))

    def check_summary(self, key: SessionKey, head: Head, agent: str, value: str, covers: int | None) -> None:
        """Compare a summary with the head. A session that ends may empty it."""
        known = head.summaries.get(agent)
        if known is not None and self.summary_digest(value, covers) not in known and (value or not head.ending):
            what = f"The summary of session {key.session_id!r}"
            raise _replaced(what)

    def _properties(self, key: SessionKey, head: bytes | None) -> Head:
        """Decrypt a head. A session without title, metadata and messages may have none."""
        if head is None:
            return _NOTHING
        with naming(f"The head of session {key.session_id!r}"):
            return Head.load(self._ring.sealer.open(head, "head", *names_of(key)))


_NOTHING = Head(b"", 0, titles=(NO_TITLE,), metadata=(b"",))


def _replaced(what: str) -> TamperedDataError:
    error = StaleHeadError(f"{what} was replaced by another one, or deleted without the key: the database was altered.")
    error.is_named = True
    return error
