"""What a program is told, what it is not told, and what its exit status means."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import strongroom

from strongroom.errors import (
    BackendUnavailableError,
    CandidateRefusedError,
    ConfigurationError,
    RotationError,
    UndoRefusedError,
)
from strongroom.model import SecretValue, ValueType
from strongroom.pacing import within
from strongroom.testing import assert_hidden, marker_value, report_of
from strongroom.testing.rotation import NAME, Steps

Program = Callable[..., str]
MakeSteps = Callable[..., Steps]
CANDIDATE = SecretValue("the candidate")

IGNORING = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
SHOWING = """
import sys
from strongroom.model import SecretValue
from strongroom.testing.rotation import Steps, read_nothing
from strongroom_rotate_command.rotator import CommandRotator
from strongroom_rotate_command.settings import CommandSettings
settings = CommandSettings(command=(sys.argv[1],), show_output=sys.argv[2] == "1")
Steps(CommandRotator(settings), SecretValue("one"), read_nothing).apply(SecretValue("two"))
"""


def wait_for(path: Path) -> str:
    """Return a file's content, once a program has written it."""
    end = time.monotonic() + 20
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < end, f"nobody has written {path.name}"
        time.sleep(0.01)
    return path.read_text().strip()


def has_ended(process: int) -> bool:
    """Tell whether a process ends within a while: one that is dead and not reaped has."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.kill(process, 0)
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False


class TestValues:
    def test_a_time_limit_may_be_longer_than_the_system_waits_at_once(self, program: Program, steps: MakeSteps) -> None:
        path = program('sleep 0.1; echo made > "/dev/fd/$STRONGROOM_OUTPUT_FD"')
        assert steps(path, timeout=30 * 86400.0).generate().reveal_text() == "made\n"

    @pytest.mark.parametrize("size", [0, 1, 65536, 65537, 1 << 20])
    def test_any_bytes_go_there_and_back_exactly(self, program: Program, steps: MakeSteps, size: int) -> None:
        path = program(
            """
            import shutil
            with os.fdopen(int(os.environ["STRONGROOM_CURRENT_FD"]), "rb") as source:
                with os.fdopen(int(os.environ["STRONGROOM_OUTPUT_FD"]), "wb") as target:
                    target.write(b"+")
                    shutil.copyfileobj(source, target)
            """,
            python=True,
        )
        content = os.urandom(size)
        made = steps(path, current=SecretValue(content)).generate()
        assert made.reveal() == b"+" + content
        assert made.type is ValueType.BINARY

    def test_text_stays_text(self, program: Program, steps: MakeSteps) -> None:
        path = program('printf "d\\303\\251\\n" > "/dev/fd/$STRONGROOM_OUTPUT_FD"')
        made = steps(path).generate()
        assert made.type is ValueType.TEXT
        assert made.reveal_text() == "dé\n"

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("exit 0", "has made nothing"),
            ('printf "\\377" > "/dev/fd/$STRONGROOM_OUTPUT_FD"', "no text in UTF-8"),
            ('head -c 17000000 /dev/zero > "/dev/fd/$STRONGROOM_OUTPUT_FD"; exit 0', "too large a value"),
        ],
        ids=["nothing", "no text", "too much"],
    )
    def test_what_is_no_value_is_refused(self, program: Program, steps: MakeSteps, text: str, what: str) -> None:
        with pytest.raises(RotationError, match=what) as caught:
            steps(program(text)).generate()
        assert caught.value.code == "rotation_failed"

    @pytest.mark.parametrize(
        "text",
        [
            "exit 0",
            'exec python3 -c "import os, time; os.closerange(3, 99); time.sleep(0.5)"',
            'head -c 10 "/dev/fd/$STRONGROOM_CANDIDATE_FD" > /dev/null',
        ],
        ids=["reads nothing", "closes it", "reads its beginning"],
    )
    def test_a_program_need_not_read_a_large_value(self, program: Program, steps: MakeSteps, text: str) -> None:
        large = SecretValue(bytes(1 << 20))
        steps(program(text), current=large, timeout=20.0).apply(large)

    def test_what_is_written_last_counts_although_the_pipe_is_held_open(
        self, program: Program, steps: MakeSteps
    ) -> None:
        path = program('sleep 60 & printf "made" > "/dev/fd/$STRONGROOM_OUTPUT_FD"')
        assert steps(path).generate().reveal() == b"made"

    def test_passwords_are_made_of_the_alphabet(self, program: Program, steps: MakeSteps) -> None:
        leader = steps(program("exit 1"), generate="password", length=40, alphabet="abcd")
        made = leader.generate().reveal_text()
        assert len(made) == 40
        assert set(made) <= set("abcd")

    def test_other_secrets_come_like_values(self, program: Program, steps: MakeSteps, tmp_path: Path) -> None:
        path = program(f'cat "/dev/fd/$STRONGROOM_SECRET_ADMIN_FD" > {tmp_path}/admin')
        asked = {"ops/admin": SecretValue("the administrator's")}
        steps(path, read=asked.__getitem__, secrets={"admin": "ops/admin"}).apply(CANDIDATE)
        assert (tmp_path / "admin").read_text() == "the administrator's"

    @pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc, to look into a process")
    def test_no_value_is_on_the_command_line_or_in_the_environment(
        self, program: Program, steps: MakeSteps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("UNRELATED_TOKEN", "not to be handed on")
        monkeypatch.setenv("WANTED", "handed on")
        path = program(
            f"""
            cat "/dev/fd/$STRONGROOM_CANDIDATE_FD" "/dev/fd/$STRONGROOM_CURRENT_FD" | wc -c > {tmp_path}/read
            echo $$ > {tmp_path}/process
            while test ! -e {tmp_path}/go; do sleep 0.02; done
            """
        )
        current, candidate = marker_value(), marker_value()
        leader = steps(path, current=SecretValue(current), environment=("WANTED", "MISSING"))
        thread = threading.Thread(target=leader.apply, args=(SecretValue(candidate),))
        thread.start()
        process = wait_for(tmp_path / "process")
        seen = {kind: Path(f"/proc/{process}/{kind}").read_text() for kind in ("cmdline", "environ")}
        (tmp_path / "go").touch()
        thread.join()
        for value in (current, candidate):
            assert_hidden(value, seen["cmdline"], "the command line")
            assert_hidden(value, seen["environ"], "the environment")
        variables = dict(item.split("=", 1) for item in seen["environ"].split("\0") if item)
        assert "UNRELATED_TOKEN" not in variables
        assert variables["WANTED"] == "handed on"
        assert variables["STRONGROOM_ROTATION_NAME"] == NAME
        assert variables["STRONGROOM_ROTATION_STEP"] == "apply"
        assert int((tmp_path / "read").read_text()) == len((current + candidate).encode())

    @pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc, to look into a process")
    def test_a_program_gets_its_own_descriptors_only(self, program: Program, steps: MakeSteps, tmp_path: Path) -> None:
        path = program(
            f"""
            import json
            ours = [value for key, value in os.environ.items() if key.endswith("_FD")]
            known = [os.readlink(f"/proc/self/fd/{{number}}") for number in ours]
            there = []
            for number in os.listdir("/proc/self/fd"):
                try:
                    there.append(os.readlink(f"/proc/self/fd/{{number}}"))
                except FileNotFoundError:
                    pass  # what the folder was listed by
            pipes = [link for link in there if link.startswith("pipe:")]
            with open({str(tmp_path / "seen")!r}, "w") as file:
                print(json.dumps([sorted(known), sorted(pipes)]), file=file)
            """,
            python=True,
        )
        reading, writing = os.pipe()
        os.set_inheritable(reading, True)
        try:
            steps(path).apply(CANDIDATE)
        finally:
            os.close(reading)
            os.close(writing)
        known, pipes = json.loads((tmp_path / "seen").read_text())
        assert len(known) == 2
        assert pipes == known

    @pytest.mark.parametrize(("show", "expected"), [(True, "told\ncomplained\n"), (False, "")])
    def test_what_it_prints_is_shown_on_request_only(self, program: Program, show: bool, expected: str) -> None:
        path = program("echo told; echo complained >&2")
        # In a process of its own, whose standard error is one.
        done = subprocess.run(
            [sys.executable, "-c", SHOWING, path, str(int(show))], capture_output=True, text=True, check=True
        )
        assert done.stdout == ""
        assert done.stderr == expected


class TestStatus:
    @pytest.mark.parametrize("step", ["apply", "verify"])
    def test_10_is_a_refusal(self, program: Program, steps: MakeSteps, step: str) -> None:
        with pytest.raises(CandidateRefusedError) as caught:
            getattr(steps(program("exit 10")), step)(CANDIDATE)
        assert caught.value.name == NAME

    @pytest.mark.parametrize("step", ["finish", "undo"])
    def test_10_is_a_failure_where_nothing_can_be_refused(self, program: Program, steps: MakeSteps, step: str) -> None:
        with pytest.raises(RotationError) as caught:
            getattr(steps(program("exit 10")), step)(CANDIDATE)
        assert caught.value.step == step

    def test_10_refuses_to_undo_what_is_promoted(self, program: Program, steps: MakeSteps) -> None:
        leader = steps(program('test "$STRONGROOM_ROTATION_PROMOTED" = 1 && exit 10; exit 3'))
        with pytest.raises(UndoRefusedError, match="is of no use any more") as caught:
            leader.undo(CANDIDATE, promoted=True)
        assert caught.value.name == NAME
        with pytest.raises(RotationError, match="ended with status 3"):
            leader.undo(CANDIDATE)

    @pytest.mark.parametrize("step", ["apply", "verify", "finish", "undo"])
    def test_75_is_an_outage(self, program: Program, steps: MakeSteps, step: str) -> None:
        with pytest.raises(BackendUnavailableError):
            getattr(steps(program("exit 75")), step)(CANDIDATE)

    @pytest.mark.parametrize(
        ("text", "what"), [("exit 3", "ended with status 3"), ("kill -9 $$", "was ended by signal 9")]
    )
    def test_anything_else_is_a_failure(self, program: Program, steps: MakeSteps, text: str, what: str) -> None:
        with pytest.raises(RotationError, match=what) as caught:
            steps(program(text)).apply(CANDIDATE)
        assert caught.value.code == "rotation_incomplete"

    def test_an_error_holds_no_value(self, program: Program, steps: MakeSteps) -> None:
        current, candidate = marker_value(), marker_value()
        path = program('cat "/dev/fd/$STRONGROOM_CANDIDATE_FD" >&2; exit 1')
        with pytest.raises(RotationError) as caught:
            steps(path, current=SecretValue(current)).apply(SecretValue(candidate))
        report = report_of(caught.value, "strongroom_rotate_command")
        assert_hidden(current, report, "the error")
        assert_hidden(candidate, report, "the error")

    def test_a_value_that_was_made_in_vain_does_not_show(self, program: Program, steps: MakeSteps) -> None:
        made = marker_value()
        leader = steps(program('cat "/dev/fd/$STRONGROOM_CURRENT_FD" > "/dev/fd/$STRONGROOM_OUTPUT_FD"; exit 1'))
        leader.current = SecretValue(made)
        with pytest.raises(RotationError) as caught:
            leader.generate()
        assert_hidden(made, report_of(caught.value, "strongroom_rotate_command"), "the error")

    def test_a_missing_program_is_a_matter_of_the_configuration(self, steps: MakeSteps, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="missing-program cannot be run"):
            steps(str(tmp_path / "missing-program")).apply(CANDIDATE)

    @pytest.mark.parametrize(("mode", "content"), [(0o600, "#!/bin/sh\n"), (0o700, "neither a script nor a program")])
    def test_a_file_that_is_no_program_is_one_too(
        self, steps: MakeSteps, tmp_path: Path, mode: int, content: str
    ) -> None:
        path = tmp_path / "rotate"
        path.write_text(content)
        path.chmod(mode)
        with pytest.raises(ConfigurationError):
            steps(str(path)).apply(CANDIDATE)

    def test_an_unknown_end_is_no_success(self, program: Program) -> None:
        """A process that ignores SIGCHLD never learns how its children end."""
        done = subprocess.run(
            [sys.executable, "-c", f"{IGNORING}{SHOWING}", program("exit 3"), "0"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "RotationError: nobody knows how" in done.stderr

    def test_nothing_runs_once_the_rotation_is_lost(self, program: Program, steps: MakeSteps, tmp_path: Path) -> None:
        leader = steps(program(f"touch {tmp_path}/ran"))
        leader.is_lost = True
        for step in (leader.apply, leader.undo, leader.finish):
            with pytest.raises(RotationError) as caught:
                step(CANDIDATE)
            assert caught.value.code == "rotation_lost"
        assert not (tmp_path / "ran").exists()


class TestTime:
    @pytest.mark.parametrize("trap", ["", "trap '' TERM"], ids=["ends when told", "has to be killed"])
    def test_a_hanging_program_is_ended_with_what_it_started(
        self, program: Program, steps: MakeSteps, tmp_path: Path, trap: str
    ) -> None:
        path = program(f"{trap}\nsleep 300 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/own\nwait; wait; wait")
        began = time.monotonic()
        with pytest.raises(BackendUnavailableError, match="did not end its step apply in time"):
            steps(path, timeout=1.0).apply(CANDIDATE)
        assert time.monotonic() - began < 10
        for who in ("child", "own"):
            assert has_ended(int(wait_for(tmp_path / who)))

    def test_it_ends_within_the_time_that_is_left(self, program: Program, steps: MakeSteps) -> None:
        leader = steps(program("exec sleep 300"), timeout=300.0)
        began = time.monotonic()
        with within(1.0), pytest.raises(BackendUnavailableError):
            leader.apply(CANDIDATE)
        assert time.monotonic() - began < 10

    def test_without_time_nothing_is_started(self, program: Program, steps: MakeSteps, tmp_path: Path) -> None:
        leader = steps(program(f"touch {tmp_path}/ran"))
        with within(0.0), pytest.raises(BackendUnavailableError, match="no time left"):
            leader.apply(CANDIDATE)
        assert not (tmp_path / "ran").exists()

    def test_what_it_leaves_running_is_ended(self, program: Program, steps: MakeSteps, tmp_path: Path) -> None:
        steps(program(f"sleep 300 & echo $! > {tmp_path}/child")).apply(CANDIDATE)
        assert has_ended(int(wait_for(tmp_path / "child")))

    def test_eight_at_once_get_their_own_values(self, program: Program, steps: MakeSteps) -> None:
        path = program('cat "/dev/fd/$STRONGROOM_CURRENT_FD" > "/dev/fd/$STRONGROOM_OUTPUT_FD"')

        def lead(number: int) -> bool:
            current = SecretValue(os.urandom(100_000) + bytes([number]))
            return steps(path, current=current).generate() == current

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lead, range(24)))

    def test_no_descriptor_is_left_open(self, program: Program, steps: MakeSteps) -> None:
        leader = steps(program('test "$1" = generate && exit 10; exit 3'))
        before = os.listdir("/dev/fd")
        for step in (leader.generate, lambda: leader.apply(CANDIDATE), lambda: leader.undo(CANDIDATE)):
            with pytest.raises(RotationError):
                step()
        assert os.listdir("/dev/fd") == before

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
    def test_a_child_forked_meanwhile_does_not_keep_a_value_from_ending(
        self, program: Program, steps: MakeSteps, tmp_path: Path
    ) -> None:
        path = program(
            f"sleep 0.5; echo > {tmp_path}/began; while test ! -e {tmp_path}/go; do sleep 0.02; done\n"
            'cat "/dev/fd/$STRONGROOM_CANDIDATE_FD" > /dev/null'
        )
        failed: list[BaseException] = []

        def lead() -> None:
            try:
                steps(path, timeout=20.0).apply(SecretValue(bytes(1 << 20)))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=lead)
        thread.start()
        wait_for(tmp_path / "began")
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        try:
            (tmp_path / "go").touch()
            thread.join()
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
        assert failed == []


class TestRotations:
    """Whole rotations of a manager, with a program in them."""

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("FOLDER", str(tmp_path))
        return tmp_path

    def opened(self, path: str) -> strongroom.SecretManager:
        rule = {"rotator": "command", "command": [path], "generate": "password", "environment": ["FOLDER"]}
        settings = {"audit": "none", "backends": {"m": {"type": "memory"}}, "rotation": {"db/*": rule}}
        manager = strongroom.open(settings)
        manager.set("db/a", "the first one")
        return manager

    def test_a_refused_candidate_is_replaced(self, program: Program, folder: Path) -> None:
        path = program(
            """
            cd "$FOLDER"
            test "$1" != apply || echo >> tried
            test "$1" != apply || test "$(wc -l < tried)" -gt 2 || exit 10
            test "$1" != apply || cat "/dev/fd/$STRONGROOM_CANDIDATE_FD" > applied
            """
        )
        with self.opened(path) as manager:
            manager.rotate("db/a")
            assert manager.get("db/a").reveal_text() == (folder / "applied").read_text()
        assert (folder / "tried").read_text() == "\n" * 3

    def test_a_failed_one_can_be_taken_back_by_the_values_it_needs(self, program: Program, folder: Path) -> None:
        path = program(
            """
            cd "$FOLDER"
            case $1 in
                apply) cat "/dev/fd/$STRONGROOM_CANDIDATE_FD" > applied; exit 3 ;;
                undo) cat "/dev/fd/$STRONGROOM_CANDIDATE_FD" > undone; cat "/dev/fd/$STRONGROOM_CURRENT_FD" > kept ;;
            esac
            """
        )
        with self.opened(path) as manager:
            with pytest.raises(RotationError):
                manager.rotate("db/a")
            manager.rotation.undo("db/a")
            assert manager.get("db/a").reveal_text() == "the first one"
        assert (folder / "undone").read_text() == (folder / "applied").read_text()
        assert (folder / "kept").read_text() == "the first one"
