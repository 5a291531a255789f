"""Which class logs in for which method."""

from __future__ import annotations

import os

from collections.abc import Mapping

from strongroom_vault.login.grants import Login
from strongroom_vault.settings import AuthSettings
from strongroom_vault.target import Target


def login_for(auth: AuthSettings, target: Target, environment: Mapping[str, str] | None = None) -> Login:  # noqa: PLR0911  # one a method
    """Return the way to log in that the settings ask for.

    Args:
        auth: What the configuration says.
        target: Where the server is, which matters where the connection itself is the credential.
        environment: The variables; the process's own unless given.
    """
    # Each is imported only where it is used: a program logs in one way.
    match auth.method:
        case "approle":
            from strongroom_vault.login.approle import AppRoleLogin

            return AppRoleLogin(auth)
        case "userpass":
            from strongroom_vault.login.userpass import UserpassLogin

            return UserpassLogin(auth)
        case "jwt":
            from strongroom_vault.login.jwt import JWTLogin

            return JWTLogin(auth)
        case "kubernetes":
            from strongroom_vault.login.kubernetes import KubernetesLogin

            return KubernetesLogin(auth)
        case "cert":
            from strongroom_vault.login.cert import CertificateLogin

            return CertificateLogin(auth, target)
        case "aws":
            from strongroom_vault.login.aws import AWSLogin

            return AWSLogin(auth)
        case _:
            from strongroom_vault.login.token import ConfiguredToken

            return ConfiguredToken(auth, os.environ if environment is None else environment)
