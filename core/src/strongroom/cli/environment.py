"""The environment of the program that ``run`` starts; the process's own is never changed.

It is made of bytes: that is what POSIX has, and a value is handed over exactly.
"""

from __future__ import annotations

import os

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from strongroom.cli.problems import raise_all
from strongroom.cli.selection import Choice
from strongroom.config.files import Layer
from strongroom.config.load import Configuration
from strongroom.config.references import variables_in
from strongroom.discovery import Catalogue, Kind
from strongroom.errors import InvalidValueError, PluginError
from strongroom.model import Secret

Environment = dict[bytes, bytes]

MASTER_KEY: Final = "STRONGROOM_MASTER_KEY"
PRISTINE: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "TZ", "TMPDIR")
"""What ``--pristine`` keeps, besides ``LC_*``."""
_SETTINGS: Final = tuple(f"strongroom_{part}" for part in ("backends", "telemetry", "cache", "anomaly", "audit"))
"""How variables begin, in small letters, whose value may be a setting that is a secret."""


def inherited() -> Environment:
    """Return a copy of the process's environment."""
    if os.supports_bytes_environ:
        return dict(os.environb)
    return {name.encode(): value.encode("utf-8", "surrogatepass") for name, value in os.environ.items()}


def native(environment: Environment) -> dict[str, str]:
    """Return an environment as Windows takes it.

    Raises:
        InvalidValueError: A value is not text, and that is all that Windows has.
    """
    made = {}
    for name, value in environment.items():
        try:
            made[name.decode()] = value.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            wrong = name
        else:
            continue
        # Raised outside the handler: the decoding error carries the value.
        raise InvalidValueError(f"the value for {wrong.decode()} is not text", code="not_text")
    return made


def own_credentials(configuration: Configuration) -> set[str]:
    """Return the variables that hold strongroom's own secrets.

    These are all that a file of the configuration refers to, be it that another
    file or a variable overrides the setting; the variable that leads to systemd's
    credentials, if one of them is referred to; each that is itself a setting of a
    backend, the cache, telemetry, a detector or an audit sink; and those that open
    a configured backend without being mentioned.

    Args:
        configuration: The configuration in force.

    Raises:
        PluginError: A configured backend is missing or broken, so nobody knows
            which variables open it.
    """
    found = {MASTER_KEY}
    # Whatever their case: one that is no setting for that reason was meant as one.
    found.update(variable for variable in os.environ if variable.lower().startswith(_SETTINGS))
    for layer in configuration.layers:
        found.update(variables_in(layer.content))
    in_force = {table.type for table in configuration.backends.values()}
    for kind in in_force:
        found.update(_credential_variables(kind))
    for kind in set(_types(configuration.layers)) - in_force:
        with suppress(PluginError):  # where a backend is overridden, its plugin need not be there
            found.update(_credential_variables(kind))
    return found


def _types(layers: Iterable[Layer]) -> Iterator[str]:
    """Yield the types of all backends that are configured anywhere."""
    for layer in layers:
        backends = layer.content.get("backends")
        for table in backends.values() if isinstance(backends, dict) else ():
            if isinstance(table, dict) and isinstance(table.get("type"), str):
                yield table["type"]


def _credential_variables(kind: str) -> tuple[str, ...]:
    try:
        variables: tuple[str, ...] = Catalogue().load(Kind.BACKEND, kind).credential_variables
    except PluginError as error:
        raise PluginError(
            f"{error.what}, so it is not known which variables open it",
            code=error.code,
            hint=f"{error.hint}; or let the program have all of them with --pass-credentials",
        ) from error
    return variables


def without(environment: Environment, credentials: Iterable[str], kept: Iterable[str]) -> Environment:
    """Return an environment without strongroom's own secrets.

    Args:
        environment: What the process has inherited.
        credentials: What to leave out.
        kept: What to leave in nevertheless.
    """
    out = {os.fsencode(name) for name in credentials} - {os.fsencode(name) for name in kept}
    return {name: value for name, value in environment.items() if name not in out}


def pristine(environment: Environment, kept: Iterable[str]) -> Environment:
    """Return only what a program needs to find its way.

    Args:
        environment: What the process has inherited.
        kept: Further variables to keep.
    """
    names = {os.fsencode(name) for name in (*PRISTINE, *kept)}
    return {name: value for name, value in environment.items() if name in names or name.startswith(b"LC_")}


def with_secrets(environment: Environment, secrets: dict[str, Secret], chosen: dict[str, Choice]) -> Environment:
    """Return an environment with secrets in it; they win over what it had.

    Args:
        environment: What the program gets besides.
        secrets: Each secret under its variable.
        chosen: What each variable stands for, for errors.

    Raises:
        InvalidValueError: A value holds a NUL, with which an environment cannot deal.
    """
    raise_all([_nul(variable, chosen) for variable, secret in secrets.items() if b"\0" in secret.reveal()])
    return environment | {variable.encode(): secret.reveal() for variable, secret in secrets.items()}


def _nul(variable: str, chosen: dict[str, Choice]) -> InvalidValueError:
    return InvalidValueError(
        f"{chosen[variable].label} holds a NUL, so it cannot be the variable {variable}",
        hint="hand the program a file instead: strongroom get NAME > FILE",
    )
