"""Which versions are said to be current, and when a file is read for that."""

from __future__ import annotations

import os

from pathlib import Path
from typing import Any

import pytest

from strongroom.contracts import CurrentVersionsRequest, ReadRequest
from strongroom.errors import BackendUnavailableError, ConfigurationError
from strongroom.model import SecretName
from strongroom_env.backend import EnvBackend
from strongroom_env.settings import EnvSettings
from strongroom_env.sources import DotenvFile

NAME = SecretName("db/password")
OTHER = SecretName("db/user")
LONG_AGO = 1_000_000_000


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DB__PASSWORD", "DB__USER"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that have been read."""
    read: list[str] = []
    original = DotenvFile.read

    def noted(self: DotenvFile) -> Any:
        read.append(Path(self.place).name)
        return original(self)

    monkeypatch.setattr(DotenvFile, "read", noted)
    return read


def put(file: Path, content: str, *, age: int = 0) -> None:
    """Write a file, as one that was written a while ago if an age is given."""
    file.write_text(content)
    if age:
        os.utime(file, (LONG_AGO - age, LONG_AGO - age))


def versions(backend: EnvBackend, *names: SecretName) -> list[str | None]:
    found = backend.current_versions(CurrentVersionsRequest(names=names)).versions
    return [found[name] for name in names]


def version_read(backend: EnvBackend, name: SecretName) -> str:
    return backend.read(ReadRequest(name=name)).version


def test_a_file_that_has_not_been_written_is_not_read_again(tmp_path: Path, reads: list[str]) -> None:
    put(tmp_path / ".env", "DB__PASSWORD=1\n", age=2)
    backend = EnvBackend.connect(EnvSettings(files=(str(tmp_path / ".env"),)))
    first = versions(backend, NAME)
    reads.clear()
    assert versions(backend, NAME) == first
    assert versions(backend, OTHER) == [None]
    assert reads == []
    put(tmp_path / ".env", "DB__PASSWORD=2\nDB__USER=app\n", age=1)
    assert versions(backend, NAME, OTHER) == [version_read(backend, NAME), version_read(backend, OTHER)]
    assert versions(backend, NAME) != first


def test_a_file_is_read_as_long_as_it_may_be_written_again_without_a_trace(tmp_path: Path, reads: list[str]) -> None:
    """Twice within what the file system's clock can tell apart, and of the same size."""
    file = tmp_path / ".env"
    put(file, "DB__PASSWORD=1\n")
    before = os.stat(file)
    backend = EnvBackend.connect(EnvSettings(files=(str(file),)))
    first = versions(backend, NAME)
    file.write_text("DB__PASSWORD=2\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert versions(backend, NAME) == [version_read(backend, NAME)]
    assert versions(backend, NAME) != first


def test_the_source_that_overrides_the_others_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "base.env", "DB__PASSWORD=base\nDB__USER=base\n", age=2)
    put(tmp_path / "own.env", "DB__PASSWORD=own\n", age=2)
    files = (str(tmp_path / "base.env"), str(tmp_path / "own.env"))
    backend = EnvBackend.connect(EnvSettings(files=files, environment=True))
    expected = [version_read(backend, NAME), version_read(backend, OTHER)]
    assert versions(backend, NAME, OTHER) == expected
    monkeypatch.setenv("DB__USER", "environment")
    assert versions(backend, NAME, OTHER) == [expected[0], version_read(backend, OTHER)]
    assert versions(backend, OTHER) != expected[1:]


def test_what_stands_for_other_variables_is_read_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    put(tmp_path / ".env", "DB__PASSWORD=${ELSEWHERE}\n", age=2)
    monkeypatch.setenv("ELSEWHERE", "1")
    backend = EnvBackend.connect(EnvSettings(files=(str(tmp_path / ".env"),), interpolate=True))
    first = versions(backend, NAME)
    monkeypatch.setenv("ELSEWHERE", "2")
    assert versions(backend, NAME) == [version_read(backend, NAME)]
    assert versions(backend, NAME) != first


def test_a_file_that_is_gone_is_an_outage_and_one_that_may_be_missing_has_nothing(tmp_path: Path) -> None:
    put(tmp_path / ".env", "DB__PASSWORD=1\n", age=2)
    needed = EnvBackend.connect(EnvSettings(files=(str(tmp_path / ".env"),)))
    optional = EnvBackend.connect(EnvSettings(optional_files=(str(tmp_path / ".env"),)))
    versions(needed, NAME)
    versions(optional, NAME)
    (tmp_path / ".env").unlink()
    with pytest.raises(BackendUnavailableError):
        versions(needed, NAME)
    assert versions(optional, NAME) == [None]


def test_a_file_that_has_become_another_kind_says_so(tmp_path: Path) -> None:
    put(tmp_path / ".env", "DB__PASSWORD=1\n", age=2)
    backend = EnvBackend.connect(EnvSettings(files=(str(tmp_path / ".env"),)))
    versions(backend, NAME)
    put(tmp_path / ".env", "this is no assignment\n")
    with pytest.raises(ConfigurationError):
        versions(backend, NAME)
