"""A browser, and served memories, for all tests of the page."""

from __future__ import annotations

import os
from collections.abc import Iterator

import page_data
import pytest
from browsers import CHROMIUM, chromium, served
from patience import PATIENCE
from playwright.sync_api import Browser, expect

from langchain_agentmem import AgentMemory
from langchain_agentmem.serving import create_app


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    expect.set_options(timeout=PATIENCE * 1000)
    with chromium(os.environ.get(CHROMIUM)) as started:
        yield started


@pytest.fixture(scope="module")
def filled() -> Iterator[AgentMemory]:
    """A memory with every kind of data, and with hostile texts. Tests do not change it."""
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        page_data.fill(memory)
        page_data.fill_hostile(memory)
        yield memory


@pytest.fixture(scope="module")
def page_url(filled: AgentMemory) -> Iterator[str]:
    """The URL of the page of the filled memory."""
    with served(create_app(filled)) as address:
        yield address
