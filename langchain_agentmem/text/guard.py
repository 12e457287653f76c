"""`Guard`: keeps credentials and oversized texts out of the memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

from langchain_agentmem.arguments.values import check_count, check_flag, shown
from langchain_agentmem.encoding.limits import MAX_JSON_DEPTH
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError, SecretFoundError
from langchain_agentmem.text.credentials import Finding, findings_in, merged

Rule = str | re.Pattern[str] | Callable[[str], Iterable[str]]
"""Finds texts that must not be stored: a regular expression, or a function that returns the parts of a text."""


@dataclass(frozen=True)
class Guard:
    """Rules for what must not be stored. They apply to each text before it is written.

    Args:
        action: `"reject"` raises `SecretFoundError`, and nothing is stored. `"redact"` stores the text with a mark such as
            `[redacted: AWS Access Key]` in place of the credential. Default: `"reject"`.
        max_length: The maximum number of characters of one text; a longer one is refused. Default: None (any number).
        rules: Further rules by name: a regular expression, or a function that returns the parts of a text that must not be
            stored. Default: none.
        credentials: If true, look for credentials with `detect-secrets` (extra `guard`). Default: True.
        allow: Texts that are never reported, such as an example key of your documentation. Default: none.
        checkpoints: If true, the guard applies to the messages and texts in checkpoints too. Default: False, because a graph
            continues with the values in its checkpoint: a redacted value changes its state.

    Raises:
        InvalidInputError: A value is not accepted.
        InvalidTypeError: An argument has the wrong type.

    Example:
        >>> from langchain_agentmem import AgentMemory, Guard
        >>> with AgentMemory.from_url("sqlite:///:memory:", guard=Guard("redact")) as memory:
        ...     memory.history("s").add_user_message("My key is AKIAIOSFODNN7EXAMPLE.")
        ...     memory.history("s").messages[0].content
        'My key is [redacted: AWS Access Key].'
    """

    action: Literal["reject", "redact"] = "reject"
    max_length: int | None = None
    rules: Mapping[str, Rule] = field(default_factory=dict)
    credentials: bool = True
    allow: tuple[str, ...] = ()
    checkpoints: bool = False

    def __post_init__(self) -> None:
        if self.action not in ("reject", "redact"):
            msg = f"Guard.action must be 'reject' or 'redact', got {shown(self.action)}."
            raise InvalidInputError(msg)
        if self.max_length is not None:
            check_count("Guard.max_length", self.max_length)
        check_flag("Guard.credentials", self.credentials)
        check_flag("Guard.checkpoints", self.checkpoints)
        if not isinstance(self.rules, Mapping):
            msg = f"Guard.rules must be a mapping of names to rules, got {shown(self.rules)}."
            raise InvalidTypeError(msg)
        object.__setattr__(self, "rules", {name: _compiled(name, rule) for name, rule in self.rules.items()})
        if isinstance(self.allow, str) or not all(isinstance(one, str) for one in self.allow):
            msg = f"Guard.allow must be a tuple of texts, got {shown(self.allow)}."
            raise InvalidTypeError(msg)
        object.__setattr__(self, "allow", tuple(self.allow))
        if self.credentials:
            findings_in("")  # a missing package is an error now

    def findings(self, text: str) -> list[Finding]:
        """Return the parts of a text that must not be stored, in order."""
        found = findings_in(text) if self.credentials else []
        for name, rule in self.rules.items():
            if isinstance(rule, re.Pattern):
                found += [Finding(*match.span(), name) for match in rule.finditer(text) if match[0]]
            else:
                found += _parts(text, name, rule)  # type: ignore[arg-type]  # `_compiled` leaves no text
        return [one for one in merged(found) if text[one.start : one.end] not in self.allow]

    def text(self, text: str, where: str) -> str:
        """Return a text as it may be stored.

        Args:
            text: The text.
            where: Where the text is, for errors: "messages[0]".

        Raises:
            SecretFoundError: The text contains a credential, and the action is `"reject"`.
            InvalidInputError: The text is too long.
        """
        if self.max_length is not None and len(text) > self.max_length:
            msg = (
                f"{where} has a text of {len(text):,} characters; the guard accepts {self.max_length:,}. Nothing was stored. "
                f"Shorten it, or raise Guard(max_length=…)."
            )
            raise InvalidInputError(msg)
        found = self.findings(text)
        if found and self.action == "reject":
            first = found[0]
            msg = (
                f"{where} contains what looks like a credential ({first.kind}, characters {first.start} to {first.end}). "
                f"Nothing was stored. Remove it, use Guard('redact'), or add it to Guard(allow=…)."
            )
            raise SecretFoundError(msg)
        return _redacted(text, found)

    def repaired(self, text: str) -> str:
        """Return a text with redacted credentials, and cut to the maximum length, for callers that must not fail."""
        if self.max_length is not None and len(text) > self.max_length:
            text = f"{text[: self.max_length - 1]}…"
        return _redacted(text, self.findings(text))

    def value(self, value: Any, where: str) -> Any:
        """Return a JSON value as it may be stored, with the texts in it and the keys of its objects checked. See `text`.

        The value itself is returned if nothing in it changes.
        """
        return _changed(value, lambda text: self.text(text, where))

    def repaired_value(self, value: Any) -> Any:
        """Same as `value`, but with each text as `repaired` returns it, for callers that must not fail."""
        return _changed(value, self.repaired)

    @property
    def redacting(self) -> Guard:
        """The same rules with the action `"redact"` and for texts of any length, for values that a model made."""
        return _replaced(self, action="redact", max_length=None)


def check_guard(guard: Any) -> Guard | None:
    """Return an optional guard.

    Raises:
        InvalidTypeError: The value is neither a `Guard` nor None.
    """
    if guard is not None and not isinstance(guard, Guard):
        msg = f"guard must be a Guard, such as Guard('redact'), got {shown(guard)}."
        raise InvalidTypeError(msg)
    return guard


def _redacted(text: str, found: Iterable[Finding]) -> str:
    parts, at = [], 0
    for one in found:
        parts += [text[at : one.start], f"[redacted: {one.kind}]"]
        at = one.end
    return "".join([*parts, text[at:]]) if parts else text


def _replaced(guard: Guard, **changes: Any) -> Guard:
    names = ("action", "max_length", "rules", "credentials", "allow", "checkpoints")
    return Guard(**{**{name: getattr(guard, name) for name in names}, **changes})


def unused(name: str, names: Container[str]) -> str:
    """Return a name that is not among others: two redacted keys of an object may be equal.

    Example:
        >>> from langchain_agentmem.text.guard import unused
        >>> unused("[redacted: phone]", {"[redacted: phone]"})
        '[redacted: phone] (2)'
    """
    if name not in names:
        return name
    return next(one for number in count(2) if (one := f"{name} ({number})") not in names)


class _TooDeepError(Exception):
    """A value contains itself, or is nested too deep."""


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with changed texts and keys: the value itself if nothing changes, or if the encoder refuses it."""
    try:
        return _changed_within(value, change, 0)
    except _TooDeepError:
        return value


def _changed_within(value: Any, change: Callable[[str], str], depth: int) -> Any:
    if isinstance(value, str):
        return change(value)
    if depth > MAX_JSON_DEPTH:
        raise _TooDeepError
    if isinstance(value, Mapping):
        kept: dict[Any, Any] = {}
        for key, one in value.items():
            name = unused(change(key), kept) if isinstance(key, str) else key
            kept[name] = _changed_within(one, change, depth + 1)
        same = all(a is b and kept[a] is value[b] for a, b in zip(kept, value, strict=True))
        return value if same else kept
    if isinstance(value, (list, tuple)):
        elements = [_changed_within(one, change, depth + 1) for one in value]
        return value if all(a is b for a, b in zip(elements, value, strict=True)) else elements
    return value


def _compiled(name: Any, rule: Any) -> Any:
    if not isinstance(name, str) or not name:
        msg = f"The name of a rule in Guard.rules must be a text, got {shown(name)}."
        raise InvalidTypeError(msg)
    if isinstance(rule, str):
        try:
            return re.compile(rule)
        except re.error as error:
            msg = f"The rule {shown(name)} is no regular expression: {error}."
            raise InvalidInputError(msg) from None
    if isinstance(rule, re.Pattern) and isinstance(rule.pattern, str):
        return rule
    if callable(rule):
        return rule
    msg = f"The rule {shown(name)} must be a regular expression or a function, got {shown(rule)}."
    raise InvalidTypeError(msg)


def _texts(name: str, parts: Any) -> list[str]:
    """Return what a rule function returned. The error shows no part of it, because it may be a credential."""
    if not isinstance(parts, (str, bytes)) and isinstance(parts, Iterable):
        texts = list(parts)
        if all(isinstance(one, str) for one in texts):
            return texts
        given = (
            f"a {type(parts).__name__} with a {type(next(one for one in texts if not isinstance(one, str))).__name__}"
        )
    else:
        given = f"a {type(parts).__name__}"
    msg = f"The rule {shown(name)} must return a list of texts, the parts that must not be stored; it returned {given}."
    raise InvalidTypeError(msg)


def _parts(text: str, name: str, rule: Callable[[str], Iterable[str]]) -> list[Finding]:
    found = []
    for part in _texts(name, rule(text)):
        at = text.find(part) if part else -1
        while at >= 0:
            found.append(Finding(at, at + len(part), name))
            at = text.find(part, at + len(part))
    return found
