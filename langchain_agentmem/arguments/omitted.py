"""The default of an optional ID, where None has a meaning of its own.

`sessions.list()` lists the sessions of all users, `sessions.list(user_id=None)` those that belong to no user:

    def list(self, *, user_id: str | None | Omitted = OMITTED) -> SessionList: ...
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Literal

from langchain_agentmem.arguments.ids import check_optional_id


class _Omitted(Enum):
    """The type of `OMITTED`. Type checkers narrow an enumeration with a single member."""

    OMITTED = "omitted"

    def __repr__(self) -> str:
        return "OMITTED"

    def __bool__(self) -> bool:
        return False


OMITTED: Final = _Omitted.OMITTED
"""The argument was omitted."""

Omitted = Literal[_Omitted.OMITTED]


def check_id_or_omitted(what: str, value: Any) -> str | Omitted | None:
    """Same as `check_optional_id`, but accept `OMITTED` too.

    Example:
        >>> from langchain_agentmem.arguments.omitted import OMITTED, check_id_or_omitted
        >>> [check_id_or_omitted("user_id", value) for value in ("alice", None, OMITTED)]
        ['alice', None, OMITTED]
    """
    return OMITTED if value is OMITTED else check_optional_id(what, value)
