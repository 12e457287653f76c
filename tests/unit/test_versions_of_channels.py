"""The versions of channels: ordered, different for each fork of a thread, and in each process."""

from __future__ import annotations

import os
import random

import pytest

from langchain_agentmem.checkpointing.arguments import next_version
from langchain_agentmem.errors import InvalidInputError


def test_a_version_is_greater_than_the_former_one():
    versions = [next_version(None)]
    for _ in range(20):
        versions.append(next_version(versions[-1]))
    assert versions == sorted(versions)
    assert next_version(7) > next_version("0000006.5f")
    with pytest.raises(InvalidInputError, match="begin with a number"):
        next_version("a.1")


def test_versions_of_two_forks_differ_whatever_the_application_seeds():
    seen = set()
    for _ in range(50):
        random.seed(1)
        seen.add(next_version("5"))
    assert len(seen) == 50


def test_versions_differ_in_a_forked_process():
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writable, next_version("5").encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(readable, 100).decode() != next_version("5")
    os.close(readable)
    os.close(writable)
