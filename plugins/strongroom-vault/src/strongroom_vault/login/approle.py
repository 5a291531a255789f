"""Logging in with an AppRole: a role_id, and a secret_id that may come wrapped."""

from __future__ import annotations

import threading

from typing import Final

import hvac

from strongroom.contracts import KeySource
from strongroom.errors import AuthenticationError, BackendUnavailableError, ConfigurationError, StrongroomError
from strongroom.model import SecretValue
from strongroom_vault.login.grants import Grant, Login, asked, granted, mount_of, text_of, word_of
from strongroom_vault.settings import AuthSettings

_HINT: Final = (
    "check the role_id; if that is right, the secret_id is wrong, has expired or is used up: "
    "the operator must issue a new one"
)
_SPENT: Final = "the operator must issue a new wrapped secret_id; if nobody here used this one, somebody else did"


class AppRoleLogin(Login):
    """Logs in with a role_id and, unless the role needs none, a secret_id.

    Args:
        auth: What the configuration says.
    """

    # A secret_id may be good for a number of logins only, and one whose answer was lost has used it as well.
    repeatable = False

    def __init__(self, auth: AuthSettings) -> None:
        if auth.role_id is None:
            raise ConfigurationError("approle needs a role_id", hint="set auth.role_id")
        self._role_id = auth.role_id
        self._plain = None if auth.wrapped else auth.secret_id
        self._wrapped = Unwrapping(auth.secret_id) if auth.wrapped and auth.secret_id is not None else None
        self._mount = mount_of(auth)
        self.sources = tuple(source for source in (auth.role_id, auth.secret_id) if source is not None)

    def grant(self, client: hvac.Client) -> Grant:
        """Log in; what is wrapped is unwrapped before, once."""
        opened = self._wrapped.secret_id(client) if self._wrapped is not None else None
        return granted(
            "the login with AppRole",
            lambda: client.auth.approle.login(
                role_id=text_of(self._role_id, "the role_id"),
                secret_id=self._secret_id(opened),
                use_token=False,
                mount_point=self._mount,
            ),
            hint=_HINT,
        )

    def _secret_id(self, opened: SecretValue | None) -> str | None:
        if opened is not None:
            return opened.reveal_text()
        return text_of(self._plain, "the secret_id") if self._plain is not None else None

    def after_fork(self) -> None:
        """Keep what the parent has unwrapped, and never take what it is about to unwrap."""
        if self._wrapped is not None:
            self._wrapped.after_fork()


class Unwrapping:
    """Opens a wrapping token once, and keeps what was in it for as long as the process lives.

    The server opens each token once. It is sent again only if the server did not answer; once it
    has been opened, or the server has said that it cannot be, only another token is sent.

    Args:
        source: Where the wrapping token comes from.
    """

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._lock = threading.RLock()
        self._sent: SecretValue | None = None
        self._content: SecretValue | None = None
        self._failure: StrongroomError | None = None
        self._opening: SecretValue | None = None

    def secret_id(self, client: hvac.Client) -> SecretValue:
        """Return the secret_id.

        Args:
            client: Shows no token.

        Raises:
            AuthenticationError: The token was opened before, has expired, or holds no secret_id.
            ConfigurationError: There is no wrapping token.
            BackendUnavailableError: The server does not answer, or this thread is at it already.
        """
        with self._lock:
            if self._opening is not None:
                # A signal's handler, which the opening cannot wait for: sent twice, the content would be lost.
                raise BackendUnavailableError("the wrapping token is being opened", code="busy", hint="try again")
            token = self._token()
            if token is not None and token != self._sent:
                self._open(token, client)
            if self._failure is not None:
                raise self._failure.again()
            if self._content is None:
                raise ConfigurationError("nothing was unwrapped", hint=_SPENT)
            return self._content

    def _token(self) -> SecretValue | None:
        """Return the token that is there now; none if it is gone after it has done its work."""
        try:
            return SecretValue(word_of(self._source, "the wrapping token"))
        except ConfigurationError:
            if self._sent is None:
                raise
            return None

    def _open(self, token: SecretValue, client: hvac.Client) -> None:
        self._opening = token
        self._content = self._failure = None
        try:
            self._content = _opened(token, client)
        except AuthenticationError as error:
            self._failure = error.again()
        finally:
            self._opening = None
        # Not after an outage, which raises.
        self._sent = token

    def after_fork(self) -> None:
        """Leave a token that the parent is opening to the parent."""
        self._lock = threading.RLock()
        if self._opening is not None:
            self._content, self._sent, self._opening = None, self._opening, None
            self._failure = AuthenticationError(
                "the process was forked while the parent opened the wrapping token", hint="fork before or after it"
            )


def _opened(token: SecretValue, client: hvac.Client) -> SecretValue:
    answer = asked(
        "the unwrapping of the secret_id: it was unwrapped before, or has expired",
        # Not hvac's own sys.unwrap, which sends it in the body: some servers want it shown as a token.
        lambda: client.adapter.post("/v1/sys/wrapping/unwrap", headers={"X-Vault-Token": token.reveal_text()}),
        hint=_SPENT,
    )
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict) or not isinstance(data.get("secret_id"), str):
        raise AuthenticationError("what the wrapping token held is not a secret_id", hint=_SPENT)
    return SecretValue(data["secret_id"])
