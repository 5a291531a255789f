"""Files of policies that another file includes."""

from __future__ import annotations

import os
import sys
import tempfile

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.config.load import load, load_backends, load_policy
from strongroom.errors import ConfigurationError
from strongroom.policy import Action

BASE = """
include = {include}
audit = "none"
[backends.main]
type = "memory"
"""
RULE = """
[[policies]]
principal = "{principal}"
effect = "{effect}"
actions = ["read"]
names = ["{names}"]
"""


def rule(names: str, *, effect: str = "allow", principal: str = "app") -> str:
    return RULE.format(names=names, effect=effect, principal=principal)


def include(folders: Any, *paths: str, folder: str = "project", more: str = "") -> Path:
    """Write the file that includes others."""
    path: Path = folders.write(folder, BASE.format(include=list(paths)) + more)
    return path


def write(folders: Any, name: str, text: str, *, folder: str = "project") -> Path:
    path: Path = getattr(folders, folder) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def names() -> list[str]:
    """Return the pattern of each rule in force, in order."""
    return [pattern for one in load().policy.rules for pattern in one.names]


def test_rules_of_included_files_hold_beside_the_file_s_own(folders: Any) -> None:
    include(folders, "team.toml", more=rule("own"))
    team = write(folders, "team.toml", rule("first") + rule("second"))
    assert names() == ["own", "first", "second"]
    assert load().policy.decide("app", Action.READ, "second").rule == f"policies[2] of {team}"


def test_a_pattern_takes_the_files_that_it_matches_sorted_by_path(folders: Any) -> None:
    include(folders, "policies/*.toml")
    for name in ("b.toml", "a.toml", "c.txt", ".hidden.toml"):
        write(folders, f"policies/{name}", rule(name[0]) if name != "c.txt" else "no TOML")
    assert names() == ["a", "b"]


def test_the_order_is_that_of_the_list_and_a_file_counts_once(folders: Any) -> None:
    include(folders, "z.toml", "./gone/../*.inc.toml", "./z.toml", "*/../z.toml", "a.inc.toml")
    for name in ("z.toml", "b.inc.toml", "a.inc.toml"):
        write(folders, name, rule(name[0]))
    assert names() == ["z", "a", "b"]


def test_a_folder_s_own_name_is_no_pattern(folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = folders.project / "odd[1]"
    odd.mkdir()
    (odd / "strongroom.toml").write_text(BASE.format(include=["*.inc"]))
    (odd / "x.inc").write_text(rule("x"))
    monkeypatch.chdir(odd)
    assert names() == ["x"]


def test_a_pattern_that_matches_nothing_allows_nothing_and_a_path_that_is_missing_is_refused(folders: Any) -> None:
    path = include(folders, "policies/*.toml", "team[1].toml")
    assert names() == []
    assert load().policy.decide("app", Action.READ, "a").rule == "default deny"
    include(folders)
    assert load().policy.decide("app", Action.READ, "a").allowed
    include(folders, "team.toml")
    with pytest.raises(ConfigurationError, match=r"team\.toml does not exist") as caught:
        load()
    assert f"{path} includes it" in caught.value.what


@pytest.mark.parametrize("pattern", ["policies/*.toml", "pol*/a.tom?"])
def test_what_a_pattern_means_and_cannot_be_read_is_refused(folders: Any, pattern: str) -> None:
    """A policy that denies must not get lost in silence."""
    include(folders, pattern)
    (folders.project / "policies" / "folder.toml").mkdir(parents=True)
    assert names() == []
    (folders.project / "policies" / "a.toml").symlink_to("gone.toml")
    with pytest.raises(ConfigurationError, match=r"a\.toml is no file that can be read"):
        load()


@pytest.fixture
def another_user() -> Iterator[Path]:
    """A folder of somebody who is not root, while the process is that one."""
    with tempfile.TemporaryDirectory() as folder:
        root = os.geteuid() == 0
        os.chown(folder, 12345 if root else -1, -1)
        if root:
            os.seteuid(12345)
        yield Path(folder)
        if root:
            os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="only POSIX has these modes")
@pytest.mark.parametrize("mode", [0o000, 0o111, 0o444])
def test_a_folder_that_may_not_be_looked_into_is_refused(folders: Any, another_user: Path, mode: int) -> None:
    path = another_user / "strongroom.toml"
    path.write_text(BASE.format(include=["policies/*.toml"]))
    policies = another_user / "policies"
    policies.mkdir()
    (policies / "a.toml").write_text(rule("a", effect="deny"))
    policies.chmod(mode)
    with pytest.raises(ConfigurationError, match=r"policies cannot be read|no file that can be read"):
        load(str(path))
    policies.chmod(0o755)
    assert load(str(path)).policy.enforced


def test_an_absolute_path_and_one_in_the_home_folder_may_be_included(
    folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "one.toml").write_text(rule("one"))
    (tmp_path / "two.toml").write_text(rule("two"))
    include(folders, str(tmp_path / "one.toml"), "~/tw?.toml")
    assert names() == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('include = ["x.toml"]', "include"),
        ('principal = "root"', "principal"),
        ('[backends.b]\ntype = "memory"', "backends"),
        ('locked = ["policies"]', "locked"),
        ('audit = "none"', "audit"),
    ],
)
def test_only_policies_can_be_included(folders: Any, text: str, key: str) -> None:
    path = include(folders, "team.toml")
    team = write(folders, "team.toml", text + rule("a"))
    with pytest.raises(ConfigurationError, match=f"{key} in .* cannot be included") as caught:
        load()
    assert str(team) in caught.value.what
    assert str(path) in caught.value.hint


@pytest.mark.parametrize("value", ['"team.toml"', "[1]", '[""]', '["a\\u0000b/*"]', "{ a = 1 }", "true"])
def test_an_include_that_is_no_list_of_paths_is_refused(folders: Any, value: str) -> None:
    folders.write("project", f'include = {value}\naudit = "none"\n[backends.b]\ntype = "memory"\n')
    with pytest.raises(ConfigurationError, match=r"include in .* is not usable: expected a list of paths"):
        load()


def test_what_is_wrong_in_an_included_file_names_it(folders: Any) -> None:
    include(folders, "team.toml")
    team = write(folders, "team.toml", rule("a") + rule("b", effect="permit"))
    with pytest.raises(ConfigurationError, match=r"policies\[2\]\.effect in .*team\.toml is not usable"):
        load()
    team.write_text("[[policies]")
    with pytest.raises(ConfigurationError, match=r"team\.toml is not valid TOML"):
        load()
    team.write_text("a = " + "[" * 20000)
    with pytest.raises(ConfigurationError, match=r"team\.toml is not valid TOML: it is nested too deeply"):
        load()


@pytest.mark.skipif(sys.platform == "win32", reason="only POSIX has these modes")
def test_an_included_file_that_every_user_can_write_is_refused(folders: Any) -> None:
    include(folders, "team.toml")
    write(folders, "team.toml", rule("a")).chmod(0o666)
    with pytest.raises(ConfigurationError, match=r"team\.toml can be written by every user"):
        load()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_an_included_file_of_somebody_else_is_refused_unless_the_including_one_is_his_too(folders: Any) -> None:
    path = include(folders, "team.toml")
    team = write(folders, "team.toml", rule("a"))
    os.chown(team, 12345, -1)
    with pytest.raises(ConfigurationError, match=r"team\.toml belongs to another user"):
        load(str(path))
    os.chown(path, 12345, -1)
    assert len(load(str(path)).policy.rules) == 1


def test_an_overlay_may_include_files_too(folders: Any) -> None:
    include(folders)
    folders.write("project", 'include = ["mine.toml"]', name="strongroom.local.toml")
    write(folders, "mine.toml", rule("mine"))
    assert names() == ["mine"]


def test_a_mapping_includes_files_of_the_working_folder(folders: Any) -> None:
    write(folders, "team.toml", rule("a"))
    mapping = {"include": ["team.toml"], "audit": "none", "backends": {"b": {"type": "memory"}}}
    assert [one.names for one in load(mapping).policy.rules] == [("a",)]


class TestLocks:
    """What is included is bound by locks, and is locked, as if the including file said it."""

    LOCKING = 'include = ["rules.toml"]\nlocked = ["policies"]\nprincipal = "app"\n'

    @pytest.mark.parametrize("by", ["project", "overlay"])
    def test_an_included_file_cannot_allow_more_than_a_lock_does(self, by: str, folders: Any) -> None:
        folders.write("system", 'locked = ["policies"]\nprincipal = "app"\n' + rule("app/**"))
        include(folders, *(["team.toml"] if by == "project" else []))
        if by == "overlay":
            folders.write("project", 'include = ["team.toml"]', name="strongroom.local.toml")
        team = write(folders, "team.toml", rule("**"))
        with pytest.raises(ConfigurationError, match="tries to allow more in policies") as caught:
            load()
        assert caught.value.what.startswith(str(team))
        team.write_text(rule("app/**", effect="deny"))
        assert not load().policy.decide("app", Action.READ, "app/x").allowed

    def test_what_a_locking_file_includes_is_locked_with_it(self, folders: Any) -> None:
        locking = folders.write("system", self.LOCKING)
        write(folders, "rules.toml", rule("app/**"), folder="system")
        include(folders)
        assert load().policy.decide("app", Action.READ, "app/x").allowed
        assert not load().policy.decide("app", Action.READ, "other").allowed
        write(folders, "rules.toml", "", folder="system")
        assert not load().policy.decide("app", Action.READ, "app/x").allowed
        include(folders, more=rule("**"))
        with pytest.raises(ConfigurationError, match="tries to allow more in policies") as caught:
            load()
        assert str(locking) in caught.value.what

    def test_an_overlay_of_the_locking_file_is_bound_by_what_that_includes(self, folders: Any) -> None:
        text = 'include = ["rules.toml"]\nlocked = ["policies"]\naudit = "none"\n[backends.m]\ntype = "memory"\n'
        folders.write("user", text)
        write(folders, "rules.toml", rule("app/**"), folder="user")
        folders.write("user", 'include = ["more.toml"]', name="strongroom.local.toml")
        write(folders, "more.toml", rule("app/x", effect="deny"), folder="user")
        assert not load().policy.decide("app", Action.READ, "app/x").allowed
        assert load().policy.decide("app", Action.READ, "app/y").allowed
        write(folders, "more.toml", rule("**"), folder="user")
        with pytest.raises(ConfigurationError, match=r"more\.toml tries to allow more in policies"):
            load()

    def test_a_file_that_locks_other_sections_need_not_have_what_it_includes(self, folders: Any) -> None:
        folders.write("system", 'include = ["gone.toml"]\nlocked = ["cache"]\n[cache]\nttl = "1s"\n')
        include(folders)
        assert load().cache.table["ttl"] == "1s"

    def test_denying_the_very_names_that_a_locked_rule_allows_is_fine(self, folders: Any) -> None:
        """Names look like paths of files, and two that are alike are no clash."""
        text = 'locked = ["policies"]\naudit = "none"\n[backends.m]\ntype = "memory"\n'
        folders.write("user", text + rule("app/x"))
        folders.write("user", rule("app/x", effect="deny"), name="strongroom.local.toml")
        assert not load().policy.decide("app", Action.READ, "app/x").allowed


def test_reading_again_sees_what_has_changed(folders: Any) -> None:
    include(folders, "policies/*.toml")
    assert names() == []
    write(folders, "policies/a.toml", rule("a"))
    assert names() == ["a"]
    assert (load().policy.rules, load().origins) == (load().policy.rules, load().origins)
    write(folders, "policies/a.toml", rule("b"))
    assert names() == ["b"]


class TestReadingAPart:
    """Policies and backends can be read where the rest is not usable."""

    def test_the_policy_alone_needs_neither_sink_nor_key(self, folders: Any) -> None:
        folders.write("project", '[telemetry]\nkey = { env = "NOT_SET" }\n' + rule("a"))
        with pytest.raises(ConfigurationError):
            load()
        assert load_policy().decide("app", Action.READ, "a").allowed

    def test_the_backends_alone_come_with_the_default_first(self, folders: Any) -> None:
        text = 'backend = "b"\n[backends.a]\ntype = "memory"\n[backends.b]\ntype = "vault"\nmount = "kv"\n'
        folders.write("project", text)
        assert [(name, table.type) for name, table in load_backends().items()] == [("b", "vault"), ("a", "memory")]
        folders.write("project", "")
        assert load_backends() == {}


class TestExpiry:
    """A rule may end at a point in time."""

    @pytest.mark.parametrize(
        "text", ["1970-01-01T01:00:10+01:00", '"1970-01-01T00:00:10Z"', "1970-01-01 00:00:10Z", '"19700101T000010Z"']
    )
    def test_a_time_with_its_offset_is_taken(self, folders: Any, text: str) -> None:
        include(folders, more=rule("a") + f"expires = {text}\n")
        (one,) = load().policy.rules
        assert one.expires == 10.0

    @pytest.mark.parametrize("text", ["9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59.5Z", "0001-01-01T00:00:00Z"])
    def test_a_time_that_cannot_be_written_in_utc_is_refused(self, folders: Any, text: str) -> None:
        include(folders, more=rule("a") + f"expires = {text}\n")
        with pytest.raises(ConfigurationError, match="expected a date and time from 1970 to 9999 in UTC"):
            load()

    @pytest.mark.parametrize(
        "text", ["1970-01-01T00:00:10", '"1970-01-01T00:00:10"', "1970-01-01", '"never"', "10", "true", "12:00:00"]
    )
    def test_a_time_without_its_offset_and_what_is_none_is_refused(self, folders: Any, text: str) -> None:
        include(folders, more=rule("a") + f"expires = {text}\n")
        with pytest.raises(ConfigurationError, match=r"policies\[1\]\.expires in .* is not usable: expected a date"):
            load()
