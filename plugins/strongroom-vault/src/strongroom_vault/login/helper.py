"""The token helper: a program that keeps the token for the server's own command line."""

from __future__ import annotations

import os
import re
import subprocess

from collections.abc import Mapping
from typing import Final

from strongroom.errors import ConfigurationError

TIME_LIMIT: Final = 10.0
"""How long a helper may take, in seconds."""
_LINE: Final = re.compile(r'^\s*"?token_helper"?\s*[=:]\s*"((?:[^"\\]|\\.)*)"', re.MULTILINE)
_VARIABLES: Final = ("BAO_CONFIG_PATH", "VAULT_CONFIG_PATH")
_FILES: Final = (".bao", ".vault")


def helper_of(environment: Mapping[str, str]) -> str | None:
    """Return the path of the helper that the command line's configuration names, if it names one.

    The configuration is the file ``BAO_CONFIG_PATH``, else ``VAULT_CONFIG_PATH``, else
    ``~/.bao``, else ``~/.vault``.

    Raises:
        ConfigurationError: That file cannot be read.
    """
    path = _configuration(environment)
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            # A comment ends at the line's end in either way of writing it.
            text = re.sub(r"^\s*{", "", re.sub(r"^\s*(#|//).*$", "", file.read(), flags=re.MULTILINE))
    except OSError as error:
        raise ConfigurationError(
            f"{path}, which may name a token helper, cannot be read: {error.strerror}", hint="check its permissions"
        ) from error
    line = _LINE.search(text)
    return os.path.expanduser(re.sub(r"\\(.)", r"\1", line[1])) or None if line else None


def ask_helper(helper: str, environment: Mapping[str, str]) -> str:
    """Run a helper with the argument ``get``, and return what it writes.

    Raises:
        ConfigurationError: It cannot be run, fails, writes nothing, or takes too long.
    """
    output, reason = _run(helper, environment)
    if not reason:
        return output
    # Nothing that it wrote is shown, and no local variable holds it here.
    raise ConfigurationError(f"the token helper {helper} {reason}", hint="log in with the server's own command")


def _run(helper: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return what it wrote, or why that is of no use."""
    try:
        done = subprocess.run(  # noqa: S603  # the user's own configuration names it
            [helper, "get"],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIME_LIMIT,
            check=False,
        )
    except OSError as error:
        return "", f"cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return "", f"took more than {TIME_LIMIT:.0f} s"
    if done.returncode:
        return "", f"ended with status {done.returncode}"
    output = done.stdout.decode("ascii", "replace")
    return output, "" if output.strip() else "has no token"


def _configuration(environment: Mapping[str, str]) -> str | None:
    for variable in _VARIABLES:
        if environment.get(variable):
            return environment[variable]
    home = environment.get("HOME")
    files = [os.path.join(home, name) for name in _FILES] if home else []
    # Either name may also be a folder that something else keeps.
    return next((path for path in files if os.path.isfile(path)), None)
