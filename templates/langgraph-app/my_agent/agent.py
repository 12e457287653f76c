"""The agent: its model, its prompt, its tools and its memory."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model

from langchain_agentmem import AgentMemory
from langchain_agentmem.testing import ScriptedChatModel

PROMPT = "You are a helpful assistant. Answer in a few sentences."
WITHOUT_MODEL = "I have no model yet. Name one in .env, such as MODEL=openai:gpt-5-mini."


def now() -> str:
    """Return the date and the time."""
    return datetime.now().astimezone().isoformat(timespec="minutes")


def create_model() -> Any:
    """Return the model that the environment names, or one that gives prepared answers."""
    name = os.environ.get("MODEL")
    return init_chat_model(name) if name else ScriptedChatModel([WITHOUT_MODEL] * 1_000)


def build(memory: AgentMemory, model: Any, checkpointer: Any = None) -> Any:
    """Return the agent. The middleware adds what is known about the user, and learns from each turn."""
    learn = not isinstance(model, ScriptedChatModel)
    middleware = memory.middleware(model if learn else None, learn=learn, max_tokens=16_000)
    return create_agent(model, [now], system_prompt=PROMPT, middleware=[middleware], checkpointer=checkpointer)
