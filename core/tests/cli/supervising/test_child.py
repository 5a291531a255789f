"""A process that is to become the program, and says what it has read in a way that the parent may not understand."""

from __future__ import annotations

import errno
import os
import signal
import time

from pathlib import Path

import pytest

from strongroom.cli.supervising.child import Child

LIMIT = 60.0

# What another release may say, once strongroom has been upgraded beside a program that runs.
OTHER = """
import os, sys, time
report = int(sys.argv[sys.argv.index("--handover") + 1].split(":")[0])
os.write(report, b'["a", {"a": "1"}]\\n')
time.sleep(600)
"""


def test_a_process_of_another_release_is_ended_and_counts_as_one_that_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strongroom").mkdir()
    (tmp_path / "strongroom/__main__.py").write_text(OTHER)
    (tmp_path / "strongroom/__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = Child([], ["run"], ())
    try:
        end = time.monotonic() + LIMIT
        while child.status is None:
            assert time.monotonic() < end
            child.look()
            time.sleep(0.01)
    finally:
        child.give_up()
    assert (child.status, child.report) == (-signal.SIGKILL, None)


def test_no_handle_is_left_open_where_there_are_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = os.pipe, []

    def scarce() -> tuple[int, int]:
        if made:
            raise OSError(errno.EMFILE, "too many")
        made.extend(real())
        return made[0], made[1]

    monkeypatch.setattr(os, "pipe", scarce)
    with pytest.raises(OSError, match="too many"):
        Child([], ["run"], ())
    for handle in made:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(handle)
