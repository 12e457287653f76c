"""Classes of an application that stored them in a thread, and has removed or moved them since."""

from __future__ import annotations

import contextlib
import enum
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage
from pydantic import BaseModel


@contextlib.contextmanager
def former_app() -> Iterator[Any]:
    """The module `former_app_models`, which does not exist outside of the block."""
    module: Any = types.ModuleType("former_app_models")

    class Note(BaseModel):
        text: str

    @dataclass
    class Point:
        x: int
        note: Any = None

    class Pair(NamedTuple):
        left: int
        right: int

    class Color(enum.Enum):
        RED = "red"

    class CardMessage(AIMessage):
        card: str = ""

    for one in (Note, Point, Pair, Color, CardMessage):
        one.__module__ = module.__name__
        one.__qualname__ = one.__name__
        setattr(module, one.__name__, one)
    sys.modules[module.__name__] = module
    try:
        yield module
    finally:
        del sys.modules[module.__name__]
