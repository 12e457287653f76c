"""Imports that no signal can break off.

A signal handler's exception is raised in the main thread, at any line. An import of numpy that it breaks off cannot be
repeated in the same process: every later call would fail. So a thread of its own imports such modules.
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module


def load(*names: str) -> None:
    """Import modules in a thread and wait for it. Modules that are loaded already cost nothing.

    Args:
        *names: The full names of the modules.

    Raises:
        ImportError: A module, or a module that it needs, is missing.

    Example:
        >>> import sys
        >>> from langchain_agentmem.programs.imports import load
        >>> load("numpy")
        >>> "numpy" in sys.modules
        True
    """
    missing = [name for name in names if not _is_loaded(name)]
    if not missing:
        return
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for name in missing:
                import_module(name)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="agentmem-imports", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def _is_loaded(name: str) -> bool:
    module = sys.modules.get(name)
    return module is not None and not getattr(module.__spec__, "_initializing", False)
