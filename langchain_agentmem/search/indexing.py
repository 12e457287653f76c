"""The vectors of messages that are added to a session."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from langchain_agentmem.backends.contract import Backend, LoggedMessage
from langchain_agentmem.errors import ConfigurationError, InvalidVectorsError
from langchain_agentmem.messages.properties import text_of
from langchain_agentmem.programs import Program, Write
from langchain_agentmem.search.fingerprint import Embedded, Indexer

_log = logging.getLogger(__name__)


def embed_messages(indexer: Indexer | None, messages: Sequence[BaseMessage]) -> Program[Embedded]:
    """Embed messages in one call to the model. Messages without text get no vector.

    If the model fails, or is not the one of the stored vectors, a warning is logged and no message gets a vector: a turn is
    stored in any case.

    Raises:
        InvalidVectorsError: The model returned something else than one vector for each text, or the wrong dimensions.
    """
    texts = _texts_of(messages)
    if indexer is None or not texts:
        return Embedded()
    try:
        return (yield from indexer.documents(texts))
    except InvalidVectorsError:
        raise
    except ConfigurationError as error:
        _log.warning("%d messages are stored without vectors. %s", len(texts), error)
        return Embedded()


def settle_messages(
    backend: Backend,
    indexer: Indexer | None,
    stored: Sequence[LoggedMessage],
    messages: Sequence[BaseMessage],
    embedded: Embedded,
) -> Program[None]:
    """Recheck the fingerprint after messages were stored; see `Indexer.settle`.

    Args:
        backend: The backend that stores the messages.
        indexer: The indexer that embedded them; None if there is no embedding model.
        stored: The messages as they were stored.
        messages: The same messages, decoded.
        embedded: The vectors that were stored.
    """
    if indexer is None:
        return

    def replace(renewed: Embedded) -> Program[None]:
        rows = [
            LoggedMessage(key, row._replace(vector=renewed.vectors.get(text_of(message))))
            for (key, row), message in zip(stored, messages, strict=True)
        ]
        yield from Write(backend, backend.messages.embed(rows[0].key.tenant, rows))

    yield from indexer.settle(_texts_of(messages), embedded, replace)


def _texts_of(messages: Sequence[BaseMessage]) -> list[str]:
    return [text for text in map(text_of, messages) if text.strip()]
