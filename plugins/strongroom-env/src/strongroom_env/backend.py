"""The backend: finds a name's variable in the first source that has it."""

from __future__ import annotations

import hashlib
import os

from typing import Self

from strongroom.contracts import (
    Backend,
    CurrentVersionsRequest,
    CurrentVersionsResult,
    Health,
    HealthState,
    ListRequest,
    ListResult,
    ReadRequest,
    ReadResult,
    VersionPolling,
)
from strongroom.errors import InvalidValueError, SecretNotFoundError
from strongroom.model import SecretName, SecretValue
from strongroom_env.names import name_of, variable_of
from strongroom_env.settings import EnvSettings
from strongroom_env.sources import DotenvFile, Environment, Source, problem_of


class EnvBackend(Backend, VersionPolling):
    """Reads secrets from variables. It keeps no value, so threads and forks are no matter.

    Args:
        sources: Where to look, the one that overrides the others first.
        prefix: What the variables' names start with.
    """

    def __init__(self, sources: tuple[Source, ...], *, prefix: str = "") -> None:
        self.address = f"env:{prefix}@{','.join(source.place for source in sources)}"
        # A file may be on a disk that does not answer.
        self.keeps_deadlines = all(isinstance(source, Environment) for source in sources)
        self._sources = sources
        self._prefix = prefix
        # A version must not tell anything about the value, so it is keyed with what nobody knows.
        self._version_key = os.urandom(32)
        self._seen: dict[str, tuple[str, dict[str, str]]] = {}
        """By file: the stamp that it had when it was looked at last, and the versions of its variables."""

    @classmethod
    def connect(cls, settings: EnvSettings) -> Self:
        """Make a backend as the settings say, and check that its files can be read.

        Raises:
            ConfigurationError: A file is missing, cannot be read, or is not a .env file.
        """
        files = [
            DotenvFile(path, optional=optional, interpolate=settings.interpolate)
            for paths, optional in ((settings.files, False), (settings.optional_files, True))
            for path in paths
        ]
        for file in files:
            file.check()
        environment = [Environment()] if settings.environment else []
        return cls((*environment, *reversed(files)), prefix=settings.prefix)

    def read(self, request: ReadRequest) -> ReadResult:
        """Return a secret from the first source that has its variable; empty is a value.

        Raises:
            UnsupportedOperationError: An older version is asked for.
            SecretNotFoundError: No source has the variable.
            BackendUnavailableError: A file cannot be read any more.
            ConfigurationError: A file has become one that is not a .env file.
        """
        if request.version is not None:
            raise self._unsupported("reading an older version")
        variable = self._prefix + variable_of(request.name)
        for source in self._sources:
            found = self._find(source, variable)
            if found is not None:
                return found
        raise SecretNotFoundError(
            f"there is no variable {variable} for {request.name}", name=request.name, hint=f"set {variable}"
        )

    @property
    def versions_are_shared(self) -> bool:
        """No: each process has a key of its own."""
        return False

    def current_versions(self, request: CurrentVersionsRequest) -> CurrentVersionsResult:
        """Return current versions. A file is read only if it was written since it was looked at last.

        Raises:
            BackendUnavailableError: A file cannot be read any more.
            ConfigurationError: A file has become one that is not a .env file.
        """
        variables = {name: self._prefix + variable_of(name) for name in request.names}
        versions: dict[SecretName, str | None] = dict.fromkeys(request.names)
        # The one that overrides the others comes first, and so is taken last.
        for source in reversed(self._sources):
            found = self._versions_in(source, set(variables.values()))
            versions |= {name: found[variable] for name, variable in variables.items() if variable in found}
        return CurrentVersionsResult(versions=versions, errors={})

    def _versions_in(self, source: Source, wanted: set[str]) -> dict[str, str]:
        """Return the versions of the variables of a source, at least of the wanted ones that it has."""
        seen = self._seen.get(source.place)
        if seen is not None and seen[0] == source.stamp():
            return seen[1]
        found = source.read()
        # Of a process's variables only those that are asked for; a file may be asked for others next time.
        names = wanted & found.values.keys() if not found.stamp else found.values.keys()
        stamp, values = found.stamp, found.values
        versions = {name: self._version(source.place, stamp, name, _value_of(values[name])) for name in names}
        if found.stamp and source.stamp() == found.stamp:
            self._seen[source.place] = found.stamp, versions
        return versions

    def list(self, request: ListRequest) -> ListResult:
        """Return every name below a prefix that any source has a variable for."""
        variables = {variable for source in self._sources for variable in source.read().values}
        names = (self._name_of(variable) for variable in variables)
        return ListResult(names=tuple(sorted(name for name in names if name and name.is_below(request.prefix))))

    def health(self) -> Health:
        """Say whether every file can be read."""
        for source in self._sources:
            problem = problem_of(source)
            if problem:
                return Health(state=HealthState.DOWN, reason=problem.what, hint=problem.hint)
        return Health(state=HealthState.UP)

    def _find(self, source: Source, variable: str) -> ReadResult | None:
        variables = source.read()
        text = variables.values.get(variable)
        if text is None:
            return None
        value = _value_of(text)
        return ReadResult(value=value, version=self._version(source.place, variables.stamp, variable, value))

    def _name_of(self, variable: str) -> SecretName | None:
        if not variable.startswith(self._prefix):
            return None
        return name_of(variable.removeprefix(self._prefix))

    def _version(self, place: str, stamp: str, variable: str, value: SecretValue) -> str:
        """Return what changes with the value, and with each write of the file it is in."""
        digest = hashlib.blake2b(key=self._version_key, digest_size=16)
        for part in (place, stamp, variable):
            digest.update(os.fsencode(part) + b"\0")
        digest.update(value.reveal())
        return digest.hexdigest()


def _value_of(text: str) -> SecretValue:
    try:
        return SecretValue(text)
    except InvalidValueError:
        # The process was given bytes that are not UTF-8, which Python shows as half surrogates.
        return SecretValue(os.fsencode(text))
