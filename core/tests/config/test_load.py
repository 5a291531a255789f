"""The whole configuration: defaults, routes, sinks, policies, and errors that name their place."""

from __future__ import annotations

import getpass

from pathlib import Path
from typing import Any

import pytest

from strongroom.builtin.settings import MemorySettings
from strongroom.config.load import load
from strongroom.contracts import FilePath, KeySource, Record
from strongroom.errors import ConfigurationError
from strongroom.testing import report_of

ONE = {"audit": "none", "backends": {"b": {"type": "memory"}}}
TWO = {"audit": "none", "backend": "b", "backends": {"b": {"type": "memory"}, "c": {"type": "memory"}}}


class Located(Record):
    path: FilePath = ""
    key: KeySource | None = None
    level: int = 0


def test_one_backend_needs_nothing_else() -> None:
    configuration = load(ONE)
    assert (configuration.default_backend, configuration.routes, configuration.max_entries) == ("b", (), 10000)
    assert configuration.cache.type == "ttl"
    assert (configuration.principal.name, configuration.principal.source.value) == (
        getpass.getuser(),
        "operating_system",
    )
    assert not configuration.policy.enforced


def test_backends_that_exist_already_need_no_table() -> None:
    assert load({"audit": "none"}, ready=["mine"]).default_backend == "mine"


def test_the_principal_may_be_given() -> None:
    principal = load(ONE | {"principal": "app"}).principal
    assert (principal.name, principal.source.value) == ("app", "configuration")


def test_the_longest_route_comes_first() -> None:
    routes = load(TWO | {"routes": {"a/": "c", "a/b/c": "b", "a/b/": "c"}}).routes
    assert routes == (("a/b/c", "b"), ("a/b", "c"), ("a", "c"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"audit": "none"}, "<open\\(\\)> has no backend"),
        ({"audit": "none", "backends": {"b": {"x": 1}}}, r"backends\.b\.type in <open\(\)> is missing"),
        ({"audit": "none", "backends": {"b": {"type": 7}}}, r"backends\.b\.type in <open\(\)> is missing"),
        ({"backends": {"b": {"type": "memory"}}}, r"<open\(\)> has no audit sink"),
        (TWO | {"backend": None}, "is not usable"),
        ({key: part for key, part in TWO.items() if key != "backend"}, "has several backends and no default"),
        (TWO | {"backend": "bb"}, r"names the backend 'bb', which has no table: did you mean 'b'\?"),
        (TWO | {"routes": {"a": "zz"}}, r"routes\.a in <open\(\)> names the backend 'zz'"),
        (TWO | {"routes": {"a": {"token": "s3cret"}}}, r"routes\.a in <open\(\)> is not usable"),
        (TWO | {"routes": {"/a": "b"}}, r"routes\./a in <open\(\)> is not a prefix of names"),
        (TWO | {"routes": {"": "b"}}, "is not a prefix of names"),
        (ONE | {"cache": {"max_entries": 0}}, r"cache\.max_entries in <open\(\)> is not usable: expected at least 1"),
        (ONE | {"cache": {"max_entries": "many"}}, r"cache\.max_entries .*expected a whole number"),
        (ONE | {"cache": {"sweep_every": 0}}, r"cache\.sweep_every .*expected more than 0"),
        (ONE | {"cache": {"policy": 1}}, r"cache\.policy .*expected a text"),
        (ONE | {"audit": [{"path": "x"}]}, r"audit\[1\]\.type in <open\(\)> is missing"),
        (ONE | {"audit": [{"type": "x", "required": "yes"}]}, r"audit\[1\]\.required .*expected true or false"),
        (ONE | {"audit": [{"type": "x", "immediate": "a"}]}, r"audit\[1\]\.immediate in .* is not usable"),
        (ONE | {"audit": [{"type": "x"}, {"type": "x", "immediate": ["a*"]}]}, r"audit\[2\]\.immediate in .*wildcard"),
        (ONE | {"audit": []}, "has no audit sink"),
        (ONE | {"anomaly": [{"type": "x", "action": "stop"}]}, r'anomaly\[1\]\.action .*expected "alert" or "block"'),
        (ONE | {"anomaly": [{}]}, r"anomaly\[1\]\.type in <open\(\)> is missing"),
        (ONE | {"policies": [{"principal": "p"}]}, r"policies\[1\]\.effect in <open\(\)> is missing"),
        (ONE | {"telemetry": {"key": 5}}, r"telemetry\.key in <open\(\)> is not a reference"),
        (ONE | {"telemetry": {"kye": "s3cret"}}, r"telemetry\.kye in .* is not a setting: did you mean 'key'\?"),
    ],
)
def test_what_is_not_usable_names_its_place_and_shows_no_value(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        load(config)
    assert "s3cret" not in str(caught.value)


RULE = {"principal": "p", "effect": "allow", "actions": ["read"], "names": ["a/*"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"effect": "permit"}, r'policies\[2\]\.effect in <open\(\)> is not usable: expected "allow" or "deny"'),
        ({"actions": ["raed"]}, r"policies\[2\]\.actions in <open\(\)>: 'raed' is not an action"),
        ({"actions": "read"}, r"policies\[2\]\.actions in <open\(\)> is not usable: expected a list"),
        ({"names": ["a*"]}, r"policies\[2\]\.names in <open\(\)>: .*wildcard"),
        ({"names": ["a/../b"]}, r"policies\[2\]\.names in <open\(\)>: the name 'a/\.\./b'"),
        ({"nmaes": []}, r"policies\[2\]\.nmaes in <open\(\)> is not a setting: did you mean 'names'\?"),
    ],
)
def test_a_rule_that_is_not_usable_names_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(ONE | {"policies": [RULE, RULE | change]})


def test_a_rule_is_known_by_its_place() -> None:
    [rule] = load(ONE | {"policies": [RULE]}).policy.rules
    assert (rule.id, rule.principal, rule.allow, rule.names) == ("policies[1] of <open()>", "p", True, ("a/*",))


def test_sinks_and_detectors_keep_their_order_and_the_core_s_keys_are_taken_out() -> None:
    configuration = load(
        ONE
        | {
            "audit": [{"type": "x", "path": "p", "immediate": ["db/**"]}, {"type": "y", "required": False}],
            "anomaly": [{"type": "r", "action": "block", "limit": 5}, {"type": "s", "required": True}],
        }
    )
    assert [(sink.type, sink.required, sink.table) for sink in configuration.sinks] == [
        ("x", True, {"path": "p"}),
        ("y", False, {}),
    ]
    assert configuration.immediate == ("db/**",)
    assert [(one.type, one.block, one.required, one.table) for one in configuration.detectors] == [
        ("r", True, False, {"limit": 5}),
        ("s", False, True, {}),
    ]


def test_a_plugin_s_own_settings_are_checked_against_its_class() -> None:
    table = load(ONE | {"backends": {"b": {"type": "memory", "keep_version": 3}}}).backends["b"]
    with pytest.raises(ConfigurationError, match="did you mean 'keep_versions'"):
        table.settings(MemorySettings)


def test_a_secret_that_stands_in_the_file_is_in_no_repr_of_an_error() -> None:
    class Settings(Record):
        token: KeySource
        level: int

    table = load(ONE | {"backends": {"b": {"type": "x", "token": "s3cret", "level": "s3cret"}}}).backends["b"]
    with pytest.raises(ConfigurationError) as caught:
        table.settings(Settings)
    assert "s3cret" not in report_of(caught.value)


class TestPaths:
    """A relative path belongs to the file that declares it."""

    def located(self, path: Path) -> Located:
        return load(str(path)).backends["b"].settings(Located)

    def test_it_is_relative_to_the_file_and_not_to_the_working_folder(
        self, folders: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = folders.write(
            "project", 'audit = "none"\n[backends.b]\ntype = "x"\npath = "d/x.db"\nkey = { file = "k" }\n'
        )
        monkeypatch.chdir(tmp_path)
        located = self.located(path)
        assert located.path == str(folders.project / "d" / "x.db")
        assert located.key is not None
        assert located.key.path == str(folders.project / "k")

    @pytest.mark.parametrize("first", ["level", "path"])
    def test_it_stays_so_if_another_key_of_its_table_comes_from_a_variable(
        self, first: str, folders: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        lines = ["level = 1", 'path = "x.db"'] if first == "level" else ['path = "x.db"', "level = 1"]
        path = folders.write("project", 'audit = "none"\n[backends.b]\n' + "\n".join([*lines, 'type = "x"']))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("STRONGROOM_BACKENDS__B__LEVEL", "2")
        monkeypatch.setenv("STRONGROOM_BACKENDS__B__TYPE", "y")
        located = self.located(path)
        assert (located.path, located.level) == (str(folders.project / "x.db"), 2)

    def test_a_path_from_a_variable_is_relative_to_the_working_folder(
        self, folders: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = folders.write("project", 'audit = "none"\n[backends.b]\ntype = "x"\npath = "x.db"\n')
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("STRONGROOM_BACKENDS__B__PATH", "y.db")
        assert self.located(path).path == str(tmp_path / "y.db")

    def test_a_table_of_a_locking_file_and_one_of_the_project_each_keep_their_folder(self, folders: Any) -> None:
        folders.write("user", 'locked = ["audit"]\n[[audit]]\ntype = "x"\npath = "a.log"\n')
        folders.write("project", '[backends.b]\ntype = "memory"\n[[audit]]\ntype = "x"\npath = "a.log"\n')
        assert [sink.settings(Located).path for sink in load().sinks] == [
            str(folders.user / "a.log"),
            str(folders.project / "a.log"),
        ]

    def test_a_mapping_s_paths_are_relative_to_the_working_folder(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        table = load(ONE | {"backends": {"b": {"type": "x", "path": "x.db"}}}).backends["b"]
        assert table.settings(Located).path == str(tmp_path / "x.db")


def test_a_missing_key_of_a_table_is_looked_for_in_the_file_not_in_the_variables(
    folders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Needs(Record):
        level: int
        address: str

    path = folders.write("project", 'audit = "none"\n[backends.b]\nlevel = 1\ntype = "x"\n')
    monkeypatch.setenv("STRONGROOM_BACKENDS__B__LEVEL", "2")
    with pytest.raises(ConfigurationError, match=rf"backends\.b\.address in {path} is missing"):
        load(str(path)).backends["b"].settings(Needs)
