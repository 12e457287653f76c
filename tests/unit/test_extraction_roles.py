"""Extraction tells the author of a message by its role."""

from __future__ import annotations

from langchain_core.messages import AIMessageChunk, HumanMessage

from langchain_agentmem.knowledge.extraction.conversations import ASSISTANT, USER, role_of


def test_an_answer_to_an_approval_is_not_the_users():
    approval = {"type": "mcp_approval_response", "approval_request_id": "1", "approve": True}
    assert role_of(HumanMessage([approval])) is None
    assert role_of(HumanMessage([approval, {"type": "text", "text": "Go on, I live in Rome."}])) == USER


def test_a_streamed_answer_is_the_assistants():
    assert role_of(AIMessageChunk("Yes.")) == ASSISTANT
