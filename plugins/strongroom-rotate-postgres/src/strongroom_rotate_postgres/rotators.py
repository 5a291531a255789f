"""The rotators: users that take turns, and one user alone."""

from __future__ import annotations

import contextlib

from abc import abstractmethod
from collections.abc import Callable, Iterator

from strongroom.contracts import (
    ApplyRequest,
    ApplyResult,
    FinishRequest,
    FinishResult,
    GenerateRequest,
    GenerateResult,
    Rotator,
    UndoRequest,
    UndoResult,
    VerifyCandidateRequest,
    VerifyCandidateResult,
)
from strongroom.errors import InvalidValueError
from strongroom.model import SecretName, SecretValue
from strongroom_rotate_postgres.logins import Login, login_of, with_login
from strongroom_rotate_postgres.passwords import new_password
from strongroom_rotate_postgres.server import Administration, Server
from strongroom_rotate_postgres.settings import AlternatingSettings, PostgresSettings

ReadSecret = Callable[[str], SecretValue]


class PostgresRotator(Rotator):
    """Changes passwords of PostgreSQL users; what is the same for both rotators.

    Args:
        settings: The settings.

    Raises:
        ConfigurationError: The connection string cannot be used.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._server = Server(settings)

    @abstractmethod
    def _next(self, user: str) -> str:
        """Return who comes after a user."""

    def generate(self, request: GenerateRequest) -> GenerateResult:
        """Return the value with the next user and a new password.

        Before the first candidate the server is asked whether it can be administered and has that user, so that what
        is wrong there leaves nothing behind. Nothing is changed by that.

        Raises:
            InvalidValueError: The value is no login, or one of a user that is not among the settings' users.
            ConfigurationError: The next user could not log in.
            AuthenticationError: The server does not let the administrator in.
            BackendUnavailableError: It does not answer.
        """
        current = self._login(request.current, request.name)
        user = self._next(current.user)
        if request.attempt == 1:
            with self._administered(request.name, request.read_secret) as session:
                session.check_user(user)
        candidate = Login(user=user, password=new_password(self._settings.length, self._settings.alphabet))
        return GenerateResult(value=with_login(request.current, candidate))

    def apply(self, request: ApplyRequest) -> ApplyResult:
        """Give the candidate's user the candidate's password.

        Raises:
            CandidateRefusedError: The server's rules for passwords do not allow it.
            AccessDeniedError: The administrator may not do that.
            BackendUnavailableError: The server does not answer; it may have been done all the same.
            RotationError: Raised by ``confirm``.
        """
        candidate = self._login(request.candidate, request.name)
        self._check(candidate, request)
        with self._administered(request.name, request.read_secret) as session:
            session.check_user(candidate.user)
            session.set_passwords({candidate.user: candidate.password}, request.confirm)
        return ApplyResult()

    def _check(self, candidate: Login, request: ApplyRequest) -> None:
        """Refuse a candidate that this rotator would not have made."""

    def verify(self, request: VerifyCandidateRequest) -> VerifyCandidateResult:
        """Log in with the candidate.

        Raises:
            CandidateRefusedError: The server does not let its user in with its password.
            BackendUnavailableError: It does not answer.
        """
        self._server.try_login(self._login(request.candidate, request.name))
        return VerifyCandidateResult()

    def _login(self, value: SecretValue, name: SecretName) -> Login:
        login = login_of(value, name)
        if login.user not in self._settings.users:
            raise InvalidValueError(
                f"the user in {name} is none of its rotation's users, {', '.join(self._settings.users)}",
                name=name,
                hint="put one of them into the secret, with its password, or name its user in `users`",
            )
        return login

    def _known_login(self, value: SecretValue, name: SecretName) -> Login | None:
        """Return a value's login; ``None`` if it is none, or one of somebody else: it was written by hand."""
        try:
            return self._login(value, name)
        except InvalidValueError:
            return None

    @contextlib.contextmanager
    def _administered(self, name: SecretName, read_secret: ReadSecret) -> Iterator[Administration]:
        with self._server.administered(self._admin(read_secret), name) as session:
            yield session

    def _admin(self, read_secret: ReadSecret) -> Login | str:
        settings = self._settings
        if settings.admin_secret is not None:
            return login_of(read_secret(settings.admin_secret), settings.admin_secret)
        assert settings.admin_user is not None, "the settings were checked"
        if settings.admin_password is None:
            return settings.admin_user
        return Login(user=settings.admin_user, password=settings.admin_password.read())


class AlternatingRotator(PostgresRotator):
    """Gives the next of several users a new password, while the current one goes on working.

    Args:
        settings: The settings.
    """

    def __init__(self, settings: AlternatingSettings) -> None:
        super().__init__(settings)
        self._retires = settings.retire_former

    def _next(self, user: str) -> str:
        users = self._settings.users
        return users[(users.index(user) + 1) % len(users)]

    def _check(self, candidate: Login, request: ApplyRequest) -> None:
        current = self._known_login(request.current, request.name)
        if current is not None and current.user == candidate.user:
            raise InvalidValueError(
                f"the candidate for {request.name} is for the user of the current value, whose logins would fail",
                name=request.name,
                hint="undo the rotation, and begin another one",
            )

    def finish(self, request: FinishRequest) -> FinishResult:
        """Leave the former user as it is, or take its password away, if the settings say so.

        Raises:
            BackendUnavailableError: The server does not answer.
        """
        former = self._known_login(request.former, request.name) if self._retires else None
        current = self._known_login(request.current, request.name)
        if former is not None and (current is None or former.user != current.user):
            with self._administered(request.name, request.read_secret) as session:
                session.set_passwords({former.user: None}, request.confirm)
        return FinishResult()

    def undo(self, request: UndoRequest) -> UndoResult:
        """Take the password of the candidate's user away; the current user was not touched.

        If the current value is one of the candidate's user, written by hand, that user gets its password. So does the
        current user if ``finish`` may have taken it away.

        Raises:
            BackendUnavailableError: The server does not answer.
        """
        candidate = self._login(request.candidate, request.name)
        current = self._known_login(request.current, request.name)
        wanted: dict[str, SecretValue | None] = {candidate.user: None}
        if current is not None and (current.user == candidate.user or (self._retires and request.promoted)):
            wanted[current.user] = current.password
        with self._administered(request.name, request.read_secret) as session:
            session.set_passwords(wanted, request.confirm)
        return UndoResult()


class SingleRotator(PostgresRotator):
    """Gives one user a new password. Logins with the old one fail from then on."""

    def _next(self, user: str) -> str:
        return user

    def undo(self, request: UndoRequest) -> UndoResult:
        """Give the user the current value's password.

        If the current value is one of another user, written by hand, that one gets the value's password, and the
        candidate's user has none any more.

        Raises:
            BackendUnavailableError: The server does not answer.
        """
        candidate = self._login(request.candidate, request.name)
        current = self._known_login(request.current, request.name)
        wanted: dict[str, SecretValue | None] = {candidate.user: None}
        if current is not None:
            wanted[current.user] = current.password
        with self._administered(request.name, request.read_secret) as session:
            session.set_passwords(wanted, request.confirm)
        return UndoResult()
