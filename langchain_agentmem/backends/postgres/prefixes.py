"""The encoding of namespaces as the texts that LangGraph's store writes, and the ranges of these texts."""

from __future__ import annotations

from functools import lru_cache

from langchain_agentmem.backends.contract import Namespace

_TENANT = "\U0010ffff"
"""The first character of a tenant's namespaces, except the default tenant's. It sorts after all others."""
_ESCAPES = str.maketrans({"\x1a": "\x1a0", ".": "\x1a1", _TENANT: "\x1a2"})


@lru_cache(maxsize=4_000)
def encoded_prefix(tenant: str, namespace: Namespace) -> str:
    """Return a namespace as LangGraph's store writes it, with dots between labels. Dots within labels are escaped."""
    labels = [_escape(label) for label in namespace]
    return ".".join(labels if tenant == "default" else [_TENANT + _escape(tenant), *labels])


def decoded_prefix(prefix: str) -> Namespace:
    """Return the namespace in a prefix, without the tenant."""
    labels = prefix.split(".")
    if labels[0].startswith(_TENANT):
        del labels[0]
    return tuple(
        label.replace("\x1a2", _TENANT).replace("\x1a1", ".").replace("\x1a0", "\x1a") if "\x1a" in label else label
        for label in labels
    )


def _escape(label: str) -> str:
    return label.translate(_ESCAPES)


def below(tenant: str, prefix: Namespace) -> tuple[str | None, str, str]:
    """Return the prefix of a namespace, and the range of the prefixes below it."""
    own = encoded_prefix(tenant, prefix)
    if not own:
        return None, "", _TENANT
    return own if prefix else None, f"{own}.", f"{own}/"
