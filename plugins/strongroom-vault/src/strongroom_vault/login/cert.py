"""Logging in with the TLS certificate that the connection shows."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import hvac

from strongroom.errors import ConfigurationError
from strongroom_vault.login.grants import Grant, Login, granted, mount_of
from strongroom_vault.settings import AuthSettings
from strongroom_vault.target import Target

_HINT: Final = (
    "check that the method trusts the certificate's authority, that the certificate has not run out, "
    "and that nothing between here and the server ends TLS"
)


class CertificateLogin(Login):
    """Has the server look at the connection's own client certificate.

    Args:
        auth: What the configuration says; a role narrows it down to one of the method's.
        target: Which certificate the connection shows.
    """

    def __init__(self, auth: AuthSettings, target: Target) -> None:
        self._mount = mount_of(auth)
        self._asked_for = {"name": auth.role} if auth.role else {}
        self._has_certificate = target.tls.client_cert is not None

    def grant(self, client: hvac.Client) -> Grant:
        """Log in."""
        if not self._has_certificate:
            raise ConfigurationError(
                "cert needs a client certificate", hint="set tls.client_cert and tls.client_key, or BAO_CLIENT_CERT"
            )
        # One that is open shows what may have been replaced since, and run out.
        client.adapter.session.reconnect()
        # hvac's own cert.login wants the files of a certificate for a connection of its own.
        return granted(
            "the login with a TLS certificate",
            lambda: client.adapter.login(f"/v1/auth/{quote(self._mount)}/login", use_token=False, json=self._asked_for),
            hint=_HINT,
        )
