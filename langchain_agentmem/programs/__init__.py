"""Programs: operations written once for synchronous and asynchronous callers.

A *program* is a generator that yields *steps* and receives their results. It holds the whole logic of an operation.
`run` drives a program synchronously and `arun` asynchronously. Every step can perform itself both ways, so the
runners know nothing about particular steps.

Two kinds of program exist:

* A *storage program* yields statements (`Fetch`, `Execute`, `ExecuteMany`, `All`). It owns one connection and is one
  transaction: the database stores all of it or nothing.
* An *outer program* yields `Read` and `Write`, which run a storage program in its own transaction, and every step that
  must not run inside a transaction: asking a model, calling a user's function, waiting.

Both kinds may yield `Compute` and `OffLoop`, which keep heavy work off the event loop. A program uses a step with
`yield from`, so that the result has the step's type: `rows = yield from Fetch("SELECT …")`.
"""

from langchain_agentmem.programs.beside import beside
from langchain_agentmem.programs.runners import Nested, arun, is_traced, off_loop, run, traced
from langchain_agentmem.programs.steps import (
    All,
    Ask,
    Call,
    CallTwin,
    Compute,
    Execute,
    ExecuteMany,
    Fetch,
    OffLoop,
    OuterStep,
    Program,
    Read,
    Row,
    Sleep,
    Step,
    Within,
    Write,
)
from langchain_agentmem.programs.storage import (
    StorageProgram,
    in_own_transaction,
    one_statement,
    short_write,
    storage_program,
)
from langchain_agentmem.programs.together import together
from langchain_agentmem.programs.workers import in_worker

__all__ = [
    "All",
    "Ask",
    "Call",
    "CallTwin",
    "Compute",
    "Execute",
    "ExecuteMany",
    "Fetch",
    "Nested",
    "OffLoop",
    "OuterStep",
    "Program",
    "Read",
    "Row",
    "Sleep",
    "Step",
    "StorageProgram",
    "Within",
    "Write",
    "arun",
    "beside",
    "in_own_transaction",
    "in_worker",
    "is_traced",
    "off_loop",
    "one_statement",
    "run",
    "short_write",
    "storage_program",
    "together",
    "traced",
]
