"""The exception of a signal handler, such as a job queue's time limit, reaches the caller whatever was running."""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage, ToolMessage
from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from langchain_agentmem import AgentMemory, DamagedDataError
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.packing import Packer
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs.signals import came_by_signal


class TimeLimitExceeded(Exception):
    """As job queues raise it."""


def limit(number: int, frame: Any) -> None:
    raise TimeLimitExceeded


class Limit:
    def __call__(self, number: int, frame: Any) -> None:
        raise TimeLimitExceeded

    def method(self, number: int, frame: Any) -> None:
        raise TimeLimitExceeded


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, limit)
    yield
    signal.signal(signal.SIGUSR1, before)


def interrupted(*args: Any, **kwargs: Any) -> Any:
    """Stands for anything that runs when the signal comes."""
    signal.raise_signal(signal.SIGUSR1)


@pytest.mark.parametrize(
    "handler",
    [limit, Limit(), Limit().method, functools.partial(limit)],
    ids=["function", "object", "method", "partial"],
)
def test_the_exception_of_any_handler_is_known(handler):
    signal.signal(signal.SIGUSR1, handler)
    with pytest.raises(TimeLimitExceeded) as caught:
        interrupted()
    assert came_by_signal(caught.value)


def test_an_exception_that_a_handlers_led_to_is_known_and_others_are_not():
    def wraps() -> None:
        try:
            interrupted()
        except TimeLimitExceeded as error:
            raise ConnectionError from error

    with pytest.raises(ConnectionError) as caught:
        wraps()
    assert came_by_signal(caught.value)
    assert not came_by_signal(TimeLimitExceeded())


class Model(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return interrupted()

    def embed_query(self, text: str) -> list[float]:
        return interrupted()


def test_it_is_no_failure_of_the_embedding_model():
    with AgentMemory.from_url("sqlite:///:memory:", embeddings=Model()) as memory:
        with pytest.raises(TimeLimitExceeded):
            memory.store.put(("a",), "k", {"text": "b"})
        with pytest.raises(TimeLimitExceeded):
            memory.history("s").add_messages([HumanMessage("a")])
        with pytest.raises(TimeLimitExceeded):
            memory.store.search(("a",), query="b")


def test_it_is_no_failure_of_a_summariser_or_a_token_counter(caplog):
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        compressor = memory.compressor(interrupted, max_messages=2)
        with pytest.raises(TimeLimitExceeded):
            compressor.invoke([HumanMessage(str(n)) for n in range(9)])
        counter = TokenCounter.of(interrupted)
        with pytest.raises(TimeLimitExceeded):
            counter.messages([HumanMessage("a")])
    assert caplog.records == []


class Interrupted:
    def __reduce__(self) -> Any:
        return interrupted()

    model_dump = interrupted


class Cipher(CipherProtocol):
    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "own", plaintext

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return interrupted()


class Foreign:
    def __init__(self, raises: type[Exception]) -> None:
        self.raises = raises

    def dumps_typed(self, value: Any) -> tuple[str, bytes]:
        return "own", b""

    def loads_typed(self, typed: tuple[str, bytes]) -> Any:
        raise self.raises


def test_it_is_no_damage():
    sealed = Codec(EncryptedSerializer(Cipher()))
    with pytest.raises(TimeLimitExceeded):
        sealed.load(sealed.store([1]))
    own = Codec(Foreign(TimeLimitExceeded))
    with pytest.raises(TimeLimitExceeded):
        own.load(own.store([1]))
    damaged = Codec(Foreign(KeyError))
    with pytest.raises(DamagedDataError):
        damaged.load(damaged.store([1]))


@pytest.mark.parametrize("raised", [TimeLimitExceeded, KeyboardInterrupt])
def test_one_that_comes_while_a_part_of_a_message_is_packed_or_unpacked_is_not_lost(monkeypatch, raised):
    codec = Codec()
    message = ToolMessage("a", tool_call_id="1", artifact=(1, 2))
    stored = codec.dump_message(message)

    def stops(*args: Any) -> Any:
        raise raised

    monkeypatch.setattr(Packer, "_unpack_extension", stops)
    with pytest.raises(raised):
        codec.load_message(stored)
    monkeypatch.setattr(Packer, "_pack_extension", stops)
    with pytest.raises(raised):
        codec.dump_message(message)
