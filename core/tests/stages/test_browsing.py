"""One level of names: what is there, what may be seen of it, and which backends are asked."""

from __future__ import annotations

from typing import Any

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import strongroom

from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import Capability, ListRequest, ListResult
from strongroom.errors import InvalidNameError, UnsupportedOperationError
from strongroom.model import SecretName, SecretValue
from strongroom.testing import FaultyBackend

NAMES = {"db": "1", "db/a": "2", "db/b/c": "3", "db/b/d/e": "4", "dbx/a": "5", "top": "6"}


class Shallow(MemoryBackend):
    """Looks into no folder unless it is asked to, and counts how often it is asked for one level."""

    def __init__(self, *names: str) -> None:
        super().__init__(MemorySettings(seed={name: SecretValue("v") for name in names}))
        self.asked: list[str] = []

    def list(self, request: ListRequest) -> ListResult:
        names = super().list(request).names
        if request.recursive:
            return ListResult(names=names, request_id="whole")
        self.asked.append(request.prefix)
        start = len(request.prefix) + 1 if request.prefix else 0
        deeper = {name[: name.index("/", start)] for name in names if "/" in name[start:]}
        return ListResult(
            names=tuple(name for name in names if "/" not in name[start:]),
            folders=tuple(sorted(map(SecretName, deeper))),
            request_id=f"id-{len(self.asked)}",
        )


@pytest.mark.parametrize("kind", [Shallow, lambda *names: MemoryBackend(MemorySettings(seed=NAMES_AS_VALUES))])
@pytest.mark.parametrize(
    ("prefix", "names", "folders"),
    [
        ("", ["db", "top"], ["db", "dbx"]),
        ("db", ["db/a"], ["db/b"]),
        ("db/", ["db/a"], ["db/b"]),
        ("db/b", ["db/b/c"], ["db/b/d"]),
        ("db/b/d", ["db/b/d/e"], []),
        ("nothing", [], []),
    ],
)
def test_a_level_holds_names_and_folders_whatever_the_backend_returns(
    kind: Any, prefix: str, names: list[str], folders: list[str], open_manager: Any
) -> None:
    found = open_manager(backends={"memory": kind(*NAMES)}).browse(prefix)
    assert (list(found.names), list(found.folders)) == (names, folders)
    assert found.prefix == prefix.removesuffix("/")


NAMES_AS_VALUES = {name: SecretValue(text) for name, text in NAMES.items()}


def test_one_request_is_enough(open_manager: Any) -> None:
    backend = Shallow(*NAMES)
    open_manager(backends={"memory": backend}).browse("db")
    assert backend.asked == ["db"]


class TestRights:
    """A principal sees what it may list, and no more."""

    @pytest.mark.parametrize("kind", [Shallow, lambda *names: MemoryBackend(MemorySettings(seed=NAMES_AS_VALUES))])
    def test_what_may_not_be_listed_is_left_out(self, kind: Any, open_manager: Any, rule: Any) -> None:
        rules = [
            rule("tester", "list", names=("db/b/**", "top")),
            rule("tester", "list", names="db/b/c", effect="deny"),
        ]
        manager = open_manager(backends={"memory": kind(*NAMES)}, policies=rules)
        root = manager.browse()
        assert (root.names, root.folders) == (("top",), ("db",))
        assert manager.browse("db").folders == ("db/b",)
        assert (manager.browse("db/b").names, manager.browse("db/b").folders) == ((), ("db/b/d",))

    def test_a_folder_that_is_denied_as_a_whole_is_not_shown(self, open_manager: Any, rule: Any) -> None:
        rules = [rule("tester", "list"), rule("tester", "list", names="db/b/**", effect="deny")]
        manager = open_manager(backends={"memory": Shallow(*NAMES)}, policies=rules)
        assert manager.browse("db").folders == ()

    def test_a_right_that_has_ended_shows_nothing(self, open_manager: Any, rule: Any, clock: Any) -> None:
        rules = [rule("tester", "list") | {"expires": clock.now().replace(year=clock.now().year + 1)}]
        manager = open_manager(backends={"memory": Shallow(*NAMES)}, policies=rules)
        assert manager.browse("db").folders == ("db/b",)
        clock.advance(400 * 86_400)
        assert manager.browse("db").folders == ()

    def test_a_view_sees_what_both_may_list(self, open_manager: Any, rule: Any) -> None:
        rules = [rule("tester", "list", names="db/**"), rule("api", "list", names=("db/b/d/**", "dbx/**"))]
        view = open_manager(backends={"memory": Shallow(*NAMES)}, policies=rules).as_principal("api")
        assert view.browse().folders == ("db",)
        assert view.browse("db").folders == ("db/b",)
        assert view.browse("db/b").names == ()

    def test_whoever_may_impersonate_sees_what_the_other_sees(self, open_manager: Any, rule: Any) -> None:
        rules = [rule("tester", "impersonate"), rule("api", "list", names="dbx/**")]
        view = open_manager(backends={"memory": Shallow(*NAMES)}, policies=rules).as_principal("api")
        assert view.browse().folders == ("dbx",)

    def test_a_bad_prefix_is_refused_and_recorded(self, open_manager: Any, sink: Any) -> None:
        manager = open_manager()
        for prefix in ("db/../x", "/db", b"db", None):
            with pytest.raises(InvalidNameError):
                manager.browse(prefix)
        assert [event.result for event in sink.named("list")] == ["invalid_name"] * 4

    def test_it_is_recorded_as_a_list_with_the_backend_s_own_id(self, open_manager: Any, sink: Any) -> None:
        open_manager(backends={"memory": Shallow(*NAMES)}).browse("db")
        (event,) = sink.named("list")
        assert (event.key, event.count, event.detail, event.request_id) == ("db/", 1, "one level", "id-1")

    def test_a_detector_may_stop_it(self, open_manager: Any, watched: Any) -> None:
        from strongroom.contracts import Decision, Verdict
        from strongroom.errors import SuspiciousActivityError

        manager = open_manager(NAMES, anomaly=[{"type": "watch", "action": "block"}])
        watched.verdict = Verdict(decision=Decision.BLOCK, reason="too curious")
        with pytest.raises(SuspiciousActivityError):
            manager.browse("db")
        assert [(access.action, access.name) for access in watched.seen] == [("list", "db")]


class TestRoutes:
    """Each name is looked for where it is read from."""

    @pytest.fixture
    def first(self) -> Shallow:
        return Shallow("db/a", "ci/stale", "ci/stale/deep/x", "top")

    @pytest.fixture
    def second(self) -> Shallow:
        return Shallow("ci", "ci/token", "ci/deep/x", "db/elsewhere", "other")

    @pytest.fixture
    def manager(self, open_manager: Any, first: Shallow, second: Shallow) -> strongroom.SecretManager:
        manager: strongroom.SecretManager = open_manager(
            backends={"first": first, "second": second}, backend="first", routes={"ci/": "second"}
        )
        return manager

    def test_a_level_is_put_together_from_what_each_route_holds(self, manager: Any, first: Any, second: Any) -> None:
        root = manager.browse()
        assert (root.names, root.folders) == (("ci", "top"), ("ci", "db"))
        inside = manager.browse("ci")
        assert (inside.names, inside.folders) == (("ci/token",), ("ci/deep",))
        assert manager.browse("db").names == ("db/a",)
        assert (first.asked, second.asked) == (["", "db"], ["", "ci"])

    def test_a_route_that_begins_deeper_is_a_folder_and_its_backend_is_not_asked(
        self, open_manager: Any, rule: Any
    ) -> None:
        first, second = Shallow("top"), FaultyBackend(Shallow("team/db/creds/app"), error=ConnectionError())
        manager = open_manager(
            backends={"first": first, "second": second}, backend="first", routes={"team/db/creds/": "second"}
        )
        assert manager.browse().folders == ("team",)
        assert manager.browse("team").folders == ("team/db",)
        assert second.calls == []
        second.error = None
        assert manager.browse("team/db").folders == ("team/db/creds",)
        assert manager.browse("team/db/creds").names == ("team/db/creds/app",)

    def test_a_route_is_no_folder_for_whoever_may_list_nothing_there(self, open_manager: Any, rule: Any) -> None:
        backends = {"first": Shallow("top"), "second": Shallow("ci/token")}
        rules = [rule("tester", "list", names="top")]
        manager = open_manager(backends=backends, backend="first", routes={"ci/": "second"}, policies=rules)
        assert (manager.browse().names, manager.browse().folders) == (("top",), ())

    @pytest.mark.parametrize("look", ["list", "browse"])
    def test_a_route_named_like_any_other_hides_nothing_of_the_default_backend(
        self, look: str, open_manager: Any
    ) -> None:
        backends = {"first": Shallow("top", "db/a"), "second": Shallow("x/token", "db/x/token")}
        manager = open_manager(backends=backends, backend="first", routes={"x/": "second", "db/x/": "second"})
        if look == "list":
            assert manager.list() == ["db/a", "db/x/token", "top", "x/token"]
            assert manager.list("db") == ["db/a", "db/x/token"]
        else:
            assert (manager.browse().names, manager.browse().folders) == (("top",), ("db", "x"))
            assert (manager.browse("db").names, manager.browse("db").folders) == (("db/a",), ("db/x",))

    def test_the_ids_of_several_requests_are_all_recorded(self, manager: Any, sink: Any) -> None:
        manager.browse()
        manager.list()
        assert [event.request_id for event in sink.named("list")] == ["id-1,id-1", "whole,whole"]


def test_a_backend_that_cannot_list_is_named(open_manager: Any, backend: FaultyBackend) -> None:
    backend.capabilities = frozenset({Capability.WRITE})
    manager = open_manager(backends={"memory": backend})
    with pytest.raises(UnsupportedOperationError):
        manager.browse()


segments = st.sampled_from(["a", "b", "c"])
some_names = st.sets(st.lists(segments, min_size=1, max_size=4).map("/".join), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(names=some_names, shallow=st.booleans(), routed=st.booleans())
def test_looking_into_each_folder_finds_what_a_list_finds(
    names: set[str], shallow: bool, routed: bool, open_manager: Any
) -> None:
    kind: Any = Shallow if shallow else lambda *names: MemoryBackend(MemorySettings(seed=dict.fromkeys(names, VALUE)))
    backends = {"first": kind(*names), "second": kind(*names)}
    manager = open_manager(backends=backends, backend="first", routes={"a/b/": "second"} if routed else {})
    found, folders = [], [""]
    while folders:
        level = manager.browse(folders.pop())
        found += level.names
        folders += level.folders
    assert sorted(found) == manager.list() == sorted(names)


VALUE = SecretValue("v")
