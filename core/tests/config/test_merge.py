"""Layers over each other, and what the system's and the user's file lock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from strongroom.builtin.settings import MemorySettings, TtlSettings
from strongroom.config.files import Layer
from strongroom.config.load import Configuration, load
from strongroom.config.merge import environment_layer, merge
from strongroom.contracts import FilePath, Record
from strongroom.errors import ConfigurationError
from strongroom.policy import Action

BASE = """
audit = "none"
[backends.b]
type = "memory"
keep_versions = 5
[cache]
ttl = "60s"
"""


class Auth(Record):
    method: str
    tries: int = 1
    file: FilePath = ""


class Settings(Record):
    auth: Auth


def origin(configuration: Configuration, setting: str) -> tuple[Any, str]:
    [found] = [one for one in configuration.origins if one.setting == setting]
    return found.value, Path(found.source).name


class TestLayers:
    """Later ones win key by key."""

    def test_the_overlay_beside_the_file_wins_and_leaves_the_rest(self, folders: Any) -> None:
        folders.write("project", BASE)
        folders.write("project", '[cache]\nttl = "5s"\njitter = 0\n', name="strongroom.local.toml")
        configuration = load()
        assert origin(configuration, "cache.ttl") == ("5s", "strongroom.local.toml")
        assert origin(configuration, "cache.jitter") == (0, "strongroom.local.toml")
        assert origin(configuration, "backends.b.keep_versions") == (5, "strongroom.toml")

    def test_variables_win_over_files(self, folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        folders.write("project", BASE)
        folders.write("project", '[cache]\nttl = "5s"\n', name="strongroom.local.toml")
        monkeypatch.setenv("STRONGROOM_CACHE__TTL", "1s")
        assert origin(load(), "cache.ttl") == ("1s", "<environment> STRONGROOM_CACHE__TTL")

    def test_lists_of_tables_are_added(self, folders: Any) -> None:
        folders.write("project", BASE + '[[policies]]\nprincipal="a"\neffect="allow"\nactions=["read"]\nnames=["x"]\n')
        folders.write(
            "project",
            '[[policies]]\nprincipal="b"\neffect="allow"\nactions=["read"]\nnames=["x"]\n',
            name="strongroom.local.toml",
        )
        rules = load().policy.rules
        assert [(rule.principal, rule.id) for rule in rules] == [
            ("a", f"policies[1] of {folders.project}/strongroom.toml"),
            ("b", f"policies[1] of {folders.project}/strongroom.local.toml"),
        ]

    def test_a_route_is_the_same_however_it_is_spelled(self, folders: Any) -> None:
        """A composed and a decomposed letter, and a slash at the end: an overlay's wins all the same."""
        folders.write("project", f'backend = "b"\n{BASE}[backends.c]\ntype = "memory"\n[routes]\n"caf\u00e9/" = "b"\n')
        folders.write("project", '[routes]\n"cafe\u0301" = "c"\n', name="strongroom.local.toml")
        assert load().routes == (("caf\u00e9", "c"),)

    def test_an_overlay_s_nested_table_replaces_the_whole(self, folders: Any) -> None:
        """Keys of one way to log in must not be left over in another."""
        merged = merge_texts({"auth": {"method": "a", "x": 1}}, {"auth": {"method": "b"}})
        assert merged.settings["backends", "b", "auth"] == {"method": "b"}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("chace = 1", r"chace in .* is not a setting: did you mean 'cache'\?"),
            ("backends = 1", "backends in .* is not usable: expected a table"),
            ("[backends]\nb = 1", r"backends\.b in .* is not usable: expected a table"),
            ('audit = "all"', r'audit in .* is not usable: expected \[\[audit\]\] tables, or audit = "none"'),
            ("policies = 1", "policies in .* is not usable"),
            ("backend = 1", "backend in .* is not usable: expected a text"),
            ("principal = []", "principal in .* is not usable: expected a text"),
        ],
    )
    def test_a_section_of_the_wrong_shape_names_its_file(self, text: str, message: str, folders: Any) -> None:
        folders.write("project", text)
        with pytest.raises(ConfigurationError, match=message):
            load()


def merge_texts(first: dict[str, Any], second: dict[str, Any]) -> Any:
    layers = [
        Layer(path=f"{n}", folder="/", content={"backends": {"b": table}}) for n, table in enumerate((first, second))
    ]
    return merge(layers, [])


class TestEnvironment:
    """Settings from variables."""

    def test_two_underscores_step_into_a_table(self) -> None:
        layer = environment_layer(
            {
                "STRONGROOM_BACKEND": "b",
                "STRONGROOM_PRINCIPAL": "p",
                "STRONGROOM_AUDIT": "none",
                "STRONGROOM_CACHE__TTL": "1s",
                "STRONGROOM_BACKENDS__B__KEEP_VERSIONS": "3",
                "STRONGROOM_BACKENDS__B__AUTH__ROLE_ID": "r",
            }
        )
        assert layer.content == {
            "backend": "b",
            "principal": "p",
            "audit": "none",
            "cache": {"ttl": "1s"},
            "backends": {"b": {"keep_versions": "3", "auth": {"role_id": "r"}}},
        }

    @pytest.mark.parametrize(
        "variable",
        [
            "STRONGROOM_MASTER_KEY",
            "STRONGROOM_CONFIG",
            "STRONGROOM_LOCKED",
            "STRONGROOM_NO_PLUGINS",
            "PATH",
            "OTHERPREFIX_BACKEND",
            "XXXXXXXXXXXBACKEND",
            "STRONGROOM_CACHE",
            "STRONGROOM_POLICIES__X",
            "STRONGROOM_backend",
            "STRONGROOM_Cache__TTL",
            "STRONGROOM_BACKENDS__b__TYPE",
            "strongroom_backend",
        ],
    )
    def test_other_variables_are_no_settings(self, variable: str) -> None:
        assert environment_layer({variable: "x"}).content == {}

    def test_variables_that_contradict_each_other_are_an_error(self) -> None:
        with pytest.raises(ConfigurationError, match="STRONGROOM_BACKENDS__B__TYPE steps into a table"):
            environment_layer({"STRONGROOM_BACKENDS__B": "x", "STRONGROOM_BACKENDS__B__TYPE": "memory"})

    def test_text_becomes_the_type_that_is_expected(self, folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        folders.write("project", BASE)
        monkeypatch.setenv("STRONGROOM_CACHE__MAX_ENTRIES", "7")
        monkeypatch.setenv("STRONGROOM_CACHE__JITTER", "0.25")
        monkeypatch.setenv("STRONGROOM_BACKENDS__B__KEEP_VERSIONS", "3")
        configuration = load()
        assert configuration.max_entries == 7
        assert configuration.cache.settings(TtlSettings).jitter == 0.25
        assert configuration.backends["b"].settings(MemorySettings).keep_versions == 3

    def test_a_wrong_value_names_the_variable_s_origin_and_is_not_repeated(
        self, folders: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folders.write("project", BASE)
        monkeypatch.setenv("STRONGROOM_CACHE__MAX_ENTRIES", "s3cret")
        with pytest.raises(ConfigurationError, match=r"cache\.max_entries in <environment> is not usable") as caught:
            load()
        assert "s3cret" not in str(caught.value)

    def test_a_variable_reaches_into_a_nested_table_and_leaves_the_rest(
        self, folders: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = folders.project / "elsewhere"
        elsewhere.mkdir()
        path = folders.write(
            "project", 'audit = "none"\n[backends.b]\ntype = "x"\nauth = { method = "m", tries = 2, file = "f" }\n'
        )
        monkeypatch.chdir(elsewhere)
        monkeypatch.setenv("STRONGROOM_BACKENDS__B__AUTH__TRIES", "9")
        auth = load(str(path)).backends["b"].settings(Settings).auth
        assert (auth.method, auth.tries, auth.file) == ("m", 9, str(folders.project / "f"))

    def test_a_variable_replaces_a_reference_as_a_whole(self, folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        folders.write("project", BASE + '[telemetry]\nkey = { file = "absent" }\n')
        monkeypatch.setenv("STRONGROOM_TELEMETRY__KEY", "k")
        key = load().telemetry.key
        assert key is not None
        assert key.reveal() == b"k"


ALLOW = '[[policies]]\nprincipal = "*"\neffect = "{effect}"\nactions = ["*"]\nnames = ["{names}"]\n'


class TestLocks:
    """Others may add, and not weaken."""

    @pytest.mark.parametrize("owner", ["system", "user"])
    def test_a_locked_sink_stays_and_others_are_added(self, owner: str, folders: Any) -> None:
        folders.write(owner, 'locked = ["audit"]\n[[audit]]\ntype = "first"\n')
        folders.write("project", '[backends.b]\ntype = "memory"\n[[audit]]\ntype = "second"\n')
        assert [sink.type for sink in load().sinks] == ["first", "second"]

    def test_only_what_is_locked_holds_elsewhere(self, folders: Any) -> None:
        folders.write("user", 'locked = ["audit"]\nprincipal = "u"\n[[audit]]\ntype = "first"\n[cache]\nttl = "1s"\n')
        folders.write("project", '[backends.b]\ntype = "memory"\n')
        configuration = load()
        assert configuration.principal.name != "u"
        assert configuration.cache.table == {}

    def test_without_a_lock_the_user_s_file_has_no_say_in_a_project(self, folders: Any) -> None:
        folders.write("user", '[[audit]]\ntype = "first"\n')
        folders.write("project", BASE)
        assert load().sinks == ()

    def test_a_project_cannot_lock(self, folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        folders.write("project", 'locked = ["cache"]\n' + BASE)
        monkeypatch.setenv("STRONGROOM_CACHE__TTL", "1s")
        assert load().cache.table["ttl"] == "1s"

    LOCKING = """
    locked = ["audit", "policies", "backend", "backends", "routes", "cache", "anomaly"]
    backend = "main"
    principal = "app"
    [[audit]]
    type = "first"
    [[anomaly]]
    type = "rate"
    [backends.main]
    type = "memory"
    [routes]
    "ci/" = "main"
    [cache]
    ttl = "60s"
    """ + ALLOW.format(effect="allow", names="app/**").replace("\n", "\n    ")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('audit = "none"', "tries to switch off audit, which .* has locked"),
            (ALLOW.format(effect="allow", names="**"), "tries to allow more in policies"),
            ('principal = "root"', "tries to set principal"),
            ('backend = "own"\n[backends.own]\ntype = "memory"', "tries to set backend"),
            ('[backends.main]\ntype = "env"', r"tries to change backends\.main\.type in backends"),
            ("[backends.main]\nkeep_versions = 1", r"tries to change backends\.main\.keep_versions in backends"),
            ('[routes]\n"ci/" = "own"\n[backends.own]\ntype = "memory"', r"tries to change routes\.ci in routes"),
            ('[routes]\n"ci/x" = "own"\n[backends.own]\ntype = "memory"', r"tries to change routes\.ci/x in routes"),
            ('[routes]\n"ci" = "own"\n[backends.own]\ntype = "memory"', r"tries to change routes\.ci in routes"),
            ('[routes]\n"own" = "own"\n[backends.own]\ntype = "memory"', r"tries to change routes\.own in routes"),
            ('[cache]\nttl = "1d"', r"tries to change cache\.ttl in cache"),
            ('[cache]\nmax_stale = "90d"', r"tries to change cache\.max_stale in cache"),
        ],
    )
    @pytest.mark.parametrize("by", ["project", "overlay"])
    def test_weakening_is_refused_and_names_both_files(self, by: str, text: str, message: str, folders: Any) -> None:
        locking = folders.write("system", self.LOCKING)
        name = "strongroom.toml" if by == "project" else "strongroom.local.toml"
        if by == "overlay":
            folders.write("project", "")
        path = folders.write("project", text, name=name)
        with pytest.raises(ConfigurationError, match=message) as caught:
            load()
        assert caught.value.what.startswith(str(path))
        assert str(locking) in caught.value.what

    @pytest.mark.parametrize(
        "text",
        [
            "",
            'backend = "main"\nprincipal = "app"',
            '[cache]\nttl = "60s"',
            ALLOW.format(effect="deny", names="app/prod/**"),
            '[backends.own]\ntype = "memory"',
            '[routes]\n"ci" = "main"',
            '[[audit]]\ntype = "second"',
            '[[anomaly]]\ntype = "hour"',
        ],
    )
    def test_adding_and_repeating_are_fine(self, text: str, folders: Any) -> None:
        folders.write("system", self.LOCKING)
        folders.write("project", text)
        configuration = load()
        assert (configuration.default_backend, configuration.principal.name) == ("main", "app")
        assert configuration.policy.decide("app", Action.READ, "app/x").allowed
        assert not configuration.policy.decide("app", Action.READ, "other").allowed
        assert configuration.policy.decide("app", Action.READ, "app/prod/x").allowed is ("prod" not in text)

    @pytest.mark.parametrize(
        ("variable", "text"),
        [
            ("STRONGROOM_AUDIT", "none"),
            ("STRONGROOM_PRINCIPAL", "root"),
            ("STRONGROOM_BACKEND", "own"),
            ("STRONGROOM_BACKENDS__MAIN__TYPE", "env"),
            ("STRONGROOM_CACHE__TTL", "1d"),
        ],
    )
    @pytest.mark.parametrize("where", ["above a project", "on its own"])
    def test_no_variable_weakens_either(
        self, where: str, variable: str, text: str, folders: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also where the locking file is the only one, and so the file itself."""
        folders.write("system", self.LOCKING)
        if where == "above a project":
            folders.write("project", "")
        load()
        monkeypatch.setenv(variable, text)
        with pytest.raises(ConfigurationError, match=r"<environment> tries to .* has locked"):
            load()

    def test_an_overlay_beside_the_locking_file_is_bound_too(self, folders: Any) -> None:
        folders.write("user", self.LOCKING)
        load()
        folders.write("user", 'audit = "none"', name="strongroom.local.toml")
        with pytest.raises(ConfigurationError, match="tries to switch off audit"):
            load()

    def test_the_system_s_lock_holds_against_the_user_s(self, folders: Any) -> None:
        folders.write("system", 'locked = ["cache"]\n[cache]\nttl = "60s"\n')
        folders.write("user", 'locked = ["cache"]\n[cache]\nttl = "1d"\n')
        folders.write("project", 'audit = "none"\n[backends.b]\ntype = "memory"\n')
        assert load().cache.table["ttl"] == "60s"

    @pytest.mark.parametrize("value", ['"audit"', '["audti"]', "[1]", "true"])
    def test_a_lock_that_is_not_understood_is_an_error(self, value: str, folders: Any) -> None:
        folders.write("system", f"locked = {value}\n")
        folders.write("project", BASE)
        with pytest.raises(ConfigurationError, match=r"locked in .*/etc/strongroom.toml is not usable"):
            load()

    def test_a_program_s_own_mapping_stands_alone(self, folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        folders.write("system", self.LOCKING)
        monkeypatch.setenv("STRONGROOM_CACHE__TTL", "1d")
        configuration = load({"audit": "none", "backends": {"b": {"type": "memory"}}})
        assert (configuration.sinks, configuration.cache.table) == ((), {})


def test_a_table_of_which_nothing_is_said_is_there_all_the_same() -> None:
    first = Layer(path="a", folder="/", content={"rotation": {"db/**": {"every": "1d"}, "db/a": {}}})
    second = Layer(path="b", folder="/", content={"rotation": {"db/a": {"limit": "5m"}, "db/**": {}}})
    assert merge([first], []).table("rotation") == {"db/**": {"every": "1d"}, "db/a": {}}
    assert merge([first, second], []).table("rotation") == {"db/**": {"every": "1d"}, "db/a": {"limit": "5m"}}
