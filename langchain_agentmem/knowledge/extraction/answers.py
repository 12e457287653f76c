"""Reading the proposals in a model's answer: a tool call, structured output, or JSON in a text.

A change that cannot be read does not make the others unusable: its error is in `Proposed.faults`.
"""

from __future__ import annotations

import re
from typing import Any

from langchain_core.messages import AIMessage
from pydantic import ValidationError

from langchain_agentmem.arguments.nesting import MAX_ANSWER_DEPTH, is_deeper
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.knowledge.entities.changes import EntityChanges
from langchain_agentmem.knowledge.extraction.candidates import answer_in, as_answer
from langchain_agentmem.knowledge.extraction.completion import check_complete
from langchain_agentmem.knowledge.extraction.entity_proposals import proposed_entities
from langchain_agentmem.knowledge.extraction.loose_json import LooseJSONError, decoded, from_string
from langchain_agentmem.knowledge.extraction.proposals import (
    MAX_CHANGES,
    NO_CHANGE,
    TOO_DEEP,
    Proposal,
    Proposed,
    UnusableAnswerError,
    action_of,
    described,
    is_omitted,
)
from langchain_agentmem.text.thoughts import without_thoughts

_LONGEST_DENIAL = 120
_DENIAL = re.compile(
    r"\W*(?:(?:there (?:is|are|was|were)|i (?:have|see|found|find)|the user (?:has|did|said|says))\s+)?"
    r"(?:no(?:\W*$|(?:\s\w+){0,3}?\s(?:change|update|fact|info|modif|entit|need|action|data|detail|memor|relation))"
    r"|(?:none|nothing|nada|ning[uú]n\w*|sin|keine?|nichts|rien|aucune?|pas de|niente|nessun\w*|nenhum\w*|sem|geen|niets"
    r"|inga?|inget|brak|нет|ничего|нічого|немає|لا|कोई नहीं|hiçbir|yok|null|n/a)(?![\w,])"
    r"|無|无|没有|沒有|なし|変更なし|特になし|없음|없습니다|변경)",
    re.IGNORECASE,
)
"""The start of a short text that says that nothing changes."""


def proposals_in(answer: Any, *, entities: bool = False) -> Proposed:
    """Return the changes that an answer proposes, without those that cannot be read.

    Args:
        answer: A message, or a mapping with a message under `"raw"` (`with_structured_output(include_raw=True)`).
        entities: True if the model was asked for changes of entities too. Default: False.

    Raises:
        RefusedError: The model, or a filter of its provider, refused to answer.
        UnusableAnswerError: The answer contains no proposal, or it was cut off. The error's text is for the model.
    """
    if isinstance(answer, dict) and "raw" in answer:
        answer = answer["raw"]
    parts = _parts_of(answer, entities=entities)
    given = [one for part in parts for one in _changes_in(part)]
    changes: list[tuple[int, Proposal]] = []
    faults: list[str] = []
    for number, one in enumerate(given, 1):
        if isinstance(one, dict) and action_of(one.get("action")) == NO_CHANGE:
            continue
        if number > MAX_CHANGES:
            faults.append(
                f"The answer proposes {len(given)} changes; at most {MAX_CHANGES} are accepted. "
                "Propose the most important ones."
            )
            break
        try:
            changes.append((number, Proposal.model_validate(one)))
        except ValidationError as error:
            faults.append(f"Change {number}: {described(error)}")
    if not entities:
        return Proposed(changes, EntityChanges(), faults)
    of_entities = proposed_entities(parts)
    return Proposed(changes, of_entities.changes, faults + of_entities.faults)


def _changes_in(part: dict[str, Any]) -> list[Any]:
    given = from_string(part["changes"])
    if is_omitted(given):
        return []
    if isinstance(given, dict):
        # One change without its list, or several by their numbers.
        numbered = "action" not in given and given and all(isinstance(one, dict) for one in given.values())
        given = list(given.values()) if numbered else [given] if given else []
    if not isinstance(given, (list, tuple)):
        msg = f"changes must be a list of objects; got {type(given).__name__}: {shown(given, 60)}."
        raise UnusableAnswerError(msg)
    return [from_string(one) for one in given]


def _parts_of(answer: Any, *, entities: bool) -> list[dict[str, Any]]:
    """Return the arguments of each tool call, or the answer in the text if there is no tool call."""
    if not isinstance(answer, AIMessage):
        return [_part(answer if isinstance(answer, dict) else str(getattr(answer, "text", answer)), entities=entities)]
    check_complete(answer)
    calls: list[Any] = [call["args"] for call in answer.tool_calls]
    function = answer.additional_kwargs.get("function_call")
    if not calls and isinstance(function, dict):  # of older models
        calls.append(function.get("arguments") or {})
    for call in answer.invalid_tool_calls:
        try:
            calls.append(decoded(call["args"] or "{}"))
        except LooseJSONError as error:
            if error.is_too_deep:
                msg = f"The arguments of the tool call cannot be read. {TOO_DEEP}"
                raise UnusableAnswerError(msg) from None
            msg = f"The arguments of the tool call are not valid JSON: {call.get('error')!s:.300}"
            raise UnusableAnswerError(msg) from None
    return [_part(call, entities=entities) for call in calls] or [_part(str(answer.text), entities=entities)]


def _part(given: Any, *, entities: bool) -> dict[str, Any]:
    if is_deeper(given, MAX_ANSWER_DEPTH):
        msg = f"The answer cannot be read. {TOO_DEEP}"
        raise UnusableAnswerError(msg)
    found = answer_in(given, entities=entities) if isinstance(given, str) else as_answer(given, entities=entities)
    if found is None and _changes_nothing(given):
        found = {"changes": []}
    if found is None:
        msg = "There is no valid JSON object with a list of changes in the answer."
        raise UnusableAnswerError(msg)
    return found


def _changes_nothing(given: Any) -> bool:
    """Return true if an answer without JSON says that nothing changes: it is empty, or a short text that denies it.

    An answer that ends within a thought, or with a draft in a thought, says nothing.
    """
    if not isinstance(given, str):
        return not given
    mark = "\0"
    outside = without_thoughts(f"{given}{mark}")
    text = outside.removesuffix(mark).strip()
    if not outside.endswith(mark) or "{" in given:
        return False
    return not text or (len(text) <= _LONGEST_DENIAL and _DENIAL.match(text) is not None)
