"""Logging in with the token of a pod's service account."""

from __future__ import annotations

from typing import Final

import hvac

from strongroom.contracts import KeySource
from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue
from strongroom_vault.login.grants import Grant, Login, granted, mount_of, word_of
from strongroom_vault.settings import AuthSettings

SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_HINT: Final = (
    "check the role's service accounts and namespaces, and that the server reaches the Kubernetes API, "
    "whose failure it answers in the same way"
)


class KubernetesLogin(Login):
    """Shows the service account's token, which is read anew each time, since Kubernetes replaces it.

    Args:
        auth: What the configuration says.
    """

    def __init__(self, auth: AuthSettings) -> None:
        if auth.role is None:
            raise ConfigurationError("kubernetes needs a role", hint="set auth.role")
        self._role = auth.role
        self._jwt = auth.jwt or _ServiceAccount()
        self._mount = mount_of(auth)
        self.sources = (self._jwt,)

    def grant(self, client: hvac.Client) -> Grant:
        """Log in."""
        return granted(
            f"the login with Kubernetes as {self._role!r}",
            lambda: client.auth.kubernetes.login(
                self._role, word_of(self._jwt, "the token"), use_token=False, mount_point=self._mount
            ),
            hint=_HINT,
        )


class _ServiceAccount(KeySource):
    def read(self) -> SecretValue:
        try:
            with open(SERVICE_ACCOUNT, "rb") as file:
                return SecretValue(file.read())
        except OSError as error:
            raise ConfigurationError(
                f"the token of the pod's service account cannot be read: {SERVICE_ACCOUNT}: {error.strerror}",
                hint="run in a pod that has one mounted, or set auth.jwt",
            ) from error

    def describe(self) -> str:
        return f"the file {SERVICE_ACCOUNT}"
