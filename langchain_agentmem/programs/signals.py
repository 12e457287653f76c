"""Recognition of exceptions that signal handlers raised.

A job queue's soft time limit, a notebook's stop button and an alarm raise an exception in the middle of any call. Its class
may be any subclass of `Exception`. Code that continues after errors of a model, or of the application's functions, must not
continue after such an exception. Its traceback contains a frame of the signal handler.

Limits: some libraries implement time limits in threads with `PyThreadState_SetAsyncExc`, which leaves no frame.
"""

from __future__ import annotations

import signal
import types
from typing import Any

_MOST_CAUSES = 10


def came_by_signal(error: BaseException) -> bool:
    """Return true if a signal handler raised an exception, or one of its causes.

    Args:
        error: A caught exception.

    Example:
        >>> from langchain_agentmem.programs.signals import came_by_signal
        >>> came_by_signal(ValueError("not a number"))
        False
    """
    handlers = {code for number in signal.valid_signals() if (code := _code_of(signal.getsignal(number))) is not None}
    one: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if one is None or not handlers:
            return False
        traceback = one.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code in handlers:
                return True
            traceback = traceback.tb_next
        one = one.__cause__ or one.__context__
    return False


def _code_of(handler: Any) -> types.CodeType | None:
    """Return the code of a handler: a function, a method, a partial, or an object with `__call__`."""
    handler = getattr(handler, "func", handler)
    if not isinstance(handler, (types.FunctionType, types.MethodType)):
        handler = vars(type(handler)).get("__call__")
    code = getattr(handler, "__code__", None)
    return code if isinstance(code, types.CodeType) else None
