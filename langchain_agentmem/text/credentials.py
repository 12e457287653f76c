"""Detection of credentials in texts: the detectors of `detect-secrets`, and forms of tokens that it does not know.

The detectors look for the form of a credential, such as the prefix of a token or a value that is assigned to a name like
`password`. None fires on such a word alone. Detectors of random-looking texts are left out, because they find ordinary words
in prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from langchain_agentmem.errors import missing_extra

_CHUNK = 2_000
"""Maximum number of characters that a detector reads at once, so that its time grows linearly with the text."""
_OVERLAP = 200
"""Number of characters that two chunks share. No token is longer."""

_LEFT_OUT = {"IPPublicDetector", "Base64HighEntropyString", "HexHighEntropyString"}

_PATTERNS = {
    # RFC 7468
    "Private Key": r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[^-]{0,20000}-----END [A-Z ]{0,40}PRIVATE KEY-----)?",
    # docs.github.com, "About authentication to GitHub"
    "GitHub Token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})",
    # platform.openai.com, "API keys"
    "OpenAI Token": r"\bsk-(?:(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,250}|[A-Za-z0-9]{32,64}\b)",
    # docs.anthropic.com, "Admin API"
    "Anthropic Token": r"\bsk-ant-[A-Za-z0-9_-]{20,250}",
    # cloud.google.com, "Manage API keys"
    "Google API Key": r"\bAIza[0-9A-Za-z_-]{35}",
    # huggingface.co, "User access tokens"
    "Hugging Face Token": r"\bhf_[A-Za-z0-9]{30,64}\b",
}
"""Forms of credentials, each with the documentation of its issuer."""

_COMPILED = {kind: re.compile(pattern) for kind, pattern in _PATTERNS.items()}
_TOKEN = re.compile(r"[A-Za-z0-9_\-./+=~]*")


class Finding(NamedTuple):
    """A credential in a text."""

    start: int
    end: int
    kind: str


def findings_in(text: str) -> list[Finding]:
    """Return the credentials in a text, in order.

    Raises:
        ConfigurationError: The extra `guard` is not installed.

    Example:
        >>> from langchain_agentmem.text.credentials import findings_in
        >>> findings_in("Use AKIAIOSFODNN7EXAMPLE as the key."), findings_in("I forgot my password.")
        ([Finding(start=4, end=24, kind='AWS Access Key')], [])
    """
    found = [Finding(*match.span(), kind) for kind, pattern in _COMPILED.items() for match in pattern.finditer(text)]
    for start in range(0, max(1, len(text)), _CHUNK - _OVERLAP):
        chunk = text[start : start + _CHUNK]
        found += [Finding(start + one.start, start + one.end, one.kind) for one in _detected(chunk)]
        if start + _CHUNK >= len(text):
            break
    return merged(found)


def merged(found: Iterable[Finding]) -> list[Finding]:
    """Return findings in order, with overlapping ones as one."""
    result: list[Finding] = []
    for one in sorted(found, key=lambda finding: (finding.start, -finding.end)):
        if result and one.start < result[-1].end:
            result[-1] = result[-1]._replace(end=max(result[-1].end, one.end))
        else:
            result.append(one)
    return result


def _detected(text: str) -> Iterator[Finding]:
    for kind, detector in _detectors():
        for value in detector.analyze_string(text):
            at = text.find(value) if value else -1
            while at >= 0:
                end = at + len(value)
                if " " not in value:  # some detectors return only a part of the token
                    end = max(end, _end_of_token(text, end))
                    at = _start_of_token(text, at)
                yield Finding(at, end, kind)
                at = text.find(value, end)


def _end_of_token(text: str, at: int) -> int:
    match = _TOKEN.match(text, at)
    end = match.end() if match else at
    return len(text[:end].rstrip(".,")) if end > at else end


def _start_of_token(text: str, at: int) -> int:
    while at > 0 and (text[at - 1].isalnum() or text[at - 1] in "_-"):
        at -= 1
    return at


@lru_cache(maxsize=1)
def _detectors() -> list[tuple[str, Any]]:
    try:
        from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    except ImportError as error:
        raise missing_extra(what="Guard", extra="guard") from error
    kinds: dict[str, Any] = get_mapping_from_secret_type_to_class()
    return [(kind, cls()) for kind, cls in kinds.items() if cls.__name__ not in _LEFT_OUT]
