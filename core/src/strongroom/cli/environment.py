"""The environment of the program that ``run`` starts; the process's own is never changed.

It is made of bytes: that is what POSIX has, and a value is handed over exactly.
"""

from __future__ import annotations

import os

from collections.abc import Iterable
from typing import Final

from strongroom import credentials
from strongroom.cli.problems import raise_all
from strongroom.cli.selection import Choice
from strongroom.config.load import Configuration
from strongroom.errors import InvalidValueError, PluginError
from strongroom.model import Secret

Environment = dict[bytes, bytes]

PRISTINE: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "TZ", "TMPDIR")
"""What ``--pristine`` keeps, besides ``LC_*``."""


def inherited() -> Environment:
    """Return a copy of the process's environment.

    A variable without a name is left out: it can be inherited but not handed on, as the system refuses all of it.
    """
    if os.supports_bytes_environ:
        return {name: value for name, value in os.environb.items() if name}
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
    """Return the variables that hold strongroom's own secrets; see :func:`strongroom.credentials.own_credentials`.

    Args:
        configuration: The configuration in force.

    Raises:
        PluginError: A configured backend is missing or broken, so nobody knows
            which variables open it.
    """
    try:
        return credentials.own_credentials(configuration)
    except PluginError as error:
        raise PluginError(
            error.what,
            code=error.code,
            hint=f"{error.hint}; or let the program have all of them with --pass-credentials",
        ) from error


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
