"""Each method of the backend contract is implemented by the encrypted backend: nothing passes unencrypted by default."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

import pytest

from langchain_agentmem.backends import connect
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.contract import backend as contract_module
from langchain_agentmem.backends.encrypted import EncryptedBackend
from langchain_agentmem.backends.encrypted.heads import Added, Head, Positions
from langchain_agentmem.backends.rewriting import CellChange
from langchain_agentmem.encoding.encryption import KeySource
from langchain_agentmem.errors import ConfigurationError

TABLES = {
    name: kind
    for name, kind in get_type_hints(Backend, vars(contract_module)).items()
    if getattr(kind, "_is_protocol", False)
}


def methods(kind: type) -> list[str]:
    return [name for name, value in vars(kind).items() if inspect.isfunction(value) and not name.startswith("_")]


CASES = [(table, method) for table, kind in TABLES.items() for method in methods(kind)]


@pytest.fixture(scope="module")
def backend() -> Any:
    backend = EncryptedBackend(connect("sqlite:///:memory:"), KeySource(bytes(32)), "default")
    yield backend
    backend.close()


def test_the_contract_has_tables():
    assert {"messages", "items", "checkpoints", "records", "variables", "openings", "stale", "statistics"} <= {*TABLES}


@pytest.mark.parametrize(("table", "method"), CASES, ids=[".".join(case) for case in CASES])
def test_a_method_is_wrapped(backend, table, method):
    own = getattr(backend, table)
    assert type(own).__module__.startswith("langchain_agentmem.backends.encrypted.")
    assert not any("__getattr__" in vars(kind) for kind in type(own).__mro__)
    found = inspect.getattr_static(own, method)
    assert inspect.unwrap(found).__module__.startswith("langchain_agentmem.backends.encrypted.")
    wanted = [*inspect.signature(getattr(TABLES[table], method)).parameters]
    assert [*inspect.signature(inspect.unwrap(found)).parameters] == wanted


def test_the_backend_itself_has_no_default():
    assert "__getattr__" not in vars(EncryptedBackend)
    abstract = [name for name in vars(Backend) if inspect.isfunction(vars(Backend)[name]) and not name.startswith("_")]
    left = {name for name in abstract if name not in vars(EncryptedBackend)}
    assert left == {"check_before_use", "rewrite"}


def test_cells_of_the_encrypted_backend_are_not_rewritten(backend):
    """The rotation of a key rewrites the cells of the inner backend."""
    with pytest.raises(ConfigurationError, match=r"EncryptedBackend\(.*\) cannot rewrite stored cells"):
        backend.write(backend.rewrite(CellChange([b"mark"], lambda cell: cell), None))


def test_positions_are_ranges():
    some = Positions().plus(range(10)).minus([0, 3, 9])
    assert list(some.newest()) == [8, 7, 6, 5, 4, 2, 1]
    assert list(some.after(2)) == [4, 5, 6, 7, 8]
    assert list(some.below(5).newest()) == [4, 2, 1]
    assert len(some) == 7
    assert [at in some for at in (0, 1, 3, 8, 9, 100)] == [False, True, False, True, False, False]


def test_a_head_comes_back_equal_and_stays_small():
    head = Head.new()
    for number in range(2_000):
        rows = [Added(None, number == 0, False), Added("writer", False, number % 2 == 1)]
        head = head.plus(rows).trimmed(None, 100)
    loaded = Head.load(head.dump())
    assert list(loaded.newest(None)) == list(head.newest(None))
    assert len(list(loaded.newest("writer"))) == 2_000
    single = Head.new()
    for _ in range(2_000):
        single = single.plus([Added(None, False, False)]).trimmed(None, 500)
    assert len(single.dump()) < 60
