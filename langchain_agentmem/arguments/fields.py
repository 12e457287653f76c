"""Names of the fields of items that get an index."""

from __future__ import annotations

import re
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

MOST_FIELDS = 16
"""The maximum number of fields with an index: each makes a put slower."""

_SIMPLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ -]{0,59}")


def is_simple_field(field: str) -> bool:
    """Return true if SQL can contain the name of a field as it is.

    Example:
        >>> from langchain_agentmem.arguments.fields import is_simple_field
        >>> is_simple_field("kind"), is_simple_field("shape.corners"), is_simple_field('a"b')
        (True, False, False)
    """
    return _SIMPLE.fullmatch(field) is not None


def check_index_fields(fields: Any) -> tuple[str, ...]:
    """Return the fields that get an index.

    Args:
        fields: A list of names of top-level fields; None for none.

    Raises:
        InvalidTypeError: The value is not a list of strings.
        InvalidInputError: A name is not accepted, or there are too many.
    """
    if fields is None:
        return ()
    if not isinstance(fields, (list, tuple)) or not all(isinstance(field, str) for field in fields):
        msg = f"index_fields must be a list of names such as ['kind'], got {shown(fields)}."
        raise InvalidTypeError(msg)
    for field in fields:
        if not is_simple_field(field):
            msg = (
                f"index_fields cannot contain {shown(field)}. Name top-level fields with at most 60 ASCII letters, digits, "
                f"underscores, hyphens and spaces. A filter on another field works without an index."
            )
            raise InvalidInputError(msg)
    unique = tuple(dict.fromkeys(fields))
    if len(unique) > MOST_FIELDS:
        msg = f"index_fields has {len(unique)} names, but at most {MOST_FIELDS} are supported. Name those you filter by most."
        raise InvalidInputError(msg)
    return unique
