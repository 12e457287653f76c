"""The methods of `AgentMemory` that fill prompts."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from langchain_agentmem.history.methods import Histories

if TYPE_CHECKING:
    from langchain_agentmem.prompting.variables.face import Variables


class PromptingMethods:
    """Set variables, and fill prompts with them."""

    _histories: Histories

    @cached_property
    def variables(self) -> Variables:
        """Named values of sessions, users and agents: `set`, `get`, `all`, `search`, `delete`, `clear`."""
        from langchain_agentmem.prompting.variables.engine import VariableEngine
        from langchain_agentmem.prompting.variables.face import Variables

        engine = self._histories.engine
        return Variables(
            VariableEngine(engine.backend, engine.tenant, self._histories.retention_of, engine.sweeper),
        )
