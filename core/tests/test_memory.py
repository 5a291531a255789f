"""Values stay in memory: no core dumps, and no swap where that is asked for."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import textwrap

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import strongroom

from strongroom.errors import ConfigurationError, SecretNotFoundError

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can lock all of a process's pages")


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own: limits cannot be taken back."""
    command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hides a process from its own user")
def test_a_process_can_be_hidden_and_what_it_starts_is_not() -> None:
    done = run(
        """
        import ctypes, subprocess, sys
        from strongroom.memory import forbid_inspection
        # 3 is PR_GET_DUMPABLE.
        show = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)"
        exec(show)
        forbid_inspection()
        exec(show)
        subprocess.run([sys.executable, "-c", show])
        """
    )
    assert (done.stdout.split(), done.stderr) == (["1", "0", "1"], "")


class TestCoreDumps:
    def test_neither_the_process_nor_its_child_may_leave_one(self) -> None:
        done = run(
            """
            import resource, subprocess, sys
            from strongroom.memory import forbid_core_dumps
            hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
            forbid_core_dumps()
            forbid_core_dumps()
            print(resource.getrlimit(resource.RLIMIT_CORE))
            child = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
            sys.stdout.flush()
            subprocess.run([sys.executable, "-c", child], check=True)
            """
        )
        # Not 0 on Linux: there, that forbids the file, and not the program that core_pattern may name.
        least = "(1, 1)" if sys.platform == "linux" else "(0, 0)"
        assert done.stdout.splitlines() == [least, least], done.stderr

    def test_a_library_leaves_the_limit_of_its_program_alone(self, open_manager: Any) -> None:
        """Only the command sets it: it is a process of ours."""
        before = resource.getrlimit(resource.RLIMIT_CORE)
        open_manager({"a": "1"}).get("a")
        assert resource.getrlimit(resource.RLIMIT_CORE) == before


LOCK = """
    import os, sys
    import strongroom
    from strongroom.errors import ConfigurationError

    def locked():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmLck:")) > 0

    config = {"audit": "none", "backends": {"m": {"type": "memory"}}, "lock_memory": True}
    try:
        manager = strongroom.open(config)
    except ConfigurationError as error:
        print("refused:", error)
        sys.exit()
    print("locked" if locked() else "not locked")
    manager.set("a", "1")
    print(manager.get("a").reveal_text())
    child = os.fork()
    if child == 0:
        print("child", "locked" if locked() else "not locked", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def may_lock() -> bool:
    """Tell whether this process has the right that locking takes."""
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) & 1 << 14) or resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == -1


@only_linux
class TestLocking:
    def test_every_page_is_locked_also_in_a_forked_child(self) -> None:
        if not may_lock():
            pytest.skip("needs CAP_IPC_LOCK, or a RLIMIT_MEMLOCK that is unlimited")
        done = run("import sys; sys.stdout.reconfigure(line_buffering=True)\n" + textwrap.dedent(LOCK))
        assert done.stdout.splitlines() == ["locked", "1", "child locked"], done.stderr

    def test_what_the_system_refuses_is_an_error_that_says_what_to_do(self) -> None:
        """Without the right, and with a limit that lets nobody lock a page."""
        unprivileged = """
            import ctypes, os, resource
            # While they can be read; from Python 3.12 on, typing imports inspect only when it is needed.
            import inspect, strongroom, strongroom.config.load, strongroom.manager, strongroom.memory
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
            if os.geteuid() == 0:
                os.setresuid(65534, 65534, 65534)
        """
        done = run(textwrap.dedent(unprivileged) + textwrap.dedent(LOCK))
        assert done.stdout.startswith("refused: the memory cannot be locked, as lock_memory asks for: "), done.stderr
        assert "RLIMIT_MEMLOCK" in done.stdout
        assert "CAP_IPC_LOCK" in done.stdout


def test_where_the_system_cannot_lock_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    config = {"audit": "none", "backends": {"m": {"type": "memory"}}, "lock_memory": True}
    with pytest.raises(ConfigurationError, match="darwin offers no way to lock"):
        strongroom.open(config)


def test_nothing_is_locked_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, open_manager: Any) -> None:
    def unwanted() -> None:
        raise AssertionError("locked")

    monkeypatch.setattr("strongroom.memory.lock_memory", unwanted)
    assert open_manager({"a": "1"}).get("a").reveal_text() == "1"


CHANGES: dict[str, Callable[[Any], object]] = {
    "invalidate": lambda manager: manager.invalidate("a"),
    "set": lambda manager: manager.set("a", "newer"),
    "rotate": lambda manager: manager.rotate("a"),
    "delete": lambda manager: manager.delete("a"),
    "close": lambda manager: manager.close(),
}


class TestHolding:
    """A secret that somebody holds stays as it is; what nobody holds is wiped."""

    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
    def test_a_held_secret_keeps_its_value_whatever_becomes_of_the_name(
        self, change: Callable[[Any], object], open_manager: Any
    ) -> None:
        manager = open_manager({"a": "s3cret"})
        held = manager.get("a")
        again = manager.get("a")
        change(manager)
        gc.collect()
        assert (held.reveal(), held.reveal_text()) == (b"s3cret", "s3cret")
        assert again.reveal_text() == "s3cret"

    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
    def test_the_buffer_is_wiped_when_its_last_holder_lets_go_and_not_before(
        self, change: Callable[[Any], object], open_manager: Any, make_hooked: Any
    ) -> None:
        manager = open_manager(backends={"memory": make_hooked({"a": "s3cret"})})
        first = manager.get("a")
        second = manager.get("a")
        buffer = first.value._buffer
        change(manager)
        gc.collect()
        del first
        gc.collect()
        assert bytes(buffer) == b"s3cret"
        del second
        gc.collect()
        assert bytes(buffer) == bytes(6)

    def test_a_field_that_is_held_outlives_the_whole(self, open_manager: Any) -> None:
        manager = open_manager({"a": '{"user": "u", "password": "s3cret"}'})
        field = manager.get("a").field("password")
        manager.close()
        gc.collect()
        assert field.reveal_text() == "s3cret"

    def test_a_read_that_fails_leaves_a_held_secret_alone(self, open_manager: Any) -> None:
        manager = open_manager({"a": "s3cret"})
        held = manager.get("a")
        with pytest.raises(SecretNotFoundError):
            manager.get("b")
        assert held.reveal_text() == "s3cret"
