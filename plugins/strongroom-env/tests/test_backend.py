"""What is special about variables: which source wins, what a dollar is, what a version says."""

from __future__ import annotations

import os
import subprocess
import sys

from pathlib import Path

import pytest

from strongroom.contracts import HealthState, ListRequest, ReadRequest, ReadResult
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom.model import SecretName
from strongroom.testing import assert_hidden, marker_value, report_of
from strongroom_env.backend import EnvBackend
from strongroom_env.settings import EnvSettings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DB__PASSWORD", "APP_DB__PASSWORD", "KIT_HOME"):
        monkeypatch.delenv(variable, raising=False)


def file_with(folder: Path, content: str | bytes, name: str = ".env") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_only_the_process_s_own_variables_are_always_there_in_time(tmp_path: Path) -> None:
    """A file may be on a disk that does not answer, so the core sees to the time then."""
    assert EnvBackend.connect(EnvSettings()).keeps_deadlines
    assert not EnvBackend.connect(EnvSettings(files=(file_with(tmp_path, "A=1"),))).keeps_deadlines
    assert not EnvBackend.connect(EnvSettings(optional_files=("missing",))).keeps_deadlines


def read(backend: EnvBackend, name: str = "db/password") -> ReadResult:
    return backend.read(ReadRequest(name=SecretName(name)))


def text(backend: EnvBackend, name: str = "db/password") -> str:
    return read(backend, name).value.reveal_text()


def test_a_later_file_overrides_an_earlier_one(tmp_path: Path) -> None:
    files = (file_with(tmp_path, "DB__PASSWORD=first", "1.env"), file_with(tmp_path, "DB__PASSWORD=second", "2.env"))
    assert text(EnvBackend.connect(EnvSettings(files=files))) == "second"


def test_an_optional_file_overrides_the_others(tmp_path: Path) -> None:
    settings = EnvSettings(
        files=(file_with(tmp_path, "DB__PASSWORD=common", "1.env"),),
        optional_files=(file_with(tmp_path, "DB__PASSWORD=local", "2.env"),),
    )
    assert text(EnvBackend.connect(settings)) == "local"


def test_the_environment_overrides_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB__PASSWORD", "process")
    assert text(EnvBackend.connect(EnvSettings(files=(file_with(tmp_path, "DB__PASSWORD=file"),)))) == "process"


def test_the_environment_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB__PASSWORD", "process")
    settings = EnvSettings(files=(file_with(tmp_path, "DB__PASSWORD=file"),), environment=False)
    assert text(EnvBackend.connect(settings)) == "file"


def test_an_empty_variable_does_not_fall_back_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty is a value, so no other source is asked."""
    monkeypatch.setenv("DB__PASSWORD", "")
    assert text(EnvBackend.connect(EnvSettings(files=(file_with(tmp_path, "DB__PASSWORD=file"),)))) == ""


def test_a_name_without_equals_assigns_nothing(tmp_path: Path) -> None:
    backend = EnvBackend.connect(EnvSettings(files=(file_with(tmp_path, "DB__PASSWORD\nOTHER=\n"),)))
    assert text(backend, "other") == ""
    with pytest.raises(SecretNotFoundError):
        read(backend)


def test_only_variables_with_the_prefix_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB__PASSWORD", "other")
    monkeypatch.setenv("APP_DB__PASSWORD", "mine")
    backend = EnvBackend.connect(EnvSettings(prefix="APP_"))
    assert text(backend) == "mine"
    assert backend.list(ListRequest()).names == ("db/password",)


def test_the_error_for_a_missing_secret_says_which_variable_to_set() -> None:
    with pytest.raises(SecretNotFoundError, match="set APP_DB__PASSWORD"):
        read(EnvBackend.connect(EnvSettings(prefix="APP_")))


@pytest.mark.parametrize("content", ["$HOME", "${KIT_HOME}", "a$b", "$", "$$", "100%", "%(x)s"])
def test_a_dollar_is_a_dollar(tmp_path: Path, content: str) -> None:
    path = file_with(tmp_path, f"KIT_HOME=elsewhere\nDB__PASSWORD='{content}'\nBARE={content}\n")
    backend = EnvBackend.connect(EnvSettings(files=(path,)))
    assert text(backend) == content
    assert text(backend, "bare") == content


def test_interpolation_is_there_for_those_who_ask(tmp_path: Path) -> None:
    path = file_with(tmp_path, "KIT_HOME=elsewhere\nDB__PASSWORD=${KIT_HOME}/x\n")
    assert text(EnvBackend.connect(EnvSettings(files=(path,), interpolate=True))) == "elsewhere/x"


def test_usual_ways_to_write_a_file_are_understood(tmp_path: Path) -> None:
    lines = [
        "\ufeff# a comment after a byte order mark",
        "export A=exported",
        "B = spaced",
        "C=bare # comment",
        "D='single # quoted'",
        'E="double \\n quoted"',
        "F='several\nlines'",
        "",
    ]
    backend = EnvBackend.connect(EnvSettings(files=(file_with(tmp_path, "\n".join(lines)),), environment=False))
    found = {name: text(backend, name) for name in backend.list(ListRequest()).names}
    assert found == {
        "a": "exported",
        "b": "spaced",
        "c": "bare",
        "d": "single # quoted",
        "e": "double \n quoted",
        "f": "several\nlines",
    }


def test_line_ends_within_quotes_are_kept(tmp_path: Path) -> None:
    backend = EnvBackend.connect(EnvSettings(files=(file_with(tmp_path, "DB__PASSWORD='one\r\ntwo'\r\nB=b\r\n"),)))
    assert text(backend) == "one\r\ntwo"
    assert text(backend, "b") == "b"


def test_a_change_of_the_file_is_seen_by_the_next_read(tmp_path: Path) -> None:
    path = file_with(tmp_path, "DB__PASSWORD=old")
    backend = EnvBackend.connect(EnvSettings(files=(path,)))
    before = read(backend)
    file_with(tmp_path, "DB__PASSWORD=new")
    after = read(backend)
    assert (before.value.reveal_text(), after.value.reveal_text()) == ("old", "new")
    assert before.version != after.version


def test_writing_the_same_value_again_makes_a_new_version(tmp_path: Path) -> None:
    path = file_with(tmp_path, "DB__PASSWORD=same")
    backend = EnvBackend.connect(EnvSettings(files=(path,)))
    before = read(backend).version
    os.replace(file_with(tmp_path, "DB__PASSWORD=same", "new.env"), path)
    assert read(backend).version != before


def test_a_version_tells_nothing_about_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is keyed with random bytes, so the same value elsewhere has another version."""
    monkeypatch.setenv("DB__PASSWORD", "same")
    first, second = EnvBackend.connect(EnvSettings()), EnvBackend.connect(EnvSettings())
    assert read(first).version == read(first).version
    assert read(first).version != read(second).version


def test_a_change_in_the_environment_makes_a_new_version(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = EnvBackend.connect(EnvSettings())
    monkeypatch.setenv("DB__PASSWORD", "old")
    before = read(backend).version
    monkeypatch.setenv("DB__PASSWORD", "new")
    assert read(backend).version != before


def test_bytes_that_are_not_utf_8_come_back_as_bytes() -> None:
    program = (
        "from strongroom_env.backend import EnvBackend; from strongroom_env.settings import EnvSettings;"
        "from strongroom.contracts import ReadRequest; from strongroom.model import SecretName;"
        "value = EnvBackend.connect(EnvSettings()).read(ReadRequest(name=SecretName('key'))).value;"
        "print(value.type.value, value.reveal().hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environb | {b"KEY": b"a\xff\xfe"}, capture_output=True, check=True
    )
    assert done.stdout.decode().split() == ["binary", "61fffe"]


def test_a_missing_file_is_an_error_when_the_backend_opens(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.env"):
        EnvBackend.connect(EnvSettings(files=(str(tmp_path / "missing.env"),)))


def test_a_folder_in_place_of_a_file_is_an_error_when_the_backend_opens(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        EnvBackend.connect(EnvSettings(optional_files=(str(tmp_path),)))


def test_an_optional_file_may_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "local.env"
    backend = EnvBackend.connect(EnvSettings(optional_files=(str(path),)))
    with pytest.raises(SecretNotFoundError):
        read(backend)
    path.write_text("DB__PASSWORD=local")
    assert text(backend) == "local"
    path.unlink()
    with pytest.raises(SecretNotFoundError):
        read(backend)


def test_a_file_that_vanishes_is_an_outage(tmp_path: Path) -> None:
    """It is not 'not found': the secret may be there again in a moment."""
    path = file_with(tmp_path, "DB__PASSWORD=x")
    backend = EnvBackend.connect(EnvSettings(files=(path,)))
    os.unlink(path)
    with pytest.raises(BackendUnavailableError, match="missing"):
        read(backend)
    health = backend.health()
    assert health.state is HealthState.DOWN
    assert path in health.reason


@pytest.mark.parametrize(
    "line", ["DB__PASSWORD='{marker}", 'DB__PASSWORD="{marker}', "= {marker}", "A='x' {marker}", "'{marker}' y"]
)
def test_a_line_that_is_no_assignment_is_named_without_its_content(tmp_path: Path, line: str) -> None:
    marker = marker_value().replace('"', "")
    path = file_with(tmp_path, "FINE=1\n# comment\n" + line.format(marker=marker) + "\n")
    with pytest.raises(ConfigurationError, match=r"\.env, line 3, is not an assignment") as caught:
        EnvBackend.connect(EnvSettings(files=(path,)))
    assert_hidden(marker, report_of(caught.value, "strongroom_env"), "the error")


def test_a_file_that_is_not_utf_8_is_named_without_its_content(tmp_path: Path) -> None:
    marker = marker_value()
    path = file_with(tmp_path, b"A=\xff" + marker.encode())
    with pytest.raises(ConfigurationError, match=r"\.env is not UTF-8 text") as caught:
        EnvBackend.connect(EnvSettings(files=(path,)))
    assert_hidden(marker, report_of(caught.value, "strongroom_env"), "the error")


def test_reading_an_older_version_is_refused() -> None:
    with pytest.raises(UnsupportedOperationError):
        EnvBackend.connect(EnvSettings()).read(ReadRequest(name=SecretName("a"), version="1"))


def test_backends_that_read_other_places_have_other_addresses(tmp_path: Path) -> None:
    one, two = file_with(tmp_path, "A=1", "1.env"), file_with(tmp_path, "A=1", "2.env")
    settings = [
        EnvSettings(),
        EnvSettings(prefix="APP_"),
        EnvSettings(files=(one,)),
        EnvSettings(files=(two,)),
        EnvSettings(files=(one, two)),
        EnvSettings(files=(two, one)),
        EnvSettings(files=(one,), environment=False),
    ]
    assert len({EnvBackend.connect(each).address for each in settings}) == len(settings)


def test_settings_that_leave_nothing_to_read_are_a_problem() -> None:
    assert EnvSettings(environment=False).problems() == [
        "there is nothing to read: name files, or leave environment = true"
    ]
    assert EnvSettings(environment=False, optional_files=("x",)).problems() == []


@pytest.mark.parametrize("prefix", ["APP-", "1APP", "a b", "A=", "\u00c9"])
def test_a_prefix_that_no_variable_can_have_is_a_problem(prefix: str) -> None:
    assert EnvSettings(prefix=prefix).problems() == ["prefix is not the beginning of a variable's name"]
