"""The unit of work, through which every change of a user's knowledge is stored.

A change is a function that gets a `UnitOfWork`. It reads items with `unit[key]` and sets them with `unit[key] = value`.
`commit` reads the items, calls the function, and stores all changes together. It calls the function again in two cases:

* The function needs an item that was not read. The unit raises `UnreadItemsError`, and `commit` reads that item too.
* Another writer has changed one of the items concurrently.

The function must therefore have no effect outside of the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.knowledge.namespaces import ItemKey, indexed_fields
from langchain_agentmem.programs import Program
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.text.words import ENGLISH

T = TypeVar("T")
Value = dict[str, Any]


class UnreadItemsError(Exception):
    """A change needs items that were not read. `commit` reads them and calls the change again.

    Args:
        keys: Keys of the items.
    """

    def __init__(self, keys: Iterable[ItemKey]) -> None:
        self.keys = tuple(keys)
        super().__init__(f"The change needs {len(self.keys)} items that were not read: {shown(self.keys, 200)}")


class UnitOfWork:
    """The items of one user as they were read, and the changes to them.

    Args:
        user_id: ID of the user.
        values: Values of the items that were read; None for an item that does not exist.
        language: Language of the store, which decides the basic form of words. Default: `"english"`.

    Example:
        >>> from langchain_agentmem.knowledge.namespaces import profile_key
        >>> from langchain_agentmem.knowledge.unit import UnitOfWork
        >>> key = profile_key("alice", "UserProfile")
        >>> unit = UnitOfWork("alice", {key: {"visits": 1}})
        >>> unit[key] = {"visits": unit[key]["visits"] + 1}
        >>> unit[key], unit.before(key)
        ({'visits': 2}, {'visits': 1})
    """

    def __init__(self, user_id: str, values: Mapping[ItemKey, Value | None], language: str = ENGLISH) -> None:
        self.user_id = user_id
        self.language = language
        self.changes: dict[ItemKey, Value | None] = {}
        """Values to store; None for an item to delete."""
        self._values = values

    def __getitem__(self, key: ItemKey) -> Value | None:
        """Return the value of an item, changed or as it was read; None if there is no such item.

        Raises:
            UnreadItemsError: The item was not read.
        """
        if key in self.changes:
            return self.changes[key]
        if key not in self._values:
            raise UnreadItemsError([key])
        return self._values[key]

    def __setitem__(self, key: ItemKey, value: Value | None) -> None:
        self.changes[key] = value

    def before(self, key: ItemKey) -> Value | None:
        """Return the value of an item as it was read; None if there was none, or if it was not read."""
        return self._values.get(key)

    def need(self, keys: Iterable[ItemKey]) -> None:
        """Declare the items that a change needs. `commit` reads all missing ones together.

        Args:
            keys: Keys of the items.

        Raises:
            UnreadItemsError: Some items were not read; the error names all of them.
        """
        missing = [key for key in dict.fromkeys(keys) if key not in self._values and key not in self.changes]
        if missing:
            raise UnreadItemsError(missing)


def commit(
    engine: StoreEngine,
    user_id: str,
    keys: Iterable[ItemKey],
    edit: Callable[[UnitOfWork], T],
    prepare: Callable[[], Program[None]] | None = None,
) -> Program[T]:
    """Change items of a user in one transaction, so that no concurrent change is lost.

    The items never expire: the store's default TTL does not apply to them.

    Args:
        engine: The store.
        user_id: ID of the user.
        keys: Keys of the items to read first. Other items are read when `edit` needs them.
        edit: Makes the changes. It may be called several times.
        prepare: Returns a program to run before each call to `edit`. Default: None.

    Returns:
        The result of the call to `edit` whose changes were stored.

    Raises:
        ConflictError: Other writers kept changing the items for 30 seconds.
    """
    needed = dict.fromkeys(keys)
    results: list[T] = []

    def change(values: Mapping[ItemKey, Value | None]) -> Program[dict[ItemKey, Value | None]]:
        if prepare is not None:
            yield from prepare()
        unit = UnitOfWork(user_id, values, engine.language)
        results[:] = [edit(unit)]
        return unit.changes

    index = indexed_fields(user_id)
    while True:
        try:
            if needed:
                yield from engine.update_many(list(needed), change, index=index, ttl=None)
                return results[0]
            written = yield from change({})
            if not written:
                return results[0]
            needed = dict.fromkeys(written)
        except UnreadItemsError as unread:
            needed |= dict.fromkeys(unread.keys)
