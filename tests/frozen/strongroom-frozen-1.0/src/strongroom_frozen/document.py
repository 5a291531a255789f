"""The file: one document, read and replaced as a whole under a lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from strongroom.errors import BackendUnavailableError, StoreDamagedError
from strongroom.model import SecretValue, ValueType

Json = dict[str, Any]


class Document:
    """The file. No handle outlives a call, so forks and threads need nothing."""

    def __init__(self, path: str) -> None:
        self._path = path

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            handle = os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BackendUnavailableError(f"{self._path} cannot be reached", hint="look at its folder") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def read(self) -> Json:
        """Return the content as it is."""
        try:
            with open(self._path, "rb") as file:
                content: Json = pickle.load(file)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise BackendUnavailableError(f"{self._path} cannot be read", code="unavailable") from error
        except (ValueError, EOFError, pickle.UnpicklingError) as error:
            raise StoreDamagedError(f"{self._path} cannot be read", hint="restore it from a backup") from error
        return content

    @contextlib.contextmanager
    def changing(self) -> Iterator[Json]:
        """Lend the content, and keep it as it is at the end unless something is raised."""
        with self._locked():
            content = self.read()
            yield content
            draft = f"{self._path}.new"
            with open(draft, "wb", opener=_private) as file:
                pickle.dump(content, file, protocol=4)
            os.replace(draft, self._path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class Kept:
    """A value in the document; it does not show itself."""

    __slots__ = ("content", "type")

    def __init__(self, value: SecretValue) -> None:
        self.content = value.reveal()
        self.type = value.type.value

    def __repr__(self) -> str:
        return "<Kept: hidden>"


def packed(value: SecretValue | None) -> Kept | None:
    """Return a value as it stands in the document."""
    return None if value is None else Kept(value)


def unpacked(kept: Kept | None) -> SecretValue | None:
    """Return a value from the document."""
    return None if kept is None else SecretValue.of_bytes(kept.content, ValueType(kept.type))


def moment(text: str | None) -> datetime | None:
    """Return a time from the document."""
    return None if text is None else datetime.fromisoformat(text)
