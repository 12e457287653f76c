"""Windows and the compressor return requests that every provider accepts, for any conversation."""

from __future__ import annotations

import logging

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage, HumanMessage
from provider_conversations import assert_accepted, conversations
from provider_rules import PROVIDERS

from langchain_agentmem import MemoryCompressor
from langchain_agentmem.errors import BudgetError
from langchain_agentmem.messages.atoms import atoms_of
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.messages.windows import newest, newest_within

COUNTER = TokenCounter()
QUESTION = HumanMessage("Where are we?")


def asked(window: list[BaseMessage], messages: list[BaseMessage]) -> list[BaseMessage]:
    """The window, with a question of the user before it if the conversation has none."""
    if any(atom.is_human for atom in atoms_of(messages)):
        return window
    count = sum(message.type == "system" for message in window)
    return [*window[:count], QUESTION, *window[count:]]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_accepts_every_window(provider):
    @settings(deadline=None, max_examples=examples(60))
    @given(conversations(provider), st.none() | st.integers(1, 12), st.integers(20, 2_000))
    def check(messages, limit, tokens):
        before = [message.model_copy(deep=True) for message in messages]
        window = newest(messages, limit).messages
        assert limit is None or len(window) <= limit
        assert_accepted(provider, asked(window, messages))
        window = newest_within(messages, limit, tokens, COUNTER).messages
        assert COUNTER.messages(window) <= tokens or not window
        assert limit is None or len(window) <= limit
        assert_accepted(provider, asked(window, messages))
        assert messages == before

    check()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_accepts_every_compressed_request(provider):
    @settings(deadline=None, max_examples=examples(40))
    @given(conversations(provider), st.integers(200, 2_000))
    def check(messages, tokens):
        logging.disable(logging.WARNING)
        try:
            request = MemoryCompressor(max_tokens=tokens).invoke(messages)
        except BudgetError:
            return
        finally:
            logging.disable(logging.NOTSET)
        assert COUNTER.messages(request) <= tokens
        assert_accepted(provider, request)

    check()
