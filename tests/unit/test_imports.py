"""Imports that a signal may break off: they end all the same, and later calls find the module whole."""

from __future__ import annotations

import subprocess
import sys

import pytest
from patience import PATIENCE

PROGRAM = """
import importlib.abc, os, signal, sys

class Stop(Exception):
    pass

def stop(*_):
    raise Stop

class Interrupting(importlib.abc.MetaPathFinder):
    '''Sends the process a signal in the middle of the import of numpy.'''

    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGALRM)
        return None

signal.signal(signal.SIGALRM, stop)
import langchain_agentmem
sys.meta_path.insert(0, Interrupting())
interrupted = False
for _ in range(2):
    try:
        with langchain_agentmem.AgentMemory.from_url("sqlite:///:memory:") as memory:
            memory.store.put(("notes",), "k", {"text": "pizza"})
            print(interrupted, [item.key for item in memory.store.search(("notes",), query="pizza")])
            break
    except Stop:
        interrupted = True
"""


@pytest.mark.parametrize("module", ["numpy", "numpy.exceptions", "numpy.dtypes", "numpy.linalg"])
def test_a_signal_during_the_import_of_numpy_harms_no_later_call(module):
    done = subprocess.run([sys.executable, "-c", PROGRAM, module], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.strip() == "True ['k']", done.stderr
