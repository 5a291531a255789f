"""Logging in with a JSON web token that somebody else has signed: JWT and OIDC."""

from __future__ import annotations

from typing import Final

import hvac

from strongroom.errors import ConfigurationError
from strongroom_vault.login.grants import Grant, Login, granted, mount_of, word_of
from strongroom_vault.settings import AuthSettings

_HINT: Final = "check the token's issuer, audience and age, and the role"


class JWTLogin(Login):
    """Shows a token, which is read anew each time, since whoever issues it replaces it.

    Args:
        auth: What the configuration says.
    """

    # A server may take each token once only.
    repeatable = False

    def __init__(self, auth: AuthSettings) -> None:
        if auth.jwt is None:
            raise ConfigurationError("jwt needs a token to show", hint='set auth.jwt, such as { file = "/run/token" }')
        self._jwt = auth.jwt
        self._role = auth.role
        self._mount = mount_of(auth)
        self.sources = (auth.jwt,)

    def grant(self, client: hvac.Client) -> Grant:
        """Log in."""
        return granted(
            "the login with JWT",
            lambda: client.auth.jwt.jwt_login(
                self._role, word_of(self._jwt, "the JWT"), use_token=False, path=self._mount
            ),
            hint=_HINT,
        )
