"""Waiting for threads whose ends a fork must not meet."""

from __future__ import annotations

import os
import sys
import threading

from pathlib import Path

import pytest

from strongroom.crew import run_all
from strongroom.joining import join


def tasks() -> set[str]:
    return {entry.name for entry in Path("/proc/self/task").iterdir()}


# Only Linux lists a process's threads in a file system.
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's threads")


@linux
def test_a_joined_thread_is_gone_for_the_system_as_well() -> None:
    for _ in range(200):
        thread = threading.Thread(target=os.urandom, args=(8,))
        thread.start()
        assert join(thread)
        assert str(thread.native_id) not in tasks()


@linux
def test_what_several_threads_did_leaves_none_of_them() -> None:
    before = tasks()
    for _ in range(50):
        begun = threading.Barrier(4)
        run_all([begun.wait] * 4, threads=4)
        assert tasks() <= before


def test_a_thread_that_goes_on_is_not_waited_for_beyond_the_limit() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    assert not join(thread, 0.01)
    end.set()
    assert join(thread)
