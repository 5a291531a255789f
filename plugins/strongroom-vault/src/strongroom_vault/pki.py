"""The rotator of certificates that the server's PKI engine issues."""

from __future__ import annotations

import datetime
import os

from collections.abc import Callable
from typing import Any, Final, Self

from strongroom.contracts import (
    ApplyRequest,
    ApplyResult,
    FinishRequest,
    FinishResult,
    GenerateRequest,
    GenerateResult,
    Life,
    Rotator,
    UndoRequest,
    UndoResult,
    VerifyCandidateRequest,
    VerifyCandidateResult,
)
from strongroom.errors import (
    BackendError,
    CandidateRefusedError,
    ConfigurationError,
    InvalidValueError,
    StrongroomError,
    UndoRefusedError,
)
from strongroom.model import SecretName, SecretValue
from strongroom_vault.asking import AskingAdapter, bare
from strongroom_vault.certificates import bundle_of, certificate_of, issued, problem_of, serial_text, to_value
from strongroom_vault.faults import nothing_there, refusal
from strongroom_vault.paths import quoted
from strongroom_vault.replies import Reply
from strongroom_vault.settings import PkiSettings
from strongroom_vault.target import resolve
from strongroom_vault.tokens import TokenKeeper
from strongroom_vault.transport import Transport

_UNKNOWN: Final = "not found"
_LONGEST_REASON: Final = 300


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class PkiRotator(Rotator):
    """Has a Vault or OpenBao issue certificates, and revoke those that are over. ``open`` is the way to get one.

    Args:
        settings: The settings.
        transport: The way to the server.
        now: Returns the time, with its offset from UTC.
    """

    def __init__(
        self, settings: PkiSettings, transport: Transport, *, now: Callable[[], datetime.datetime] = _now
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._now = now
        self._tokens = TokenKeeper.open(settings.auth, transport)
        self._adapter = AskingAdapter(transport, self._tokens, namespace=transport.target.namespace)
        self._mount = quoted(settings.mount.strip("/"))
        self._process = os.getpid()

    @classmethod
    def open(cls, settings: PkiSettings) -> Self:
        """Make one; nothing is sent before it is needed."""
        return cls(settings, Transport(resolve(settings)))

    def generate(self, request: GenerateRequest) -> GenerateResult:
        """Have a certificate issued. It is valid from then on, so one that is not recorded is one that nobody keeps.

        The current value may be anything: the first one is no certificate.

        Raises:
            ConfigurationError: The role does not allow it, or there is no such role or engine.
            BackendError: What the server answers is no certificate.
            BackendUnavailableError: It does not answer; it may have issued one.
        """
        name = request.name
        # Not to be sent twice: if the answer is lost there may be a certificate that nobody has.
        reply = self._asked("POST", f"issue/{quoted(self._settings.role)}", self._wanted(), repeatable=False)
        if reply.status >= 400:
            raise self._not_issued(reply, name)
        text = issued(reply.data)
        try:
            bundle = bundle_of(text, "the server's answer")
        except InvalidValueError as error:
            raise BackendError(f"the server's answer for {name} is no certificate with its key", name=name) from error
        return GenerateResult(value=to_value(bundle, self._settings.format))

    def _wanted(self) -> dict[str, Any]:
        settings = self._settings
        wanted: dict[str, Any] = {"format": "pem", "private_key_format": "pkcs8"}
        if settings.common_name is not None:
            wanted["common_name"] = settings.common_name
        if settings.alt_names:
            wanted["alt_names"] = ",".join(settings.alt_names)
        if settings.ip_sans:
            wanted["ip_sans"] = ",".join(settings.ip_sans)
        if settings.ttl is not None:
            wanted["ttl"] = f"{int(settings.ttl)}s"
        return wanted

    def _not_issued(self, reply: Reply, name: SecretName) -> StrongroomError:
        said = reply.errors
        if reply.status == 404:
            return ConfigurationError(
                f"there is no PKI engine at {self._settings.mount}, so it issues no certificate for {name}",
                name=name,
                hint="check `mount`, and that `namespace` is the one it is in",
            )
        if reply.status == 400 and said:
            # It repeats the names that were asked for, and nothing else of ours.
            reason = said[:_LONGEST_REASON] if said.isprintable() else "see the server's own log"
            return ConfigurationError(
                f"the server issues no certificate for {name}: {reason}",
                name=name,
                hint="check `role`, and what the role allows",
            )
        return refusal(reply, f"issuing a certificate for {name}", name=name)

    def apply(self, request: ApplyRequest) -> ApplyResult:  # noqa: ARG002  # the contract's
        """Do nothing: the certificate has been valid since it was issued."""
        return ApplyResult()

    def verify(self, request: VerifyCandidateRequest) -> VerifyCandidateResult:
        """See whether the certificate is valid, signed by those that came with it, and the key's. Nothing is asked.

        Raises:
            CandidateRefusedError: It is not.
        """
        problem = problem_of(bundle_of(request.candidate, f"the candidate for {request.name}"), self._now())
        if problem:
            raise CandidateRefusedError(f"the certificate for {request.name} {problem}", name=request.name)
        return VerifyCandidateResult()

    def finish(self, request: FinishRequest) -> FinishResult:
        """Have the former certificate revoked, unless the settings say otherwise.

        Raises:
            AccessDeniedError: The token may not do that.
            BackendUnavailableError: The server does not answer; it may have been done all the same.
        """
        if self._settings.revoke_former:
            self._revoke(request.former, request.current, request.name, request.confirm)
        return FinishResult()

    def undo(self, request: UndoRequest) -> UndoResult:
        """Have the candidate revoked, unless the former certificate would come back that is so already.

        Raises:
            UndoRefusedError: The candidate is promoted, and the former certificate revoked.
            AccessDeniedError: The token may not do that.
            BackendUnavailableError: The server does not answer; it may have been done all the same.
        """
        name = request.name
        if request.promoted and self._is_revoked(request.current, name):
            raise UndoRefusedError(
                f"the former certificate of {name} was revoked already, so it cannot become the current one again",
                name=name,
                hint=f"`strongroom rotate {name} --resume` leads its rotation to the end",
            )
        self._revoke(request.candidate, request.current, name, request.confirm)
        return UndoResult()

    def life(self, value: SecretValue) -> Life:
        """Return the times of a certificate.

        Raises:
            InvalidValueError: The value holds none.
        """
        certificate = certificate_of(value, "the value")
        return Life(begins=certificate.not_valid_before_utc, ends=certificate.not_valid_after_utc)

    def close(self) -> None:
        """Give the token back and close the connections."""
        self._tokens.close()
        self._transport.close()

    def _revoke(self, over: SecretValue, kept: SecretValue, name: SecretName, confirm: Callable[[], None]) -> None:
        """Have a value's certificate revoked, unless it is that of the value which is kept."""
        serial = _serial(over)
        # What was written by hand may be no certificate. One that has ended needs no revoking.
        if serial is None or serial == _serial(kept) or self.life(over).ends <= self._now():
            return
        confirm()
        reply = self._asked("POST", "revoke", {"serial_number": serial}, repeatable=True)
        if reply.status >= 400 and not _is_unknown(reply):
            raise refusal(reply, f"revoking the certificate {serial} of {name}", name=name)

    def _is_revoked(self, value: SecretValue, name: SecretName) -> bool:
        """Ask whether a value's certificate is revoked. One that the engine does not keep cannot have been by it."""
        serial = _serial(value)
        if serial is None:
            return False
        reply = self._asked("GET", f"cert/{quoted(serial)}", None, repeatable=True)
        if reply.status >= 400 and not nothing_there(reply):
            raise refusal(reply, f"asking whether the certificate {serial} of {name} is revoked", name=name)
        return bool(reply.data.get("revocation_time"))

    def _asked(self, method: str, path: str, content: dict[str, Any] | None, *, repeatable: bool) -> Reply:
        """Return an answer, or raise why there is none from where no key is known."""
        if os.getpid() != self._process:
            self._after_fork()
        try:
            return self._adapter.request(method, f"/v1/{self._mount}/{path}", json=content, repeatable=repeatable)
        # Ctrl-C, too.
        except BaseException as error:  # noqa: BLE001  # raised again below
            failure = bare(error)
        raise failure

    def _after_fork(self) -> None:
        """Use connections and a token of its own in a forked child."""
        self._transport.after_fork()
        self._tokens.after_fork()
        self._process = os.getpid()


def _serial(value: SecretValue) -> str | None:
    try:
        return serial_text(certificate_of(value, "the value"))
    except InvalidValueError:
        return None


def _is_unknown(reply: Reply) -> bool:
    """Tell whether the engine has no such certificate: a role may keep none, and another engine may have made it."""
    return reply.status in (400, 404) and _UNKNOWN in reply.errors
