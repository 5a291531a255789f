"""Finding the configuration's files and reading them."""

from __future__ import annotations

import os

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.config import files
from strongroom.config.load import load
from strongroom.errors import ConfigurationError

MINIMAL = """
audit = "none"
[backends.{name}]
type = "memory"
"""


def backend_of(source: str | None = None) -> str:
    """Return the name of the one backend in the file that counts."""
    return load(source).default_backend


class TestSearching:
    """Which file counts."""

    def test_the_order_is_argument_variable_working_folder_user_system(
        self, folders: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        folders.write("system", MINIMAL.format(name="system"))
        assert backend_of() == "system"
        folders.write("user", MINIMAL.format(name="user"))
        assert backend_of() == "user"
        folders.write("project", MINIMAL.format(name="project"))
        assert backend_of() == "project"
        (tmp_path / "v.toml").write_text(MINIMAL.format(name="variable"))
        monkeypatch.setenv("STRONGROOM_CONFIG", str(tmp_path / "v.toml"))
        assert backend_of() == "variable"
        (tmp_path / "a.toml").write_text(MINIMAL.format(name="argument"))
        assert backend_of(str(tmp_path / "a.toml")) == "argument"

    def test_a_file_above_the_working_folder_is_found_and_the_nearest_wins(
        self, folders: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folders.write("project", MINIMAL.format(name="above"))
        deep = folders.project / "a" / "b"
        deep.mkdir(parents=True)
        monkeypatch.chdir(deep)
        assert backend_of() == "above"
        (folders.project / "a" / "strongroom.toml").write_text(MINIMAL.format(name="nearer"))
        assert backend_of() == "nearer"

    def test_none_at_all_says_where_it_was_looked_for(self, folders: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"no strongroom\.toml in this folder or above it") as caught:
            load()
        assert "strongroom init" in caught.value.hint

    @pytest.mark.parametrize("by", ["argument", "variable"])
    def test_a_named_file_that_is_not_there_is_no_reason_to_take_another(
        self, by: str, folders: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folders.write("project", MINIMAL.format(name="project"))
        if by == "variable":
            monkeypatch.setenv("STRONGROOM_CONFIG", "missing.toml")
        with pytest.raises(ConfigurationError, match=r"missing\.toml does not exist"):
            load("missing.toml" if by == "argument" else None)

    def test_an_empty_variable_names_no_file(self, folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        folders.write("project", MINIMAL.format(name="project"))
        monkeypatch.setenv("STRONGROOM_CONFIG", "")
        assert backend_of() == "project"

    def test_the_home_folder_may_be_written_as_a_tilde(self, folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(folders.project))
        folders.write("project", MINIMAL.format(name="home"), name="x.toml")
        assert backend_of("~/x.toml") == "home"

    def test_without_xdg_the_user_s_folder_is_below_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        monkeypatch.setenv("HOME", "/home/u")
        assert files.user_folder() == "/home/u/.config/strongroom"

    def test_the_account_s_home_folder_is_not_for_variables_to_say(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = files.account_home()
        monkeypatch.setenv("HOME", "/nonexistent")
        assert files.account_home() == before != "/nonexistent"


class TestTrust:
    """What is only found must be ours: its author decides where secrets go."""

    @pytest.fixture
    def give_away(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
        """Make a file, or a link, somebody else's."""
        if os.geteuid() == 0:
            return lambda path: os.chown(path, 12345, -1, follow_symlinks=False)
        # Nobody else can give a file away: then it is we who are somebody else.
        return lambda _: monkeypatch.setattr(os, "geteuid", lambda: 12345)

    def test_somebody_else_s_file_is_refused_and_named(
        self, folders: Any, give_away: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = folders.write("project", MINIMAL.format(name="theirs"))
        (folders.project / "work").mkdir()
        monkeypatch.chdir(folders.project / "work")
        give_away(path)
        with pytest.raises(ConfigurationError, match="belongs to another user") as caught:
            load()
        assert str(path) in caught.value.what
        assert f"--config {path}" in caught.value.hint
        assert backend_of(str(path)) == "theirs"

    def test_a_file_that_everybody_can_write_is_refused(self, folders: Any) -> None:
        path = folders.write("project", MINIMAL.format(name="everybody"))
        path.chmod(0o646)
        with pytest.raises(ConfigurationError, match="can be written by every user"):
            load()
        assert backend_of(str(path)) == "everybody"

    def test_it_does_not_give_way_to_one_further_up(self, folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        folders.write("project", MINIMAL.format(name="above"))
        below = folders.project / "below"
        below.mkdir()
        (below / "strongroom.toml").write_text(MINIMAL.format(name="below"))
        (below / "strongroom.toml").chmod(0o666)
        monkeypatch.chdir(below)
        with pytest.raises(ConfigurationError, match=r"below/strongroom\.toml can be written"):
            load()

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root's rights to give a link away")
    def test_a_link_that_somebody_else_put_there_is_refused(
        self, folders: Any, give_away: Callable[[Path], None], tmp_path: Path
    ) -> None:
        (tmp_path / "ours.toml").write_text(MINIMAL.format(name="ours"))
        (folders.project / "strongroom.toml").symlink_to(tmp_path / "ours.toml")
        give_away(folders.project / "strongroom.toml")
        with pytest.raises(ConfigurationError, match="belongs to another user"):
            load()

    def test_an_overlay_must_be_the_file_s_owner_s(self, folders: Any, give_away: Callable[[Path], None]) -> None:
        path = folders.write("project", MINIMAL.format(name="b"))
        overlay = folders.write("project", "", name="strongroom.local.toml")
        overlay.chmod(0o666)
        with pytest.raises(ConfigurationError, match=r"strongroom\.local\.toml can be written"):
            load(str(path))
        overlay.chmod(0o600)
        assert backend_of() == "b"
        if os.geteuid() == 0:
            give_away(overlay)
            with pytest.raises(ConfigurationError, match=r"strongroom\.local\.toml belongs to another"):
                load(str(path))
            give_away(path)
        assert backend_of(str(path)) == "b"


class TestReading:
    """What cannot be read says so, with file and line, and shows no content."""

    def test_broken_toml_names_file_and_line_and_shows_no_value(self, folders: Any) -> None:
        path = folders.write("project", 'audit = "none"\n[backends.b]\ntoken = "s3cret\n')
        with pytest.raises(ConfigurationError, match=r"is not valid TOML: .*line 3") as caught:
            load()
        assert str(path) in caught.value.what
        assert "s3cret" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_a_file_that_is_no_utf8_says_so(self, folders: Any) -> None:
        folders.write("project", "").write_bytes(b'token = "s3cret\xff"')
        with pytest.raises(ConfigurationError, match="it is not UTF-8 text") as caught:
            load()
        assert "s3cret" not in repr(caught.value.__cause__)

    def test_a_file_that_cannot_be_opened_says_why(self, folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        path = folders.write("project", MINIMAL.format(name="b"))
        path.unlink()
        path.symlink_to(path)  # rights would not stop a test that runs as root
        with pytest.raises(ConfigurationError, match="cannot be read"):
            files.read(str(path))

    def test_a_broken_overlay_is_named_itself(self, folders: Any) -> None:
        folders.write("project", MINIMAL.format(name="b"))
        folders.write("project", "x = ", name="strongroom.local.toml")
        with pytest.raises(ConfigurationError, match=r"strongroom\.local\.toml is not valid TOML"):
            load()
