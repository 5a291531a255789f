"""What strongroom keeps for itself beside the secrets is refused or hidden, whichever way one comes."""

from __future__ import annotations

import asyncio

from collections.abc import Callable
from typing import Any, Final

import pytest

import strongroom

from strongroom import ABSENT, SecretManager
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import ListRequest, ReadRequest
from strongroom.contracts.journal import KeepCopiesRequest
from strongroom.contracts.names import RESERVED
from strongroom.errors import BackendUnavailableError, BatchError, ConfigurationError, InvalidNameError
from strongroom.events.updates import SecretUpdated
from strongroom.model import SecretName, SecretValue
from strongroom.testing import FaultyBackend
from watched import Heard, Server, look

RECORD: Final = f"{RESERVED}/rotation/db/app"
NAMES: Final = (RECORD, f"{RESERVED}/anything", RESERVED)

Act = Callable[[Any, str], Any]

BY_NAME: Final[dict[str, Act]] = {
    "get": lambda manager, name: manager.get(name),
    "get a version": lambda manager, name: manager.get(name, version="1"),
    "get a field": lambda manager, name: manager.get(name, field="pending"),
    "set": lambda manager, name: manager.set(name, "s3cret"),
    "set what is absent": lambda manager, name: manager.set(name, "s3cret", expect_version=ABSENT),
    "check a set": lambda manager, name: manager.check_set(name, SecretValue("s3cret")),
    "delete": lambda manager, name: manager.delete(name),
    "rotate": lambda manager, name: manager.rotate(name),
    "undelete": lambda manager, name: manager.undelete(name),
    "destroy": lambda manager, name: manager.destroy(name),
    "destroy a version": lambda manager, name: manager.destroy(name, ["1"]),
    "describe": lambda manager, name: manager.describe(name),
    "annotate": lambda manager, name: manager.annotate(name, {"owner": "me"}),
    "versions": lambda manager, name: manager.versions(name),
    "refresh": lambda manager, name: manager.refresh(name),
    "plan": lambda manager, name: manager.rotation.plan(name),
    "resume": lambda manager, name: manager.rotation.resume(name),
    "undo": lambda manager, name: manager.rotation.undo(name, force=True),
}
BY_FOLDER: Final[dict[str, Act]] = {
    "list": lambda manager, name: manager.list(name),
    "browse": lambda manager, name: manager.browse(name),
    "prefetch a pattern": lambda manager, name: manager.prefetch(f"{name}/**"),
    "schedules": lambda manager, name: manager.schedules(name),
    "status": lambda manager, name: manager.rotation.status(name),
    "schedule": lambda manager, name: manager.rotation.schedule(f"{name}/"),
    "rotate what is due": lambda manager, name: manager.rotation.rotate_due(name),
}
IN_A_BATCH: Final[dict[str, Act]] = {
    "get many": lambda manager, name: manager.get_many([name, "db/app"]),
    "prefetch": lambda manager, name: manager.prefetch(name, "db/app"),
}


class Kept(MemoryBackend):
    """A fallback store that tells of what it was asked to keep."""

    def __init__(self) -> None:
        super().__init__()
        self.copied: list[str] = []

    def keep_copies(self, request: KeepCopiesRequest) -> None:
        self.copied += [copy.place.name for copy in request.copies]
        super().keep_copies(request)


@pytest.fixture
def backend(make_backend: Callable[..., FaultyBackend]) -> FaultyBackend:
    """A backend that holds ``db/app`` and ``plain``, and will hold a record of a rotation."""
    return make_backend({"db/app": "first", "plain": "first"})


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def configuration() -> dict[str, Any]:
    return {
        "backend": "main",
        "fallback": "kept",
        "resilience": {"keep_copy": True, "queue_writes": True, "failures": 1_000_000},
        "rotation": {"**": {"rotator": "random", "every": "90d"}},
    }


@pytest.fixture
def manager(
    backend: FaultyBackend, kept: Kept, configuration: dict[str, Any], open_manager: Any
) -> strongroom.SecretManager:
    """A manager that has rotated ``db/app``, so that there is a record of that."""
    made: SecretManager = open_manager(backends={"main": backend, "kept": kept}, **configuration)
    made.rotate("db/app")
    assert RECORD in backend.wrapped.list(ListRequest(prefix=RESERVED)).names
    return made


def record(backend: FaultyBackend) -> bytes:
    return backend.wrapped.read(ReadRequest(name=SecretName(RECORD))).value.reveal()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", BY_NAME)
def test_a_reserved_name_is_refused_and_nothing_is_touched(
    way: str, name: str, manager: SecretManager, backend: FaultyBackend, sink: Any
) -> None:
    before, calls = record(backend), list(backend.calls)
    with pytest.raises(InvalidNameError, match="kept for strongroom itself"):
        BY_NAME[way](manager, name)
    assert record(backend) == before
    assert backend.calls == calls
    assert (sink.events[-1].key, sink.events[-1].result) == (name, "invalid_name")
    assert manager.journal.list() == ()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", BY_NAME)
def test_it_is_refused_on_a_loop_as_well(
    way: str, name: str, backend: FaultyBackend, kept: Kept, configuration: dict[str, Any]
) -> None:
    async def act() -> None:
        backends = {"main": backend, "kept": kept}
        async with strongroom.open_async(configuration | {"audit": "none"}, backends=backends) as manager:
            await manager.rotate("db/app")
            before, calls = record(backend), list(backend.calls)
            with pytest.raises(InvalidNameError, match="kept for strongroom itself"):
                await BY_NAME[way](manager, name)
            assert (record(backend), backend.calls) == (before, calls)

    asyncio.run(act())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", BY_FOLDER)
def test_a_reserved_folder_is_refused(way: str, name: str, manager: SecretManager, backend: FaultyBackend) -> None:
    calls = list(backend.calls)
    with pytest.raises(InvalidNameError, match="kept for strongroom itself"):
        BY_FOLDER[way](manager, name)
    assert backend.calls == calls


def test_in_a_strict_batch_it_fails_all(manager: SecretManager) -> None:
    with pytest.raises(BatchError) as caught:
        manager.get_many(["db/app", *NAMES], strict=True)
    assert {key: type(error) for key, error in caught.value.errors.items()} == dict.fromkeys(NAMES, InvalidNameError)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", IN_A_BATCH)
def test_in_a_batch_it_is_an_error_beside_the_others(way: str, name: str, manager: SecretManager) -> None:
    batch = IN_A_BATCH[way](manager, name)
    assert list(batch.found) == ["db/app"]
    assert {key: type(error) for key, error in batch.errors.items()} == {name: InvalidNameError}


@pytest.mark.parametrize(
    "spelling", [f"/{RECORD}", f"{RESERVED}//rotation", f"{RESERVED}/", f"./{RECORD}", f"a/../{RECORD}"]
)
def test_no_other_spelling_leads_there(spelling: str, manager: SecretManager, backend: FaultyBackend) -> None:
    calls = list(backend.calls)
    for act in BY_NAME.values():
        with pytest.raises(InvalidNameError):
            act(manager, spelling)
    assert backend.calls == calls


class TestHidden:
    """What looks at all names sees none of these."""

    def test_listings_show_no_record(self, manager: SecretManager) -> None:
        assert manager.list() == ["db/app", "plain"]
        root = manager.browse()
        assert (root.names, root.folders) == (("plain",), ("db",))
        assert [one.name for one in manager.rotation.status()] == ["db/app", "plain"]
        assert [one.name for one in manager.rotation.schedule()] == ["db/app", "plain"]

    def test_what_is_fetched_ahead_or_anew_is_no_record(self, manager: SecretManager) -> None:
        assert sorted(manager.prefetch("**", "*/**").found) == ["db/app", "plain"]
        assert sorted(manager.refresh_all().found) == ["db/app", "plain"]

    def test_what_is_due_is_no_record(self, manager: SecretManager, backend: FaultyBackend, clock: Any) -> None:
        clock.advance(10 * 365 * 86400)  # versions have the machine's own time
        run = manager.rotation.rotate_due()
        assert (sorted(one.name for one in run.rotated), run.failed) == (["db/app", "plain"], ())
        names = backend.wrapped.list(ListRequest(prefix=RESERVED)).names
        assert sorted(names) == [RECORD, f"{RESERVED}/rotation/plain"]

    def test_no_copy_is_kept_of_a_record(self, manager: SecretManager, kept: Kept) -> None:
        manager.get("plain")
        manager.rotate("db/app")
        manager.prefetch("**")
        manager.flush()
        assert set(kept.copied) == {"db/app", "plain"}

    def test_whoever_hears_of_everything_hears_of_no_record(self, manager: SecretManager) -> None:
        heard: list[SecretUpdated] = []
        end = [manager.on_update(pattern, heard.append) for pattern in ("**", RECORD, f"{RESERVED}/**")]
        manager.rotate("db/app")
        assert [event.name for event in heard] == ["db/app"]
        for stop in end:
            stop()


def test_whoever_watches_does_not_look_at_a_record(
    backend: FaultyBackend, configuration: Any, open_manager: Any
) -> None:
    server = Server()
    manager = open_manager(
        backends={"main": server}, backend="main", rotation=configuration["rotation"], watch={"every": "30s"}
    )
    manager.set("db/app", "first")
    for name in ("db/app", RECORD):
        manager.on_update(name, Heard())
    manager.rotate("db/app")
    manager.get("db/app")
    look(manager)
    assert {name for asked in server.looks for name in asked} == {"db/app"}


def test_in_an_outage_no_change_of_a_record_waits(manager: SecretManager, backend: FaultyBackend) -> None:
    before = record(backend)
    backend.error = BackendUnavailableError("it is away", code="connection_refused")
    for name in NAMES:
        with pytest.raises(InvalidNameError):
            manager.set(name, "s3cret")
        with pytest.raises(InvalidNameError):
            manager.get(name)
    manager.rotate("db/app")
    assert [waits.name for waits in manager.journal.list()] == ["db/app"]
    backend.error = None
    assert record(backend) == before


@pytest.mark.parametrize("pattern", [RESERVED, RECORD, f"{RESERVED}/**"])
def test_no_rule_can_be_for_them(pattern: str, open_manager: Any) -> None:
    with pytest.raises(ConfigurationError, match="kept for strongroom itself"):
        open_manager(rotation={pattern: {"rotator": "random"}}).list()


@pytest.mark.parametrize("prefix", [RESERVED, f"{RESERVED}/rotation"])
def test_no_route_leads_there(prefix: str, open_manager: Any, make_backend: Callable[..., FaultyBackend]) -> None:
    with pytest.raises(ConfigurationError, match="kept for strongroom itself"):
        open_manager(
            backends={"main": make_backend(), "other": make_backend()}, backend="main", routes={prefix: "other"}
        )
