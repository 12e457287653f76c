"""The caller of a request: the memory of its tenant, and the users whose data it may access."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import Request

from langchain_agentmem.arguments.ids import MAX_ID_BYTES
from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.serving.access import Access
from langchain_agentmem.serving.problems import ProblemError


@dataclass(frozen=True)
class Caller:
    """The caller of a request.

    Args:
        memory: The memory of the caller's tenant.
        access: What the caller's key may access.
    """

    memory: AgentMemory
    access: Access

    @property
    def is_bound(self) -> bool:
        """True if the caller may access the data of some users only."""
        return self.access.users is not None

    def user(self, user_id: str | None) -> str | None:
        """Return the user of a request; None for what belongs to nobody.

        Args:
            user_id: The user that the request names. If it names none, and the key is bound to one user, it is that user.

        Raises:
            ProblemError: The caller may not access the user, or what belongs to nobody.
        """
        users: Collection[str] | None = self.access.users
        if users is None:
            return user_id
        if user_id is None:
            if len(users) > 1:
                raise ProblemError(403, "This API key is bound to users. Pass user_id.")
            return next(iter(users))
        if user_id not in users:
            raise ProblemError(403, "This API key may not access the user.")
        return user_id

    def owner(self, user_id: str | None, nobody: bool) -> str | Omitted | None:
        """Return the user whose data a list shows: None for nobody's, `OMITTED` for that of all users.

        Args:
            user_id: The user that the request names.
            nobody: If true, the request asks for what belongs to nobody.

        Raises:
            ProblemError: The caller may not access it.
        """
        if nobody:
            if user_id is not None:
                raise ProblemError(422, "user_id and nobody=true exclude each other. Pass one of them.")
            self.require_all_users()
            return None
        user = self.user(user_id)
        return OMITTED if user is None else user

    def required_user(self, user_id: str | None) -> str:
        """Same as `user`, but refuse what belongs to nobody."""
        user = self.user(user_id)
        if user is None:
            raise ProblemError(422, "user_id is missing. Pass the ID of the user.")
        return user

    def require_all_users(self) -> None:
        """Require a key that may access all users.

        Raises:
            ProblemError: The key is bound to users.
        """
        if self.is_bound:
            raise ProblemError(403, "This API key is bound to users. It may access their data only.")


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


CallerOf = Annotated[Caller, Depends(_caller)]
"""The caller of a request."""

UserId = Annotated[
    str | None,
    Query(min_length=1, max_length=MAX_ID_BYTES, description="The user.", examples=["alice@example.com"]),
]


def _user(caller: CallerOf, user_id: UserId = None) -> str | None:
    return caller.user(user_id)


def _owner(
    caller: CallerOf,
    user_id: UserId = None,
    nobody: Annotated[bool, Query(description="Only what belongs to nobody.")] = False,
) -> str | Omitted | None:
    return caller.owner(user_id, nobody)


def _required_user(caller: CallerOf, user_id: UserId = None) -> str:
    return caller.required_user(user_id)


def _everyone(caller: CallerOf) -> AgentMemory:
    caller.require_all_users()
    return caller.memory


UserOf = Annotated[str | None, Depends(_user)]
"""The user whose data the request is about; None for what belongs to nobody."""
OwnerOf = Annotated[str | Omitted | None, Depends(_owner)]
"""The user whose data a list shows, None for nobody's, `OMITTED` for all."""
RequiredUser = Annotated[str, Depends(_required_user)]
"""The user whose data the request is about."""
WholeMemory = Annotated[AgentMemory, Depends(_everyone)]
"""The memory, for a caller that may access all users."""
