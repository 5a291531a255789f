"""A process that rotates is killed at every point, with every rotator on every backend; another one resumes or undoes.

A store in memory is its process's own, so nobody could go on with what is left there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import doorplugin
import moto_server
import strongroom

from dependents import ROTATORS, Dependent, dependent_of
from openbao import Server, development_server
from pgrotation import ADMIN_VARIABLE, administrator
from postgres import PASSWORD, Database, database
from rotationworker import NAME, Ended, Workers, workers
from strongroom.errors import InvalidNameError
from tables import aws_table, local_table, vault_table

BACKENDS: Final = ("local", "vault 2", "vault 1", "aws")
STEPS: Final = ("generate", "apply", "verify", "finish")
FEWEST: Final = 14
"""A rotation has as many points at least: those of its steps, and of three changes in the backend."""
MOST: Final = 40
RACERS: Final = 3


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with development_server(tmp_path_factory.mktemp("bao")) as started:
        yield started


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[moto_server.Emulator]:
    with moto_server.emulator(tmp_path_factory.mktemp("moto")) as started:
        yield started


@pytest.fixture(scope="session")
def postgres() -> Iterator[Database]:
    with database() as started, administrator():
        yield started


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("forks")
    doorplugin.install(folder / "site")
    with workers(folder, folder / "site", **{ADMIN_VARIABLE: PASSWORD}) as started:
        yield started


class Site:
    """A secret on a backend with its dependent, and processes that rotate it.

    Args:
        forks: Starts the processes.
        dependent: The dependent.
        table: The backend's table.
        rule: Further settings of the ``[rotation]`` table.

    Attributes:
        former: The value that is current when a rotation begins.
        standing: A manager that only reads, opened before anything was rotated.
    """

    def __init__(self, forks: Workers, dependent: Dependent, table: dict[str, Any], **rule: Any) -> None:
        self._forks = forks
        self.dependent = dependent
        self.former = ""
        self._common = {"audit": "none", "backends": {"main": table}, "cache": {"policy": "none"}}
        self.standing = self.reader()
        self._rotation = {NAME: dependent.table() | {"overlap": "0s"} | rule}

    def reader(self) -> strongroom.SecretManager:
        """Return a manager that knows nothing of rotations."""
        return strongroom.open(self._common)

    def begin(self) -> None:
        """Write the first value, which the dependent accepts."""
        with self.reader() as manager:
            for name, value in self.dependent.others.items():
                manager.set(name, value)
            manager.set(NAME, self.dependent.first or "none yet")
        if self.dependent.first is None:
            self.done("rotate")
        self.former = self.read()

    def read(self) -> str:
        """Return what a reader gets, who is there all the time."""
        return self.standing.get(NAME).reveal_text()

    def all(self, mode: str, count: int) -> list[Ended]:
        """Run several processes at the same time."""
        return self._forks.run(*[{"config": self._common | {"rotation": self._rotation}, "mode": mode}] * count)

    def killed(self, mode: str, kill: int | str) -> Ended | None:
        """Run a process that dies at a point; nothing if it has come to its end before that."""
        plan = {"config": self._common | {"rotation": self._rotation}, "mode": mode, "kill": kill}
        (ended,) = self._forks.run(plan)
        if ended.is_killed:
            return ended
        assert ended.status == 0, ended
        assert isinstance(kill, int), f"nothing was killed {kill}: {ended.points}"
        self.assert_over(ended)
        if mode == "rotate":
            assert {f"{when} {step}" for when in ("before", "after") for step in STEPS} <= {*ended.points}
        return None

    def done(self, mode: str) -> Ended:
        """Run a process that has to come to its end, with nothing left to do."""
        (ended,) = self.all(mode, 1)
        assert ended.status == 0, ended
        self.assert_over(ended)
        return ended

    def refused(self, mode: str) -> Ended | None:
        """Run a process that is refused what it is to do; nothing if there was nothing to do."""
        (ended,) = self.all(mode, 1)
        if ended.status == 0:
            assert ended.result["found"] == "idle"
            return None
        assert ended.result["error"] == "undo_refused", ended
        return ended

    def assert_over(self, ended: Ended) -> None:
        """Fail unless nothing is pending any more, and readers get what the dependent accepts."""
        current = ended.result["current"]
        assert ended.result["state"] == "idle"
        assert self.read() == current
        assert self.dependent.accepts(current)


def is_promoted(ended: Ended) -> bool:
    """Tell whether a process has made its candidate the current value."""
    return not {"after write of the secret", "after promote of the secret"}.isdisjoint(ended.points)


def assert_readable(site: Site, ended: Ended) -> None:
    """Fail unless readers get the right value after a process was killed, and can use it."""
    seen = site.read()
    assert seen == (ended.candidates[-1] if is_promoted(ended) else site.former)
    is_in_gap = site.dependent.has_gap and "after commit" in ended.points and not is_promoted(ended)
    assert is_in_gap or site.dependent.accepts(seen), f"readers are locked out {ended.points[-1]}"
    # Others still have it in their caches.
    is_over = site.dependent.has_gap or "after finish" in ended.points
    assert is_over or site.dependent.accepts(site.former), f"caches are locked out {ended.points[-1]}"


def is_untouched(ended: Ended) -> bool:
    """Tell whether a process has left no rotation: it had none begun, or one finished, and no more to do than that."""
    return "before apply" not in ended.points or "after finish" in ended.points


def is_refused(site: Site, ended: Ended) -> bool:
    """Tell whether a finished rotation was left pending; fail unless it cannot be undone then, and is as it was."""
    if site.refused("undo") is None:
        return False
    # It is neither undone nor being undone.
    assert site.refused("undo") is not None
    assert site.read() == ended.candidates[-1]
    assert site.dependent.accepts(site.read())
    return True


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """The table of a backend, and what rules for it say."""
    if request.param == "local":
        return local_table(request.getfixturevalue("store")), {}
    if request.param == "aws":
        return aws_table(request.getfixturevalue("aws")), {}
    version = int(request.param[-1])
    # Version 1 has no check-and-set.
    return vault_table(request.getfixturevalue("bao"), version), {"single_host": True} if version == 1 else {}


@pytest.fixture
def site(
    request: pytest.FixtureRequest, tmp_path: Path, forks: Workers, backend: tuple[dict[str, Any], dict[str, Any]]
) -> Iterator[Site]:
    """A site on one of the backends, with the test's own rotator unless another one is asked for."""
    rotator = getattr(request, "param", "door")
    table, rule = backend
    made = Site(forks, dependent_of(rotator, tmp_path, request.getfixturevalue), table, **rule)
    with made.standing:
        made.begin()
        yield made


each_rotator = pytest.mark.parametrize("site", ROTATORS, indirect=True)


@each_rotator
def test_killed_at_every_point_another_process_leads_it_to_its_end(site: Site) -> None:
    for point in range(MOST):
        ended = site.killed("rotate", point)
        if ended is None:
            break
        assert_readable(site, ended)
        stands = site.done("resume").result
        if stands["found"] == "idle":
            assert is_untouched(ended), ended.points[-1]
        if stands["found"] != "idle" or is_promoted(ended):
            assert stands["current"] == ended.candidates[-1], ended.points[-1]
            assert not (site.dependent.retires and site.dependent.accepts(site.former)), ended.points[-1]
        else:
            assert stands["current"] == site.former, ended.points[-1]
        site.former = stands["current"]
    assert FEWEST <= point < MOST


@each_rotator
def test_killed_at_every_point_another_process_takes_it_back(site: Site) -> None:
    refused = 0
    for point in range(MOST):
        ended = site.killed("rotate", point)
        if ended is None:
            break
        assert_readable(site, ended)
        # What was revoked already stays so.
        is_gone = "after finish" in ended.points and not site.dependent.renews
        if is_gone:
            refused += is_refused(site, ended)
        stands = site.done("resume" if is_gone else "undo").result
        if stands["found"] == "idle":
            assert is_untouched(ended), ended.points[-1]
            assert stands["current"] == (ended.candidates[-1] if is_promoted(ended) else site.former)
        elif not is_gone:
            assert stands["current"] == site.former, ended.points[-1]
            assert not (site.dependent.takes_back and site.dependent.accepts(ended.candidates[-1])), ended.points[-1]
        site.former = stands["current"]
    assert FEWEST <= point < MOST
    assert (refused > 0) != site.dependent.renews


@pytest.mark.parametrize(
    ("reached", "mode"),
    [("before apply", "resume"), ("after verify", "undo"), ("before finish", "undo")],
    ids=["resuming", "undoing", "undoing what is promoted"],
)
@pytest.mark.parametrize(
    ("backend", "site"),
    [*((one, "door") for one in BACKENDS), *(("local", one) for one in ROTATORS if one != "door")],
    indirect=True,
)
def test_who_resumes_or_undoes_it_may_be_killed_at_every_point_as_well(site: Site, reached: str, mode: str) -> None:
    for point in range(MOST):
        begun = site.killed("rotate", reached)
        assert begun is not None
        ended = site.killed(mode, point)
        (candidate,) = begun.candidates
        if ended is not None:
            assert site.read() in (site.former, candidate)
            assert site.done(mode).result["current"] == (candidate if mode == "resume" else site.former)
        if mode == "undo":
            assert site.read() == site.former
            assert not (site.dependent.takes_back and site.dependent.accepts(candidate))
        site.former = site.read()
        if ended is None:
            break
    assert 2 < point < MOST


def test_the_record_is_nobodys_secret(site: Site) -> None:
    assert site.killed("rotate", "after apply") is not None
    with site.reader() as manager:
        if "list" in {one.value for one in manager._parts.backend("main").capabilities}:
            assert manager.list() == [NAME]
        with pytest.raises(InvalidNameError, match="kept for strongroom itself"):
            manager.get(f".strongroom/rotation/{NAME}")
    site.done("resume")


def test_of_two_processes_that_rotate_it_at_once_one_does_at_a_time(
    site: Site, backend: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    ended = site.all("race", 2)
    assert [one.status for one in ended] == [0, 0], ended
    codes = Counter(code for one in ended for code in one.result["codes"])
    # The emulator of AWS lets the label of a pending version be taken by who does not say where it is.
    emulated = {"rotation_lost"} if backend[0]["type"] == "aws" else set()
    assert codes.keys() <= {"ok", "rotation_in_progress", "conflict", *emulated}
    assert codes["ok"] > 0
    site.done("resume")


@pytest.mark.parametrize("site", ["postgres"], indirect=True)
@pytest.mark.parametrize("backend", ["local"], indirect=True)
def test_of_processes_that_rotate_at_once_each_makes_one_rotation_or_none(site: Site) -> None:
    ended = site.all("rotate", RACERS)
    failed = [one.result["text"] for one in ended if one.status]
    assert all("rotation" in text and "Error" in text for text in failed), failed
    site.done("show")
    with site.reader() as manager:
        # One for each that has succeeded, so none was lost.
        assert len(manager.versions(NAME)) == 1 + RACERS - len(failed)
