"""OpenTelemetry spans: one for each public operation.

The runners call this module only if a tracer provider is configured, so tracing costs nothing without one. The names follow
OpenTelemetry's conventions for memory operations of generative AI. A span has numbers and the type of an error, but no texts,
queries, IDs or error messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from langchain_agentmem.programs.steps import Compute, OffLoop, OuterStep, Program, Read, Write
from langchain_agentmem.programs.storage import StorageProgram

if TYPE_CHECKING:
    from opentelemetry.trace import Span

T = TypeVar("T")

_is_storing: ContextVar[bool] = ContextVar("agentmem_is_storing", default=False)
"""True while a backend runs a storage program. Runs within it are parts of the operation."""

_current: ContextVar[Operation | None] = ContextVar("agentmem_operation", default=None)

_SURFACES = {
    "AgentMemCache": "cache",
    "AgentMemHistory": "history",
    "AgentMemSaver": "checkpointer",
    "AgentMemStore": "store",
    "AgentMemory": "memory",
    "SharedKnowledge": "knowledge",
}
_SYSTEMS = {"postgres": "postgresql"}
"""The names of databases in OpenTelemetry's conventions, where they differ from those of the backends."""

_OPERATIONS = (
    ("create_memory", r"add|save"),
    ("update_memory", r"update|replace|rename|end|split"),
    ("upsert_memory", r"put|set|upsert|relate|apply|learn|extract"),
    ("delete_memory", r"delete|forget|clear|truncate|unrelate"),
    (
        "search_memory",
        r"search|recall|get|list|all|by_topic|context|timeline|messages|query|neighbours|graph|relations|count",
    ),
)
"""OpenTelemetry's names of memory operations, by the beginning of our methods' names."""

_NO_RECORDS = ("cache", "checkpointer", "memory_middleware", "memory_compressor")
"""Surfaces whose operations are not on records of a memory."""

_OURS = "langchain_agentmem."
_BACKENDS = tuple(f"{_OURS}backends.{name}." for name in ("sqlite", "postgres", "redis"))
"""Packages that run parts of an operation."""
_SHARED = frozenset({f"{_OURS}store.jobs"})
"""Modules that run several operations as one. The first of them has the numbers."""

_COUNTED = ("messages", "ops", "writes", "facts", "texts", "values", "keys", "ids")
"""Arguments whose length is the number of records, if the result has none."""


class Operation:
    """A running operation: measures its storage programs.

    Args:
        span: The span of the operation.
        has_records: True if the operation is one on records of a memory.
    """

    def __init__(self, span: Span, *, has_records: bool) -> None:
        self.has_records = has_records
        self._span = span
        self._records: int | None = None
        self._numbers = dict.fromkeys(("transactions", "round_trips", "bytes_written", "bytes_read"), 0)

    def perform(self, step: OuterStep[T]) -> T:
        """Perform a step."""
        with self._storing(step) as measured:
            return measured.perform()

    async def aperform(self, step: OuterStep[T]) -> T:
        """Same as `perform`, but without blocking the event loop."""
        with self._storing(step) as measured:
            return await measured.aperform()

    def count(self, records: T) -> T:
        """Note the number of records, if the result or argument is a collection. Return it."""
        if self.has_records and isinstance(records, (list, tuple)):
            self._records = len(records)
        return records

    def settle(self) -> None:
        """Add the numbers to the span."""
        self._span.set_attributes({f"agentmem.{name}": number for name, number in self._numbers.items()})
        if self._records is not None:
            self._span.set_attribute("gen_ai.memory.record.count", self._records)

    @contextmanager
    def _storing(self, step: OuterStep[T]) -> Iterator[OuterStep[T]]:
        """Return the step; if it runs a storage program, one that also measures it."""
        if not isinstance(step, (Read, Write)):
            yield step
            return
        name = step.backend.name
        if self._span.is_recording():  # a job outlives a cancelled caller
            self._span.set_attribute("db.system.name", _SYSTEMS.get(name, name))
        self._numbers["transactions"] += 1
        token = _is_storing.set(True)
        try:
            yield replace(step, program=self._measured(step.program))
        finally:
            _is_storing.reset(token)

    def _measured(self, program: Program[Any]) -> Program[Any]:
        if isinstance(program, StorageProgram):
            begin, single = program.__iter__, program.single
            return cast(
                "Program[Any]", StorageProgram(program.__name__, lambda: self._each_step(begin()), single=single)
            )
        return self._each_step(program)

    def _each_step(self, program: Program[T]) -> Program[T]:
        """Run a storage program, and count its steps and their bytes."""
        answer: Any = None
        error: BaseException | None = None
        try:
            while True:
                try:
                    step = program.send(answer) if error is None else program.throw(error)
                except StopIteration as ended:
                    value: T = ended.value
                    return value
                is_stored = not isinstance(step, (Compute, OffLoop))
                if is_stored:
                    self._numbers["round_trips"] += 1
                    self._numbers["bytes_written"] += _size_of(step)
                error = None
                try:
                    answer = yield step
                except GeneratorExit:
                    raise
                except BaseException as raised:
                    error = raised
                else:
                    self._numbers["bytes_read"] += _size_of(answer) if is_stored else 0
        finally:
            error = None  # its traceback refers to this frame
            program.close()


@contextmanager
def operation(caller: FrameType, *, is_async: bool) -> Iterator[Operation | None]:
    """Open the span of an operation, as the current one. Return None within a storage program.

    Args:
        caller: The frame that called the runner: a public method.
        is_async: True if it is the twin with the prefix `a`.
    """
    module = str(caller.f_globals.get("__name__", ""))
    if _is_storing.get() or not module.startswith(_OURS) or module.startswith(_BACKENDS):
        yield None
        return
    if module in _SHARED:
        yield _current.get()
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode, get_tracer

    surface, method = _named(caller, is_async)
    name = (
        None if surface in _NO_RECORDS else next((one for one, begin in _OPERATIONS if re.match(begin, method)), None)
    )
    attributes: dict[str, Any] = {"agentmem.operation": f"{surface}.{method}"}
    if name is not None:
        attributes["gen_ai.operation.name"] = name
    tracer = get_tracer("langchain_agentmem")
    kind = SpanKind.INTERNAL if name is None else SpanKind.CLIENT
    with tracer.start_as_current_span(
        name or f"{surface}.{method}",
        kind=kind,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        if not span.is_recording():
            yield None
            return
        running = Operation(span, has_records=name is not None)
        running.count(_records_in(caller))
        token = _current.set(running)
        try:
            yield running
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            _current.reset(token)
            running.settle()


def _named(caller: FrameType, is_async: bool) -> tuple[str, str]:
    """Return the name of the surface and of the method, without the prefix `a`."""
    from langchain_agentmem.programs.runners import Nested

    method = caller.f_code.co_name.strip("_<>")
    if is_async and method.startswith("a") and len(method) > 1:
        method = method[1:]
    owner = caller.f_locals.get("self")
    if isinstance(owner, Nested):
        surface, _, method = owner.name.partition(".")
        return surface, method
    if owner is None:
        return "memory", method
    kind = type(owner).__name__
    return _SURFACES.get(kind) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower(), method


def _records_in(caller: FrameType) -> Any:
    """Return the argument that holds the records, if there is one."""
    arguments = caller.f_code.co_varnames[: caller.f_code.co_argcount]
    return next((caller.f_locals.get(name) for name in _COUNTED if name in arguments), None)


def _size_of(value: Any) -> int:
    """Return the number of bytes of the texts and byte strings in a step or an answer."""
    size, left = 0, [value]
    while left:
        one = left.pop()
        if isinstance(one, (bytes, bytearray, str)):
            size += len(one)
        elif isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, (list, tuple)):
            left += one
        else:
            for name in ("parameters", "rows", "steps", "arguments", "invocations"):
                left += [inner] if (inner := getattr(one, name, None)) is not None else []
    return size
