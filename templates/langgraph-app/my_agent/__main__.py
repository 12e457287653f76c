"""A conversation in the terminal: `python -m my_agent alice@example.com`."""

from __future__ import annotations

import sys
from uuid import uuid4

from dotenv import load_dotenv

from langchain_agentmem import AgentMemory
from my_agent.agent import build, create_model


def main(user_id: str) -> None:
    """Talk to the user in a new thread, until an empty line."""
    load_dotenv()
    with AgentMemory.from_settings() as memory:
        agent = build(memory, create_model(), memory.checkpointer)
        config = {"configurable": {"user_id": user_id, "thread_id": f"{user_id}/{uuid4()}"}}
        while text := input("> ").strip():
            answer = agent.invoke({"messages": [("user", text)]}, config)
            print(answer["messages"][-1].text)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "me")
