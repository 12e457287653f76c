"""An encrypted thread that another process deletes, or deletes and begins anew, stays readable for all."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from langchain_agentmem import AgentMemory

TEXT = "a text that is long enough to be stored as an element of its own, not within the checkpoint " * 3


@pytest.mark.parametrize("begun_anew", [False, True])
async def test_a_thread_deleted_elsewhere_goes_on(lasting_url, call, begun_anew):
    def opened() -> AgentMemory:
        return AgentMemory.from_url(lasting_url, serde=EncryptedSerializer.from_pycryptodome_aes(key=b"k" * 32))

    async def put(memory: AgentMemory, number: int) -> Any:
        checkpoint: Any = {
            "v": 4,
            "id": f"{number}",
            "ts": "",
            "channel_values": {"messages": [HumanMessage(f"{TEXT}{n}") for n in range(number)]},
            "channel_versions": {"messages": f"{number}"},
            "versions_seen": {},
        }
        config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
        stored = await call(memory.checkpointer.put, config, checkpoint, {}, {"messages": f"{number}"})
        await call(memory.checkpointer.put_writes, stored, [("messages", [HumanMessage(TEXT)])], "task")
        return stored

    with opened() as one, opened() as other:
        await put(one, 1)
        await call(other.checkpointer.delete_thread, "1")
        if begun_anew:
            await put(other, 1)
        stored = await put(one, 2)
        for memory in (one, other):
            found = await call(memory.checkpointer.get_tuple, stored)
            assert [message.content for message in found.checkpoint["channel_values"]["messages"]] == [
                f"{TEXT}0",
                f"{TEXT}1",
            ]
            assert [value for _, _, value in found.pending_writes] == [[HumanMessage(TEXT)]]
