"""The contract of a backend: its tables, and transactions on them.

A backend is a package with one subclass of `Backend`. Its tables implement `MessageLog`, `ItemTable`, `CheckpointTable`,
`RecordTable`, `VariableTable`, `OpeningTable`, `StatisticsTable`, `StaleRows` and `TransferTable`. Engines use these classes
only, so they work with every backend.

Rules for an implementation:

* Each method of a table returns a storage program: a generator that yields the statements of its own backend.
  `Backend.read` and `Backend.write` run such a program in one transaction. They may run it again after a failure, so running
  it twice must have the same effect as running it once.
* Every method receives the current time as `now`, in seconds since 1970 (UTC). All rows of an operation have that time.
* A row that has expired is never returned, even if it was not deleted yet.
* IDs are opaque strings: they may contain any character, and no ID may be read as a part of another.
"""

from langchain_agentmem.backends.contract.backend import Backend
from langchain_agentmem.backends.contract.checkpoints import (
    CheckpointEntry,
    CheckpointKey,
    CheckpointPut,
    CheckpointRow,
    CheckpointTable,
    LoadedCheckpoint,
    Parts,
    SecretChange,
    StoredWrite,
    ThreadKey,
    ThreadRow,
    ThreadUse,
    WritesPut,
)
from langchain_agentmem.backends.contract.items import (
    Candidate,
    EmbeddedItem,
    Found,
    IndexedItem,
    ItemPut,
    ItemRow,
    ItemTable,
    Namespace,
    Query,
    Swap,
)
from langchain_agentmem.backends.contract.messages import (
    HAS_MESSAGES,
    LIST_SUMMARY,
    UNKNOWN_MESSAGE,
    Append,
    HistoryScope,
    IndexEntry,
    LoggedMessage,
    MessageLog,
    MessageRow,
    Removal,
    Replacement,
    Restoration,
    SessionKey,
    SessionRow,
    StoredSummary,
    Title,
)
from langchain_agentmem.backends.contract.openings import Ending, Opening, OpeningTable, SessionActivity
from langchain_agentmem.backends.contract.records import (
    RecordQuery,
    RecordRow,
    RecordTable,
    first_record_id,
    new_record_id,
    session_of,
    time_of_record,
)
from langchain_agentmem.backends.contract.stale import DoomedSession, Page, StaleRows, StaleScan
from langchain_agentmem.backends.contract.statistics import Statistics, StatisticsQuery, StatisticsTable, Tally
from langchain_agentmem.backends.contract.transfer import (
    ItemKey,
    ItemState,
    SessionState,
    StoredCheckpoint,
    StoredElement,
    ThreadRows,
    ThreadState,
    ThreadWrite,
    TransferTable,
)
from langchain_agentmem.backends.contract.variables import (
    KEEP_EXPIRY,
    SessionUse,
    VariablePut,
    VariableRow,
    VariableScope,
    VariableTable,
)

__all__ = [
    "HAS_MESSAGES",
    "KEEP_EXPIRY",
    "LIST_SUMMARY",
    "UNKNOWN_MESSAGE",
    "Append",
    "Backend",
    "Candidate",
    "CheckpointEntry",
    "CheckpointKey",
    "CheckpointPut",
    "CheckpointRow",
    "CheckpointTable",
    "DoomedSession",
    "EmbeddedItem",
    "Ending",
    "Found",
    "HistoryScope",
    "IndexEntry",
    "IndexedItem",
    "ItemKey",
    "ItemPut",
    "ItemRow",
    "ItemState",
    "ItemTable",
    "LoadedCheckpoint",
    "LoggedMessage",
    "MessageLog",
    "MessageRow",
    "Namespace",
    "Opening",
    "OpeningTable",
    "Page",
    "Parts",
    "Query",
    "RecordQuery",
    "RecordRow",
    "RecordTable",
    "Removal",
    "Replacement",
    "Restoration",
    "SecretChange",
    "SessionActivity",
    "SessionKey",
    "SessionRow",
    "SessionState",
    "SessionUse",
    "StaleRows",
    "StaleScan",
    "Statistics",
    "StatisticsQuery",
    "StatisticsTable",
    "StoredCheckpoint",
    "StoredElement",
    "StoredSummary",
    "StoredWrite",
    "Swap",
    "Tally",
    "ThreadKey",
    "ThreadRow",
    "ThreadRows",
    "ThreadState",
    "ThreadUse",
    "ThreadWrite",
    "Title",
    "TransferTable",
    "VariablePut",
    "VariableRow",
    "VariableScope",
    "VariableTable",
    "WritesPut",
    "first_record_id",
    "new_record_id",
    "session_of",
    "time_of_record",
]
