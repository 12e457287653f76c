"""Sessions as context managers, for tests: blocks, their contents, and a clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import HumanMessage

from langchain_agentmem import (
    AgentMemory,
)
from langchain_agentmem.lifecycle.session import Session

START = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START.timestamp()

    def time(self) -> float:
        return self.now


class Block:
    """`with` and `async with` as pairs of methods, for `call`."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def enter(self) -> Session:
        return self.session.__enter__()

    async def aenter(self) -> Session:
        return await self.session.__aenter__()

    def leave(self, error: BaseException | None = None) -> bool | None:
        return self.session.__exit__(error and type(error), error, None)

    async def aleave(self, error: BaseException | None = None) -> bool | None:
        return await self.session.__aexit__(error and type(error), error, None)


@asynccontextmanager
async def opened(call: Any, session: Session) -> AsyncIterator[Session]:
    block = Block(session)
    assert await call(block.enter) is session
    raised: BaseException | None = None
    try:
        yield session
    except BaseException as error:
        raised = error
    assert not await call(block.leave, raised)
    if raised is not None:
        raise raised


async def fill(call: Any, session: Session, *agents: str | None) -> None:
    for agent in agents:
        await call(session.history(agent=agent).add_messages, [HumanMessage(f"by {agent}")])
        await call(session.variables.set, "draft", f"of {agent}", agent=agent)
        if agent is not None:
            await call(session.records.save, agent, {"by": agent})


async def left(call: Any, memory: AgentMemory, *agents: str | None, **key: Any) -> dict[str, list[Any]]:
    """What is stored in session `s`, by kind."""
    key = {"session_id": "s", **key}
    user_id = key.get("user_id")
    messages = await call(memory.history(key["session_id"], user_id=user_id).get_recent, 100)
    variables = [await call(memory.variables.get, "draft", agent=agent, **key) for agent in agents]
    records = await call(memory.records.query, session_id=key["session_id"], user_id=user_id, newest_first=False)
    return {
        "messages": [message.content for message in messages],
        "variables": [value for value in variables if value is not None],
        "records": [one.record["by"] for one in records],
    }


NOTHING: dict[str, list[Any]] = {"messages": [], "variables": [], "records": []}
EVERYTHING = {
    "messages": ["by None", "by writer"],
    "variables": ["of None", "of writer"],
    "records": ["writer"],
}
