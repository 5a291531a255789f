"""Opening what the configuration names: routes, lazily opened backends, closing."""

from __future__ import annotations

import threading

from typing import Any

import pytest

import strongroom

from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import Backend
from strongroom.errors import (
    BackendError,
    ConfigurationError,
    PluginError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom.testing import FaultyBackend, MemorySink, in_threads


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
