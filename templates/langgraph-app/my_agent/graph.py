"""The graph for LangGraph's agent server, which passes its own checkpointer and store."""

from langchain_agentmem import AgentMemory
from my_agent.agent import build, create_model

memory = AgentMemory.from_settings()
graph = build(memory, create_model())
