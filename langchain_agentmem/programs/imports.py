"""Imports that signals cannot interrupt.

The exception of a signal handler is raised at any line of the main thread. An interrupted import of numpy cannot be repeated
in the same process, so that every later call would fail. Therefore a separate thread imports such modules.
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module


def load(*names: str) -> None:
    """Import modules in a separate thread and wait for it. Loaded modules need no thread.

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
