"""The method of `AgentMemory` that rotates its key."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.programs import Program, arun, run

if TYPE_CHECKING:
    from langchain_agentmem.encoding.encryption import Key
    from langchain_agentmem.lifecycle.rotation import Rotated


class KeyMethods:
    """Rotate the key of an encrypted memory."""

    backend: Backend

    def rotate_key(self, old: Key, new: Key, *, progress: bool | Callable[[Rotated], Any] = False) -> Rotated:
        """Replace the key of the memory. Other processes go on reading and writing, and an interrupted call is resumed.

        First open the memory with `key=[new, old]` in every process. Then call this method in one of them. Then open the
        memory with `key=new`. A process that has only the former key gets a `WrongKeyError`.

        All values are encrypted with a new data key, in small transactions. The call takes at least 45 seconds, because it
        waits until no other process writes with the former data key. To resume an interrupted call, call it again.

        Args:
            old: The former key: 32 bytes, their base64 text, or a function that returns them.
            new: The new key.
            progress: True shows the progress in the terminal or notebook. A function is called after each batch with the
                result so far. Default: False.

        Returns:
            The number of values that were encrypted again.

        Raises:
            ConfigurationError: The memory is not encrypted.
            WrongKeyError: It is encrypted with neither of the keys. Nothing was changed.
            ConflictError: Another process rotates the key.
        """
        return run(self._rotate_key(old, new, progress))

    async def arotate_key(self, old: Key, new: Key, *, progress: bool | Callable[[Rotated], Any] = False) -> Rotated:
        """Same as `rotate_key`, but without blocking the event loop."""
        return await arun(self._rotate_key(old, new, progress))

    def _rotate_key(self, old: Key, new: Key, progress: bool | Callable[[Rotated], Any]) -> Program[Rotated]:
        from langchain_agentmem.lifecycle.rotation import rotate_key

        return (yield from rotate_key(self.backend, old, new, progress))
