"""Opening what the configuration names: routes, lazily opened backends, closing."""

from __future__ import annotations

import gc
import json
import sys
import threading
import weakref

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import strongroom

from strongroom import Freshness, SecretName
from strongroom.builtin.memory import MemoryBackend
from strongroom.config import again
from strongroom.contracts import Backend, WriteRequest
from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    ClosedError,
    ConfigurationError,
    PluginError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
)
from strongroom.model import SecretValue
from strongroom.testing import FakeClock, FaultyBackend, MemorySink, in_forked_child, in_threads


class TestRoutes:
    """Which backend keeps which name."""

    @pytest.fixture
    def first(self, make_backend: Any) -> FaultyBackend:
        return make_backend({"db/password": "first", "ci/token": "first's own", "ci/local/x": "first", "cix": "first"})

    @pytest.fixture
    def second(self, make_backend: Any) -> FaultyBackend:
        return make_backend({"ci/token": "second", "db/password": "second's own", "ci/local/x": "second's own"})

    @pytest.fixture
    def manager(self, open_manager: Any, first: FaultyBackend, second: FaultyBackend) -> strongroom.SecretManager:
        return open_manager(
            backends={"first": first, "second": second}, backend="first", routes={"ci/": "second", "ci/local": "first"}
        )

    @pytest.mark.parametrize(
        ("name", "value", "backend"),
        [
            ("db/password", "first", "first"),
            ("ci/token", "second", "second"),
            ("ci/local/x", "first", "first"),
            ("cix", "first", "first"),
        ],
    )
    def test_the_longest_prefix_wins_on_whole_segments(self, name: str, value: str, backend: str, manager: Any) -> None:
        secret = manager.get(name)
        assert (secret.reveal_text(), secret.backend) == (value, backend)
        assert manager.get(name).reveal_text() == value

    def test_a_name_equal_to_a_prefix_goes_there(self, manager: Any, second: FaultyBackend) -> None:
        manager.set("ci", "v")
        assert second.calls == ["write"]

    def test_two_backends_with_the_same_name_never_mix(self, manager: Any, first: Any, second: Any) -> None:
        """Neither when read together nor when one of them is out of reach."""
        names = ["db/password", "ci/token", "ci/local/x"]
        assert {name: secret.reveal_text() for name, secret in manager.get_many(names).found.items()} == {
            "db/password": "first",
            "ci/token": "second",
            "ci/local/x": "first",
        }
        manager.invalidate()
        first.error = ConnectionError()
        batch = manager.get_many(names)
        assert (set(batch.found), set(batch.errors)) == ({"ci/token"}, {"db/password", "ci/local/x"})
        manager.delete("ci/token")
        with pytest.raises(SecretNotFoundError):
            manager.get("ci/token")
        assert first.calls.count("read") == 0

    def test_a_list_goes_to_every_backend_that_may_hold_such_names_and_to_no_other(
        self, manager: Any, first: FaultyBackend, second: FaultyBackend
    ) -> None:
        assert manager.list() == ["ci/local/x", "ci/token", "cix", "db/password"]
        first.calls.clear()
        second.calls.clear()
        assert manager.list("ci/") == ["ci/local/x", "ci/token"]
        assert manager.list("db") == ["db/password"]
        assert (first.calls, second.calls) == (["list", "list"], ["list"])
        assert manager.list("ci/local") == ["ci/local/x"]
        assert second.calls == ["list"]

    def test_prefetching_crosses_routes(self, manager: Any) -> None:
        found = manager.prefetch("ci/**").found
        assert {name: secret.reveal_text() for name, secret in found.items()} == {
            "ci/token": "second",
            "ci/local/x": "first",
        }

    def test_a_batch_is_one_call_a_backend_for_what_is_not_cached(self, manager: Any, first: Any, second: Any) -> None:
        manager.get("db/password")
        first.calls.clear()
        batch = manager.get_many(["db/password", "ci/token", "ci/local/x", "cix", "ci/token"])
        assert len(batch.found) == 4
        assert (first.calls, second.calls) == (["read_many"], ["read_many"])
        assert batch.found["db/password"].freshness.value == "cached"
        manager.get_many(["ci/token", "cix"])
        assert (first.calls, second.calls) == (["read_many"], ["read_many"])

    def test_two_spellings_of_a_name_are_asked_for_once(self, open_manager: Any, make_hooked: Any) -> None:
        composed, decomposed = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"
        backend = make_hooked({composed: "v"})
        batch = open_manager(backends={"memory": backend}).get_many([decomposed, composed])
        assert {name: secret.reveal_text() for name, secret in batch.found.items()} == {composed: "v", decomposed: "v"}
        assert backend.reads == [composed]


class TestOpening:
    """A backend opens when a name is first routed to it."""

    SOURCE = """
    from strongroom.builtin.memory import MemoryBackend
    from strongroom.contracts import BackendSpec, Record, CachePolicySpec, DetectorSpec, SinkSpec
    from strongroom.hookspecs import hookimpl

    opened = []
    error = None

    class Settings(Record):
        level: int = 0

    def _open(settings):
        if error is not None:
            raise error
        opened.append(settings)
        return MemoryBackend()

    @hookimpl
    def strongroom_backends():
        yield BackendSpec(name="lazy", summary="Opens late.", settings=Settings, open=_open)

    @hookimpl
    def strongroom_audit_sinks():
        yield SinkSpec(name="lazy", summary="Opens late.", settings=Settings, open=_open)

    @hookimpl
    def strongroom_cache_policies():
        yield CachePolicySpec(name="lazy", summary="Opens late.", settings=Settings, open=_open)

    @hookimpl
    def strongroom_anomaly_detectors():
        yield DetectorSpec(name="lazy", summary="Opens late.", settings=Settings, open=_open)
    """
    GROUPS = ("backends", "audit_sinks", "cache_policies", "anomaly_detectors")

    @pytest.fixture
    def lazy(self, distributions: Any) -> Any:
        distributions.add(
            "lazy-plugin", {f"strongroom.{group}": {"lazy": "lazy_plugin"} for group in self.GROUPS}, self.SOURCE
        )
        import lazy_plugin

        return lazy_plugin

    def test_it_is_opened_once_by_whoever_comes_first(self, lazy: Any) -> None:
        with strongroom.open({"audit": "none", "backends": {"b": {"type": "lazy", "level": 2}}}) as manager:
            assert lazy.opened == []
            errors = in_threads(8, lambda number: list(manager.get_many([f"n/{number}"]).errors))
            assert len(errors) == 8
        assert [settings.level for settings in lazy.opened] == [2]

    def test_a_wrong_setting_shows_when_it_opens_with_its_place(self, lazy: Any) -> None:
        with (
            strongroom.open({"audit": "none", "backends": {"b": {"type": "lazy", "levle": 2}}}) as manager,
            pytest.raises(ConfigurationError, match=r"backends\.b\.levle .*did you mean 'level'"),
        ):
            manager.get("a")

    def test_one_that_could_not_open_is_tried_again(self, lazy: Any) -> None:
        lazy.error = OSError("s3cret")
        with strongroom.open({"audit": "none", "backends": {"b": {"type": "lazy"}}}) as manager:
            with pytest.raises(
                PluginError, match="the backend 'lazy' could not be opened: it failed with OSError"
            ) as caught:
                manager.get("a")
            assert "s3cret" not in str(caught.value)
            lazy.error = None
            with pytest.raises(SecretNotFoundError):
                manager.get("a")

    @pytest.mark.parametrize(
        "tables", [{"audit": [{"type": "lazy"}]}, {"cache": {"policy": "lazy"}}, {"anomaly": [{"type": "lazy"}]}]
    )
    def test_any_other_part_that_fails_to_open_is_named(self, tables: dict[str, Any], lazy: Any) -> None:
        lazy.error = OSError()
        with pytest.raises(PluginError, match="'lazy' could not be opened"):
            strongroom.open({"audit": "none", "backends": {"b": {"type": "memory"}}} | tables)

    def test_a_sink_that_opened_is_closed_if_the_next_one_does_not_open(self, lazy: Any, distributions: Any) -> None:
        distributions.add(
            "kept-plugin",
            {"strongroom.audit_sinks": {"kept": "kept_plugin"}},
            """
            from strongroom.contracts import Record, SinkSpec
            from strongroom.hookspecs import hookimpl
            from strongroom.testing import MemorySink

            class Settings(Record):
                pass

            sink = MemorySink()

            @hookimpl
            def strongroom_audit_sinks():
                yield SinkSpec(name="kept", summary="Kept.", settings=Settings, open=lambda _: sink)
            """,
        )
        lazy.error = OSError()
        with pytest.raises(PluginError):
            strongroom.open({"audit": [{"type": "kept"}, {"type": "lazy"}], "backends": {"b": {"type": "memory"}}})
        import kept_plugin

        assert kept_plugin.sink.closed

    def test_a_backend_that_declares_nothing_is_only_read_from(self, lazy: Any) -> None:
        with strongroom.open({"audit": "none", "backends": {"b": {"type": "lazy"}}}) as manager:
            for operation in (lambda: manager.set("a", "v"), lambda: manager.delete("a"), manager.list):
                with pytest.raises(UnsupportedOperationError):
                    operation()


class _Unclosable(MemoryBackend):
    def close(self) -> None:
        raise OSError("busy")


def test_one_backend_that_fails_to_close_does_not_keep_the_others_open(open_manager: Any, make_backend: Any) -> None:
    closed = threading.Event()
    good = make_backend({"a": "v"})
    good.close = closed.set
    backends: dict[str, Backend] = {"bad": _Unclosable(), "good": good}
    sink = MemorySink()
    manager = open_manager(backends=backends, backend="bad", routes={"a": "good"}, sinks=(sink,))
    manager.get("a")
    with pytest.raises(SecretNotFoundError):
        manager.get("b")
    with pytest.raises(BackendError, match="failed in close with OSError"):
        manager.close()
    assert closed.is_set()
    assert sink.closed


NAME = "db/password"
TTL = {"ttl": "100s", "jitter": 0}


def warm(manager: Any, name: str = NAME) -> Any:
    """Read until hits are served in the shortest way; return the secret."""
    for _ in range(3):
        secret = manager.get(name)
    assert manager._parts.decisions.memo((manager.principal,))[name].entry.secret is not None
    return secret


def deny_on_refresh(manager: Any, hooked: Any) -> None:
    """Have the backend refuse what is cached."""

    def refuse(_: object) -> None:
        hooked.on_read = None
        raise AccessDeniedError("not for you any more")

    hooked.on_read = refuse
    with pytest.raises(AccessDeniedError):
        manager.refresh(NAME)


def evict(manager: Any, hooked: Any) -> None:
    """Read others until the name has left the cache."""
    number = 0
    while SecretName(NAME) in manager._cache.entries:
        number += 1
        assert number < 100, "it does not leave"
        with pytest.raises(SecretNotFoundError):
            manager.get(f"other/{number}")


CHANGES: dict[str, Callable[[Any, Any, FakeClock], object]] = {
    "set": lambda manager, hooked, clock: manager.set(NAME, "new"),
    "set by a view": lambda manager, hooked, clock: manager.as_principal("other").set(NAME, "new"),
    "rotate": lambda manager, hooked, clock: manager.rotate(NAME),
    "refresh": lambda manager, hooked, clock: manager.refresh(NAME),
    "a refused refresh": lambda manager, hooked, clock: (deny_on_refresh(manager, hooked), clock.advance(1)),
    "invalidate": lambda manager, hooked, clock: manager.invalidate(NAME),
    "invalidate all": lambda manager, hooked, clock: manager.invalidate(),
    "eviction": lambda manager, hooked, clock: evict(manager, hooked),
    "expiry": lambda manager, hooked, clock: clock.advance(100),
    "expiry and sweep": lambda manager, hooked, clock: (clock.advance(100), manager._cache.sweep()),
}


class TestGrants:
    """A remembered right leads to the cached answer at once, and only as long as that may be served."""

    @pytest.mark.parametrize("change", CHANGES)
    def test_the_very_next_read_does_not_serve_what_is_over(
        self, change: str, open_manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        manager = open_manager(backends={"memory": hooked}, cache=TTL | {"max_entries": 2, "negative_ttl": "50s"})
        held = warm(manager)
        hooked.write(WriteRequest(name=SecretName(NAME), value=SecretValue("theirs")))
        assert manager.get(NAME).reveal_text() == "s3cret"
        CHANGES[change](manager, hooked, clock)
        found = manager.get(NAME)
        assert found.version != held.version
        assert found.value.reveal() != b"s3cret"
        assert (held.reveal_text(), held.version, held.freshness) == ("s3cret", "1", Freshness.CACHED)
        assert warm(manager).version == found.version

    def test_after_a_deletion_nothing_is_served(self, open_manager: Any, hooked: Any) -> None:
        manager = open_manager(backends={"memory": hooked})
        warm(manager)
        manager.delete(NAME)
        for _ in range(3):
            with pytest.raises(SecretDeletedError):
                manager.get(NAME)

    def test_after_closing_nothing_is_served(self, open_manager: Any, hooked: Any) -> None:
        manager = open_manager(backends={"memory": hooked}, sinks=())
        view = manager.as_principal("other")
        for reader in (manager, view):
            for _ in range(3):
                reader.get(NAME)
        manager.close()
        for reader in (manager, view):
            with pytest.raises(ClosedError):
                reader.get(NAME)

    def test_a_forked_child_asks_anew(self, open_manager: Any, hooked: Any) -> None:
        manager = open_manager(backends={"memory": hooked})
        warm(manager)
        assert in_forked_child(lambda: (manager.get(NAME).freshness.value, len(hooked.reads))) == "('fresh', 2)"
        assert manager.get(NAME).freshness is Freshness.CACHED

    @pytest.mark.parametrize("effect", ["allow", "deny"])
    def test_a_right_ends_with_its_rule(self, effect: str, open_manager: Any, rule: Any, clock: FakeClock) -> None:
        """A rule that denies ends, too: what it has denied may be read from then on."""
        expires = clock.now() + timedelta(seconds=60)
        rules = [rule("tester", "read", effect=effect) | {"expires": expires}]
        if effect == "deny":
            rules.append(rule("tester", "read"))
        manager = open_manager({NAME: "v"}, policies=rules, cache={"ttl": "1h", "jitter": 0})
        for before in (True, False):
            for _ in range(3):
                if before is (effect == "allow"):
                    assert manager.get(NAME).reveal_text() == "v"
                else:
                    with pytest.raises(AccessDeniedError):
                        manager.get(NAME)
            clock.advance(59 if before else 0)
            if before and effect == "allow":
                assert manager.get(NAME).freshness is Freshness.CACHED
            clock.advance(1 if before else 0)

    def test_a_view_s_right_ends_with_the_rule_that_limits_it(
        self, open_manager: Any, rule: Any, clock: FakeClock
    ) -> None:
        rules = [
            rule("tester", "read") | {"expires": clock.now() + timedelta(seconds=60)},
            rule("api", "read"),
        ]
        manager = open_manager({NAME: "v"}, policies=rules)
        view = manager.as_principal("api")
        for _ in range(3):
            assert view.get(NAME).reveal_text() == "v"
        clock.advance(60)
        with pytest.raises(AccessDeniedError):
            view.get(NAME)

    def test_an_immediate_name_is_recorded_at_each_hit(self, open_manager: Any, sink: Any, distributions: Any) -> None:
        distributions.add("quick-plugin", {"strongroom.audit_sinks": {"quick": "quick_plugin"}}, QUICK)
        manager = open_manager({NAME: "v"}, audit=[{"type": "quick", "immediate": ["db/*"]}])
        for number in range(1, 20):
            manager.get(NAME)
            assert len(sink.named("get")) == number

    @pytest.mark.parametrize("change", ["invalidate", "set", "eviction", "expiry and sweep"])
    def test_a_value_that_has_left_the_cache_is_wiped_although_its_name_is_remembered(
        self, change: str, open_manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        manager = open_manager(backends={"memory": hooked}, cache=TTL | {"max_entries": 1, "negative_ttl": "1s"})
        value = warm(manager).value
        entry = manager._parts.decisions.memo((manager.principal,))[NAME].entry
        manager.flush()
        buffer, gone = value._buffer, weakref.ref(value)
        del value
        CHANGES[change](manager, hooked, clock)
        gc.collect()
        assert manager._parts.decisions.memo((manager.principal,))[NAME].entry is entry
        assert gone() is None
        assert bytes(buffer) == bytes(len("s3cret"))

    def test_what_is_remembered_is_bounded(self, open_manager: Any) -> None:
        manager = open_manager({f"n/{number}": "v" for number in range(50)}, cache={"max_entries": 5})
        for _ in range(3):
            for number in range(50):
                assert manager.get(f"n/{number}").reveal_text() == "v"
        assert len(manager._parts.decisions.memo((manager.principal,))) <= 20

    def test_a_view_that_nobody_holds_is_forgotten(self, open_manager: Any) -> None:
        manager = open_manager({NAME: "v"})
        for number in range(10):
            manager.as_principal(f"p{number}").get(NAME)
        gc.collect()
        manager.flush()
        assert len(manager._parts.decisions._memos) == 1


QUICK = """
from strongroom.contracts import Record, SinkSpec
from strongroom.hookspecs import hookimpl
from strongroom.testing import MemorySink

class Settings(Record):
    pass

@hookimpl
def strongroom_audit_sinks():
    yield SinkSpec(name="quick", summary="In a list.", settings=Settings, open=lambda _: MemorySink())
"""


class Rules:
    """A configuration file whose policies a test changes, and a manager on it."""

    def __init__(self, folder: Path, open_manager: Any) -> None:
        self.path = folder / "strongroom.toml"
        self.hook: Callable[[], object] | None = None
        self._opener = open_manager

    def write(self, *rules: dict[str, Any]) -> None:
        """Write rules, each a table for ``[[policies]]``."""
        lines = ['principal = "tester"', 'audit = "none"', "[backends.memory]", 'type = "memory"']
        for rule in rules:
            lines.append("[[policies]]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in rule.items()]
        self.path.write_text("\n".join(lines) + "\n")

    def open(self, backend: Backend) -> strongroom.SecretManager:
        manager = strongroom.open(
            str(self.path), clock=self._opener.clock, wall_clock=self._time, backends={"memory": backend}
        )
        self._opener.opened.append(manager)
        return manager

    def _time(self) -> int:
        if self.hook is not None:
            self.hook()
        return int(self._opener.clock.time() * 1e9)


@pytest.fixture
def rules(tmp_path: Path, open_manager: Any) -> Rules:
    return Rules(tmp_path, open_manager)


class TestReloading:
    """Policies that are read anew hold from the very next read on."""

    def test_what_is_denied_now_is_not_served_although_it_is_cached(self, rules: Rules, rule: Any, hooked: Any) -> None:
        rules.write(rule("tester", "read"), rule("api", "read"))
        manager = rules.open(hooked)
        view = manager.as_principal("api")
        for reader in (manager, view):
            for name in (NAME, "db/user"):
                for _ in range(3):
                    reader.get(name)
        rules.write(rule("tester", "read", names=NAME), rule("api", "read"))
        manager.reload()
        for reader in (manager, view):
            assert reader.get(NAME).freshness is Freshness.CACHED
            for _ in range(2):
                with pytest.raises(AccessDeniedError):
                    reader.get("db/user")
            assert set(reader.get_many([NAME, "db/user"]).errors) == {"db/user"}
        assert len(hooked.reads) == 2

    def test_what_is_allowed_now_can_be_read(self, rules: Rules, rule: Any, hooked: Any) -> None:
        rules.write(rule("tester", "read", names="db/user"))
        manager = rules.open(hooked)
        with pytest.raises(AccessDeniedError):
            manager.get(NAME)
        rules.write(rule("tester", "read"))
        with pytest.raises(AccessDeniedError):
            manager.get(NAME)
        manager.reload()
        assert manager.get(NAME).reveal_text() == "s3cret"

    @pytest.mark.parametrize("damage", ["no = = toml", "[[policies]]\nprincipal = 3\n", None])
    def test_a_file_that_cannot_be_used_changes_nothing(
        self, damage: str | None, rules: Rules, rule: Any, hooked: Any
    ) -> None:
        rules.write(rule("tester", "read", names=NAME))
        manager = rules.open(hooked)
        warm(manager)
        rules.path.unlink()
        if damage is not None:
            rules.path.write_text(damage)
        with pytest.raises(ConfigurationError):
            manager.reload()
        assert manager.get(NAME).freshness is Freshness.CACHED
        with pytest.raises(AccessDeniedError):
            manager.get("db/user")

    def test_a_changed_file_that_is_included_is_seen(
        self, rules: Rules, rule: Any, hooked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also by a mapping, although the program has gone to another folder, and if no file is left."""
        included = tmp_path / "team.inc"
        table = '[[policies]]\nprincipal = "tester"\neffect = "allow"\nactions = ["read"]\nnames = ["{}"]\n'
        included.write_text(table.format("**"))
        monkeypatch.chdir(tmp_path)
        rules.path.write_text('include = ["*.inc"]\nprincipal = "tester"\naudit = "none"\n')
        mapping = {"include": ["*.inc"], "principal": "tester", "audit": "none"}
        opened = [strongroom.open(source, backends={"memory": hooked}) for source in (str(rules.path), mapping)]
        for manager in opened:
            warm(manager)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        included.write_text(table.format(NAME))
        for manager in opened:
            manager.reload()
            manager.get(NAME)
            with pytest.raises(AccessDeniedError):
                manager.get("db/user")
        included.unlink()
        for manager in opened:
            manager.reload()
            with pytest.raises(AccessDeniedError):
                manager.get(NAME)
            manager.close()

    @pytest.mark.skipif(sys.platform == "win32", reason="only POSIX has these modes")
    def test_a_file_that_was_only_found_has_to_stay_safe(
        self, rules: Rules, rule: Any, hooked: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rules.write(rule("tester", "read", names=NAME))
        monkeypatch.chdir(rules.path.parent)
        monkeypatch.delenv("STRONGROOM_CONFIG", raising=False)
        with strongroom.open(backends={"memory": hooked}) as manager:
            rules.write(rule("tester", "read"))
            rules.path.chmod(0o666)
            with pytest.raises(ConfigurationError, match="can be written by every user"):
                manager.reload()
            with pytest.raises(AccessDeniedError):
                manager.get("db/user")
            rules.path.chmod(0o644)
            manager.reload()
            manager.get("db/user")

    @pytest.mark.parametrize("when", ["while it is decided", "while the backend opens"])
    def test_a_decision_by_the_old_rules_is_not_remembered(
        self, when: str, rules: Rules, rule: Any, hooked: Any
    ) -> None:
        rules.write(rule("tester", "read"), rule("api", "read"))
        manager = rules.open(hooked)
        view = manager.as_principal("api")
        asked = 0

        def reload() -> None:
            rules.hook = None
            rules.write(rule("tester", "read"), rule("api", "list"))
            manager.reload()

        def reload_later() -> None:
            nonlocal asked
            asked += 1
            if asked == 2:  # the view's own right has been found, and its base is asked
                reload()

        if when == "while it is decided":
            rules.hook = reload_later
        else:
            opened = manager._parts.backend
            manager._parts.backend = lambda name: (reload(), opened(name))[1]  # type: ignore[method-assign,func-returns-value]  # it takes a while
        assert view.get(NAME).reveal_text() == "s3cret"
        with pytest.raises(AccessDeniedError):
            view.get(NAME)

    def test_of_two_reloads_at_once_the_one_that_began_later_counts(
        self, rules: Rules, rule: Any, hooked: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As in a signal's handler that interrupts another one."""
        rules.write(rule("tester", "read"))
        manager = rules.open(hooked)
        load = again.load

        def interrupted(*arguments: Any, **options: Any) -> Any:
            read = load(*arguments, **options)
            monkeypatch.setattr(again, "load", load)
            rules.write(rule("tester", "read", names=NAME))
            manager.reload()
            return read

        monkeypatch.setattr(again, "load", interrupted)
        manager.reload()
        with pytest.raises(AccessDeniedError):
            manager.get("db/user")

    def test_threads_that_read_meanwhile_are_denied_as_soon_as_it_returns(
        self, rules: Rules, rule: Any, hooked: Any
    ) -> None:
        rules.write(rule("tester", "read"))
        manager = rules.open(hooked)
        warm(manager)
        reading = threading.Barrier(5)
        reloaded = threading.Event()

        def read(number: int) -> str:
            reading.wait(10)
            if number == 4:
                rules.write(rule("tester", "read", names="db/user"))
                manager.reload()
                reloaded.set()
                return "reloaded"
            while True:
                was_reloaded = reloaded.is_set()
                try:
                    manager.get(NAME)
                except StrongroomError as error:
                    return error.code
                if was_reloaded:
                    return "served"

        assert in_threads(5, read) == ["denied"] * 4 + ["reloaded"]
