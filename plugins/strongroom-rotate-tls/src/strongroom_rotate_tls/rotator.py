"""The rotator: a new key and a new certificate of the authority each time."""

from __future__ import annotations

import datetime
import logging

from collections.abc import Callable

from strongroom.contracts import (
    ApplyRequest,
    ApplyResult,
    GenerateRequest,
    GenerateResult,
    Life,
    Rotator,
    UndoRequest,
    UndoResult,
    VerifyCandidateRequest,
    VerifyCandidateResult,
)
from strongroom.errors import CandidateRefusedError, ConfigurationError
from strongroom.model import SecretValue
from strongroom_rotate_tls.authority import authority_of
from strongroom_rotate_tls.bundle import from_value, life_of, to_value
from strongroom_rotate_tls.checking import problem_of
from strongroom_rotate_tls.issuing import issue
from strongroom_rotate_tls.settings import TlsSettings

_log = logging.getLogger("strongroom.rotate_tls")


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class TlsRotator(Rotator):
    """Issues certificates of an authority that is a secret itself. Nothing besides the readers has to take them.

    Args:
        settings: The settings.
        now: Returns the time, with its offset from UTC.
    """

    def __init__(self, settings: TlsSettings, *, now: Callable[[], datetime.datetime] = _now) -> None:
        self._settings = settings
        self._now = now

    def generate(self, request: GenerateRequest) -> GenerateResult:
        """Return a new certificate with a new key, once it is known that clients will accept it.

        The current value may be anything: the first one is no certificate.

        Raises:
            InvalidValueError: The authority is no certificate with its key.
            ConfigurationError: It may not sign such a certificate, or not now.
            StrongroomError: It cannot be read.
        """
        settings, now = self._settings, self._now()
        authority = authority_of(settings, request.read_secret, now)
        made = issue(authority, settings, now)
        problem = problem_of(made, authority, settings, now)
        if problem:
            raise ConfigurationError(
                f"a certificate for {request.name} {problem}",
                name=request.name,
                hint="see the extensions of the authority's certificates, such as their name constraints",
            )
        if authority.ends < now + datetime.timedelta(seconds=int(settings.life)):
            _log.warning(
                "the authority of %s ends at %s, so its certificate does, too: renew the authority",
                request.name,
                authority.ends.isoformat(),
            )
        return GenerateResult(value=to_value(made, settings.format))

    def apply(self, request: ApplyRequest) -> ApplyResult:  # noqa: ARG002  # the contract's
        """Do nothing: there is no dependent. Who serves with the certificate hears of it when it is announced."""
        return ApplyResult()

    def verify(self, request: VerifyCandidateRequest) -> VerifyCandidateResult:
        """See whether those who trust the authority, as it is now, would accept the certificate.

        Raises:
            CandidateRefusedError: They would not: it has ended meanwhile, or there is another authority, say.
            InvalidValueError: The authority is no certificate with its key.
            ConfigurationError: The authority has ended, say.
        """
        now = self._now()
        authority = authority_of(self._settings, request.read_secret, now)
        bundle = from_value(request.candidate, f"the candidate for {request.name}")
        problem = problem_of(bundle, authority, self._settings, now)
        if problem:
            raise CandidateRefusedError(f"the certificate for {request.name} {problem}", name=request.name)
        return VerifyCandidateResult()

    def undo(self, request: UndoRequest) -> UndoResult:  # noqa: ARG002  # the contract's
        """Do nothing, as :meth:`apply`."""
        return UndoResult()

    def life(self, value: SecretValue) -> Life:
        """Return the times of a certificate.

        Raises:
            InvalidValueError: The value holds none.
        """
        return life_of(value)
