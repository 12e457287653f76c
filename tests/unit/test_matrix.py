"""The selection of tests leaves no test, no backend and no twin out."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from matrix import (
    BACKENDS,
    ENGINE,
    EVERY_SCRIPT,
    IN_MEMORY,
    KEYED,
    NOT_CORE,
    ONE_NODE,
    SEVERAL,
    TWINS,
    VALUES,
    Case,
    backends,
    in_core,
    in_default,
)

NAMES = [f"test_{number}" for number in range(40)]
FILES = ["test_new.py", *sorted(ENGINE | IN_MEMORY | ONE_NODE | VALUES)]
SEVERAL_TIMES = [file for file in FILES if file not in ENGINE]


def cases(file: str, name: str, numbers: int = 4) -> list[Case]:
    offered = backends(file, BACKENDS, full=False)
    return [Case(file, name, *rest) for rest in itertools.product(offered, TWINS, range(numbers))]


@pytest.mark.parametrize("file", SEVERAL_TIMES)
def test_every_test_runs_both_ways_and_with_all_parameters(file):
    for name in NAMES:
        kept = [case for case in cases(file, name) if in_default(case)]
        assert {case.twin for case in kept if case.number == 0} == set(TWINS)
        assert {case.number for case in kept} == set(range(4))


@pytest.mark.parametrize("file", sorted(ENGINE - IN_MEMORY))
def test_every_test_of_the_engine_runs_once_with_each_parameter(file):
    for name in NAMES:
        kept = [case for case in cases(file, name) if in_default(case)]
        assert sorted(case.number for case in kept) == list(range(4))


def test_a_test_that_chooses_its_backends_runs_both_ways_with_its_first_parameters():
    for name in NAMES:
        every = [Case("test_new.py", name, None, twin, number) for twin in TWINS for number in range(4)]
        kept = [case for case in every if in_default(case)]
        assert sorted(case.number for case in kept) == [0, 0, 1, 2, 3]
        assert {case.twin for case in kept if case.number == 0} == set(TWINS)


@pytest.mark.parametrize("file", [*FILES, *sorted(KEYED)])
def test_every_backend_runs_tests_both_ways(file):
    kept = [case for name in NAMES for case in cases(file, name) if in_default(case)]
    offered = set(backends(file, BACKENDS, full=False))
    assert {(case.backend, case.twin) for case in kept} == set(itertools.product(offered, TWINS))


def test_each_server_runs_the_first_parameters_and_one_of_them_the_others():
    for name in NAMES:
        kept = [(case.backend, case.number) for case in cases("test_new.py", name, 7) if in_default(case)]
        on_servers = [one for one in kept if one[0] != "redis-cluster"]
        assert sorted(backend for backend, number in on_servers if number == 0) == sorted(SEVERAL)
        assert sorted(number for _, number in on_servers if number) == list(range(1, 7))
        assert {backend for backend, number in on_servers if number} == set(SEVERAL)
        assert kept.count(("redis-cluster", 0)) == len(kept) - 9 <= 1


@pytest.mark.parametrize("file", sorted(VALUES))
def test_each_server_runs_all_values_once(file):
    for name in NAMES:
        kept = [(case.backend, case.number) for case in cases(file, name) if in_default(case)]
        assert sorted(one for one in kept if one[0] != "redis-cluster") == sorted(itertools.product(SEVERAL, range(4)))


@pytest.mark.parametrize("file", sorted(KEYED))
def test_sqlite_runs_all_tests_under_a_key_once_and_postgres_and_redis_some(file):
    names = [f"test_{number}" for number in range(400)]
    kept = [case for name in names for case in cases(file, name, 1) if in_default(case)]
    assert [case.function for case in kept if case.backend == "sqlite-file"] == names
    for backend in ("postgres", "redis"):
        assert 30 < sum(case.backend == backend for case in kept) < 70
    assert len({(case.function, case.backend) for case in kept}) == len(kept)


def test_a_cluster_runs_a_quarter_of_the_tests_and_every_script():
    def on_cluster(file: str) -> int:
        return sum(case.backend == "redis-cluster" for name in NAMES for case in cases(file, name) if in_default(case))

    assert len(NAMES) / 8 < on_cluster("test_new.py") < len(NAMES) / 2
    assert [on_cluster(file) for file in EVERY_SCRIPT] == [len(NAMES)]


@pytest.mark.parametrize("file", [*FILES, *sorted(KEYED)])
def test_the_core_runs_every_test_once_and_over_all_tests_every_backend_both_ways(file):
    kept = [case for name in NAMES for case in cases(file, name) if in_core(case)]
    assert [case.function for case in kept] == NAMES
    assert {(case.backend, case.twin) for case in kept} == set(itertools.product(SEVERAL, TWINS))


def test_the_lists_name_files_that_exist():
    found = {path.name for path in Path(__file__).parents[1].rglob("test_*.py")}
    assert found >= ENGINE | EVERY_SCRIPT | IN_MEMORY | KEYED | NOT_CORE | ONE_NODE | VALUES
