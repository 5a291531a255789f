"""A token that is there already: configured, in a variable, or where the server's own command leaves it."""

from __future__ import annotations

import os

from collections.abc import Mapping

import hvac

from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue
from strongroom_vault.login.grants import Grant, Login, word, word_of
from strongroom_vault.login.helper import ask_helper, helper_of
from strongroom_vault.settings import AuthSettings


class ConfiguredToken(Login):
    """Finds a token. It is looked for anew whenever the one before was refused.

    The first of these counts: the setting ``auth.token``; ``BAO_TOKEN``, else ``VAULT_TOKEN``
    (one that is set and empty holds none, and ``BAO_TOKEN`` then hides the other); the token
    helper of the command line's own configuration; without a helper, the file
    ``BAO_TOKEN_PATH``, else ``~/.vault-token``.

    Args:
        auth: What the configuration says.
        environment: The variables.
    """

    def __init__(self, auth: AuthSettings, environment: Mapping[str, str]) -> None:
        self._source = auth.token
        self._environment = environment

    def grant(self, client: hvac.Client) -> Grant:  # noqa: ARG002  # no server is asked
        """Return the token; nothing is sent."""
        return Grant(token=SecretValue(self._found()), configured=True)

    def _found(self) -> str:
        if self._source is not None:
            return word_of(self._source, "the token")
        variable = "BAO_TOKEN" if "BAO_TOKEN" in self._environment else "VAULT_TOKEN"
        if self._environment.get(variable):
            return word(self._environment[variable], f"the token in the variable {variable}")
        helper = helper_of(self._environment)
        if helper is not None:
            return word(ask_helper(helper, self._environment), f"what the token helper {helper} gave")
        path = self._path()
        if path and os.path.exists(path):
            return word(_content(path), f"the token in {path}")
        raise ConfigurationError(
            "there is no token: none is configured, and neither BAO_TOKEN, VAULT_TOKEN, a token helper "
            f"nor the file {path or '~/.vault-token'} has one",
            hint='set auth = { token = { env = "BAO_TOKEN" } } or another method, or run `bao login`',
        )

    def _path(self) -> str | None:
        home = self._environment.get("HOME")
        return self._environment.get("BAO_TOKEN_PATH") or (os.path.join(home, ".vault-token") if home else None)


def _content(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise ConfigurationError(
            f"the token's file {path} cannot be read: {error.strerror}", hint="check its permissions"
        ) from error
