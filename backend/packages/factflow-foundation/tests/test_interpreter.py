"""What exists when a process has started is left alone by later collections; garbage still goes."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, weakref
from factflow_foundation import interpreter

class Node:
    pass

def cycle():
    node = Node()
    node.own = node
    return weakref.ref(node)

interpreter.start()
of_the_start = cycle()
kept = [[Node()] for _ in range(1000)]
assert of_the_start() is not None
interpreter.settle()
assert of_the_start() is None
assert gc.get_freeze_count() > 1000, gc.get_freeze_count()
gone = cycle()
made = [[] for _ in range(interpreter.YOUNG_OBJECTS + 1)]
assert gone() is None
"""


def test_a_settled_process_collects_cycles_but_not_what_it_began_with() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
