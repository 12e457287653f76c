"""What a `migrate` function is given: the values of a checkpoint's channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_agentmem.errors import InvalidTypeError


class ChannelValues(dict[str, Any]):
    """The values of a checkpoint by channel, as a `migrate` function is given them. It may be changed in place.

    Example:
        >>> from langchain_agentmem.checkpointing.migration.values import ChannelValues
        >>> values = ChannelValues({"msgs": ["Hi"]})
        >>> values.rename("msgs", "messages")
        >>> values
        {'messages': ['Hi']}
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.renamed: dict[str, str] = {}
        """The new names by former name."""

    def rename(self, former: str, name: str) -> None:
        """Rename a channel, even if it has no value here.

        If both channels have values, the new channel keeps its own.

        Args:
            former: The former name.
            name: The new name.
        """
        self.renamed[former] = name
        if former in self:
            value = self.pop(former)
            self.setdefault(name, value)


Migrate = Callable[[ChannelValues, dict[str, Any]], tuple[Mapping[str, Any], Mapping[str, Any]]]
"""Converts the values and the metadata of a checkpoint, and returns both."""


def check_migrate(migrate: Any, what: str = "migrate") -> Migrate | None:
    """Check a `migrate` function; None is accepted.

    Raises:
        InvalidTypeError: It cannot be called.
    """
    if migrate is not None and not callable(migrate):
        msg = (
            f"{what} must be a function of a checkpoint's values and metadata that returns both, got "
            f"{type(migrate).__name__}."
        )
        raise InvalidTypeError(msg)
    return migrate  # type: ignore[no-any-return]
