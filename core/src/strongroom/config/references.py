"""References: where a setting's secret comes from instead of standing in the file.

``{env = "X"}`` is an environment variable, ``{file = "path"}`` a file, and
``{credential = "name"}`` a systemd credential (systemd.exec(5),
``$CREDENTIALS_DIRECTORY``).
"""

from __future__ import annotations

import os

from collections.abc import Iterator
from typing import Final, Self

from strongroom.contracts.keys import KeySource
from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue

KINDS: Final = ("env", "file", "credential")
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
NEW: Final = ".new"
"""What a key file's name ends with while the key waits to take the place of the one beside it."""


class Text(str):
    """Text from an environment variable; it may stand for a number or a truth value, where one is expected."""

    __slots__ = ()


class Folder(str):
    """What relative paths are relative to, and whose home folder ``~`` is in them."""

    __slots__ = ("home",)

    home: str
    """Empty for the home folder that the environment names."""

    def __new__(cls, path: str, *, home: str = "") -> Self:
        """Make one of the folder's absolute path."""
        made = super().__new__(cls, path)
        made.home = home
        return made


def absolute(path: str, folder: str) -> str:
    """Return a path of the configuration as an absolute one.

    Args:
        path: The path as it stands there.
        folder: What it is relative to.
    """
    start, step, rest = path.partition("/")
    if isinstance(folder, Folder) and folder.home and start == "~":
        path = f"{folder.home}{step}{rest}"
    return os.path.abspath(os.path.join(folder, os.path.expanduser(path)))


def is_reference(value: object) -> bool:
    """Tell whether a configuration value is meant as a reference."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in KINDS


def variables_in(value: object) -> Iterator[str]:
    """Yield the variables on which the references in a setting depend, however deep."""
    if is_reference(value):
        [(kind, target)] = value.items()  # type: ignore[attr-defined]  # a reference is a table
        if kind == "credential":
            yield CREDENTIALS
        elif kind == "env" and isinstance(target, str):
            yield target
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from variables_in(part)


def make_source(value: object, *, folder: str, where: str) -> KeySource:
    """Return the source that a setting names.

    Args:
        value: A reference table, or the secret itself as text.
        folder: What a relative file path is relative to.
        where: The setting's place, for errors.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(value, str):
        return LiteralSource(value, where)
    if isinstance(value, dict) and len(value) == 1:
        kind, target = next(iter(value.items()))
        if isinstance(target, str) and target:
            if kind == "env":
                return VariableSource(target, where)
            if kind == "file":
                return FileSource(absolute(target, folder), where)
            if kind == "credential":
                return CredentialSource(target, where)
    raise ConfigurationError(
        f"{where} is not a reference",
        hint='expected {env = "VARIABLE"}, {file = "path"}, {credential = "name"} or a text',
    )


class LiteralSource(KeySource):
    """The secret stands in the configuration file itself."""

    def __init__(self, text: str, where: str) -> None:
        self._value = SecretValue(text)
        self._where = where

    def read(self) -> SecretValue:
        """Return the text exactly as it stands; ``%`` and ``$`` have no meaning."""
        return self._value

    def describe(self) -> str:
        """Return where it stands."""
        return f"{self._where}, in the configuration file itself"


class VariableSource(KeySource):
    """The secret is in an environment variable."""

    def __init__(self, variable: str, where: str) -> None:
        self._variable = variable
        self._where = where

    @property
    def variable(self) -> str:
        """The variable's name."""
        return self._variable

    def read(self) -> SecretValue:
        """Return the variable's exact bytes.

        Raises:
            ConfigurationError: The variable is not set.
        """
        content = os.environb.get(os.fsencode(self._variable))
        if content is None:
            raise ConfigurationError(
                f"{self._where} refers to the variable {self._variable}, which is not set",
                hint=f"export {self._variable}",
            )
        return SecretValue(content)

    def describe(self) -> str:
        """Return the variable's name in words."""
        return f"the variable {self._variable}"


class FileSource(KeySource):
    """The secret is a file's content."""

    def __init__(self, path: str, where: str) -> None:
        self._path = os.path.abspath(path)
        self._where = where

    @property
    def path(self) -> str:
        """The file's absolute path."""
        return self._path

    def read(self) -> SecretValue:
        """Return the file's exact bytes.

        Raises:
            ConfigurationError: The file cannot be read.
        """
        try:
            with open(self._path, "rb") as file:
                return SecretValue(file.read())
        except OSError as error:
            raise ConfigurationError(
                f"{self._where} refers to the file {self._path}, which cannot be read: {error.strerror}",
                hint="check the path and its permissions",
            ) from error

    def is_changing(self) -> bool:
        """Tell whether a new key waits beside the file; it is where a link leads to, as ``rekey`` follows links."""
        return os.path.lexists(os.path.realpath(self._path) + NEW)

    def describe(self) -> str:
        """Return the path in words."""
        return f"the file {self._path}"


class CredentialSource(FileSource):
    """The secret is a credential that systemd hands to the service."""

    def __init__(self, name: str, where: str) -> None:
        self._name = name
        super().__init__(os.path.join(os.environ.get(CREDENTIALS, ""), name), where)
        if "/" in name or name in {".", ".."}:
            raise ConfigurationError(f"{where}: {name!r} is not a credential's name", hint="use a name without slashes")

    def read(self) -> SecretValue:
        """Return the credential's exact bytes.

        Raises:
            ConfigurationError: systemd handed over no credentials, or not this one.
        """
        if CREDENTIALS not in os.environ:
            raise ConfigurationError(
                f"{self._where} refers to the credential {self._name}, but {CREDENTIALS} is not set",
                hint=f"run as a systemd service with LoadCredential={self._name}:PATH",
            )
        return super().read()

    def describe(self) -> str:
        """Return the credential's name in words."""
        return f"the systemd credential {self._name}"
