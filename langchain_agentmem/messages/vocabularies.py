"""tiktoken's vocabularies, loaded once per process and in the background."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from langchain_agentmem.messages.approximation import approximate_tokens
from langchain_agentmem.programs.locks import forkable_lock

if TYPE_CHECKING:
    from tiktoken import Encoding

_log = logging.getLogger(__name__)

LOAD_SECONDS = 10.0
"""The time that tiktoken may take to download a vocabulary, at its first use."""
_EVENT_LOOP_SECONDS = 1.0
"""The part of that time for which a caller on an event loop waits: it stalls every task on the loop."""


class Vocabulary:
    """Counts the tokens of a text with tiktoken. Without the vocabulary the count is approximate, with one warning.

    Args:
        name: The name of the encoding.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = forkable_lock()
        self._thread: threading.Thread | None = None
        self._deadline = 0.0
        self._encoding: Encoding | None = None
        self._problem: Exception | None = None
        self._warned = False

    @property
    def is_settled(self) -> bool:
        """True if a count does not wait: the vocabulary is loaded, or cannot be loaded."""
        return self._encoding is not None or self._warned

    def __call__(self, text: str) -> int:
        encoding = self._encoding or self._loaded()
        return approximate_tokens(text) if encoding is None else len(encoding.encode_ordinary(text))

    def _loaded(self) -> Encoding | None:
        """Return the encoding, or None if it is not loaded in time."""
        with self._lock:
            # A thread that ended without a result ran in the process from which this one was forked.
            forked = self._thread is not None and not (self._thread.is_alive() or self._encoding or self._problem)
            if self._thread is None or forked:
                self._deadline = time.monotonic() + LOAD_SECONDS
                # tiktoken has no time limit for the network.
                self._thread = threading.Thread(target=self._load, daemon=True)
                self._thread.start()
            thread = self._thread
        left = self._deadline - time.monotonic()
        patience = _EVENT_LOOP_SECONDS - (LOAD_SECONDS - left) if _is_on_event_loop() else left
        thread.join(max(0.0, patience))
        if self._encoding is None and (not thread.is_alive() or time.monotonic() >= self._deadline):
            self._warn()
        return self._encoding

    def _load(self) -> None:
        import tiktoken

        try:
            self._encoding = tiktoken.get_encoding(self._name)
        except Exception as error:  # any error of the network or of tiktoken; no signal handler runs in this thread
            self._problem = error

    def _warn(self) -> None:
        with self._lock:
            if self._warned:
                return
            self._warned = True
        _log.warning(
            "Could not load the vocabulary %s: %s. Token counts are approximate, and rather too high than too low. tiktoken "
            "downloads the vocabulary, or reads it from the directory in TIKTOKEN_CACHE_DIR.",
            self._name,
            self._problem or f"the download took longer than {LOAD_SECONDS:g} seconds",
        )


_vocabularies: dict[str, Vocabulary] = {}


def vocabulary(name: str) -> Vocabulary:
    """Return the vocabulary of one of tiktoken's encodings. It is loaded at its first use.

    Args:
        name: The name of the encoding.
    """
    return _vocabularies.setdefault(name, Vocabulary(name))


def encoding_of(name: Any) -> str | None:
    """Return the name of tiktoken's encoding for a model or an encoding, or None if tiktoken knows neither.

    Args:
        name: The name of a model or an encoding; any other type gives None.
    """
    if not isinstance(name, str):
        return None
    import tiktoken

    if name in tiktoken.list_encoding_names():
        return name
    try:
        return tiktoken.encoding_name_for_model(name.rpartition(":")[2])
    except KeyError:
        return None


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
