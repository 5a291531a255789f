"""What is locked stays its owner's: nobody moves it, goes round it or gets rid of the lock."""

from __future__ import annotations

import os

from pathlib import Path
from typing import Any

import pytest

from strongroom.config.load import Configuration, load
from strongroom.contracts import FilePath, KeySource, Record
from strongroom.errors import ConfigurationError

PROJECT = 'audit = "none"\n[backends.b]\ntype = "memory"\n'
OWN = '[backends.own]\ntype = "memory"\n'


class Store(Record):
    """Settings of a backend with a path and a key."""

    path: FilePath
    key: KeySource | None = None
    level: int = 0


def store(configuration: Configuration) -> Store:
    made: Store = configuration.backends["main"].settings(Store)
    return made


class TestRepeating:
    """A value that is said again stays where it was said first."""

    LOCKING = """
    locked = ["backends"]
    backend = "main"
    [backends.main]
    type = "local"
    path = "secrets.db"
    key = { file = "master.key" }
    level = 3
    """

    @pytest.mark.parametrize("line", ['path = "secrets.db"', 'key = { file = "master.key" }'])
    def test_a_relative_path_means_another_file_and_is_refused(self, line: str, folders: Any) -> None:
        folders.write("user", self.LOCKING)
        folders.write("project", f'audit = "none"\n[backends.main]\n{line}\n')
        with pytest.raises(ConfigurationError, match=r"tries to change backends\.main\.\w+ in backends") as caught:
            load()
        assert "relative path" in caught.value.hint

    @pytest.mark.parametrize(
        ("variable", "text"),
        [("STRONGROOM_BACKENDS__MAIN__PATH", "secrets.db"), ("STRONGROOM_BACKENDS__MAIN__KEY__FILE", "master.key")],
    )
    def test_a_variable_moves_no_path_either(
        self, variable: str, text: str, folders: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folders.write("user", self.LOCKING)
        folders.write("project", 'audit = "none"')
        monkeypatch.setenv(variable, text)
        with pytest.raises(ConfigurationError, match=r"<environment> tries to change backends\.main"):
            load()
        monkeypatch.chdir(folders.user)  # here it means the same
        assert store(load(str(folders.project / "strongroom.toml"))).path == str(folders.user / "secrets.db")

    def test_what_means_the_same_is_fine_and_stays_the_owner_s(self, folders: Any) -> None:
        owner = folders.write("user", self.LOCKING.replace("secrets.db", "/var/secrets.db"))
        folders.write(
            "project",
            'audit = "none"\nbackend = "main"\n[backends.main]\ntype = "local"\npath = "/var/secrets.db"\nlevel = 3\n',
        )
        configuration = load()
        made = store(configuration)
        assert (made.path, made.level) == ("/var/secrets.db", 3)
        assert made.key is not None
        assert made.key.path == str(folders.user / "master.key")
        locked = [one.source for one in configuration.origins if one.setting.startswith("backend")]
        assert set(locked) == {str(owner)}

    @pytest.mark.parametrize(
        ("repeated", "more"),
        [
            ('[cache]\nttl = "60s"\n', "max_entries = 5"),
            ('[routes]\n"prod" = "main"\n', '"prod/pw" = "b"'),
            ('[backends.main]\ntype = "memory"\n', "keep_versions = 1"),
        ],
    )
    def test_it_is_no_way_to_add_to_a_table(self, repeated: str, more: str, folders: Any) -> None:
        folders.write(
            "user",
            'locked = ["cache", "routes", "backends"]\n[cache]\nttl = "60s"\n[routes]\n"prod" = "main"\n'
            '[backends.main]\ntype = "memory"\n',
        )
        folders.write("project", PROJECT + repeated)
        load()
        folders.write("project", PROJECT + repeated + more)
        with pytest.raises(ConfigurationError, match="has locked"):
            load()


class TestRedirecting:
    """Where names lead is one thing, however many sections say it."""

    @pytest.mark.parametrize("section", ["backend", "backends", "routes"])
    @pytest.mark.parametrize(
        "text",
        ['[routes]\n"db" = "own"\n', '[routes]\n"db" = "main"\n', '[routes]\n"prod" = "own"\n', 'backend = "own"\n'],
    )
    def test_each_of_the_locks_refuses_new_routes_and_another_default(
        self, section: str, text: str, folders: Any
    ) -> None:
        main = '[backends.main]\ntype = "memory"\n'
        folders.write("user", f'locked = ["{section}"]\nbackend = "main"\n[routes]\n"prod" = "main"\n{main}')
        rest = 'audit = "none"\n' + OWN + (main if section != "backends" else "")
        folders.write("project", rest)
        assert load().default_backend == "main"
        assert load().routes == (("prod", "main"),)
        folders.write("project", text + rest if text.startswith("backend") else rest + text)
        with pytest.raises(ConfigurationError, match=r"tries to (set backend|change routes\.\w+ in routes)"):
            load()

    @pytest.mark.parametrize("section", ["backends", "fallback"])
    def test_nobody_else_chooses_where_copies_of_locked_backends_are_kept(self, section: str, folders: Any) -> None:
        store = 'fallback = "main"\n' if section == "fallback" else ""
        folders.write("user", f'locked = ["{section}"]\n{store}[backends.main]\ntype = "memory"\n')
        rest = OWN if section == "backends" else f'{OWN}[backends.main]\ntype = "memory"\n'
        default = 'backend = "main"\n' if section == "fallback" else ""
        folders.write("project", f'audit = "none"\n{default}{rest}')
        assert load().resilience.fallback == ("main" if store else None)
        folders.write("project", f'audit = "none"\nfallback = "own"\n{default}{rest}')
        with pytest.raises(ConfigurationError, match="tries to set fallback"):
            load()

    def test_a_further_backend_does_not_become_the_default(self, folders: Any) -> None:
        folders.write("user", 'locked = ["backends"]\n[backends.main]\ntype = "memory"\n')
        folders.write("project", f'audit = "none"\n{OWN}')
        assert load().default_backend == "main"
        folders.write("project", f'audit = "none"\nbackend = "own"\n{OWN}')
        with pytest.raises(ConfigurationError, match="tries to set backend"):
            load()

    def test_another_spelling_of_a_route_is_the_same_route(self, folders: Any) -> None:
        folders.write("user", 'locked = ["routes"]\nbackend = "own"\n[routes]\n"caf\u00e9/" = "own"\n')
        folders.write("project", f'audit = "none"\n{OWN}[routes]\n"cafe\u0301" = "own"\n')
        assert load().routes == (("caf\u00e9", "own"),)
        folders.write("project", f'audit = "none"\n{OWN}{PROJECT[15:]}[routes]\n"cafe\u0301" = "b"\n')
        with pytest.raises(ConfigurationError, match="tries to change routes"):
            load()

    @pytest.mark.parametrize(
        ("section", "text"),
        [
            ("cache", '[cache]\nttl = "1d"\n'),
            ("telemetry", '[telemetry]\nkey = "known"\n'),
            ("routes", '[routes]\n"x" = "b"\n'),
            ("backends", ""),
        ],
    )
    def test_a_locked_section_without_a_table_takes_nothing(self, section: str, text: str, folders: Any) -> None:
        folders.write("user", f'locked = ["{section}"]\n')
        folders.write("project", PROJECT + text)
        with pytest.raises(ConfigurationError, match=rf"tries to change {section}\.[\w.]+ in {section}"):
            load()


class TestTwoOwners:
    """The system's file and the user's lock the same."""

    def test_the_tables_of_both_lists_stay(self, folders: Any) -> None:
        rule = '[[policies]]\nprincipal = "*"\neffect = "{}"\nactions = ["*"]\nnames = ["{}"]\n'
        locked = 'locked = ["policies", "audit", "anomaly"]\n'
        folders.write(
            "system", f'{locked}[[audit]]\ntype = "s"\n[[anomaly]]\ntype = "s"\n' + rule.format("allow", "**")
        )
        user = f'{locked}[[audit]]\ntype = "u"\n[[anomaly]]\ntype = "u"\n'
        folders.write("user", user + rule.format("deny", "prod/**"))
        folders.write("project", '[backends.b]\ntype = "memory"\n[[audit]]\ntype = "p"\n')
        configuration = load()
        assert [sink.type for sink in configuration.sinks] == ["s", "u", "p"]
        assert [detector.type for detector in configuration.detectors] == ["s", "u"]
        assert [rule.id for rule in configuration.policy.rules] == [
            f"policies[1] of {folders.system}/strongroom.toml",
            f"policies[1] of {folders.user}/strongroom.toml",
        ]
        folders.write("user", user + rule.format("allow", "prod/**"))
        with pytest.raises(ConfigurationError, match=r"xdg/.* tries to allow more in policies, which .*/etc/"):
            load()

    def test_the_user_cannot_switch_the_system_s_trail_off(self, folders: Any) -> None:
        folders.write("system", 'locked = ["audit"]\n[[audit]]\ntype = "s"\n')
        folders.write("user", 'locked = ["audit"]\naudit = "none"\n')
        folders.write("project", OWN)
        with pytest.raises(ConfigurationError, match="tries to switch off audit"):
            load()


class TestSharedFiles:
    """A table of another file must not write where a locked one does."""

    @pytest.fixture
    def trail(self, folders: Any) -> Path:
        path: Path = folders.user / "audit.jsonl"
        path.write_text("")
        sink = '[[audit]]\ntype = "jsonl"\npath = "audit.jsonl"\n'
        folders.write("user", f'locked = ["audit", "anomaly"]\n{sink}[[anomaly]]\ntype = "rate"\nstate = "state"\n')
        return path

    @pytest.mark.parametrize(
        "text",
        [
            '[[audit]]\ntype = "jsonl"\npath = "{trail}"',
            '[[audit]]\ntype = "jsonl"\npath = "../xdg/strongroom/./audit.jsonl"',
            '[[audit]]\ntype = "other"\nfiles = ["{trail}"]',
            '[[audit]]\ntype = "jsonl"\npath = "{trail}.key"',
            '[[audit]]\ntype = "jsonl"\npath = "symbolic"',
            '[[audit]]\ntype = "jsonl"\npath = "hard"',
            '[[anomaly]]\ntype = "rate"\nstate = "../xdg/strongroom/state"',
        ],
    )
    def test_the_same_file_by_any_name_is_refused(self, text: str, trail: Path, folders: Any) -> None:
        (folders.project / "symbolic").symlink_to(trail)
        os.link(trail, folders.project / "hard")
        folders.write("project", OWN + text.replace("{trail}", str(trail)))
        with pytest.raises(ConfigurationError, match=r"tries to use a file that belongs to (audit|anomaly)"):
            load()

    @pytest.mark.parametrize("path", ["audit.jsonl", "{trail}s", "../xdg/other.jsonl"])
    def test_another_file_is_fine(self, path: str, trail: Path, folders: Any) -> None:
        path = path.replace("{trail}", str(trail))
        folders.write("project", OWN + f'[[audit]]\ntype = "jsonl"\npath = "{path}"\n')
        assert len(load().sinks) == 2

    def test_two_sinks_may_say_the_same_word(self, folders: Any) -> None:
        folders.write("user", f'locked = ["audit"]\n{OWN}[[audit]]\ntype = "x"\nfacility = "auth"\n')
        folders.write("user", '[[audit]]\ntype = "y"\nfacility = "auth"\n', name="strongroom.local.toml")
        assert len(load().sinks) == 2


class TestFindingLocks:
    """A lock holds wherever its file is looked at from."""

    @pytest.mark.parametrize("variable", ["XDG_CONFIG_HOME", "HOME"])
    def test_no_variable_leads_away_from_the_account_s_lock(
        self, variable: str, folders: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folders.write("account", 'locked = ["audit"]\n[[audit]]\ntype = "first"\npath = "~/trail"\n')
        folders.write("project", PROJECT)
        if variable == "HOME":
            monkeypatch.delenv("XDG_CONFIG_HOME")
        monkeypatch.setenv(variable, "/nonexistent")
        with pytest.raises(ConfigurationError, match=r"account/\.config/.* has locked"):
            load()
        folders.write("project", OWN)
        [sink] = load().sinks
        assert sink.settings(Store).path == str(folders.home / "trail")

    def test_both_of_the_user_s_files_bind(self, folders: Any) -> None:
        folders.write("account", 'locked = ["audit"]\n[[audit]]\ntype = "first"\n')
        folders.write("user", 'locked = ["audit"]\n[[audit]]\ntype = "second"\n')
        folders.write("project", OWN)
        assert [sink.type for sink in load().sinks] == ["first", "second"]

    def test_the_account_s_lock_binds_the_file_that_a_variable_leads_to(self, folders: Any) -> None:
        folders.write("account", 'locked = ["audit"]\n[[audit]]\ntype = "first"\n')
        folders.write("user", PROJECT)
        with pytest.raises(ConfigurationError, match="tries to switch off audit"):
            load()

    @pytest.mark.parametrize("named", [False, True])
    def test_a_link_to_the_locking_file_moves_no_path(self, named: bool, folders: Any) -> None:
        path = folders.write("user", f'locked = ["audit"]\n{OWN}[[audit]]\ntype = "first"\npath = "trail"\n')
        link = folders.project / "strongroom.toml"
        link.symlink_to(path)
        folders.write("project", '[cache]\nttl = "1s"\n', name="strongroom.local.toml")
        configuration = load(str(link) if named else None)
        [sink] = configuration.sinks
        assert sink.settings(Store).path == str(folders.user / "trail")
        assert (configuration.source, configuration.cache.table) == (str(path), {})
        folders.write("user", 'audit = "none"\n', name="strongroom.local.toml")
        with pytest.raises(ConfigurationError, match="tries to switch off audit"):
            load()
