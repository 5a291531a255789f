"""What a copy tells that ends before it is done: an outage, a detector, Ctrl-C, a refusal."""

from __future__ import annotations

import json
import os
import subprocess

from pathlib import Path
from typing import Any, Final

import pytest

PLUGIN: Final = '''
"""A backend that refuses some names, and from some write on fails in one of several ways; a sink that has no end."""

import os
import signal

from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import AuditSink, BackendSpec, Capability, Record, SinkSpec
from strongroom.errors import AccessDeniedError, BackendUnavailableError
from strongroom.hookspecs import hookimpl


class FalteringSettings(MemorySettings):
    denied: tuple[str, ...] = ()
    good_writes: int = 1000
    then: str = "away"
    unreadable: tuple[str, ...] = ()
    good_batches: int = 1000


class Faltering(MemoryBackend):
    def __init__(self, settings):
        self.settings = settings
        self.writes = -len(settings.seed or {})
        self.batches = 0
        super().__init__(settings)

    def read_many(self, request):
        self.batches += 1
        if self.batches > self.settings.good_batches:
            raise BackendUnavailableError("no answer")
        denied = {
            name: AccessDeniedError(f"nobody may read {name}", name=name)
            for name in request.names
            if name in self.settings.unreadable
        }
        answer = super().read_many(request)
        found = {name: one for name, one in answer.found.items() if name not in denied}
        return answer.replace(found=found, errors={**answer.errors, **denied})

    def write(self, request):
        if request.name in self.settings.denied:
            raise AccessDeniedError(f"nobody may write {request.name}", name=request.name)
        self.writes += 1
        if self.writes > self.settings.good_writes:
            if self.settings.then == "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
            raise BackendUnavailableError(f"no answer for {request.name}", name=request.name)
        return super().write(request)


class Endless(AuditSink):
    def __init__(self, settings):
        pass

    def write(self, request):
        if any(event.event == "closed" for event in request.events):
            raise OSError("full")


@hookimpl
def strongroom_audit_sinks():
    yield SinkSpec(name="endless", summary="Cannot record the end.", settings=Record, open=Endless)


@hookimpl
def strongroom_backends():
    yield BackendSpec(
        name="faltering", summary="At times.", settings=FalteringSettings, open=Faltering,
        capabilities=frozenset(Capability),
    )
'''

CONFIGURATION: Final = """
backend = "one"
audit = {audit}

[backends.one]
type = "memory"
seed = {{ {seed} }}

[backends.two]
type = "faltering"
{settings}
"""
NAMES: Final = tuple(f"n{number:02}" for number in range(30))


MANY: Final = {f"x{number:03}-{'x' * 60}": "1" for number in range(200)}
"""So many that what is told of them does not fit into the buffer of a stream."""


class Site:
    """The desk with a backend that falters, and one to copy from."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    def __call__(self, command: str, *arguments: str, source: str = "one", target: str = "two") -> Any:
        """Do one step after the other."""
        return self._desk(command, source, target, "--workers", "1", *arguments)

    def copy(self, *arguments: str, **places: str) -> Any:
        """Copy one secret after the other."""
        return self("copy", *arguments, **places)

    def unread(self, stream: str, *arguments: str) -> tuple[int, str]:
        """Do it while nobody reads one of the two streams; return the status and what came on the other one."""
        reading, writing = os.pipe()
        os.close(reading)
        streams = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE) | {stream: writing}
        with subprocess.Popen(
            self._desk.command(*arguments[:1], "one", "two", *arguments[1:]),
            cwd=self._desk.folder,
            env=self._desk.environment(),
            text=True,
            **streams,
        ) as process:
            os.close(writing)
            told = "".join(filter(None, process.communicate(timeout=60)))
        return process.returncode, told

    def configure(self, settings: str, *, audit: str = '"none"', **more: str) -> None:
        """Have thirty small secrets, and some more, in the source."""
        seed = ", ".join(f'{name} = "{value}"' for name, value in (dict.fromkeys(NAMES, "1") | more).items())
        self._desk.configure(CONFIGURATION.format(audit=audit, seed=seed, settings=settings))


@pytest.fixture
def site(desk: Any, tmp_path: Path) -> Site:
    folder = tmp_path / "site"
    info = folder / "faltering-1.0.dist-info"
    info.mkdir()
    (folder / "faltering.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faltering\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[strongroom.backends]\nfaltering = faltering\n[strongroom.audit_sinks]\nendless = faltering\n"
    )
    return Site(desk)


def test_what_was_found_before_an_outage_is_told_before_it(site: Site) -> None:
    site.configure('denied = ["n03"]\ngood_writes = 8')
    done = site.copy()
    assert (done.status, done.stdout) == (6, "")
    _, counted, denied, stopped = done.stderr.splitlines()
    assert counted == "strongroom: 8 of 30 were copied; the same command goes on from there"
    assert denied == "strongroom: nobody may write n03"
    assert stopped.startswith("strongroom: stopped after 10 calls in a row without an answer")


def test_programs_are_told_what_was_done_until_an_outage(site: Site) -> None:
    site.configure('denied = ["n03"]\ngood_writes = 8')
    done = site.copy("--json")
    assert done.status == 6
    answer = json.loads(done.stdout)
    assert [one["name"] for one in answer["copied"]] == [name for name in NAMES[:9] if name != "n03"]
    assert answer["failed"][0] == {"name": "n03", "error": "denied"}
    assert {one["error"] for one in answer["failed"][1:]} == {"unavailable"}
    assert answer["stopped"] == "unavailable"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_was_found_before_an_interrupt_is_told(site: Site, options: tuple[str, ...]) -> None:
    site.configure('denied = ["n03"]\ngood_writes = 8\nthen = "interrupt"')
    done = site.copy(*options)
    assert done.status == 130
    assert done.stderr.splitlines() == [
        "strongroom: 8 of 30 were copied; the same command goes on from there",
        "strongroom: nobody may write n03",
    ]
    if options:
        answer = json.loads(done.stdout)
        assert (len(answer["copied"]), answer["stopped"]) == (8, "interrupted")
        assert answer["failed"] == [{"name": "n03", "error": "denied"}]


@pytest.mark.parametrize("command", ["copy", "diff"])
def test_what_was_found_before_a_comparison_stopped_is_told(site: Site, command: str) -> None:
    there = ", ".join(f'{name} = "1"' for name in (*NAMES, *MANY))
    site.configure(f"seed = {{ {there} }}\nunreadable = ['n03']\ngood_batches = 1", **MANY)
    done = site(command)
    assert done.status == 6
    *_, denied, stopped = done.stderr.splitlines()
    assert denied == "strongroom: nobody may read n03"
    assert stopped.startswith("strongroom: stopped after 10 calls in a row without an answer")


def test_what_was_passed_over_at_first_is_told_with_a_later_stop(site: Site) -> None:
    site.configure("max_value_bytes = 5\ngood_writes = 2", large="x" * 6)
    done = site.copy("--keep-going")
    assert done.status == 6
    assert "the value of large has 6 bytes" in done.stderr.splitlines()[-2]


def test_programs_are_told_what_keeps_everything_from_being_copied(site: Site) -> None:
    site.configure('max_value_bytes = 5\nseed = { n04 = "other" }', large="x" * 6)
    done = site.copy("--json")
    assert done.status == 7
    answer = json.loads(done.stdout)
    assert (answer["copied"], answer["stopped"]) == ([], "conflict")
    assert answer["failed"] == [{"name": "large", "error": "too_large"}, {"name": "n04", "error": "conflict"}]


def test_programs_are_told_that_there_is_nothing_to_copy(site: Site) -> None:
    site.configure("")
    done = site.copy("--json", source="one:nothing/")
    assert (done.status, json.loads(done.stdout)["stopped"]) == (3, "not_found")


@pytest.mark.parametrize(
    ("settings", "status", "words"),
    [
        ('denied = ["n03"]', 4, "nobody may write n03"),
        ("good_writes = 150", 6, "stopped after 10 calls"),
        ("max_value_bytes = 5", 2, "the value of large has 6 bytes"),
    ],
)
def test_what_went_wrong_is_told_although_nobody_reads_the_answer(
    site: Site, settings: str, status: int, words: str
) -> None:
    site.configure(settings, **MANY, large="x" * 6)
    ended, told = site.unread("stdout", "copy", "--json", "--keep-going")
    assert ended == status
    assert words in told


@pytest.mark.parametrize(
    ("settings", "status", "stopped"),
    [("good_writes = 8", 6, "unavailable"), ('seed = { n04 = "other" }', 7, "conflict")],
)
def test_programs_are_told_what_has_ended_it_although_nobody_reads_the_errors(
    site: Site, settings: str, status: int, stopped: str
) -> None:
    site.configure(settings)
    ended, answer = site.unread("stderr", "copy", "--json")
    assert (ended, json.loads(answer)["stopped"]) == (status, stopped)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(("settings", "status"), [("", 1), ('seed = { n03 = "1" }\nunreadable = ["n03"]', 4)])
def test_a_comparison_has_its_status_although_nobody_reads_what_it_tells(
    site: Site, settings: str, status: int, stream: str
) -> None:
    site.configure(settings, **MANY)
    assert site.unread(stream, "diff")[0] == status


def test_what_was_done_is_told_although_its_end_cannot_be_recorded(site: Site) -> None:
    site.configure("", audit='[{ type = "endless" }]')
    done = site.copy("--json")
    assert (done.status, len(json.loads(done.stdout)["copied"])) == (10, len(NAMES))
    done = site.copy()
    assert (done.status, done.stderr.splitlines()[0]) == (10, "copied 30 secrets from one to two")
    done = site("diff")
    assert (done.status, len(done.stdout.splitlines())) == (10, 1 + len(NAMES))


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_programs_are_told_what_is_left_when_a_copy_is_to_keep_going(site: Site, options: tuple[str, ...]) -> None:
    site.configure("max_value_bytes = 5", large="x" * 6)
    done = site.copy("--keep-going", "--json", *options)
    assert done.status == 2
    answer = json.loads(done.stdout)
    assert ([one["name"] for one in answer["copied"]], answer["stopped"]) == ([*NAMES], None)
    assert answer["failed"] == [{"name": "large", "error": "too_large"}]


def test_a_name_that_is_none_in_the_target_is_a_problem_of_its_own(site: Site) -> None:
    """Together with the folder it is too long; what is told is its spelling all the same."""
    long = "/".join(["x" * 63] * 7)
    site.configure("", **{f'"{long}"': "1"})
    answer = json.loads(site.copy("--keep-going", "--json", target=f"two:{'y' * 100}/").stdout)
    assert answer["failed"] == [{"name": f"{'y' * 100}/{long}", "error": "invalid_name"}]
    assert len(answer["copied"]) == len(NAMES)
