"""Logging in with a user's name and password."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import hvac

from strongroom.errors import ConfigurationError
from strongroom_vault.login.grants import Grant, Login, granted, mount_of, text_of
from strongroom_vault.settings import AuthSettings

_HINT: Final = "check the name and the password; after several wrong ones the server locks the user out for a while"


class UserpassLogin(Login):
    """Logs in with a name and a password, which is read anew each time.

    Args:
        auth: What the configuration says.
    """

    def __init__(self, auth: AuthSettings) -> None:
        if auth.username is None or auth.password is None:
            raise ConfigurationError(
                "userpass needs a username and a password", hint="set auth.username and auth.password"
            )
        self._username = auth.username
        self._password = auth.password
        self._mount = mount_of(auth)
        self.sources = (auth.password,)

    def grant(self, client: hvac.Client) -> Grant:
        """Log in."""
        return granted(
            f"the login of {self._username!r} with userpass",
            lambda: client.auth.userpass.login(
                quote(self._username, safe=""),
                text_of(self._password, "the password"),
                use_token=False,
                mount_point=quote(self._mount),
            ),
            hint=_HINT,
        )
