"""What the model is asked when a profile is to learn from a conversation. All that users said is quoted as data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from langchain_agentmem.knowledge.facts.schema import Schema
from langchain_agentmem.text.quoting import ABOUT_QUOTED, quoted

INSTRUCTIONS = (
    "You keep the profile of one user. You are shown what is known of the user and the new messages of a conversation "
    "between the user and an assistant. Say what is to change in the profile because of what the user says about himself or "
    "herself: nothing that only the assistant says, no guesses, nothing that matters today alone, no passwords or keys. Most "
    "messages change nothing: then answer with an empty list."
)
"""What the model is to do; an application may say it in its own words."""

_FACTS = (
    "Facts are short sentences about the user, one statement each. Add what is new. Where a known fact says the same in "
    "other words, add with its number. Where the user contradicts a known fact, or corrects or extends it, update it: give "
    "its number and the new text. Remove a fact, by its number, that is true no longer and that nothing replaces (reason: "
    "ended), or that the user asks to forget (reason: forget). Never add a fact for what a field holds."
)
_FIELDS = (
    "Fields hold values. Update sets a field, add adds one element to a field that is a list, remove removes a field, or the "
    "given value from a list. The fields are those of this JSON schema: {schema}"
)
_ENTITIES = (
    "Under entities say what is new of the people, organisations, places, things and events that the user speaks of, and of "
    "how they relate to each other and to the user, who is the entity named 'user'. Call what is known by the name under "
    "which it is known. Leave the lists empty where there is nothing new."
)
_JSON = "Answer with one JSON object and nothing else, which fits this JSON schema: {schema}"


def extraction_prompt(
    schema: Schema,
    instructions: str,
    fields: dict[str, Any],
    facts: Sequence[dict[str, Any]],
    messages: Sequence[dict[str, Any]],
    now: datetime,
    answer: dict[str, Any] | None,
    entities: dict[str, list[Any]] | None = None,
) -> list[BaseMessage]:
    """What the model is asked.

    Args:
        schema: The schema of the profile.
        instructions: What it is to do.
        fields: What is known.
        facts: What is known, each with its number.
        messages: The new messages, each with its number.
        now: The time of the conversation.
        answer: The JSON schema of the answer, where the model is not told it in another way; else None.
        entities: What is known of entities and relations, where the model is to say what is new of them too; else None.
    """
    parts = [instructions, ABOUT_QUOTED]
    if schema.has_facts:
        parts.append(_FACTS)
    parts.append(_FIELDS.format(schema=json.dumps(schema.described(), ensure_ascii=False)))
    if entities is not None:
        parts.append(_ENTITIES)
    if answer is not None:
        parts.append(_JSON.format(schema=json.dumps(answer, ensure_ascii=False)))
    known = {"fields": fields, **({"facts": list(facts)} if schema.has_facts else {}), **(entities or {})}
    shown = f"Known: {quoted(known)}\n\nNew messages, of {now:%A, %Y-%m-%d}: {quoted(list(messages))}"
    return [SystemMessage("\n\n".join(parts)), HumanMessage(shown)]


def with_error(prompt: Sequence[BaseMessage], answer: str, error: str) -> list[BaseMessage]:
    """The same question once more, with what was wrong with the first answer."""
    *before, last = prompt
    again = (
        f"{last.text}\n\nAn answer to this could not be used: {quoted(answer[:2000])}\n\n"
        f"What is wrong with it: {quoted(error)}\n\nAnswer anew, and completely."
    )
    return [*before, HumanMessage(again)]
