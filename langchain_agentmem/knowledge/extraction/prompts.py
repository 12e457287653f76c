"""The prompt of an extraction. Everything that users and models wrote is quoted as data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from langchain_agentmem.knowledge.extraction.selection import ShownMessage
from langchain_agentmem.knowledge.facts.facts import Fact
from langchain_agentmem.knowledge.facts.schema import Schema
from langchain_agentmem.text.quoting import ABOUT_QUOTED, quoted

_INSTRUCTIONS = (
    "You keep the profile of one user. You are shown what is known of the user and the new messages of a conversation "
    "between the user and an assistant. Say what is to change in the profile because of what the user says about himself or "
    "herself: {assistant}no guesses, nothing that matters today alone, no passwords or keys. Most "
    "messages change nothing: then answer with an empty list."
)
_NOT_OF_ASSISTANT = "nothing that only the assistant says, "
_LANGUAGE = "Write facts, topics and values in {language}, whatever the language of these instructions is."
_OF_USER = "the language in which the user writes (unless the instructions above name another)"

_FACTS = (
    "Facts are short sentences about the user, one statement each. Add what is new. Where a known fact says the same in "
    "other words, add with its number. Where the user contradicts a known fact, or corrects or extends it, update it: give "
    "its number and the new text. Remove a fact, by its number, that is true no longer and that nothing replaces (reason: "
    "ended), or that the user asks to forget (reason: forget; a former fact by its text). Never add a "
    "fact for what a field holds."
)
_FIELDS = (
    "Fields hold values. Update sets a field, add adds elements to a field that is a list, remove removes a field or, with a "
    "value, only that value. Give add and update a value that the user stated; leave out what is not known. The fields are "
    "those of this JSON schema: {schema}"
)
_ENTITIES = (
    "Under entities say what is new of the people, organisations, places, things and events that the user speaks of, and of "
    "how they relate to each other and to the user, who is the entity named 'user'. Call what is known by the name under "
    "which it is known. Leave the lists empty where there is nothing new."
)
_NEW = "New messages, the last one of {today} (words such as 'yesterday' count from the date of their own message)"
_JSON = "Answer with one JSON object and nothing else, which fits this JSON schema: {schema}"


def default_instructions(*, from_assistant: bool) -> str:
    """Return the instructions of an application that passes none.

    Args:
        from_assistant: If true, changes may rest on what only the assistant says.
    """
    return _INSTRUCTIONS.format(assistant="" if from_assistant else _NOT_OF_ASSISTANT)


def extraction_prompt(
    schema: Schema,
    instructions: str,
    fields: dict[str, Any],
    facts: Sequence[Fact],
    messages: Sequence[ShownMessage],
    entities: dict[str, list[Any]] | None,
    answer: dict[str, Any] | None,
    language: str | None,
) -> list[BaseMessage]:
    """Return the messages that ask for proposals.

    Args:
        schema: Schema of the profile.
        instructions: Instructions for the model, which the prompt starts with.
        fields: Known fields.
        facts: Known facts, which are numbered from 1.
        messages: New messages, which are numbered from 1.
        entities: Known entities and relations; None if the model is not asked for entities.
        answer: JSON schema of the answer; None if the provider gets it in another way.
        language: Language of the facts; None for that of the user.
    """
    parts = [instructions, _LANGUAGE.format(language=language or _OF_USER), ABOUT_QUOTED]
    if schema.has_facts:
        parts.append(_FACTS)
    parts.append(_FIELDS.format(schema=json.dumps(schema.described(), ensure_ascii=False)))
    if entities is not None:
        parts.append(_ENTITIES)
    if answer is not None:
        parts.append(_JSON.format(schema=json.dumps(answer, ensure_ascii=False)))
    known: dict[str, Any] = {"fields": fields}
    if schema.has_facts:
        known["facts"] = [
            {"number": number, "text": fact.text, "topics": fact.topics} for number, fact in enumerate(facts, 1)
        ]
    known |= entities or {}
    new = [_shown(number, message) for number, message in enumerate(messages, 1)]
    read = messages[-1].local or messages[-1].at
    question = f"Known: {quoted(known)}\n\n{_NEW.format(today=f'{read:%A, %Y-%m-%d}')}: {quoted(new)}"
    return [SystemMessage("\n\n".join(parts)), HumanMessage(question)]


def _shown(number: int, message: ShownMessage) -> dict[str, Any]:
    name = {"name": message.name} if message.name else {}
    written = {} if message.local is None else {"written": _date(message.local)}
    return {"number": number, "role": message.role, **name, **written, "text": message.text}


def _date(moment: datetime) -> str:
    return f"{moment:%A}, {moment.isoformat(sep=' ', timespec='minutes')}"


def with_error(prompt: Sequence[BaseMessage], answer: str, error: str) -> list[BaseMessage]:
    """Return a prompt that asks again, after an answer that could not be used.

    Args:
        prompt: The first prompt.
        answer: The answer.
        error: Why it could not be used.
    """
    *before, question = prompt
    again = (
        f"{question.text}\n\nAn answer to this could not be used: {quoted(answer[:2000])}\n\n"
        f"What is wrong with it: {quoted(error)}\n\nAnswer again, completely."
    )
    return [*before, HumanMessage(again)]
