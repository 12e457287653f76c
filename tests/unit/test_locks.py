"""Locks that a forked child finds free."""

from __future__ import annotations

import os
import threading

import pytest
from patience import PATIENCE

from langchain_agentmem.programs.locks import forkable_lock


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_lock_that_another_thread_holds_is_free_in_a_forked_child():
    lock, held, end = forkable_lock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            end.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(PATIENCE)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if lock.acquire(blocking=False) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert not lock.acquire(blocking=False)
    end.set()
    thread.join(PATIENCE)
